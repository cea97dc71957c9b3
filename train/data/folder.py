"""Pictures in a folder: their paths, their pixel levels, and a data set of them."""

import dataclasses
import os
import pathlib
import re

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from .arrays import Arrays, examples_from_arrays
from .examples import Examples
from .images import round_to_levels

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".gif"}


def load_folder(config: ml_collections.ConfigDict, split: str, data_dir: str | os.PathLike | None) -> Examples:
    """The pictures below `data_dir`'s train/ and test/, resized; without these folders every tenth is a test picture.

    Raises:
      ValueError: if there is no such folder or split, or if a picture cannot be read.
    """
    parts = [pathlib.Path(data_dir or "") / name for name in ("train", "test")]
    if data_dir and all(part.is_dir() for part in parts):
        train, test = map(picture_paths, parts)
    else:
        every = picture_paths(find_folder(data_dir))
        # Not the last tenth: folders may be classes, and names dates.
        is_test = np.arange(len(every)) % 10 == 9
        train, test = every[~is_test], every[is_test]
    arrays = Arrays({"train": (train,), "test": (test,)}, num_bins=256)
    examples = examples_from_arrays(arrays, split, config)
    channels = 1 if config.grayscale else 3
    for path in examples.dataset.as_numpy_iterator():  # An error now is better than one in the middle of a run.
        try:
            _decode_or_raise(path.decode(), channels)
        except ValueError as error:
            raise ValueError(f"data_dir must hold pictures that can be read; of {path.decode()} {error}") from error

    def read(path: tf.Tensor) -> tf.Tensor:
        return round_to_levels(keras.preprocessing.image.smart_resize(_decode(path, channels), config.image_size))

    images = examples.dataset.map(read, tf.data.AUTOTUNE)
    return dataclasses.replace(examples, dataset=images, event_shape=tuple(images.element_spec.shape))


def find_folder(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """The path of the folder of pictures.

    Raises:
      ValueError: if there is no such folder.
    """
    if not data_dir or not pathlib.Path(data_dir).is_dir():
        raise ValueError(f"data_dir must be the folder of the pictures; got {data_dir!r}")
    return pathlib.Path(data_dir)


def picture_paths(folder: pathlib.Path) -> np.ndarray:
    """The paths of the pictures anywhere below a folder: an array of strings, in order.

    Raises:
      ValueError: if there is no picture.
    """
    paths = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"data_dir must hold pictures (jpeg, png, bmp or gif); there is none in {str(folder)!r}")
    return np.array(paths)


def read_picture(path: str, event_shape: tuple[int, ...], num_bins: int) -> np.ndarray:
    """The pixel levels of a picture at its own size, gray or in colors by the last entry of `event_shape`.

    Returns:
      uint8 array of shape `event_shape`.

    Raises:
      ValueError: if the file is no picture, has another size, or has levels of `num_bins` and more.
    """
    image = _decode_or_raise(path, event_shape[-1]).numpy()
    if image.shape != event_shape:
        raise ValueError(f"the picture must have shape {event_shape}; got {image.shape}")
    if image.max() >= num_bins:
        raise ValueError(f"the picture must have levels from 0 to {num_bins - 1}; got {image.max()}")
    return image


def _decode_or_raise(path: str, channels: int) -> tf.Tensor:
    """A picture's pixels; raises a ValueError if it cannot be read."""
    try:
        return _decode(path, channels)
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", error.message.splitlines()[0])
        raise ValueError(f"the picture cannot be read: {reason}") from error


def _decode(path: str | tf.Tensor, channels: int) -> tf.Tensor:
    """A picture's pixels, in 1 or 3 channels."""
    image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)  # BMP files need 3 channels here.
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image
