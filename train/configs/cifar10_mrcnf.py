"""A small MRCNF on CIFAR-10: three resolutions, 8×8 to 32×32, with the training of the authors' script."""

import ml_collections

from train.configs import cifar10_small, digits_mrcnf


def get_config() -> ml_collections.ConfigDict:
    config = cifar10_small.get_config()
    config.adapt = True
    config.architecture = "MRCNF"
    config.model = digits_mrcnf.get_config().model
    config.model.num_scales = 3
    config.model.alpha = 0.05
    config.epochs = 5
    config.steps_per_epoch = 500
    config.learning_rate = 1e-3
    config.warmup_steps = 500
    config.samples_every = 5
    return config
