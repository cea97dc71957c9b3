"""Eight Gaussians on a circle, by FFJORD with the settings of its paper's toy problems."""

import ml_collections

from train.configs import eight_gaussians


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians.get_config()
    config.architecture = "FFJORD"
    config.model = ml_collections.ConfigDict()
    config.model.num_blocks = 1
    config.model.hidden_units = (64, 64, 64)
    config.model.layer = "concatsquash"
    config.model.activation = "tanh"
    config.model.divergence = "exact"
    config.model.solver = "dopri5"
    config.model.tolerance = 1e-5
    config.model.evaluation_tolerance = 1e-5
    config.model.num_steps = 4  # of solver="rk4"
    config.model.adjoint = False
    config.model.kinetic_energy = 0.0
    config.model.jacobian_norm = 0.0
    config.model.dtype = "float32"
    config.learning_rate = 1e-3
    config.final_learning_rate = 1e-3
    config.warmup_steps = 0
    return config
