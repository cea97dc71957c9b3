"""Eight Gaussians on a circle, by Real NVP for vectors: under a minute."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "eight_gaussians"
    config.adapt = True
    config.architecture = "VectorRealNVP"
    config.model = ml_collections.ConfigDict()
    config.model.num_couplings = 12
    config.model.hidden_units = (64, 64)
    config.model.activation = "relu"
    config.model.norm = "act"
    config.model.random_masks = False
    config.model.dtype = "float32"
    config.batch_size = 256
    config.epochs = 40
    config.learning_rate = 5e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 50
    config.evaluation.batch_size = 1000
    config.samples_every = 40
    return config
