"""The UvA tutorial's flow with variational dequantization on MNIST: 1.043 test bits/dim there."""

from train.configs import uva_simple


def get_config():
    config = uva_simple.get_config()
    config.model.dequantization = "variational"
    return config
