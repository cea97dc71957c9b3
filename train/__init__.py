"""The training program: `python -m train.main --help`."""
