"""MRCNF on scikit-learn's 8×8 handwritten digits: two resolutions, no download."""

import ml_collections

from train.configs import rnode_digits


def get_config() -> ml_collections.ConfigDict:
    config = rnode_digits.get_config()
    config.architecture = "MRCNF"
    config.model.num_blocks = 2
    return config
