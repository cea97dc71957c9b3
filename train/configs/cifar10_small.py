"""A small Real NVP on CIFAR-10: about ten minutes on two cores, thirteen on slow ones."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "cifar10"
    config.test_split = "test[:1000]"
    config.flip = True
    config.batch_size = 32
    config.epochs = 4
    config.steps_per_epoch = 200
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 4
    config.model.dtype = "mixed_bfloat16"
    config.learning_rate = 2e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 50
    config.samples_every = 4
    return config
