"""Real NVP on MNIST: 28×28 images, two scales, no padding."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "mnist"
    config.train_split = "train[:-5000]"
    config.validation_split = "train[-5000:]"
    config.batch_size = 64
    config.epochs = 20
    config.model.num_scales = 2
    config.model.filters = 32
    config.model.num_blocks = 4
    config.model.dtype = "mixed_bfloat16"
    config.final_learning_rate = 0.0
    config.samples_every = 1
    return config
