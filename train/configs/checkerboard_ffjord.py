"""A checkerboard in the plane, by FFJORD with the settings of its paper's toy problems."""

import ml_collections

from train.configs import eight_gaussians_ffjord


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians_ffjord.get_config()
    config.dataset = "checkerboard"
    return config
