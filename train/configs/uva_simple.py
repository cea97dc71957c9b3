"""The UvA tutorial's simple flow on MNIST, and its training: 1.078 test bits/dim there, after 200 epochs on a GPU."""

import math

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "mnist"
    config.train_split = "train[:50000]"
    config.validation_split = "train[50000:]"
    config.architecture = "UvA"
    config.model = ml_collections.ConfigDict()
    config.model.multi_scale = False
    config.model.filters = 32
    config.model.num_blocks = 3
    config.model.alpha = 5e-6
    config.model.dequantization = "uniform"
    config.model.dtype = "float32"
    config.batch_size = 128
    config.epochs = 200
    config.decay = "exponential"
    config.decay_rate = 0.99
    config.clip_norm = 28 * 28 * math.log(2)  # 1 in bits/dim
    config.evaluation.num_draws = 8
    return config
