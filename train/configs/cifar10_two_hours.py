"""CIFAR-10 within two hours of training on two cores: `SubpixelFlow`, wider and deeper than in `cifar10_fast`."""

from train.configs import cifar10_fast


def get_config():
    config = cifar10_fast.get_config()
    config.train_split = "train[:45000]"
    config.validation_split = "train[45000:46000]"
    config.test_split = "test"
    config.model.filters = 96
    config.model.num_blocks = 3
    config.epochs = 18
    config.steps_per_epoch = 1000
    return config
