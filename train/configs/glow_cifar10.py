"""Glow on CIFAR-10, the paper's model (arXiv 1807.03039, appendix C, table 4): 3.35 test bits/dim there."""

import math

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "cifar10"
    config.flip = True
    config.architecture = "Glow"
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 3
    config.model.steps_per_scale = 32
    config.model.filters = 512
    config.model.use_affine = True
    config.model.bound = "sigmoid"
    config.model.factorized = True
    config.model.alpha = ml_collections.config_dict.placeholder(float)  # None: no logit
    config.model.dequantization = "uniform"
    config.model.dtype = "float32"
    config.batch_size = 64
    config.epochs = 1000
    config.warmup_steps = 10_000
    config.clip_norm = 32 * 32 * 3 * math.log(2)  # 1 in bits/dim
    return config
