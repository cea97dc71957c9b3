"""Whether networks in bfloat16 or float16 are faster than in float32 on this machine."""

import math
import timeit

import keras
import tensorflow as tf
from absl import logging

from tfp_realnvp.precision import is_computable

# A slowdown above this means that the machine emulates the type. The margin is for noise: the timed work is short.
EMULATED = 1.5


def warn_if_slow(dtype: str) -> None:
    """Logs a warning if networks of lower precision than float32 would take longer than in float32.

    Args:
      dtype: name of a `keras.DTypePolicy`.

    Raises:
      ValueError: if there is no such policy.
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


def slowdown(dtype: str, repetitions: int = 3) -> float:
    """The time of a convolution and its gradients, relative to float32.

    It is more than 1 on a CPU that emulates the type, and infinite where TensorFlow cannot compute in it.

    Args:
      dtype: name of a floating type.
      repetitions: number of timings; the fastest counts.

    Example: `slowdown("bfloat16")`
    """
    if not is_computable(dtype):
        return math.inf
    return _seconds(dtype, repetitions) / _seconds("float32", repetitions)


def _seconds(dtype: str, repetitions: int) -> float:
    x, kernel = tf.zeros([8, 32, 32, 32], dtype), tf.zeros([3, 3, 32, 32], dtype)

    def compute_gradients() -> list:  # Gradients can be slow even if the convolution itself is not.
        with tf.GradientTape() as tape:
            tape.watch((x, kernel))
            y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return [gradient.numpy() for gradient in tape.gradient(y, (x, kernel))]

    compute_gradients()  # The first call takes longer, and does not count.
    return min(timeit.repeat(compute_gradients, number=1, repeat=repetitions))
