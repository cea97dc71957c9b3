"""The UvA tutorial's multi-scale flow on MNIST: 1.020 test bits/dim there."""

import ml_collections

from train.configs import uva_vardeq


def get_config() -> ml_collections.ConfigDict:
    config = uva_vardeq.get_config()
    config.model.multi_scale = True
    return config
