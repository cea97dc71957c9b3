"""Real NVP on CIFAR-10, the paper's model and training (section 4.1)."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "cifar10"
    config.flip = True
    config.batch_size = 64
    config.epochs = 1000
    config.model.num_scales = 2
    config.model.filters = 64
    config.model.num_blocks = 8
    return config
