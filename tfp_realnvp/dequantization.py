"""Dequantization: from pixel levels to continuous values, so that a density bounds a probability (section 3.2 of
arXiv 1511.01844)."""

import numpy as np
import tensorflow as tf


def uniform(images, num_bins, seed):
    """Adds uniform noise: x = pixel + U[0, 1), so that E log p(x) ≤ log P(pixel).

    The noise of an image is a function of `seed` and of the image alone (a random multiply-add hash of its pixels), so
    it does not depend on the batch, the device or the worker that the image is in.

    Args:
      images: integer-valued tensor of shape [batch] + event_shape.
      num_bins: number of pixel levels.
      seed: int64 tensor of shape [2].

    Returns:
      float32 tensor like `images`; each value stays within its own pixel's bin.

    Example: `uniform(tf.constant([[3]], tf.uint8), 256, seed=[0, 0])` is in [3, 4).
    """
    shape = tf.shape(images)
    pixels = tf.cast(tf.reshape(images, [shape[0], -1]), tf.uint64)
    coefficients = tf.random.stateless_uniform(
        [3, np.prod(images.shape[1:])], seed, minval=None, maxval=None, dtype=tf.uint64
    )
    weight, multiplier, offset = tf.unstack(coefficients)
    digest = tf.reduce_sum(pixels * weight, axis=1, keepdims=True)  # arithmetic modulo 2^64
    bits = tf.bitwise.right_shift(digest * multiplier + offset, tf.constant(40, tf.uint64))
    noise = tf.cast(bits, tf.float32) * 2.0**-24
    below_one = 1 - num_bins * 2.0**-24  # the largest noise that rounding does not carry into the next bin
    return tf.cast(images, tf.float32) + tf.reshape(tf.minimum(noise, below_one), shape)
