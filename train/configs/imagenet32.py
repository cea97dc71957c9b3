"""Real NVP on ImageNet downsampled to 32×32, the paper's model and training (section 4.1)."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "downsampled_imagenet/32x32"
    config.test_split = "validation"
    config.shorter_side = 32  # The images have this size already, but TFDS does not tell it.
    config.crop = 32
    config.batch_size = 64
    config.epochs = 100
    config.steps_per_epoch = 5000  # A pass has 20,018 steps.
    config.model.num_scales = 4
    config.model.filters = 32
    config.model.num_blocks = 4
    return config
