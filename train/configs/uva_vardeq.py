"""The UvA tutorial's flow with variational dequantization on MNIST: 1.043 test bits/dim there."""

import ml_collections

from train.configs import uva_simple


def get_config() -> ml_collections.ConfigDict:
    config = uva_simple.get_config()
    config.model.dequantization = "variational"
    return config
