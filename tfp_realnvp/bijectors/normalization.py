"""Normalizations as layers of the flow: batch norm (Real NVP, section 3.7 and appendix E) and Glow's ActNorm."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors import masks
from tfp_realnvp.bijectors.fused import FusedBijector


class BatchNormalization(FusedBijector):
    """Normalizes each channel by its moments, y = (x − μ) / √(σ² + ε).

    ```none
    log|det dy/dx| = −½ Σ log(σ² + ε), over the channels of all changed pixels
    ```

    Forward is data → latent, as in the papers. In training, forward uses the batch's own moments, and the gradient
    flows through them. The inverse always uses the moving moments, and so does forward outside of training. `moments`
    chooses between the two; a Keras layer does so by Keras's call context.

    Args:
      moments: callable, `(x, training=None) -> (mean, variance)`, each of shape [channels]. It may be an
        `rnvp.networks.Moments`, or any function of this form. The inverse calls it with `training=False`.
      mask: `masks.Mask` or array; only the changed entries are normalized. The moments are taken over the second part
        of `mask.split(x)`. For a checkerboard they include its zeros, as in the authors' code. None: all entries are
        normalized.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors; only for `mask=None`.
      epsilon: float, added to the variance.

    Example:

    ```python
    norm = BatchNormalization(rnvp.networks.Moments())
    y = norm.forward(images)
    ```

    References: Real NVP, section 3.7. The moving averages follow the authors' code, not equations 22 to 24.
    """

    def __init__(
        self,
        moments: Callable[..., tuple[tf.Tensor, tf.Tensor]],
        mask: masks.Mask | np.ndarray | list | None = None,
        event_ndims: int = 3,
        epsilon: float = 1e-4,
        validate_args: bool = False,
        name: str = "batch_normalization",
    ) -> None:
        parameters = dict(locals())
        if mask is None:
            mask = masks.ChangeAll(event_ndims)
        self._mask = mask if isinstance(mask, masks.Mask) else masks.Dense(mask)
        self._moments = self._no_dependency(moments)
        self._epsilon = epsilon
        super().__init__(parameters, self._mask.event_ndims, [moments], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self._mask.split(x)
        mean, variance = self._moments_of(changed)
        y = (changed - mean) * tf.math.rsqrt(variance)
        return self._mask.merge(kept, y), -0.5 * _sum_changed(self._mask, tf.math.log(variance), changed)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, changed = self._mask.split(y)
        mean, variance = self._moments_of(changed, training=False)
        x = changed * tf.sqrt(variance) + mean
        return self._mask.merge(kept, x), 0.5 * _sum_changed(self._mask, tf.math.log(variance), changed)

    def _moments_of(self, x: tf.Tensor, **kwargs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """μ and σ² + ε in the dtype of x."""
        mean, variance = self._moments(x, **kwargs)
        return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype) + self._epsilon


class ActNorm(FusedBijector):
    """Glow's activation normalization, a learned affine map of each channel: y = (x + shift) · exp(log_scale).

    ```none
    log|det dy/dx| = pixels · Σ log_scale
    ```

    Forward is data → latent, as in the papers. A forward pass may initialize the map from its batch (`affine`
    decides); the inverse never does.

    Args:
      affine: callable, `(x, initialize=True) -> (shift, log_scale)`, each of shape [channels]. It may be an
        `rnvp.networks.ChannelAffine`, or any function of this form. The inverse calls it with `initialize=False`.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors.

    Example:

    ```python
    norm = ActNorm(rnvp.networks.ChannelAffine())
    with rnvp.networks.initializing():
        y = norm.forward(images)  # Mean 0 and variance 1.
    ```

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """

    def __init__(
        self,
        affine: Callable[..., tuple[tf.Tensor, tf.Tensor]],
        event_ndims: int = 3,
        validate_args: bool = False,
        name: str = "act_norm",
    ) -> None:
        parameters = dict(locals())
        self._mask = masks.ChangeAll(event_ndims)
        self._affine = self._no_dependency(affine)
        super().__init__(parameters, event_ndims, [affine], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._affine_of(x)
        return (x + shift) * tf.exp(log_scale), _sum_changed(self._mask, log_scale, x)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shift, log_scale = self._affine_of(y, initialize=False)
        return y * tf.exp(-log_scale) - shift, -_sum_changed(self._mask, log_scale, y)

    def _affine_of(self, x: tf.Tensor, **kwargs: Any) -> list[tf.Tensor]:
        """Shift and log-scale in the dtype of x."""
        return [tf.cast(values, x.dtype) for values in self._affine(x, **kwargs)]


def _sum_changed(mask: masks.Mask, values: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    """Sums `values`, one per channel, over the changed entries; the sum is the same for every event of the batch."""
    shape, event_ndims = tf.shape(changed), mask.event_ndims
    event_sum = mask.sum_changed(tf.broadcast_to(values, shape[-event_ndims:]))
    return tf.fill(shape[:-event_ndims], event_sum)
