"""Data set name → `tf.data` of images (or vectors)."""

import dataclasses
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
      dataset: `tf.data.Dataset` of single events, unbatched: uint8 images, or float32 vectors. Images may be larger
        than `event_shape` and of several sizes: the batches hold crops of them.
      event_shape: tuple of ints, the shape of an event in a batch.
      num_bins: number of pixel levels, None for continuous data.
      size: number of examples.
    """

    dataset: tf.data.Dataset
    event_shape: tuple
    num_bins: int | None
    size: int


def load(config, split, data_dir=None):
    """The examples of a split, preprocessed.

    Args:
      config: the run's config; its `dataset` is "digits", "moons", "folder" or the name of a TFDS data set, whose
        images it may cut and resize with `central_crop`, `shorter_side` (with `antialias`) and `crop`, in this order.
      split: "train", "test", or whatever else the data set has, with TFDS's slices such as "train[:-500]".
      data_dir: folder of TFDS's data sets, or of the pictures of "folder".

    Returns:
      `Examples`.

    Raises:
      ValueError: for an unknown data set or split, a data set that is not on disk and cannot be downloaded, or
        preprocessing that the images do not allow or that leaves them of several sizes.

    Example:
      >>> config = default.get_config()
      >>> config.update(dataset="lsun/tower", shorter_side=96, crop=64)
      >>> load(config, "validation").event_shape
      (64, 64, 3)
    """
    loaders = {"digits": _digits, "moons": _moons, "folder": _folder}
    for name in ("central_crop", "shorter_side", "crop"):
        if config[name] < 0:
            raise ValueError(f"{name} must not be negative; got {config[name]}")
        if config[name] and config.dataset in loaders:
            raise ValueError(
                f"{name} must be 0 for dataset={config.dataset}: it is for TFDS's images; got {config[name]}"
            )
    examples = loaders.get(config.dataset, _tfds)(config, split, data_dir)
    if not examples.size:
        raise ValueError(f"split {split!r} of dataset {config.dataset!r} is empty")
    return examples


def training_batches(examples, batch_size, seed, start_step=0, flip=False, shift=0.0):
    """An endless stream of shuffled batches that can be entered at any step.

    Args:
      examples: `Examples`.
      batch_size: int; each batch has exactly this many, what is left over at the end of a pass begins the next.
      seed: int, of the order, the crops, the flips and the shifts.
      start_step: how many batches to leave out at the beginning.
      flip: whether to mirror each image left to right with probability ½.
      shift: the probability of moving an image by up to a pixel in each direction; what is uncovered is 0.

    Returns:
      `tf.data.Dataset` of tensors [batch_size] + event_shape; images that are larger are cropped at random.

    Raises:
      ValueError: for `flip` or `shift` with vectors.
    """
    if (flip or shift) and len(examples.event_shape) != 3:
        raise ValueError(
            f"flip and shift must be off for vectors; got {flip} and {shift} for events of shape {examples.event_shape}"
        )
    single = examples.dataset
    num_bytes = next(single.as_numpy_iterator()).nbytes  # of the first, which stands for all where sizes differ
    if examples.size * num_bytes < 2**30:
        single = single.cache()
    buffer_size = min(examples.size, 2**16, 1 + 2**29 // num_bytes)
    single = single.shuffle(buffer_size, seed=seed, reshuffle_each_iteration=True).repeat()
    single = single.enumerate().skip(start_step * batch_size)

    def augmented(number, image):
        if _is_cropped(examples):
            image = tf.image.stateless_random_crop(image, examples.event_shape, tf.stack([seed + 3, number]))
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
    """Every example once, in order; the last batch holds what is left.

    Args:
      examples: `Examples`.
      batch_size: int.

    Returns:
      `tf.data.Dataset` of tensors [N] + event_shape, N ≤ batch_size; of images that are larger it is the middle.
    """
    single = examples.dataset
    if _is_cropped(examples):
        single = single.map(lambda image: _middle(image, *examples.event_shape[:2]), tf.data.AUTOTUNE)
    return single.batch(batch_size).prefetch(tf.data.AUTOTUNE)


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
    """Pictures below `data_dir`'s train/ and test/, resized; without these two a tenth of all is held out as test."""
    root = pathlib.Path(data_dir or "")
    if not data_dir or not root.is_dir():
        raise ValueError(f"data_dir must be the folder of the pictures for dataset=folder; got {data_dir!r}")
    if (root / "train").is_dir() and (root / "test").is_dir():
        paths = {name: _pictures(root / name) for name in ("train", "test")}
    else:
        every = _pictures(root)
        paths = dict(zip(("train", "test"), np.split(every, [len(every) - len(every) // 10]), strict=True))

    def read(path):
        channels = 1 if config.grayscale else 3
        image = tf.io.decode_image(tf.io.read_file(path), channels, expand_animations=False)
        return _levels(keras.preprocessing.image.smart_resize(image, config.image_size))

    examples = _from_arrays("folder", paths, split, num_bins=256)
    images = examples.dataset.map(read, tf.data.AUTOTUNE)
    return dataclasses.replace(examples, dataset=images, event_shape=tuple(images.element_spec.shape))


def _pictures(folder):
    """The paths of the pictures anywhere below a folder, in order."""
    suffixes = {".jpeg", ".jpg", ".png", ".bmp", ".gif"}
    paths = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise ValueError(f"data_dir must hold pictures (jpeg, png, bmp or gif); there is none in {str(folder)!r}")
    return np.array(paths)


def _tfds(config, split, data_dir):
    try:
        builder = tfds.builder(config.dataset, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name or version, or no name at all
        raise ValueError(
            f"dataset must be digits, moons, folder or the name of a TFDS data set; got {config.dataset!r}"
        ) from error
    if "image" not in builder.info.features:
        raise ValueError(f'dataset must have an "image" feature; {config.dataset} has {sorted(builder.info.features)}')
    event_shape = _event_shape(config, builder.info.features["image"].shape)
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
    dataset = dataset.map(lambda example: _prepared(example["image"], config), tf.data.AUTOTUNE)
    return Examples(dataset, event_shape, 256, int(dataset.cardinality()))


def _event_shape(config, shape):
    """The shape in a batch of images whose shape is `shape`, with None for sides that differ among them."""
    _check_fits("central_crop", config.central_crop, shape[:2])
    prepare = tf.function(lambda image: _prepared(image, config))
    prepared = tuple(prepare.get_concrete_function(tf.TensorSpec(shape, tf.uint8)).output_shapes)
    _check_fits("crop", config.crop, [config.shorter_side] if config.shorter_side else prepared[:2])
    event_shape = (config.crop, config.crop, prepared[2]) if config.crop else prepared
    if None in event_shape:
        raise ValueError(
            f"config.shorter_side and config.crop must give the images of {config.dataset} one size, "
            f"theirs is {shape}; got shorter_side={config.shorter_side} and crop={config.crop}"
        )
    return event_shape


def _check_fits(name, size, sides):
    """Raises a ValueError where a square of this size is larger than the sides that are known."""
    shorter_side = min((side for side in sides if side is not None), default=size)
    if size > shorter_side:
        raise ValueError(f"{name} must not be larger than the image, whose shorter side is {shorter_side}; got {size}")


def _prepared(image, config):
    """What is done to an image alike in training and in evaluation."""
    if config.central_crop:
        image = _middle(image, config.central_crop, config.central_crop)
    if config.shorter_side:
        image = _resized(image, config.shorter_side, config.antialias)
    return image


def _middle(image, height, width):
    """The window of this size in the middle, half a pixel up or left of it where it cannot be."""
    size = tf.shape(image)
    return tf.image.crop_to_bounding_box(image, (size[0] - height) // 2, (size[1] - width) // 2, height, width)


def _resized(image, shorter_side, antialias):
    """Bilinear, to `shorter_side` pixels along the shorter side and the same aspect ratio; the right size is kept."""
    size = tf.shape(image)[:2]
    size = tf.cast(tf.round(size * shorter_side / tf.reduce_min(size)), tf.int32)
    return _levels(tf.image.resize(image, size, antialias=antialias))


def _levels(image):
    """Back from the floats of resizing to pixel levels: bits/dim bounds the likelihood of discrete data only."""
    return tf.cast(tf.round(image), tf.uint8)


def _is_cropped(examples):
    """Whether the images are still to be cut to `event_shape`."""
    return tuple(examples.dataset.element_spec.shape) != tuple(examples.event_shape)
