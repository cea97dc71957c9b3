"""Loads a split of a data set by the name of the data set."""

import dataclasses
import os
from collections.abc import Callable

import ml_collections
import tensorflow as tf

from . import toy
from .arrays import examples_from_arrays
from .examples import Examples
from .few_labels import hide_labels
from .folder import load_folder
from .tfds import load_tfds

Loader = Callable[[ml_collections.ConfigDict, str, str | os.PathLike | None], Examples]


@dataclasses.dataclass(frozen=True)
class Splits:
    """The examples of a run: its training, validation and test split.

    Attributes:
      training, validation, test: `Examples`; `validation` is None for a run without a validation split.
    """

    training: Examples
    validation: Examples | None
    test: Examples


def load_splits(config: ml_collections.ConfigDict, data_dir: str | os.PathLike | None = None) -> Splits:
    """The three splits that the config names, see `load`; the training split hides labels, see `hide_labels`."""
    return Splits(
        hide_labels(load(config, config.train_split, data_dir), config),
        load(config, config.validation_split, data_dir) if config.validation_split else None,
        load(config, config.test_split, data_dir),
    )


def load(config: ml_collections.ConfigDict, split: str, data_dir: str | os.PathLike | None = None) -> Examples:
    """The examples of a split, preprocessed.

    Args:
      config: the run's config. Its `dataset` is one of `toy.SETS`, "folder" or the name of a TFDS data set. Images of
        TFDS are cut and resized by `central_crop`, `shorter_side` (with `antialias`) and `crop`, in this order. With
        `conditional` each event comes with its context: its label, or the vector that it depends on.
      split: "train", "test", or another split of the data set, with TFDS's slices such as "train[:-500]".
      data_dir: folder of TFDS's data sets, or of the pictures of "folder".

    Returns:
      `Examples`.

    Raises:
      ValueError: for an unknown data set or split, a data set that is not on disk and cannot be downloaded,
        preprocessing that the images do not allow or that leaves them of several sizes, or `conditional` with a data
        set without contexts.

    Example:
      >>> config = default.get_config()
      >>> config.update(dataset="lsun/tower", shorter_side=96, crop=64)
      >>> load(config, "validation").event_shape
      (64, 64, 3)
    """
    loaders: dict[str, Loader] = {**dict.fromkeys(toy.SETS, _load_toy), "folder": load_folder}
    for name in ("central_crop", "shorter_side", "crop"):
        if config[name] < 0:
            raise ValueError(f"{name} must not be negative; got {config[name]}")
        if config[name] and config.dataset in loaders:
            raise ValueError(
                f"{name} must be 0 for dataset={config.dataset}: it is for TFDS's images; got {config[name]}"
            )
    if config.grayscale and config.dataset != "folder":
        raise ValueError(f"grayscale must be False for dataset={config.dataset}: it is for a folder's; got True")
    examples = loaders.get(config.dataset, load_tfds)(config, split, data_dir)
    if not examples.size:
        raise ValueError(f"split {split!r} of dataset {config.dataset!r} is empty")
    options = tf.data.Options()
    options.autotune.enabled = False  # Its thread can delay the end of an iterator by up to a minute.
    return dataclasses.replace(examples, dataset=examples.dataset.with_options(options))


def _load_toy(config: ml_collections.ConfigDict, split: str, data_dir: str | os.PathLike | None) -> Examples:
    del data_dir
    return examples_from_arrays(toy.SETS[config.dataset](), split, config)
