"""Real NVP on scikit-learn's 8×8 handwritten digits: no download, a few minutes on two cores."""

from train.configs import default


def get_config():
    config = default.get_config()
    config.dataset = "digits"
    config.validation_split = "validation"
    config.batch_size = 64
    config.epochs = 60
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 2
    config.final_learning_rate = 0.0
    return config
