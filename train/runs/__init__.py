"""A run on disk and on devices: its folder, its checkpoints, its callbacks and its workers."""
