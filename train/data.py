"""Data set name → `tf.data` of images (or vectors), with the labels (or vectors) that a flow is conditioned on."""

import dataclasses
import functools
import pathlib
import re

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from train import toy


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Attributes:
      dataset: `tf.data.Dataset` of single events, unbatched: uint8 images, or float32 vectors. Images may be larger
        than `event_shape` and of several sizes: the batches hold crops of them. Where `config.conditional`, tuples of
        an event and its context: an int label, or a float32 vector.
      event_shape: tuple of ints, the shape of an event in a batch.
      num_bins: number of pixel levels, None for continuous data.
      size: number of examples.
      num_classes: number of classes where the contexts are labels, otherwise None.
      context_size: size of the contexts where they are vectors, otherwise None.
    """

    dataset: tf.data.Dataset
    event_shape: tuple
    num_bins: int | None
    size: int
    num_classes: int | None = None
    context_size: int | None = None


def load(config, split, data_dir=None):
    """The examples of a split, preprocessed.

    Args:
      config: the run's config; its `dataset` is one of `toy.SETS`, "folder" or the name of a TFDS data set, whose
        images it may cut and resize with `central_crop`, `shorter_side` (with `antialias`) and `crop`, in this order.
        With `conditional` each event comes with its label, or with the vector that it depends on.
      split: "train", "test", or whatever else the data set has, with TFDS's slices such as "train[:-500]".
      data_dir: folder of TFDS's data sets, or of the pictures of "folder".

    Returns:
      `Examples`.

    Raises:
      ValueError: for an unknown data set or split, a data set that is not on disk and cannot be downloaded,
        preprocessing that the images do not allow or that leaves them of several sizes, or `conditional` with a data
        set without labels or vectors to condition on.

    Example:
      >>> config = default.get_config()
      >>> config.update(dataset="lsun/tower", shorter_side=96, crop=64)
      >>> load(config, "validation").event_shape
      (64, 64, 3)
    """
    loaders = {**dict.fromkeys(toy.SETS, _toy), "folder": _folder}
    for name in ("central_crop", "shorter_side", "crop"):
        if config[name] < 0:
            raise ValueError(f"{name} must not be negative; got {config[name]}")
        if config[name] and config.dataset in loaders:
            raise ValueError(
                f"{name} must be 0 for dataset={config.dataset}: it is for TFDS's images; got {config[name]}"
            )
    if config.grayscale and config.dataset != "folder":
        raise ValueError(f"grayscale must be False for dataset={config.dataset}: it is for a folder's; got True")
    examples = loaders.get(config.dataset, _tfds)(config, split, data_dir)
    if not examples.size:
        raise ValueError(f"split {split!r} of dataset {config.dataset!r} is empty")
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread may keep the end of an iterator waiting for up to a minute
    return dataclasses.replace(examples, dataset=examples.dataset.with_options(options))


def training_batches(examples, batch_size, seed, start_step=0, flip=False, shift=0.0, input_context=None):
    """An endless stream of shuffled batches that can be entered at any step.

    Args:
      examples: `Examples`.
      batch_size: int; each batch has exactly this many, what is left over at the end of a pass begins the next.
      seed: int, of the order, the crops, the flips and the shifts.
      start_step: how many batches to leave out at the beginning.
      flip: whether to mirror each image left to right with probability ½.
      shift: the probability of moving an image by up to a pixel in each direction; what is uncovered is 0.
      input_context: `tf.distribute.InputContext` of a worker, which then gets its share of each batch, in as many equal
        parts as it has replicas.

    Returns:
      `tf.data.Dataset` of tensors [batch_size] + event_shape, or of tuples of them and their contexts; images that are
      larger are cropped at random. Of a worker of the batches of its replicas.

    Raises:
      ValueError: for `flip` or `shift` with vectors.
    """
    if (flip or shift) and len(examples.event_shape) != 3:
        raise ValueError(
            f"flip and shift must be off for vectors; got {flip} and {shift} for events of shape {examples.event_shape}"
        )
    single = examples.dataset
    first = next(single.as_numpy_iterator())  # which stands for all where sizes differ
    num_bytes = sum(array.nbytes for array in tf.nest.flatten(first))
    if examples.size * num_bytes < 2**30:
        single = single.cache()
    buffer_size = min(examples.size, 2**16, 1 + 2**29 // num_bytes)
    single = single.shuffle(buffer_size, seed=seed, reshuffle_each_iteration=True)
    passes, examples_of_pass = divmod(start_step * batch_size, examples.size)
    for _ in range(passes):
        iter(single)  # takes the seed of a pass, and reads nothing
    single = single.repeat().skip(examples_of_pass).enumerate(start_step * batch_size)
    if input_context is not None:
        single = single.shard(input_context.num_input_pipelines, input_context.input_pipeline_id)
        batch_size = input_context.get_per_replica_batch_size(batch_size)

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

    single = single.map(
        lambda number, example: _with_event(functools.partial(augmented, number), example), tf.data.AUTOTUNE
    )
    return single.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples, batch_size):
    """Every example once, in order; the last batch holds what is left.

    Args:
      examples: `Examples`.
      batch_size: int.

    Returns:
      `tf.data.Dataset` of tensors [N] + event_shape, N ≤ batch_size, or of tuples of them and their contexts; of images
      that are larger it is the middle.
    """
    single = examples.dataset
    if _is_cropped(examples):
        middle = lambda image: _middle(image, *examples.event_shape[:2])
        single = single.map(lambda *example: _with_event(middle, example), tf.data.AUTOTUNE)
    options = tf.data.Options()  # workers share the examples out, each counted once, whatever files they come from
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return single.batch(batch_size).prefetch(tf.data.AUTOTUNE).with_options(options)


def steps_per_pass(examples, batch_size):
    """Number of batches in which training sees (all but a remainder of) the examples once."""
    return max(examples.size // batch_size, 1)


def without_context(examples):
    """The same `Examples` as events alone."""
    events = examples.dataset.map(lambda event, *context: event, tf.data.AUTOTUNE)
    return dataclasses.replace(examples, dataset=events, num_classes=None, context_size=None)


def _toy(config, split, data_dir):
    del data_dir
    return _from_arrays(config, toy.SETS[config.dataset](), split)


def _from_arrays(config, arrays, split):
    has_vectors = arrays.context_size is not None
    if config.conditional and arrays.num_classes is None and not has_vectors:
        raise ValueError(f"conditional must be False for dataset={config.dataset}, which has no labels; got True")
    if has_vectors and not config.conditional:
        raise ValueError(f"conditional must be True for dataset={config.dataset}, a conditional density; got False")
    parts = _instructions(config.dataset, split, {name: len(events) for name, (events, *_) in arrays.splits.items()})
    pieces = [[column[part.from_ : part.to] for column in arrays.splits[part.splitname]] for part in parts]
    events, *contexts = (np.concatenate(column) for column in zip(*pieces, strict=True))
    dataset = tf.data.Dataset.from_tensor_slices((events, *contexts) if config.conditional else events)
    context = {"num_classes": arrays.num_classes, "context_size": arrays.context_size} if config.conditional else {}
    return Examples(dataset, events.shape[1:], arrays.num_bins, len(events), **context)


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
    """Pictures below `data_dir`'s train/ and test/, resized; without these two every tenth is held out as test."""
    parts = [pathlib.Path(data_dir or "") / name for name in ("train", "test")]
    if data_dir and all(part.is_dir() for part in parts):
        train, test = map(pictures, parts)
    else:
        every = pictures(data_dir)
        is_test = np.arange(len(every)) % 10 == 9  # not the last tenth: folders may be classes, and names dates
        train, test = every[~is_test], every[is_test]
    examples = _from_arrays(config, toy.Arrays({"train": (train,), "test": (test,)}, num_bins=256), split)
    channels = 1 if config.grayscale else 3
    for path in examples.dataset.as_numpy_iterator():  # rather now than in the middle of a run
        try:
            _checked(path.decode(), channels)
        except ValueError as error:
            raise ValueError(f"data_dir must hold pictures that can be read; of {path.decode()} {error}") from error

    def read(path):
        return _levels(keras.preprocessing.image.smart_resize(_decoded(path, channels), config.image_size))

    images = examples.dataset.map(read, tf.data.AUTOTUNE)
    return dataclasses.replace(examples, dataset=images, event_shape=tuple(images.element_spec.shape))


