"""The linear operators A of observations y = A x + noise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive

Operator = Callable[[tf.Tensor], tf.Tensor]


class Identity:
    """A x = x: every entry is observed, and restoration is denoising.

    Example: `rnvp.completion.restore(model, noisy, rnvp.completion.Identity(), noise=16.0)`
    """

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x


class Mask:
    """A x = mask · x: the known entries, and zeros at all others.

    Args:
      mask: array of the shape of an event, 1 where it is known and 0 elsewhere.

    Raises:
      ValueError: for other entries than 0 and 1.

    Example: `Mask([1, 0])(tf.constant([[3.0, 4.0]]))` is [[3, 0]].
    """

    def __init__(self, mask: Any) -> None:
        self._mask = checked_zeros_and_ones(mask)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._mask, x.dtype) * x


class Blur:
    """A x = kernel ∗ x for each channel: the image by the weights of each pixel's neighbours, with zeros outside.

    Args:
      kernel: float array [height, width], the weights; its middle belongs to the pixel itself. It is not turned round,
        as in all convolutions of networks.

    Raises:
      ValueError: for another shape, or weights that are not finite.

    Example: `Blur(np.full([3, 3], 1 / 9))` averages each pixel with its eight neighbours.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = _checked_matrix("kernel", kernel)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        weights = tf.tile(tf.cast(self._kernel, x.dtype)[..., tf.newaxis, tf.newaxis], [1, 1, x.shape[-1], 1])
        return tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME")


class Downsample:
    """The means of blocks of factor × factor pixels: the image at a fraction of its size.

    Args:
      factor: int, the side of a block. It divides the height and the width.

    Raises:
      ValueError: for a `factor` that is not a positive int, or does not divide the sides.

    Example: `Downsample(2)(tf.zeros([8, 28, 28, 1]))` has shape [8, 14, 14, 1].
    """

    def __init__(self, factor: int) -> None:
        check_positive(factor=factor)
        self._factor = factor

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape.rank != 4 or x.shape[1] % self._factor or x.shape[2] % self._factor:
            raise ValueError(
                f"factor must divide the height and width of images, {tuple(x.shape[1:-1])}; got {self._factor}"
            )
        return tf.nn.avg_pool2d(x, self._factor, self._factor, "VALID")


class Measurements:
    """A x = matrix · x for the entries of an event in one row: weighted sums, as in compressive sensing.

    Args:
      matrix: float array [M, D] for events of D entries.

    Raises:
      ValueError: for another shape, or entries that are not finite.

    Example: `Measurements(np.random.default_rng(0).normal(size=[100, 784]) / 28)`
    """

    def __init__(self, matrix: Any) -> None:
        self._matrix = _checked_matrix("matrix", matrix)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        size = int(np.prod(x.shape[1:]))
        if self._matrix.shape[1] != size:
            raise ValueError(f"matrix must have {size} columns, one for each entry; got {self._matrix.shape[1]}")
        return tf.matmul(tf.reshape(x, [-1, size]), tf.cast(self._matrix, x.dtype), transpose_b=True)


def as_operator(operator: Any) -> Operator:
    """A function of batches of events with a gradient, from an operator or a pair of functions.

    Args:
      operator: function of batches [N] + event_shape that TensorFlow can differentiate, or a pair (A, Aᵀ) of functions
        of batches. TensorFlow does not look into the pair, so that it may call other libraries by `tf.numpy_function`.

    Raises:
      ValueError: for anything else.

    Example: `as_operator((lambda x: 2.0 * x, lambda y: 2.0 * y))`
    """
    if isinstance(operator, tuple) and len(operator) == 2 and all(map(callable, operator)):
        apply, transposed = operator
        return tf.custom_gradient(lambda x: (apply(x), transposed))
    if not callable(operator):
        raise ValueError(f"operator must be a function of batches, or a pair (A, Aᵀ) of them; got {operator!r}")
    return operator


def checked_zeros_and_ones(mask: Any) -> np.ndarray:
    """The mask as a bool array.

    Raises:
      ValueError: for other entries than 0 and 1.

    Example: `checked_zeros_and_ones([1, 0])` is [True, False].
    """
    values = np.asarray(mask)
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(f"mask must hold 1 where an entry is known and 0 elsewhere; got {_other_values(values)}")
    return values.astype(bool)


def _other_values(values: np.ndarray) -> str:
    if values.dtype.kind not in "biuf":
        return f"entries of {values.dtype}"
    return f"values such as {values[~np.isin(values, (0, 1))].ravel()[0]}"


def _checked_matrix(name: str, matrix: Any) -> np.ndarray:
    values = np.asarray(matrix)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be a matrix of numbers; got {values.dtype} of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got NaN or infinity")
    return values
