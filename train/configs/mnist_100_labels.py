"""MNIST with 100 labels: NICE with a mixture over the digits learns from all images, at half of their size."""

import math

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "mnist"
    config.conditional = True
    config.num_labels = 100
    config.labelled_share = 0.3
    config.shorter_side = 14
    config.shift = 0.8
    config.architecture = "NICE"
    config.model = ml_collections.ConfigDict()
    config.model.num_couplings = 4
    config.model.hidden_units = (256, 256, 256)
    config.model.alpha = ml_collections.config_dict.placeholder(float)  # None: no logit
    config.model.dequantization = "uniform"
    config.model.mixture_base = True
    config.model.dtype = "float32"
    config.batch_size = 100
    config.epochs = 20
    config.steps_per_epoch = 1000
    config.final_learning_rate = 0.0
    config.decay = "linear"
    config.decay_start = 0.3
    config.warmup_steps = 100
    config.clip_norm = 14 * 14 * math.log(2)  # 1 in bits/dim
    config.samples_every = 10
    return config