def pictures(folder):
    """The paths of the pictures anywhere below a folder: an array of strings, in order.

    Raises:
      ValueError: where there is no such folder, or no picture in it.
    """
    if not folder or not pathlib.Path(folder).is_dir():
        raise ValueError(f"data_dir must be the folder of the pictures; got {folder!r}")
    suffixes = {".jpeg", ".jpg", ".png", ".bmp", ".gif"}
    paths = sorted(str(path) for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise ValueError(f"data_dir must hold pictures (jpeg, png, bmp or gif); there is none in {str(folder)!r}")
    return np.array(paths)


def picture(path, event_shape, num_bins):
    """The pixel levels of a picture as it is, gray or in colors as the shape says.

    Returns:
      uint8 array of shape `event_shape`.

    Raises:
      ValueError: for a file that is no picture, another size, or levels of `num_bins` and more.
    """
    image = _checked(path, event_shape[-1]).numpy()
    if image.shape != event_shape:
        raise ValueError(f"the picture must have shape {event_shape}; got {image.shape}")
    if image.max() >= num_bins:
        raise ValueError(f"the picture must have levels from 0 to {num_bins - 1}; got {image.max()}")
    return image


def _checked(path, channels):
    """A picture's pixels; raises a ValueError where it cannot be read."""
    try:
        return _decoded(path, channels)
    except tf.errors.OpError as error:
        reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", error.message.splitlines()[0])
        raise ValueError(f"the picture cannot be read: {reason}") from error


def _decoded(path, channels):
    """A picture's pixels, in 1 or 3 channels."""
    image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)  # no other number suits a BMP
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image


def _tfds(config, split, data_dir):
    try:
        builder = tfds.builder(config.dataset, data_dir=data_dir)
    except (ValueError, AssertionError) as error:  # an unknown name or version, or no name at all
        raise ValueError(
            f"dataset must be {', '.join(toy.SETS)}, folder or the name of a TFDS data set; got {config.dataset!r}"
        ) from error
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

    def read(example):
        image = _prepared(example["image"], config)
        return (image, example["label"]) if config.conditional else image

    dataset = dataset.map(read, tf.data.AUTOTUNE)
    num_classes = label.num_classes if config.conditional else None
    return Examples(dataset, event_shape, 256, int(dataset.cardinality()), num_classes)


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
    event, *_ = tf.nest.flatten(examples.dataset.element_spec)
    return tuple(event.shape) != tuple(examples.event_shape)


def _with_event(function, example):
    """The example, an event alone or with its context, with `function` of the event in place of the event."""
    event, *context = tf.nest.flatten(example)
    return (function(event), *context) if context else function(event)
