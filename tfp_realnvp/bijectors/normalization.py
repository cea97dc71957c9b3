"""Normalizations as layers of the flow: batch norm (Real NVP, section 3.7 and appendix E) and Glow's act norm."""

import tensorflow as tf

from tfp_realnvp.bijectors import masks
from tfp_realnvp.bijectors.fused import FusedBijector


class BatchNormalization(FusedBijector):
    """Normalizes each channel by its moments, y = (x − μ) / √(σ² + ε).

    ```none
    log|det dy/dx| = −½ Σ log(σ² + ε), over the channels and the pixels that are changed
    ```

    Forward is data → latent, as in the papers. In training (`moments` decides, from Keras's call context) forward uses
    the batch's own moments, through which the gradient flows; otherwise, and always in the inverse, the moving ones.

    Args:
      moments: callable, `(x, training=None) -> (mean, variance)`, each of shape [channels]: `rnvp.networks.Moments`, or
        any function of that form. The inverse calls it with `training=False`.
      mask: `masks.Mask` or array: only the entries that it changes are normalized; None: all of them. The moments are
        those of `mask.split(x)`'s second part, so a checkerboard's include its zeros, as in the authors' code.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors; only for `mask=None`.
      epsilon: added to the variance.

    Example:

    ```python
    norm = BatchNormalization(rnvp.networks.Moments())
    y = norm.forward(images)
    ```

    References: Real NVP, section 3.7; the moving averages are updated as in the authors' code, not as in equations 22
    to 24.
    """

    def __init__(
        self, moments, mask=None, event_ndims=3, epsilon=1e-4, validate_args=False, name="batch_normalization"
    ):
        parameters = dict(locals())
        if mask is None:
            mask = masks.ChangeAll(event_ndims)
        self._mask = mask if isinstance(mask, masks.Mask) else masks.Dense(mask)
        self._moments = self._no_dependency(moments)
        self._epsilon = epsilon
        super().__init__(parameters, self._mask.event_ndims, [moments], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x):
        kept, changed = self._mask.split(x)
        mean, variance = self._moments_of(changed)
        y = (changed - mean) * tf.math.rsqrt(variance)
        return self._mask.merge(kept, y), -0.5 * _sum_changed(self._mask, tf.math.log(variance), changed)

    def _inverse_and_log_det(self, y):
        kept, changed = self._mask.split(y)
        mean, variance = self._moments_of(changed, training=False)
        x = changed * tf.sqrt(variance) + mean
        return self._mask.merge(kept, x), 0.5 * _sum_changed(self._mask, tf.math.log(variance), changed)

    def _moments_of(self, x, **kwargs):
        mean, variance = self._moments(x, **kwargs)
        return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype) + self._epsilon


class ActNorm(FusedBijector):
    """Glow's activation normalization, a learned affine map of each channel: y = (x + shift) · exp(log_scale).

    ```none
    log|det dy/dx| = pixels · Σ log_scale
    ```

    Forward is data → latent, as in the papers. A batch that goes forward may be what initializes the map (`affine`
    decides); the inverse never does.

    Args:
      affine: callable, `(x, initialize=True) -> (shift, log_scale)`, each of shape [channels]:
        `rnvp.networks.ChannelAffine`, or any function of that form. The inverse calls it with `initialize=False`.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors.

    Example:

    ```python
    norm = ActNorm(rnvp.networks.ChannelAffine())
    with rnvp.networks.initializing():
        y = norm.forward(images)  # of mean 0 and variance 1
    ```

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """

    def __init__(self, affine, event_ndims=3, validate_args=False, name="act_norm"):
        parameters = dict(locals())
        self._mask = masks.ChangeAll(event_ndims)
        self._affine = self._no_dependency(affine)
        super().__init__(parameters, event_ndims, [affine], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x):
        shift, log_scale = self._affine_of(x)
        return (x + shift) * tf.exp(log_scale), _sum_changed(self._mask, log_scale, x)

    def _inverse_and_log_det(self, y):
        shift, log_scale = self._affine_of(y, initialize=False)
        return y * tf.exp(-log_scale) - shift, -_sum_changed(self._mask, log_scale, y)

    def _affine_of(self, x, **kwargs):
        return [tf.cast(values, x.dtype) for values in self._affine(x, **kwargs)]


def _sum_changed(mask, values, changed):
    """Σ `values`, one a channel, over the entries that are changed: the same for every event of the batch."""
    shape, event_ndims = tf.shape(changed), mask.event_ndims
    of_one_event = mask.sum_changed(tf.broadcast_to(values, shape[-event_ndims:]))
    return tf.fill(shape[:-event_ndims], of_one_event)
