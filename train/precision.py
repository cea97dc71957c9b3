"""Whether networks in bfloat16 or float16 gain anything on this machine."""

import math
import timeit

import keras
import tensorflow as tf
from absl import logging

from tfp_realnvp.precision import is_computable

EMULATED = 1.5  # times float32: the machine has no instructions for the type; what is timed is short


def warn_if_slow(dtype):
    """Logs a warning where networks of lower precision than float32 would take longer than in float32.

    Args:
      dtype: name of a `keras.DTypePolicy`.

    Raises:
      ValueError: where there is no such policy.
    """
    try:
        compute_dtype = keras.DTypePolicy(dtype).compute_dtype
    except ValueError as error:
        raise ValueError(f"config.model.dtype must be a Keras policy; got {dtype!r} ({error})") from error
    if tf.as_dtype(compute_dtype).size >= tf.float32.size:
        return
    times = slowdown(compute_dtype)
    if EMULATED < times < math.inf:  # a flow refuses what cannot be computed at all
        logging.warning(
            f"config.model.dtype={dtype}: on this machine a convolution and its gradients take {times:.0f} times as "
            "long as in float32, and so will training; --config.model.dtype=float32 is faster"
        )


def slowdown(dtype, repetitions=3):
    """How many times as long as in float32 a convolution and its gradients take.

    It is more than 1 on a CPU that has to emulate the type, and infinite where TensorFlow cannot compute in it.

    Args:
      dtype: name of a floating type.
      repetitions: int, of which the fastest counts.

    Example: `slowdown("bfloat16")`
    """
    if not is_computable(dtype):
        return math.inf
    return _seconds(dtype, repetitions) / _seconds("float32", repetitions)


def _seconds(dtype, repetitions):
    x, kernel = tf.zeros([8, 32, 32, 32], dtype), tf.zeros([3, 3, 32, 32], dtype)

    def gradients():  # which may be slow where the convolution itself is not
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return [gradient.numpy() for gradient in tape.gradient(y, (x, kernel))]

    gradients()  # what only the first call takes is none of it
    return min(timeit.repeat(gradients, number=1, repeat=repetitions))
