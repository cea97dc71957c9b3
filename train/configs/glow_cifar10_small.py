"""A small Glow on CIFAR-10: ten minutes of training on two cores."""

import ml_collections

from train.configs import glow_cifar10


def get_config() -> ml_collections.ConfigDict:
    config = glow_cifar10.get_config()
    config.test_split = "test[:1000]"
    config.model.steps_per_scale = 8
    config.model.filters = 128
    config.model.bound = "tanh"
    config.model.alpha = 0.05
    config.model.dtype = "mixed_bfloat16"
    config.batch_size = 16  # In ten minutes, more steps help more than larger ones.
    config.epochs = 10
    config.steps_per_epoch = 500
    config.learning_rate = 2e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 200
    config.decay = "linear"
    config.decay_start = 0.5
    config.beta_2 = 0.99
    return config
