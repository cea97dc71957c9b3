"""Muon: steps of kernels whose directions all have the same length."""

from typing import Any

import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.optimizers.adam import Adam

QUINTIC = 3.4445, -4.7750, 2.0315  # Five steps bring singular values above about 0.003 of the norm near 1.
RMS = 0.2  # the root mean square of an update's entries at a learning rate of 1, about that of Adam


@register
class Muon(Adam):
    """Muon for the kernels of convolutions and dense layers, and `Adam` for all other weights.

    ```none
    m ← μ m + g,    W ← W − rate · 0.2 √max(n, k) · O(g + μ m)
    O(M) = U Vᵀ     for the singular value decomposition M = U S Vᵀ of an n × k matrix
    ```

    The update of a kernel has no direction that is larger than the others, so that rare features learn as quickly as
    common ones. A convolution's kernel counts as a matrix with a row for each of its inputs. Keras's own Muon takes
    matrices alone.

    Kernels are the weights named "kernel" of at least two axes, as Keras names them. Adam moves all others, such as the
    weight-normalized filters of `ResNet`, so `RealNVP` over images gains nothing. Adam's second moment of a kernel is
    kept, but not used.

    The iteration needs matrix products in float32: in bfloat16, TensorFlow's default on a TPU, it may diverge.

    Args:
      *args, **kwargs: as for `Adam`. The learning rate is that of both.
      momentum: float, μ.

    Raises:
      ValueError: as for `Adam`, and for a momentum outside of [0, 1).

    Example: `model.compile(rnvp.optimizers.Muon(3e-3, beta_2=0.99))`

    References: Jordan et al., https://kellerjordan.github.io/posts/muon; Liu et al., arXiv 2502.16982, equation 4, for
    the scale of the update.
    """

    def __init__(self, *args: Any, momentum: float = 0.95, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); got {momentum!r}")
        self.momentum = momentum

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}

    def build(self, variables: list) -> None:
        super().build(variables)
        self._is_kernel = [variable.name == "kernel" and len(variable.shape) > 1 for variable in variables]

    def numbers_of_step(self, learning_rate: tf.Tensor) -> dict[str, Any]:
        momentum = self._if_condition(self.momentum, 1.0)
        return {**super().numbers_of_step(learning_rate), "rate": learning_rate, "momentum": momentum}

    def update_step(self, gradient: tf.Tensor, variable: Any, numbers: dict[str, dict[str, tf.Tensor]]) -> None:
        dtype = variable.dtype.name
        numbers_of_adam = dict(numbers[dtype])
        rate, momentum = numbers_of_adam.pop("rate"), numbers_of_adam.pop("momentum")
        if not self._is_kernel[self.index_of(variable)]:
            super().update_step(gradient, variable, {dtype: numbers_of_adam})
            return
        # The operations on handles act on the copy of a replica, as Adam's own does.
        gradient, handle = tf.cast(gradient, dtype), self.moments_of_gradient(variable)[0].value.handle
        mean = momentum * tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype) + gradient
        tf.raw_ops.AssignVariableOp(resource=handle, value=mean)
        matrix = tf.reshape(gradient + momentum * mean, [-1, variable.shape[-1]])
        update = rate * RMS * max(matrix.shape) ** 0.5 * orthogonalized(matrix)
        tf.raw_ops.AssignSubVariableOp(resource=variable.handle, value=tf.reshape(update, variable.shape))


def orthogonalized(matrix: tf.Tensor) -> tf.Tensor:
    """U Vᵀ for a matrix U S Vᵀ, but with singular values between about 0.7 and 1.2, and near 0 where S is.

    ```none
    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X      five times, from M / |M|
    ```

    The iteration runs on the smaller Gram matrix Xᵀ X or X Xᵀ, whose products cost less than those with X.

    Args:
      matrix: float tensor [n, k].

    Returns:
      Tensor [n, k].

    Example: `orthogonalized(tf.constant([[3.0, 0.0], [0.0, 2.0]]))` is diagonal, with entries from 0.7 to 1.2.
    """
    if matrix.shape[0] < matrix.shape[1]:
        return tf.transpose(orthogonalized(tf.transpose(matrix)))
    gram = tf.matmul(matrix, matrix, transpose_a=True)
    squared_norm = tf.linalg.trace(gram) + 1e-20  # Of zeros the result is 0.
    gram, product = gram / squared_norm, tf.eye(matrix.shape[1], dtype=matrix.dtype)
    a, b, c = QUINTIC
    for _ in range(5):
        factor = a * tf.eye(matrix.shape[1], dtype=matrix.dtype) + b * gram + c * gram @ gram
        product, gram = product @ factor, factor @ gram @ factor
    return matrix @ product / tf.sqrt(squared_norm)
