"""The UvA tutorial's multi-scale flow on MNIST: 1.020 test bits/dim there."""

from train.configs import uva_vardeq


def get_config():
    config = uva_vardeq.get_config()
    config.model.multi_scale = True
    return config
