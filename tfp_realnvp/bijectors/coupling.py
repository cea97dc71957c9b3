"""Coupling layers (Real NVP, sections 3.2 to 3.4) and the elementwise maps inside them."""

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import masks
from tfp_realnvp.bijectors.fused import FusedBijector

tfb = tfp.bijectors


def affine(params):
    """The affine map of the authors' code, y = (x + t) · exp(s).

    Args:
      params: tensor whose last axis holds the shift t, then the log-scale s.

    Returns:
      A `tfb.Bijector` whose forward direction is data → latent.
    """
    shift, log_scale = tf.split(params, 2, axis=-1)
    return tfb.Chain([tfb.Scale(log_scale=log_scale), tfb.Shift(shift)])


def affine_scale_first(params):
    """The affine map as the paper writes it (equation 4), y = x · exp(s) + t; arguments as for `affine`."""
    shift, log_scale = tf.split(params, 2, axis=-1)
    return tfb.Chain([tfb.Shift(shift), tfb.Scale(log_scale=log_scale)])


def additive(params):
    """The volume-preserving map of NICE, y = x + t, with t = `params`."""
    return tfb.Shift(params)


def diagonal(params):
    """The diagonal map, y = x · exp(s), with s = `params`: NICE's last layer, in a coupling that keeps nothing."""
    return tfb.Scale(log_scale=params)


class Coupling(FusedBijector):
    """A coupling layer: part of the event is kept, the rest changes by a map whose parameters the kept part chooses.

    ```none
    kept, changed = split(x)
    y = merge(kept, f(changed; conditioner(kept)))          Real NVP, equations 4, 5 and 9
    log|det dy/dx| = Σ over the changed entries of log|f'|
    ```

    Forward is data → latent, as in the papers. With `masks.ChangeAll` it is a map whose parameters do not depend on x,
    only on the conditioner's weights and context: such a last layer is a learned base distribution.

    Args:
      mask: `masks.Checkerboard`, `Channel`, `Split`, `ChangeAll`, `Dense`, or an array of 0 (changed) and 1 (kept) in
        the shape of the event.
      conditioner: callable, a [batch] + shape-of-kept tensor ↦ the parameters of the map, in the shape that
        `bijector_fn` expects: for `affine` twice the channels of what is changed, for `additive` as many. It may be a
        Keras layer, a `tf.Module` or a function; `networks.WithContext` binds a context to it.
      bijector_fn: callable, parameters ↦ elementwise `tfb.Bijector`: `affine`, `affine_scale_first`, `additive`,
        `diagonal`, or for example a `tfb.RationalQuadraticSpline`. With a mask that gathers what changes (`Channel`,
        `Split`, `ChangeAll`) it may be one of the last axis as a whole, such as `ChannelAutoregressive`.

    Raises:
      ValueError: for a mask array of the wrong rank or with other entries; when called, for a `bijector_fn` that is
        not elementwise with a `Checkerboard` or `Dense` mask.

    Example:

    ```python
    coupling = Coupling([1, 0], rnvp.networks.MLP(4, hidden_units=[64, 64]), affine)   # over points of the plane
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0., 1.), 2), tfb.Invert(coupling))
    flow.log_prob([[0.5, -1.0]])
    ```
    """

    def __init__(self, mask, conditioner, bijector_fn=affine, validate_args=False, name="coupling"):
        parameters = dict(locals())
        self._mask = mask if isinstance(mask, masks.Mask) else masks.Dense(mask)
        self._conditioner = self._no_dependency(conditioner)
        self._bijector_fn = bijector_fn
        super().__init__(parameters, self._mask.event_ndims, [conditioner], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x):
        return self._change(x, lambda f, x, ndims: (f.forward(x), f.forward_log_det_jacobian(x, ndims)))

    def _inverse_and_log_det(self, y):
        return self._change(y, lambda f, y, ndims: (f.inverse(y), f.inverse_log_det_jacobian(y, ndims)))

    def _change(self, x, step):
        kept, changed = self._mask.split(x)
        f = self._bijector_fn(self._params(kept))
        ndims = f.forward_min_event_ndims  # 1 for a map of all channels of a pixel
        if ndims and isinstance(self._mask, masks.Dense):
            raise ValueError(
                f"bijector_fn must give elementwise bijectors for a mask that does not gather what changes; got {f}, "
                f"whose forward_min_event_ndims is {ndims}"
            )
        result, log_slope = step(f, changed, ndims)
        shape = tf.shape(changed)
        if ndims:
            log_slope = log_slope[(..., *[tf.newaxis] * ndims)]
            shape = tf.concat([shape[:-ndims], [1] * ndims], 0)
        if log_slope.shape.rank < changed.shape.rank:  # TFP gives a constant Jacobian's log-det once
            log_slope = tf.broadcast_to(log_slope, shape)
        return self._mask.merge(kept, result), self._mask.sum_changed(log_slope)

    def _params(self, kept):
        """The conditioner on a flat batch: networks of convolutions want exactly one batch axis."""
        shape, event_ndims = tf.shape(kept), self._mask.event_ndims
        if kept.shape.rank == event_ndims + 1:
            return tf.cast(self._conditioner(kept), kept.dtype)
        params = self._conditioner(tf.reshape(kept, tf.concat([[-1], shape[-event_ndims:]], 0)))
        params = tf.reshape(params, tf.concat([shape[:-event_ndims], tf.shape(params)[1:]], 0))
        return tf.cast(params, kept.dtype)
