"""scikit-learn's breast cancer data by FFJORD: 30 measurements of 569 tumors, given their class."""

import ml_collections

from train.configs import breast_cancer, eight_gaussians_ffjord


def get_config() -> ml_collections.ConfigDict:
    config = breast_cancer.get_config()
    config.architecture = "FFJORD"
    config.model = eight_gaussians_ffjord.get_config().model
    config.model.hidden_units = (64, 64)
    config.learning_rate = 1e-3
    return config
