"""The invertible 1×1 convolution (Glow, section 3.2)."""

import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector


class Invertible1x1Convolution(FusedBijector):
    """Mixes the channels of each pixel by one invertible matrix, a learned generalization of a permutation.

    ```none
    y[..., j] = Σ_i x[..., i] W[i, j]
    log|det dy/dx| = height · width · log|det W|
    ```

    Forward is data → latent, as in the papers.

    Args:
      matrix: callable, x ↦ (W, log|det W|) of shapes [channels, channels] and [], both the same for every x:
        `rnvp.networks.InvertibleMatrix`, or any function of that form.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors.

    Example:

    ```python
    mix = Invertible1x1Convolution(rnvp.networks.InvertibleMatrix(12))
    y = mix.forward(tf.zeros([8, 16, 16, 12]))
    ```

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.2.
    """

    def __init__(self, matrix, event_ndims=3, validate_args=False, name="invertible_1x1_convolution"):
        parameters = dict(locals())
        self._matrix = self._no_dependency(matrix)
        self._event_ndims = event_ndims
        super().__init__(parameters, event_ndims, [matrix], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x):
        kernel, log_abs_det = self._matrix(x)
        return _mix(x, kernel), self._for_each_pixel(log_abs_det, x)

    def _inverse_and_log_det(self, y):
        kernel, log_abs_det = self._matrix(y)
        inverse = tf.linalg.inv(tf.cast(kernel, tf.float64))  # free, and round trips err a third as much
        return _mix(y, inverse), -self._for_each_pixel(log_abs_det, y)

    def _for_each_pixel(self, log_abs_det, x):
        """The log-det of each event of x: that of a pixel times their number."""
        shape = tf.shape(x)
        num_pixels = tf.reduce_prod(shape[-self._event_ndims : -1])
        log_det = tf.cast(num_pixels, x.dtype) * tf.cast(log_abs_det, x.dtype)
        return tf.fill(shape[: -self._event_ndims], log_det)


def _mix(x, kernel):
    return tf.tensordot(x, tf.cast(kernel, x.dtype), 1)  # one matmul; the gradient of an einsum takes ten times longer
