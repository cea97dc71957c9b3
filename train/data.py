"""Data set name → `tf.data` of images (or vectors)."""

import dataclasses
import math
import pathlib

import keras
import numpy as np
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Attributes:
      dataset: `tf.data.Dataset` of single events, unbatched: uint8 images, or float32 vectors.
      event_shape: tuple of ints, the shape of an event.
      num_bins: number of pixel levels, None for continuous data.
      size: number of examples.
    """

    dataset: tf.data.Dataset
    event_shape: tuple
    num_bins: int | None
    size: int


def load(config, split, data_dir=None):
    """The examples of a split.

    Args:
      config: the run's config; its `dataset` is "digits", "moons", "folder" or the name of a TFDS data set.
      split: "train", "test", or whatever else the data set has, with TFDS's slices such as "train[:-500]"; of "folder"
        "train" or "test" as a whole.
      data_dir: folder of TFDS's data sets, or of the pictures of "folder".

    Returns:
      `Examples`.

    Raises:
      ValueError: for an unknown data set or split, or a data set that is not on disk and cannot be downloaded.
    """
    loaders = {"digits": _digits, "moons": _moons, "folder": _folder}
    examples = loaders.get(config.dataset, _tfds)(config, split, data_dir)
    if not examples.size:
        raise ValueError(f"split {split!r} of dataset {config.dataset!r} is empty")
    return examples


def training_batches(examples, batch_size, seed, start_step=0, flip=False, shift=0.0):
    """An endless stream of shuffled batches that can be entered at any step.

    Args:
      examples: `Examples`.
      batch_size: int; each batch has exactly this many, what is left over at the end of a pass begins the next.
      seed: int, of the order, the flips and the shifts.
      start_step: how many batches to leave out at the beginning.
      flip: whether to mirror each image left to right with probability ½.
      shift: the probability of moving an image by up to a pixel in each direction; what is uncovered is 0.

    Raises:
      ValueError: for `flip` or `shift` with vectors.
    """
    if (flip or shift) and len(examples.event_shape) != 3:
        raise ValueError(
            f"flip and shift must be off for vectors; got {flip} and {shift} for events of shape {examples.event_shape}"
        )
    single = examples.dataset
    if examples.size * math.prod(examples.event_shape) < 2**30:
        single = single.cache()
    single = single.shuffle(min(examples.size, 2**16), seed=seed, reshuffle_each_iteration=True).repeat()
    single = single.enumerate().skip(start_step * batch_size)

    def augmented(number, image):
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, tf.stack([seed, number]))
        if shift:
            moved = tf.pad(image, [[1, 1], [1, 1], [0, 0]])
            moved = tf.image.stateless_random_crop(moved, examples.event_shape, tf.stack([seed + 1, number]))
            is_moved = tf.random.stateless_uniform([], tf.stack([seed + 2, number])) < shift
            image = tf.where(is_moved, moved, image)
        return image

    return single.map(augmented, tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples, batch_size):
    """Every example once, in order; the last batch holds what is left."""
    return examples.dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def steps_per_pass(examples, batch_size):
    """Number of batches in which training sees (all but a remainder of) the examples once."""
    return max(examples.size // batch_size, 1)


def _digits(config, split, data_dir):
    """scikit-learn's 1,797 digits of 8×8 pixels and 17 levels, in splits that are the same in every run."""
    del config, data_dir
    images = sklearn.datasets.load_digits().images[..., np.newaxis].astype(np.uint8)
    images = np.random.default_rng(0).permutation(images)
    return _from_arrays(
        "digits", {"train": images[:-400], "validation": images[-400:-300], "test": images[-300:]}, split, num_bins=17
    )


def _moons(config, split, data_dir):
    """Two interleaved half circles with noise 0.05, drawn anew for each split but the same in every run."""
    del config, data_dir
    draw = lambda size, seed: sklearn.datasets.make_moons(size, noise=0.05, random_state=seed)[0].astype(np.float32)
    return _from_arrays("moons", {"train": draw(20_000, 0), "test": draw(5_000, 1)}, split, num_bins=None)


def _from_arrays(name, arrays, split, num_bins):
    parts = _instructions(name, split, {key: len(array) for key, array in arrays.items()})
    array = np.concatenate([arrays[part.splitname][part.from_ : part.to] for part in parts])
    dataset = tf.data.Dataset.from_tensor_slices(array)
    return Examples(dataset, array.shape[1:], num_bins, len(array))


def _instructions(name, split, sizes):
    """TFDS's reading of a split such as "train[:-500]+test"."""
    infos = {key: tfds.core.SplitInfo(name=key, shard_lengths=[size], num_bytes=0) for key, size in sizes.items()}
    try:
        return tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    except (ValueError, KeyError, AssertionError, AttributeError) as error:
        raise ValueError(
            f"split must be one of {sorted(sizes)}, or a slice of them; got {split!r} of {name}"
        ) from error


def _folder(config, split, data_dir):
    """Pictures below `data_dir`, or below its train/ and test/, resized; without these a tenth is held out as test."""
    root = pathlib.Path(data_dir or "")
    if not data_dir or not root.is_dir():
        raise ValueError(f"data_dir must be the folder of the pictures for dataset=folder; got {data_dir!r}")
    options = dict(
        labels=None,
        color_mode="grayscale" if config.grayscale else "rgb",
        batch_size=None,
        image_size=tuple(config.image_size),
        crop_to_aspect_ratio=True,
        shuffle=False,
        verbose=False,
    )
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test' for dataset=folder; got {split!r}")
    if (root / split).is_dir():
        root = root / split
    else:
        subset = {"train": "training", "test": "validation"}[split]
        options.update(validation_split=0.1, subset=subset, seed=0)
    try:
        images = keras.utils.image_dataset_from_directory(str(root), **options)
    except ValueError as error:
        raise ValueError(f"data_dir must hold pictures (jpeg, png, bmp or gif); got {str(root)!r}: {error}") from error
    size = len(images.file_paths)
    images = images.map(lambda image: tf.cast(tf.round(image), tf.uint8), tf.data.AUTOTUNE)
    return Examples(images, tuple(images.element_spec.shape), 256, size)


def _tfds(config, split, data_dir):
    try:
        builder = tfds.builder(config.dataset, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name or version, or no name at all
        raise ValueError(
            f"dataset must be digits, moons, folder or the name of a TFDS data set; got {config.dataset!r}"
        ) from error
    if "image" not in builder.info.features:
        raise ValueError(f'dataset must have an "image" feature; {config.dataset} has {sorted(builder.info.features)}')
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises whatever its downloader does
        raise ValueError(
            f"dataset {config.dataset} is not in {builder.data_dir} and could not be downloaded "
            f"({type(error).__name__}). On a machine with a network run\n"
            f"  python -c \"import tensorflow_datasets as tfds; tfds.load('{config.dataset}', data_dir='DIR')\"\n"
            f"then copy DIR to this machine and give it as --data_dir=DIR"
        ) from error
    try:
        dataset = builder.as_dataset(split=split)
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"split must be one of {sorted(builder.info.splits)}, or a slice of them; got {split!r} of {config.dataset}"
        ) from error
    shape = builder.info.features["image"].shape
    dataset = dataset.map(lambda example: example["image"], tf.data.AUTOTUNE)
    return Examples(dataset, tuple(shape), 256, int(dataset.cardinality()))
