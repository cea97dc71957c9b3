"""CIFAR-10 in ten minutes of training on two cores: `SubpixelFlow`."""

import ml_collections

from train.configs import default


def get_config():
    config = default.get_config()
    config.dataset = "cifar10"
    config.test_split = "test[:1000]"
    config.flip = True
    config.architecture = "SubpixelFlow"
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 5
    config.model.filters = 64
    config.model.num_blocks = 2
    config.model.dtype = "mixed_bfloat16"
    config.batch_size = 32
    config.epochs = 10
    config.steps_per_epoch = 500
    config.learning_rate = 4e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 50
    config.decay = "linear"
    config.decay_start = 0.5
    config.beta_2 = 0.99
    config.clip_norm = 2000.0
    return config
