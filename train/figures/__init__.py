"""Pictures of a flow: its samples during training, and the figures of the Real NVP paper."""
