"""The two-moons density in the plane (scikit-learn): under a minute."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "moons"
    config.batch_size = 256
    config.epochs = 20
    config.model.num_scales = 2  # eight couplings
    config.model.filters = 64
    config.model.num_blocks = 2
    config.learning_rate = 5e-3
    config.final_learning_rate = 0.0
    config.evaluation.batch_size = 1000
    config.samples_every = 20
    return config
