"""The invertible 1×1 convolution (Glow, section 3.2)."""

from collections.abc import Callable

import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.passes import initialization
from tfp_realnvp.scopes import setting


class Invertible1x1Convolution(FusedBijector):
    """Mixes the channels of each pixel by one invertible matrix, a learned generalization of a permutation.

    ```none
    y[..., j] = Σ_i x[..., i] W[i, j]
    log|det dy/dx| = height · width · log|det W|
    ```

    Forward is data → latent, as in the papers.

    Args:
      matrix: callable, x ↦ (W, log|det W|) of shapes [channels, channels] and []. Both are the same for every x. It
        may be an `rnvp.networks.InvertibleMatrix`, an `rnvp.networks.Whitening`, or any function of this form.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors.

    Example:

    ```python
    mix = Invertible1x1Convolution(rnvp.networks.InvertibleMatrix(12))
    y = mix.forward(tf.zeros([8, 16, 16, 12]))
    ```

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.2.
    """

    def __init__(
        self,
        matrix: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        event_ndims: int = 3,
        validate_args: bool = False,
        name: str = "invertible_1x1_convolution",
    ) -> None:
        parameters = dict(locals())
        self._matrix = self._no_dependency(matrix)
        self._event_ndims = event_ndims
        super().__init__(parameters, event_ndims, [matrix], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kernel, log_abs_det = self._matrix(x)
        return _mix(x, kernel), self._log_det_of_event(log_abs_det, x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with setting(initialization, False):  # Latents say nothing about the data.
            kernel, log_abs_det = self._matrix(y)
        # In float64 the inverse takes no longer, and the error of a round trip is a third.
        inverse = tf.linalg.inv(tf.cast(kernel, tf.float64))
        return _mix(y, inverse), -self._log_det_of_event(log_abs_det, y)

    def _log_det_of_event(self, log_abs_det: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """The log-det of each event of x: the number of pixels times the log-det of one pixel."""
        shape = tf.shape(x)
        num_pixels = tf.reduce_prod(shape[-self._event_ndims : -1])
        log_det = tf.cast(num_pixels, x.dtype) * tf.cast(log_abs_det, x.dtype)
        return tf.fill(shape[: -self._event_ndims], log_det)


def _mix(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    # `tensordot` is a single matrix product; the gradient of an `einsum` takes ten times longer.
    return tf.tensordot(x, tf.cast(kernel, x.dtype), 1)
