"""Jet on ImageNet downsampled to 64×64: the authors' model of 207 million parameters and their training, for GPUs."""

import math

import ml_collections

from train.configs import imagenet64


def get_config() -> ml_collections.ConfigDict:
    config = imagenet64.get_config()
    config.architecture = "Jet"
    config.model = ml_collections.ConfigDict()
    config.model.patch_size = 4
    config.model.num_couplings = 32
    config.model.num_blocks = 2
    config.model.width = 512
    config.model.num_heads = 8
    config.model.kinds = ("channels",) * 4 + ("spatial",)
    config.model.scale_factor = 2.0
    config.model.rematerialize = True
    config.model.dtype = "float32"
    config.batch_size = 1024
    config.epochs = 200
    config.steps_per_epoch = 0  # A pass has 1,251 steps.
    config.learning_rate = 3e-4
    config.final_learning_rate = 0.0
    config.warmup_steps = 25_020  # a tenth of all steps
    config.beta_2 = 0.95
    config.weight_decay = 1e-5 / 3e-4  # The authors' decay is not multiplied by the learning rate.
    config.clip_norm = 64 * 64 * 3 * math.log(2)  # 1 for the gradient of bits per dimension
    return config
