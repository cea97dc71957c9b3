"""scikit-learn's breast cancer data, 30 measurements of 569 tumours given their class, by Real NVP for vectors."""

from train.configs import eight_gaussians


def get_config():
    config = eight_gaussians.get_config()
    config.dataset = "breast_cancer"
    config.conditional = True
    config.validation_split = "validation"  # 398 examples are few: it chooses the epoch
    config.model.num_couplings = 4
    config.model.hidden_units = (32,)
    config.batch_size = 64
    config.epochs = 60
    config.learning_rate = 2e-3
    return config
