"""A small Real NVP on Fashion-MNIST: about half an hour on two slow cores."""

import ml_collections

from train.configs import cifar10_small


def get_config() -> ml_collections.ConfigDict:
    config = cifar10_small.get_config()
    config.dataset = "fashion_mnist"
    config.epochs = 5
    config.steps_per_epoch = 500
    config.samples_every = 5
    return config
