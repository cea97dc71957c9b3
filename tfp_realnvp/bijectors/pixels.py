"""The map between pixel values and the real line (Real NVP, section 4.1)."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.representation import DescribedBijector

tfb = tfp.bijectors


class Logit(DescribedBijector):
    """Maps pixel values in [0, num_bins) to the real line, elementwise; forward is data → latent.

    ```none
    p = α + (1 − 2α) · x / num_bins,    y = log p − log(1 − p)
    log|dy/dx| = softplus(y) + softplus(−y) + log((1 − 2α) / num_bins)
    ```

    The inverse undoes the squeezing by α as well: x = num_bins · (sigmoid(y) − α) / (1 − 2α). A y far from 0 stands
    for a value up to num_bins · α / (1 − 2α) outside of [0, num_bins].

    Args:
      num_bins: number of pixel levels, 256 for 8-bit images.
      alpha: keeps the logit finite, in [0, 0.5). 0.05 is `data_constraint` 0.9 of the authors' code; the paper writes
        α + (1 − α) x.

    Raises:
      ValueError: for `num_bins` below 1, or an `alpha` that is no number in [0, 0.5).

    Example: `Logit().forward([0.0, 128.0, 256.0])` is [-2.944, 0, 2.944].
    """

    def __init__(self, num_bins=256, alpha=0.05, validate_args=False, name="logit"):
        parameters = dict(locals())
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1; got {num_bins!r}")
        if not isinstance(alpha, (int, float, np.number)) or not 0 <= alpha < 0.5:
            raise ValueError(f"alpha must be in [0, 0.5); got {alpha!r}")
        self._num_bins, self._alpha = num_bins, alpha
        super().__init__(forward_min_event_ndims=0, validate_args=validate_args, parameters=parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @classmethod
    def _is_increasing(cls):
        return True

    def _forward(self, x):
        p = self._alpha + (1 - 2 * self._alpha) / self._num_bins * x
        return tf.math.log(p) - tf.math.log1p(-p)

    def _inverse(self, y):
        return (tf.sigmoid(y) - self._alpha) * (self._num_bins / (1 - 2 * self._alpha))

    def _inverse_log_det_jacobian(self, y):
        return -tf.nn.softplus(y) - tf.nn.softplus(-y) - np.log((1 - 2 * self._alpha) / self._num_bins)

    def _forward_log_det_jacobian(self, x):
        return -self._inverse_log_det_jacobian(self.forward(x))
