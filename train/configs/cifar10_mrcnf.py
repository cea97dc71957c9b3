"""MRCNF on CIFAR-10: three resolutions, 8×8 to 32×32, in 83 minutes on one core.

The networks begin with small weights, through which tanh passes more of a signal than the authors' softplus. At a
tolerance of 1e-2 a solve has about half the evaluations of 1e-3. The flow does not exploit it, see docs/continuous.md.
"""

import ml_collections

from train.configs import cifar10_small, digits_mrcnf


def get_config() -> ml_collections.ConfigDict:
    config = cifar10_small.get_config()
    config.adapt = True
    config.architecture = "MRCNF"
    config.model = digits_mrcnf.get_config().model
    config.model.num_scales = 3
    config.model.num_blocks = 1
    config.model.filters = 64
    config.model.activation = "tanh"
    config.model.tolerance = 1e-2
    config.model.alpha = 0.05
    config.batch_size = 16
    config.epochs = 8
    config.steps_per_epoch = 500
    config.learning_rate = 4e-3
    config.warmup_steps = 100
    config.beta_2 = 0.99
    config.clip_norm = 1e4
    config.samples_every = 4
    return config
