"""RNODE on scikit-learn's 8×8 handwritten digits: FFJORD over images with both regularizers."""

import ml_collections

from train.configs import digits


def get_config() -> ml_collections.ConfigDict:
    config = digits.get_config()
    config.adapt = True
    config.architecture = "FFJORD"
    alpha = config.model.alpha
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 2
    config.model.num_blocks = 1
    config.model.filters = 32
    config.model.activation = "softplus"
    config.model.divergence = "hutchinson"
    config.model.solver = "bosh3"
    config.model.tolerance = 1e-3
    config.model.evaluation_tolerance = 1e-5
    config.model.num_steps = 4  # of solver="rk4"
    config.model.adjoint = False
    config.model.kinetic_energy = 0.01
    config.model.jacobian_norm = 0.01
    config.model.alpha = alpha
    config.model.dtype = "float32"
    config.epochs = 40
    config.learning_rate = 1e-3
    config.warmup_steps = 50
    return config
