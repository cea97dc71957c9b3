"""The images of a data set of TensorFlow Datasets, cut and resized to one size."""

import os

import ml_collections
import tensorflow as tf
import tensorflow_datasets as tfds

from . import images, toy
from .examples import Examples


def load_tfds(config: ml_collections.ConfigDict, split: str, data_dir: str | os.PathLike | None) -> Examples:
    """The images of a split, with their labels if `config.conditional`.

    Raises:
      ValueError: if the data set or the split is unknown, if it cannot be downloaded, has no images or no labels, or if
        the preprocessing does not fit its images.
    """
    builder = _find_builder(config.dataset, data_dir)
    features = builder.info.features
    if "image" not in features:
        raise ValueError(f'dataset must have an "image" feature; {config.dataset} has {sorted(features)}')
    label = features["label"] if config.conditional and "label" in features else None
    if config.conditional and not isinstance(label, tfds.features.ClassLabel):
        raise ValueError(
            f'dataset must have a "label" feature that is a ClassLabel for conditional=True; {config.dataset} has '
            f"{sorted(features)}"
        )
    event_shape = _event_shape(config, features["image"].shape)
    _download(builder, config.dataset)
    try:
        dataset = builder.as_dataset(split=split)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"split must be one of {sorted(builder.info.splits)}, or a slice of them; got {split!r} of {config.dataset}"
        ) from error

    def read(example: dict[str, tf.Tensor]) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
        image = images.prepare(example["image"], config)
        return (image, example["label"]) if config.conditional else image

    dataset = dataset.map(read, tf.data.AUTOTUNE)
    num_classes = None if label is None else label.num_classes
    return Examples(dataset, event_shape, 256, int(dataset.cardinality()), num_classes)


def _find_builder(name: str, data_dir: str | os.PathLike | None) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name or version, or no name at all
        raise ValueError(
            f"dataset must be {', '.join(toy.SETS)}, folder or the name of a TFDS data set; got {name!r}"
        ) from error


def _download(builder: tfds.core.DatasetBuilder, name: str) -> None:
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS passes its downloader's exceptions on, of any type.
        raise ValueError(
            f"dataset {name} is not in {builder.data_dir} and could not be downloaded "
            f"({type(error).__name__}). On a machine with a network run\n"
            f"  python -c \"import tensorflow_datasets as tfds; tfds.load('{name}', data_dir='DIR')\"\n"
            f"then copy DIR to this machine and give it as --data_dir=DIR"
        ) from error


def _event_shape(config: ml_collections.ConfigDict, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape of the images in a batch. `shape` is their shape on disk, None for sides that differ among them."""
    _check_fits("central_crop", config.central_crop, shape[:2])
    prepare = tf.function(lambda image: images.prepare(image, config))
    prepared = tuple(prepare.get_concrete_function(tf.TensorSpec(shape, tf.uint8)).output_shapes)
    _check_fits("crop", config.crop, (config.shorter_side,) if config.shorter_side else prepared[:2])
    event_shape = (config.crop, config.crop, prepared[2]) if config.crop else prepared
    if None in event_shape:
        raise ValueError(
            f"config.shorter_side and config.crop must give the images of {config.dataset} one size, "
            f"theirs is {shape}; got shorter_side={config.shorter_side} and crop={config.crop}"
        )
    return event_shape


def _check_fits(name: str, size: int, sides: tuple[int | None, ...]) -> None:
    """Raises a ValueError if a square of this size is larger than the sides that are known."""
    shorter_side = min((side for side in sides if side is not None), default=size)
    if size > shorter_side:
        raise ValueError(f"{name} must not be larger than the image, whose shorter side is {shorter_side}; got {size}")
