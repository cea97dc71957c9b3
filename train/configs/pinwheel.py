"""A pinwheel of five arms in the plane, by Real NVP for vectors: under a minute."""

import ml_collections

from train.configs import eight_gaussians


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians.get_config()
    config.dataset = "pinwheel"
    return config
