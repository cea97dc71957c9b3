"""scikit-learn's 8×8 handwritten digits: `SubpixelFlow` on the exact probabilities of the levels, for completion."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "digits"
    config.validation_split = "validation"
    config.shift = 0.8  # 1,397 images are few: without it the flow learns them by heart
    config.architecture = "SubpixelFlow"
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 1
    config.model.coarse_units = 64
    config.model.unit = 0.1
    config.model.dequantization = "exact"
    config.model.dtype = "float32"
    config.threads_per_operation = 1
    config.batch_size = 64
    config.epochs = 60
    config.optimizer = "Muon"
    config.learning_rate = 3e-3
    config.final_learning_rate = 0.0
    config.beta_2 = 0.99
    config.clip_norm = 2000.0
    return config
