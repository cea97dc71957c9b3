"""The checks of a config and of a whole run, before anything is written."""

import inspect
import math
import operator
import os
import pathlib
from collections.abc import Iterable

import ml_collections
import tensorflow as tf

from tfp_realnvp.architectures import official_checkpoint
from tfp_realnvp.architectures.standardization import Standardized

from . import data, models, phases
from .configs import default
from .optimizers import DECAYS, OPTIMIZERS
from .runs import precision, strategies
from .runs.workdir import check_workdir

RANGES = (  # (requirement, predicate, fields)
    (
        "be at least 1",
        lambda value: value >= 1,
        (
            "batch_size",
            "epochs",
            "samples_every",
            "max_pixels",
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
        (
            "steps_per_epoch",
            "warmup_steps",
            "num_labels",
            "final_learning_rate",
            "weight_decay",
            "seed",
            "checkpoint.steps",
            "checkpoint.minutes",
            "threads_per_operation",
        ),
    ),
    ("be positive", lambda value: 0 < value < math.inf, ("learning_rate", "decay_rate", "clip_norm")),
    ("be a height and a width", lambda value: len(value) == 2 and min(value) >= 1, ("image_size",)),
    ("be a probability", lambda value: 0 <= value <= 1, ("shift",)),
    ("be in [0, 1)", lambda value: 0 <= value < 1, ("decay_start", "beta_2", "ema_momentum", "labelled_share")),
)


def check_run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    strategy: tf.distribute.Strategy,
    data_dir: str | os.PathLike | None,
) -> tuple[ml_collections.ConfigDict, data.Splits, int]:
    """Checks a training run as a whole, cheap checks before the data are loaded, and warns of a slow precision.

    Args:
      config, workdir, strategy, data_dir: as for `train.train_and_evaluate`.

    Returns:
      The config as of `check_config`, its data, and the number of steps of an epoch.

    Raises:
      ValueError: if the config, the workdir, the strategy and the data do not fit together.
    """
    config = check_config(config)
    check_workdir(config, workdir)
    strategies.check_replicas(strategy, config.batch_size, config.steps_per_execution)
    if config.optimizer == "Muon" and isinstance(strategy, tf.distribute.TPUStrategy):
        raise ValueError("optimizer must be Adam on a TPU, whose matrix products are too coarse for Muon; got Muon")
    splits = data.load_splits(config, data_dir)
    if splits.test.num_bins is None and config.evaluation.num_draws > 1:
        raise ValueError(f"evaluation.num_draws must be 1 for continuous data; got {config.evaluation.num_draws}")
    precision.warn_if_slow(config.model.get("dtype") or "float32")
    steps_per_epoch = config.steps_per_epoch or data.steps_per_pass(splits.training, config.batch_size)
    if steps_per_epoch % config.steps_per_execution:
        raise ValueError(
            f"steps_per_execution must divide the steps of an epoch, {steps_per_epoch}; got "
            f"{config.steps_per_execution}"
        )
    return config, splits, steps_per_epoch


def check_config(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Checks the fields of a config and their values.

    Returns:
      The config. With `init_from_official`, it is a copy with the model options of that checkpoint.

    Raises:
      ValueError: for unknown or missing fields, and for values out of their range.
    """
    _check_fields(config)
    _check_architecture(config)
    _check_values(config)
    phases.check_progressive(config)
    return _with_official_model(config) if config.init_from_official else config


def _check_fields(config: ml_collections.ConfigDict) -> None:
    """Every field is one of default.py, and none is missing; the model may have other arguments."""
    known = default.get_config()
    _check_names("config", config, known)
    _check_names("config.evaluation", config.evaluation, known.evaluation)
    _check_names("config.checkpoint", config.checkpoint, known.checkpoint)


def _check_names(prefix: str, fields: Iterable[str], known: Iterable[str]) -> None:
    here, there = {*fields}, {*known}
    for name in sorted(here - there):
        raise ValueError(f"{prefix} has no field {name!r}; there are {sorted(there)}")
    for name in sorted(there - here):
        raise ValueError(f"{prefix} must have the field {name!r}: begin with train/configs/default.py's get_config()")


def _check_architecture(config: ml_collections.ConfigDict) -> None:
    """The flow exists, and takes the arguments of `config.model`."""
    flow = models.flow_class(config)
    arguments = {*inspect.signature(flow).parameters} - {"event_shape", "num_bins", "seed", *models.CONDITIONING}
    for name in sorted({*config.model} - arguments):
        raise ValueError(
            f"config.model has no field {name!r}; there are {sorted(arguments)} of architecture {config.architecture}"
        )
    if config.adapt and not hasattr(flow, "adapt"):
        raise ValueError(f"adapt must be False for architecture {config.architecture}, which has no adapt(); got True")
    if not config.adapt and issubclass(flow, Standardized):
        raise ValueError(
            f"adapt must be True for architecture {config.architecture}, which standardizes its data; got False"
        )


def _check_values(config: ml_collections.ConfigDict) -> None:
    for requirement, holds, names in RANGES:
        for name in names:
            value = operator.attrgetter(name)(config)
            if not holds(value):
                raise ValueError(f"{name} must {requirement}; got {value}")
    if config.num_labels and not config.conditional:
        raise ValueError(f"num_labels must be 0 for conditional=False; got {config.num_labels}")
    if config.labelled_share and not config.num_labels:
        raise ValueError(f"labelled_share must be 0 for num_labels=0; got {config.labelled_share}")
    for name, known in (("decay", DECAYS), ("optimizer", OPTIMIZERS)):
        if config[name] not in known:
            raise ValueError(f"{name} must be one of {sorted(known)}; got {config[name]!r}")


def _with_official_model(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of the config with the model options that follow from the checkpoint's variables."""
    if config.architecture != "RealNVP":
        raise ValueError(f"architecture must be RealNVP for init_from_official; got {config.architecture}")
    config = config.copy_and_resolve_references()
    options = official_checkpoint.options(config.init_from_official)
    del options["channels"]
    with config.unlocked():
        config.model.update(options)
    return config
