"""Random numbers that depend on a seed and an example alone, not on its batch, the device or the worker."""

from collections.abc import Sequence

import tensorflow as tf


def keys(examples: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The sum of the weighted entries of each example, modulo 2^64: a uint64 tensor [batch, 1].

    Args:
      examples: tensor [batch, ...] of integer values.
      weights: random uint64 tensor with as many entries as an example.

    Example: `keys(images, tf.random.uniform([784], maxval=None, dtype=tf.uint64))`
    """
    values = tf.reshape(examples, [tf.shape(examples)[0], -1])
    return tf.reduce_sum(tf.cast(values, tf.uint64) * weights, axis=1, keepdims=True)


def uniform(keys: tf.Tensor, multipliers: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """U[0, 1) in float32, in steps of 2^−24, by a multiply-add hash of each example's key: a tensor [batch, entries].

    Args:
      keys: uint64 tensor [batch, 1].
      multipliers, offsets: random uint64 tensors [entries].

    Example: `uniform(keys, *tf.unstack(coefficients([2, 784], seed=[0, 0])))`

    References: Dietzfelbinger et al., A Reliable Randomized Algorithm for the Closest-Pair Problem, 1997, section 2.
    """
    bits = tf.bitwise.right_shift(keys * multipliers + offsets, tf.constant(40, tf.uint64))
    return tf.cast(bits, tf.float32) * 2.0**-24


def coefficients(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Random uint64 numbers of this shape.

    Args:
      shape: ints.
      seed: int64 tensor [2].

    Example: `coefficients([3, 784], seed=[0, 0])`
    """
    # By default TensorFlow takes another generator under XLA.
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint64, alg="philox")
