"""The batches of training, shuffled and augmented, and of evaluation, in order."""

import functools
from collections.abc import Callable

import tensorflow as tf

from .examples import Examples
from .images import crop_middle


def training_batches(
    examples: Examples,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    flip: bool = False,
    shift: float = 0.0,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """An endless stream of shuffled batches that can be entered at any step.

    Args:
      examples: `Examples`. Images larger than their `event_shape` are cropped at random.
      batch_size: number of examples in each batch. The remainder of a pass begins the next one.
      seed: of the order, the crops, the flips and the shifts.
      start_step: number of batches to leave out at the beginning.
      flip: whether to mirror each image left to right with probability ½.
      shift: probability of moving an image by up to a pixel in each direction; uncovered pixels are 0.
      input_context: `tf.distribute.InputContext` of a worker, for the parts of its replicas instead of whole batches.

    Returns:
      `tf.data.Dataset` of tensors [batch_size] + event_shape, or of tuples of them and their contexts.

    Raises:
      ValueError: for `flip` or `shift` with vectors.
    """
    if (flip or shift) and len(examples.event_shape) != 3:
        raise ValueError(
            f"flip and shift must be off for vectors; got {flip} and {shift} for events of shape {examples.event_shape}"
        )
    single = examples.dataset
    first = next(single.as_numpy_iterator())  # It stands for all examples, if their sizes differ.
    num_bytes = sum(array.nbytes for array in tf.nest.flatten(first))
    if examples.size * num_bytes < 2**30:
        single = single.cache()
    buffer_size = min(examples.size, 2**16, 1 + 2**29 // num_bytes)
    single = single.shuffle(buffer_size, seed=seed, reshuffle_each_iteration=True)
    passes, examples_of_pass = divmod(start_step * batch_size, examples.size)
    for _ in range(passes):
        iter(single)  # It takes the seed of a pass, and reads nothing.
    single = single.repeat().skip(examples_of_pass).enumerate(start_step * batch_size)
    if input_context is not None:
        single = single.shard(input_context.num_input_pipelines, input_context.input_pipeline_id)
        batch_size = input_context.get_per_replica_batch_size(batch_size)

    def augment(number: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
        if examples.are_cropped:
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
        lambda number, example: _map_event(functools.partial(augment, number), example), tf.data.AUTOTUNE
    )
    return single.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(examples: Examples, batch_size: int) -> tf.data.Dataset:
    """Every example once, in order; the last batch may be smaller.

    Args:
      examples: `Examples`. Images larger than their `event_shape` are cropped in the middle.
      batch_size: number of examples in a batch.

    Returns:
      `tf.data.Dataset` of tensors [N] + event_shape, N ≤ batch_size, or of tuples of them and their contexts.
    """
    single = examples.dataset
    if examples.are_cropped:
        height, width, _ = examples.event_shape
        single = single.map(
            lambda *example: _map_event(lambda image: crop_middle(image, height, width), example), tf.data.AUTOTUNE
        )
    # Sharding by examples, not by files, counts each example once among the workers.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return single.batch(batch_size).prefetch(tf.data.AUTOTUNE).with_options(options)


def steps_per_pass(examples: Examples, batch_size: int) -> int:
    """Number of batches in a pass over the examples, at least one; a remainder does not count."""
    return max(examples.size // batch_size, 1)


def _map_event(function: Callable[[tf.Tensor], tf.Tensor], example: tf.Tensor | tuple) -> tf.Tensor | tuple:
    """Applies `function` to the event of an example, with or without a context."""
    event, *context = tf.nest.flatten(example)
    return (function(event), *context) if context else function(event)
