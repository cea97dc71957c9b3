"""The posterior of a Gaussian linear model, also known exactly, by conditional Real NVP for vectors."""

import ml_collections

from train.configs import eight_gaussians


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians.get_config()
    config.dataset = "gaussian_linear"
    config.conditional = True
    config.model.num_couplings = 8
    config.epochs = 10
    config.learning_rate = 2e-3
    return config
