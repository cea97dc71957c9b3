"""Real NVP on the faces of CelebA at 64×64, the paper's model and training (section 4.1)."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "celeb_a"
    config.central_crop = 148  # of 218×178 pixels; the window of the authors' code is five pixels below the middle
    config.shorter_side = 64
    config.antialias = False  # as in the authors' code
    config.flip = True
    config.batch_size = 64
    config.epochs = 200  # of 2,543 steps
    config.model.num_scales = 5
    config.model.filters = 32
    config.model.num_blocks = 2
    return config
