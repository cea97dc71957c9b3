"""A class-conditional Glow on MNIST: samples of each digit, and a classifier by Bayes' rule; minutes on two cores."""

import math

import ml_collections

from train.configs import glow_cifar10_small


def get_config() -> ml_collections.ConfigDict:
    config = glow_cifar10_small.get_config()
    config.dataset = "mnist"
    config.conditional = True
    config.test_split = "test[:2000]"
    config.flip = False
    config.model.num_scales = 2
    config.model.steps_per_scale = 8
    config.model.filters = 64
    config.model.alpha = 5e-6
    config.batch_size = 64
    config.epochs = 20
    config.steps_per_epoch = 230
    config.evaluation.num_draws = 8
    config.clip_norm = 28 * 28 * math.log(2)  # 1 in bits/dim
    return config
