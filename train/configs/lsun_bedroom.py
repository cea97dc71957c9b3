"""Real NVP on the bedrooms of LSUN at 64×64, the paper's model and training (section 4.1)."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "lsun/bedroom"
    config.test_split = "validation"
    config.shorter_side = 96
    config.crop = 64
    config.flip = True
    config.batch_size = 64
    config.epochs = 100
    config.steps_per_epoch = 5000  # A pass has about 47,000 steps; 11,000 on the towers, 2,000 on the churches.
    config.model.num_scales = 5
    config.model.filters = 32
    config.model.num_blocks = 2
    return config
