"""The configs: `default` holds every field, and each other file a data set and a model."""
