"""The training program: `python -m train.main --help`, or `tfp-realnvp --help` once it is installed."""
