"""Real NVP on Fashion-MNIST, as on MNIST."""

import ml_collections

from train.configs import mnist


def get_config() -> ml_collections.ConfigDict:
    config = mnist.get_config()
    config.dataset = "fashion_mnist"
    return config
