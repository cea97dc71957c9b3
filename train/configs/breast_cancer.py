"""scikit-learn's breast cancer data by Real NVP for vectors: 30 measurements of 569 tumors, given their class."""

import ml_collections

from train.configs import eight_gaussians


def get_config() -> ml_collections.ConfigDict:
    config = eight_gaussians.get_config()
    config.dataset = "breast_cancer"
    config.conditional = True
    config.validation_split = "validation"  # 398 examples are few: validation chooses the epoch
    config.model.num_couplings = 4
    config.model.hidden_units = (32,)
    config.batch_size = 64
    config.epochs = 60
    config.learning_rate = 2e-3
    return config
