"""Pictures in a folder: their paths, their pixel levels, and a data set of them."""

import collections
import dataclasses
import os
import pathlib
import warnings

import keras
import ml_collections
import numpy as np
import PIL.Image
import tensorflow as tf
from absl import logging

from tfp_realnvp.common import reason_of

from .arrays import Arrays, examples_from_arrays
from .examples import Examples
from .images import round_to_levels

SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".gif"}
FORMATS = ("JPEG", "PNG", "GIF", "BMP")  # as Pillow calls them


def load_folder(config: ml_collections.ConfigDict, split: str, data_dir: str | os.PathLike | None) -> Examples:
    """The pictures below `data_dir`'s train/ and test/, resized; without these folders every tenth is a test picture.

    Raises:
      ValueError: if there is no such folder or split, or if a picture cannot be read or is too large.
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
            picture_size(path.decode(), config.max_pixels)
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

    Links to folders are followed. Each folder counts once, by its own path if that is below `folder`, too.

    Raises:
      ValueError: if there is no picture.
    """
    paths, seen, pending = [], set(), collections.deque([str(folder)])
    while pending:
        here = pending.popleft()
        if os.path.realpath(here) in seen:
            continue
        seen.add(os.path.realpath(here))
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except PermissionError as error:
            logging.warning(f"the pictures of {here} are left out: {error.strerror}")
            continue
        for entry in entries:
            if os.path.isdir(entry):
                (pending.append if entry.is_symlink() else pending.appendleft)(entry.path)
            elif pathlib.Path(entry).suffix.lower() in SUFFIXES:
                paths.append(entry.path)
    if not paths:
        raise ValueError(f"data_dir must hold pictures (jpeg, png, bmp or gif); there is none in {str(folder)!r}")
    return np.array(sorted(paths))


def read_picture(path: str, event_shape: tuple[int, ...], num_bins: int, max_pixels: int) -> np.ndarray:
    """The pixel levels of a picture at its own size, gray or in colors by the last entry of `event_shape`.

    Returns:
      uint8 array of shape `event_shape`.

    Raises:
      ValueError: if the file is no picture, has another size, or has levels of `num_bins` and more; as of
        `picture_size`.
    """

    def check_shape(*shape: int) -> None:
        if shape != event_shape:
            raise ValueError(f"the picture must have shape {event_shape}; got {shape}")

    check_shape(*picture_size(path, max_pixels), event_shape[-1])
    image = _decode_or_raise(path, event_shape[-1]).numpy()
    check_shape(*image.shape)
    if image.max() >= num_bins:
        raise ValueError(f"the picture must have levels from 0 to {num_bins - 1}; got {image.max()}")
    return image


def picture_size(path: str, max_pixels: int) -> tuple[int, int]:
    """The height and width of a picture by its header, before the file is read as a whole.

    Raises:
      ValueError: if the path is no regular file or a link to one, if the file is none of `FORMATS`, or if it would be
        decoded into more than `max_pixels` pixels, those of all frames.
    """
    if not os.path.isfile(path):  # Reading may wait forever, or never end.
        raise ValueError("the picture must be a regular file, or a link to one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pictures above a limit of Pillow's
            with PIL.Image.open(path, formats=FORMATS) as picture:
                width, height, frames = *picture.size, getattr(picture, "n_frames", 1)
    except PIL.UnidentifiedImageError as error:
        raise ValueError(
            f"the picture cannot be read: Unknown image file format. One of {', '.join(FORMATS)} required."
        ) from error
    except PIL.Image.DecompressionBombError as error:  # Pillow has a limit of its own, far above ours.
        raise ValueError(f"the picture must have at most {max_pixels} pixels (config.max_pixels): {error}") from error
    except Exception as error:  # Damaged bytes can raise any exception in Pillow.
        raise ValueError(f"the picture cannot be read: {error}") from error
    if height * width * frames > max_pixels:
        several = f" in {frames} frames" if frames > 1 else ""
        raise ValueError(
            f"the picture must have at most {max_pixels} pixels (config.max_pixels); got {height} × {width}{several}"
        )
    most_bytes = 8 * max_pixels + 2**24  # 16 bits and transparency, uncompressed, and what a file says besides
    if os.path.getsize(path) > most_bytes:
        raise ValueError(f"the picture's file must have at most {most_bytes} bytes; got {os.path.getsize(path)}")
    return height, width


def _decode_or_raise(path: str, channels: int) -> tf.Tensor:
    """A picture's pixels; raises a ValueError if it cannot be read."""
    try:
        return _decode(path, channels)
    except tf.errors.OpError as error:
        raise ValueError(f"the picture cannot be read: {reason_of(error)}") from error


def _decode(path: str | tf.Tensor, channels: int) -> tf.Tensor:
    """A picture's pixels, in 1 or 3 channels."""
    contents = tf.io.read_file(path)
    image = tf.cond(
        tf.io.is_jpeg(contents),
        lambda: tf.io.decode_jpeg(contents, 3, dct_method="INTEGER_ACCURATE"),  # as Pillow; others are off by up to 16
        lambda: tf.io.decode_image(contents, 3, expand_animations=False),  # BMP files need 3 channels here.
    )
    if channels == 3:
        return image
    weighted = tf.cast(image, tf.int32) * [19595, 38470, 7471]  # Pillow's weights, 299 : 587 : 114
    return tf.cast((tf.reduce_sum(weighted, axis=-1, keepdims=True) + 2**15) // 2**16, tf.uint8)
