"""Real NVP on ImageNet downsampled to 64×64, the paper's model and training (section 4.1)."""

import ml_collections

from train.configs import imagenet32


def get_config() -> ml_collections.ConfigDict:
    config = imagenet32.get_config()
    config.dataset = "downsampled_imagenet/64x64"
    config.shorter_side = 64
    config.crop = 64
    config.model.num_scales = 5
    config.model.num_blocks = 2  # The README of the authors' code uses 4 for 64×64 images.
    return config
