"""CIFAR-10, meant for two hours of training on two cores: the flow of `cifar10_fast`, wider and deeper."""

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
