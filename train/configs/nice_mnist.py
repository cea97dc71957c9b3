"""NICE on MNIST, the paper's model (arXiv 1410.8516, section 5.1): 1,980.50 nats of x / 256 there, 4.24 bits/dim."""

import math

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "mnist"
    config.train_split = "train[:50000]"
    config.architecture = "NICE"
    config.model = ml_collections.ConfigDict()
    config.model.num_couplings = 4
    config.model.hidden_units = (1000, 1000, 1000, 1000, 1000)
    config.model.alpha = ml_collections.config_dict.placeholder(float)  # None: no logit
    config.model.dequantization = "uniform"
    config.model.dtype = "mixed_bfloat16"
    config.batch_size = 100
    config.epochs = 16
    config.final_learning_rate = 0.0
    config.steps_per_epoch = 250
    config.decay = "linear"
    config.decay_start = 0.5
    config.warmup_steps = 100
    config.clip_norm = 28 * 28 * math.log(2)  # 1 in bits/dim
    config.samples_every = 8
    return config
