"""The matrix of an invertible 1×1 convolution (Glow, section 3.2)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive, draw_seed, register
from tfp_realnvp.representation import Described


@register
class InvertibleMatrix(Described, keras.layers.Layer):
    """A learned invertible matrix W with its log|det W|; it begins as a random rotation.

    ```none
    factorized:  W = P L (U + diag(s)),    log|det W| = Σ log|s|        Glow, equations 10 and 11
    otherwise:   W is free,                log|det W| from an LU decomposition in each call
    ```

    P is a permutation, L lower triangular with ones on its diagonal, U strictly upper triangular. P and the signs of s
    are fixed. One learned matrix holds L below its diagonal, log|s| on its diagonal and U above it.

    W has the dtype of the weights, float32 under a mixed policy. The rotation is the Q of a Gaussian matrix's QR
    decomposition, as in the authors' code. It is orthogonal, with determinant 1 or −1.

    Args:
      size: int, W has the shape [size, size].
      factorized: bool, whether the factors of W are learned instead of W. Both forms of one seed begin at the same W.
      seed: int or None.

    Raises:
      ValueError: for a `size` below 1.

    Call arguments:
      x: tensor for W to multiply; W does not depend on it.

    Returns:
      `(W, log|det W|)`, of shapes [size, size] and [].

    Example: `kernel, log_abs_det = InvertibleMatrix(12)(images)`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.2.
    """

    def __init__(self, size: int, factorized: bool = True, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(size=size)
        self.size = size
        self.factorized = factorized
        self.seed = seed

    def build(self, input_shape: tuple | None = None) -> None:
        gaussian = np.random.default_rng(draw_seed(self.seed)).standard_normal([self.size, self.size])
        rotation = np.linalg.qr(gaussian).Q
        if not self.factorized:
            self.kernel = self._add(rotation, "kernel")
            return
        # The initial values are needed as numbers, also if the layer is built inside a graph.
        with tf.init_scope():
            factors, order = (part.numpy() for part in tf.linalg.lu(rotation))
        scale = np.diag(factors).copy()
        np.fill_diagonal(factors, np.log(np.abs(scale)))
        self.permutation = self._add(np.eye(self.size)[:, order], "permutation", trainable=False)
        self.sign = self._add(np.sign(scale), "sign", trainable=False)
        self.factors = self._add(factors, "factors")

    def _add(self, value: np.ndarray, name: str, **kwargs: Any) -> keras.Variable:
        """Adds a weight with an initial value."""
        return self.add_weight(name=name, shape=value.shape, initializer=value, autocast=False, **kwargs)

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if not self.factorized:
            kernel = tf.identity(self.kernel.value)
            return kernel, tf.linalg.slogdet(kernel).log_abs_determinant
        factors = tf.identity(self.factors.value)
        log_scale = tf.linalg.diag_part(factors)
        lower = tf.linalg.set_diag(tf.linalg.band_part(factors, -1, 0), tf.ones_like(log_scale))
        upper = tf.linalg.set_diag(tf.linalg.band_part(factors, 0, -1), self.sign * tf.exp(log_scale))
        return self.permutation @ (lower @ upper), tf.reduce_sum(log_scale)

    def compute_output_shape(self, input_shape: tuple | None) -> list[tuple]:
        return [(self.size, self.size), ()]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "factorized": self.factorized, "seed": self.seed}
