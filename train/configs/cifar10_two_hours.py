"""CIFAR-10 in two hours of training on two cores: `SubpixelFlow` with a Glow behind it and learned noise."""

import ml_collections

from train.configs import cifar10_fast


def get_config() -> ml_collections.ConfigDict:
    config = cifar10_fast.get_config()
    config.train_split = "train[:45000]"
    config.validation_split = "train[45000:46000]"
    config.test_split = "test"
    config.model.refining_scales = 3
    config.model.refining_steps = 8
    config.model.refining_filters = 192
    del config.model.dequantization  # A name there, and a layer here.
    config.model.dequantization = {
        "class_name": "tfp_realnvp>VariationalDequantization",
        "config": {"num_couplings": 2, "filters": 16, "num_blocks": 1},
    }
    config.threads_per_operation = 0  # The Glow's networks follow one another.
    config.optimizer = "Adam"
    config.epochs = 14
    config.steps_per_epoch = 1000
    config.learning_rate = 2e-3
    config.warmup_steps = 500
    return config
