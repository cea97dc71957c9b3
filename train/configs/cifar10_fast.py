"""CIFAR-10 in ten minutes of training on two cores: `SubpixelFlow` on the exact probabilities of the levels."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "cifar10"
    config.test_split = "test[:1000]"
    config.flip = True
    config.architecture = "SubpixelFlow"
    config.model = ml_collections.ConfigDict()
    config.model.num_scales = 5
    config.model.filters = 64
    config.model.num_blocks = 1
    config.model.dequantization = "exact"
    config.model.dtype = "mixed_bfloat16"
    config.threads_per_operation = 1
    config.batch_size = 32
    config.epochs = 16
    config.steps_per_epoch = 500
    config.optimizer = "Muon"
    config.learning_rate = 6e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 100
    config.decay = "linear"
    config.decay_start = 0.3
    config.beta_2 = 0.99
    config.clip_norm = 2000.0
    return config
