"""CIFAR-10 in two hours of training on two cores: `cifar10_fast` with larger networks, on almost all of the images."""

import ml_collections

from train.configs import cifar10_fast


def get_config() -> ml_collections.ConfigDict:
    config = cifar10_fast.get_config()
    config.train_split = "train[:49000]"
    config.validation_split = "train[49000:]"
    config.test_split = "test"
    config.model.filters = 96
    config.model.num_blocks = 2
    config.epochs = 40
    config.steps_per_epoch = 1000
    config.learning_rate = 5e-3
    config.warmup_steps = 500
    return config
