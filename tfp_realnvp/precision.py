"""The floating types that TensorFlow can compute networks in on this machine."""

import functools
from collections.abc import Iterable

import keras
import tensorflow as tf

from tfp_realnvp.internals import sublayers


@functools.cache
def is_computable(dtype: str) -> bool:
    """Whether TensorFlow can compute a convolution and its gradients in a floating type, tried once per process.

    TensorFlow asks the CPU whether it has the instructions for bfloat16 or float16, and then relies on oneDNN. But
    oneDNN obeys the environment variable ONEDNN_MAX_CPU_ISA: kept to AVX2, it has no kernels for these types. A
    convolution then raises an `AbortedError`. A matrix product would end the process, so none is tried.

    Args:
      dtype: name of a floating type.

    Example: `is_computable("bfloat16")`
    """
    with tf.init_scope():  # Also while a graph is being traced.
        x, kernel = tf.ones([1, 2, 2, 1], dtype), tf.ones([1, 1, 1, 1], dtype)
        try:
            with tf.GradientTape() as tape:
                tape.watch((x, kernel))
                y = tf.nn.conv2d(x, kernel, 1, "SAME")
            tape.gradient(y, (x, kernel))
        except tf.errors.OpError:
            return False
    return True


def check_computable(layers: Iterable[keras.layers.Layer]) -> None:
    """Raises a ValueError where TensorFlow cannot compute in the floating type of one of these Keras layers.

    Args:
      layers: Keras layers, whose inner layers are checked too. A layer without weights computes nothing of its own.

    Raises:
      ValueError: names the dtype policy of the first such layer.

    Example: `check_computable([MLP(4, dtype="mixed_bfloat16")])`
    """
    for part in (part for layer in layers for part in sublayers(layer)):
        if (part.weights or not part.built) and not is_computable(part.compute_dtype):
            raise ValueError(
                f'dtype must be "float32" or "float64" where TensorFlow cannot compute in {part.compute_dtype}; got '
                f'"{part.dtype_policy.name}" of {part.name}. TensorFlow\'s other kernels may compute it: set the '
                "environment variable TF_ENABLE_ONEDNN_OPTS=0, or remove ONEDNN_MAX_CPU_ISA"
            )
