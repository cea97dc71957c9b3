"""The map between pixel values and the real line (Real NVP, section 4.1)."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.representation import DescribedBijector


class Logit(DescribedBijector):
    """Maps pixel values in [0, num_bins) to the real line, elementwise.

    ```none
    p = α + (1 − 2α) · x / num_bins,    y = log p − log(1 − p)
    log|dy/dx| = softplus(y) + softplus(−y) + log((1 − 2α) / num_bins)
    ```

    The inverse is x = num_bins · (sigmoid(y) − α) / (1 − 2α). A y far from 0 gives a value up to
    num_bins · α / (1 − 2α) outside of [0, num_bins].

    Forward is data → latent, as in the papers.

    Args:
      num_bins: int, number of pixel levels, 256 for 8-bit images.
      alpha: float in [0, 0.5), keeps the logit finite. 0.05 is `data_constraint` 0.9 of the authors' code; the paper
        writes α + (1 − α) x.

    Raises:
      ValueError: for `num_bins` below 1, or an `alpha` that is not a number in [0, 0.5).

    Example: `Logit().forward([0.0, 128.0, 256.0])` is [-2.944, 0, 2.944].

    References: Real NVP, section 4.1.
    """

    def __init__(
        self, num_bins: int = 256, alpha: float = 0.05, validate_args: bool = False, name: str = "logit"
    ) -> None:
        parameters = dict(locals())
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1; got {num_bins!r}")
        if not isinstance(alpha, (int, float, np.number)) or not 0 <= alpha < 0.5:
            raise ValueError(f"alpha must be in [0, 0.5); got {alpha!r}")
        self._num_bins, self._alpha = num_bins, alpha
        super().__init__(forward_min_event_ndims=0, validate_args=validate_args, parameters=parameters, name=name)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}

    @classmethod
    def _is_increasing(cls) -> bool:
        return True

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        p = self._alpha + (1 - 2 * self._alpha) / self._num_bins * x
        return tf.math.log(p) - tf.math.log1p(-p)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return (tf.sigmoid(y) - self._alpha) * (self._num_bins / (1 - 2 * self._alpha))

    def _inverse_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return -tf.nn.softplus(y) - tf.nn.softplus(-y) - np.log((1 - 2 * self._alpha) / self._num_bins)

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return -self._inverse_log_det_jacobian(self.forward(x))
