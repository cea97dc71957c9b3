"""Fashion-MNIST in 36 minutes of one core: `SubpixelFlow` on the exact probabilities of the levels."""

import ml_collections

from train.configs import mnist_fast


def get_config() -> ml_collections.ConfigDict:
    config = mnist_fast.get_config()
    config.dataset = "fashion_mnist"
    config.epochs = 20
    return config
