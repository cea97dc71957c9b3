"""A pinwheel of five arms in the plane, by Real NVP for vectors: under a minute."""

from train.configs import eight_gaussians


def get_config():
    config = eight_gaussians.get_config()
    config.dataset = "pinwheel"
    return config
