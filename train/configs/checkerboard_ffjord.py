"""A checkerboard in the plane, by two FFJORD blocks with looser training solves than the paper's: about 40 minutes."""

import ml_collections

from train.configs import eight_gaussians_ffjord


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians_ffjord.get_config()
    config.dataset = "checkerboard"
    config.model.num_blocks = 2
    config.model.hidden_units = (128, 128, 128)
    config.model.solver = "bosh3"
    config.model.tolerance = 3e-3
    config.epochs = 60
    config.learning_rate = 1e-2
    config.final_learning_rate = 0.0
    config.warmup_steps = 50
    config.beta_2 = 0.99
    config.clip_norm = 1.0
    config.samples_every = 60
    return config
