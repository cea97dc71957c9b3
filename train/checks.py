"""What a config must say."""

import inspect
import math
import operator

from tfp_realnvp.architectures import official_checkpoint
from train import models
from train.configs import default
from train.optimizer import DECAYS

RANGES = (  # what fields must, whether that holds of a value, and the fields
    (
        "be at least 1",
        lambda value: value >= 1,
        (
            "batch_size",
            "epochs",
            "samples_every",
            "steps_per_execution",
            "max_skipped",
            "evaluation.batch_size",
            "evaluation.num_draws",
            "checkpoint.keep",
        ),
    ),
    (
        "not be negative",
        lambda value: 0 <= value < math.inf,
        ("steps_per_epoch", "warmup_steps", "final_learning_rate", "seed", "checkpoint.steps", "checkpoint.minutes"),
    ),
    ("be positive", lambda value: 0 < value < math.inf, ("learning_rate", "decay_rate", "clip_norm")),
    ("be a probability", lambda value: 0 <= value <= 1, ("shift",)),
    ("be in [0, 1)", lambda value: 0 <= value < 1, ("decay_start", "beta_2", "ema_momentum")),
)


def check(config):
    """Returns the config, its model that of `init_from_official` where there is one.

    Raises:
      ValueError: for fields that no config has, and for values that cannot be meant.
    """
    _check_fields(config)
    _check_architecture(config)
    _check_values(config)
    return _with_official_model(config) if config.init_from_official else config


def check_steps_per_execution(config, steps_per_epoch):
    """Raises a ValueError where an epoch would end in the middle of an execution."""
    if steps_per_epoch % config.steps_per_execution:
        raise ValueError(
            f"steps_per_execution must divide the steps of an epoch, {steps_per_epoch}; got "
            f"{config.steps_per_execution}"
        )


def _check_fields(config):
    """The fields are those of default.py, but for the arguments of the model."""
    known = default.get_config()
    _check_names("config", config, known)
    _check_names("config.evaluation", config.evaluation, known.evaluation)
    _check_names("config.checkpoint", config.checkpoint, known.checkpoint)


def _check_names(prefix, fields, known):
    here, there = {*fields}, {*known}
    for name in sorted(here - there):
        raise ValueError(f"{prefix} has no field {name!r}; there are {sorted(there)}")
    for name in sorted(there - here):
        raise ValueError(f"{prefix} must have the field {name!r}: begin with train/configs/default.py's get_config()")


def _check_architecture(config):
    """There is such a flow, and it takes what the config gives it."""
    flow = models.architecture(config)
    arguments = {*inspect.signature(flow).parameters} - {"event_shape", "num_bins", "seed", *models.CONDITIONING}
    for name in sorted({*config.model} - arguments):
        raise ValueError(
            f"config.model has no field {name!r}; there are {sorted(arguments)} of architecture {config.architecture}"
        )
    if config.adapt and not hasattr(flow, "adapt"):
        raise ValueError(f"adapt must be False for architecture {config.architecture}, which has no adapt(); got True")


def _check_values(config):
    for must, holds, names in RANGES:
        for name in names:
            value = operator.attrgetter(name)(config)
            if not holds(value):
                raise ValueError(f"{name} must {must}; got {value}")
    if config.decay not in DECAYS:
        raise ValueError(f"decay must be one of {sorted(DECAYS)}; got {config.decay!r}")


def _with_official_model(config):
    """A copy of the config whose model has the options that the checkpoint's variables tell."""
    if config.architecture != "RealNVP":
        raise ValueError(f"architecture must be RealNVP for init_from_official; got {config.architecture}")
    config = config.copy_and_resolve_references()
    options = official_checkpoint.options(config.init_from_official)
    del options["channels"]
    with config.unlocked():
        config.model.update(options)
    return config
