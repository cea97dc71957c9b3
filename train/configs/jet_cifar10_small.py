"""A small Jet on CIFAR-10, behind a whitening of the patches: 43,200 images."""

import ml_collections

from train.configs import default


def get_config() -> ml_collections.ConfigDict:
    config = default.get_config()
    config.dataset = "cifar10"
    config.test_split = "test[:1000]"
    config.flip = True
    config.architecture = "Jet"
    config.model = ml_collections.ConfigDict()
    config.model.patch_size = 4
    config.model.num_couplings = 16
    config.model.num_blocks = 1
    config.model.width = 128
    config.model.num_heads = 4
    config.model.whitening = True
    config.model.dtype = "mixed_bfloat16"
    config.threads_per_operation = 1
    config.batch_size = 32
    config.epochs = 9
    config.steps_per_epoch = 150
    config.optimizer = "Muon"
    config.learning_rate = 4e-3
    config.final_learning_rate = 0.0
    config.warmup_steps = 50
    config.decay = "linear"
    config.decay_start = 0.3
    config.beta_2 = 0.99
    config.clip_norm = 2000.0
    return config
