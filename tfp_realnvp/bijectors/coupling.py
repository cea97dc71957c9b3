"""Coupling layers (Real NVP, sections 3.2 to 3.4) and the elementwise maps inside them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors import bins, masks
from tfp_realnvp.bijectors.fused import FusedBijector, forward_and_log_det, inverse_and_log_det
from tfp_realnvp.threads import unfused


def affine(params: tf.Tensor) -> tfb.Bijector:
    """The affine map of the authors' code, y = (x + t) · exp(s).

    Args:
      params: tensor that holds the shift t, then the log-scale s, along its last axis.

    Returns:
      A `tfb.Bijector`; forward is data → latent.

    Example: `affine(tf.constant([1.0, 0.0])).forward([2.0])` is [3].

    References: Real NVP, equation 4, up to the order of shift and scale.
    """
    shift, log_scale = tf.split(params, 2, axis=-1)
    return _Affine(shift, log_scale)


def affine_scale_first(params: tf.Tensor) -> tfb.Bijector:
    """The affine map as the paper writes it, y = x · exp(s) + t.

    Args:
      params: tensor that holds the shift t, then the log-scale s, along its last axis.

    Returns:
      A `tfb.Bijector`; forward is data → latent.

    Example: `affine_scale_first(tf.constant([1.0, 0.0])).forward([2.0])` is [3].

    References: Real NVP, equation 4.
    """
    shift, log_scale = tf.split(params, 2, axis=-1)
    return _Affine(shift, log_scale, scale_first=True)


def additive(params: tf.Tensor) -> tfb.Bijector:
    """The volume-preserving map of NICE, y = x + t.

    Args:
      params: tensor, the shift t.

    Returns:
      A `tfb.Bijector`; forward is data → latent.

    Example: `additive(tf.constant([1.0])).forward([2.0])` is [3].

    References: Dinh et al., NICE, arXiv 1410.8516, section 3.2.
    """
    return tfb.Shift(params)


def diagonal(params: tf.Tensor) -> tfb.Bijector:
    """The diagonal map, y = x · exp(s): NICE's last layer, for a coupling with `masks.ChangeAll`.

    Args:
      params: tensor, the log-scale s.

    Returns:
      A `tfb.Bijector`; forward is data → latent.

    Example: `diagonal(tf.constant([0.0])).forward([2.0])` is [2].

    References: Dinh et al., NICE, arXiv 1410.8516, section 3.3.
    """
    return tfb.Scale(log_scale=params)


class _Affine(FusedBijector):
    """The map of `affine` or `affine_scale_first`; a `tfb.Chain` of a shift and a scale takes longer.

    Args:
      shift, log_scale: tensors.
      scale_first: bool, whether x is scaled before it is shifted.

    Example: `_Affine(tf.constant(1.0), tf.constant(0.0)).forward(2.0)` is 3.
    """

    def __init__(
        self,
        shift: tf.Tensor,
        log_scale: tf.Tensor,
        scale_first: bool = False,
        validate_args: bool = False,
        name: str = "affine",
    ) -> None:
        parameters = dict(locals())
        self._shift, self._log_scale, self._scale_first = shift, log_scale, scale_first
        super().__init__(parameters, event_ndims=0, validate_args=validate_args, name=name)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {name: tfp.util.ParameterProperties() for name in ("shift", "log_scale")}

    @classmethod
    def _is_increasing(cls) -> bool:
        return True

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.exp(self._log_scale)
        return x * scale + self._shift if self._scale_first else (x + self._shift) * scale, self._log_scale

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        scale = tf.exp(-self._log_scale)
        return (y - self._shift) * scale if self._scale_first else y * scale - self._shift, -self._log_scale


class Coupling(FusedBijector):
    """A coupling layer: keeps one part of an event; the kept part determines the map that changes the rest.

    ```none
    kept, changed = split(x)
    y = merge(kept, f(changed; conditioner(kept)))          Real NVP, equations 4, 5 and 9
    log|det dy/dx| = Σ over the changed entries of log|f'|
    ```

    Forward is data → latent, as in the papers. With `masks.ChangeAll` the parameters of the map do not depend on x,
    only on the conditioner's weights and context. Such a coupling as the last layer is a learned base distribution.

    Args:
      mask: `masks.Checkerboard`, `Channel`, `Split`, `ChangeAll`, `Dense`, or an array of 0 (changed) and 1 (kept) in
        the shape of the event.
      conditioner: callable, the kept part [batch, ...] ↦ the parameters in the shape that `bijector_fn` expects. For
        `affine` they have twice the channels of the changed part, for `additive` the same channels. It may be a Keras
        layer, a `tf.Module` or a function; `networks.WithContext` binds a context to it.
      bijector_fn: callable, parameters ↦ elementwise `tfb.Bijector`: `affine`, `affine_scale_first`, `additive`,
        `diagonal`, or for example a `tfb.RationalQuadraticSpline`. The masks `Channel`, `Split` and `ChangeAll` gather
        the changed entries. With them the bijector may also act on the last axis as a whole, as
        `ChannelAutoregressive` does.

    Raises:
      ValueError: for a mask array of the wrong rank or with other entries. When called, for a `Checkerboard` or
        `Dense` mask with a `bijector_fn` that is not elementwise.

    Example:

    ```python
    coupling = Coupling([1, 0], rnvp.networks.MLP(4, hidden_units=[64, 64]), affine)  # Over points of the plane.
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0., 1.), 2), tfb.Invert(coupling))
    flow.log_prob([[0.5, -1.0]])
    ```

    References: Dinh et al., Real NVP, arXiv 1605.08803, sections 3.2 to 3.4.
    """

    def __init__(
        self,
        mask: masks.Mask | np.ndarray | list,
        conditioner: Callable[[tf.Tensor], tf.Tensor],
        bijector_fn: Callable[[tf.Tensor], tfb.Bijector] = affine,
        validate_args: bool = False,
        name: str = "coupling",
    ) -> None:
        parameters = dict(locals())
        self._mask = mask if isinstance(mask, masks.Mask) else masks.Dense(mask)
        self._conditioner = self._no_dependency(conditioner)
        self._bijector_fn = bijector_fn
        super().__init__(parameters, self._mask.event_ndims, [conditioner], validate_args=validate_args, name=name)

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._change(x, forward_and_log_det)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._change(y, inverse_and_log_det)

    def forward_bins(self, events: bins.Bins) -> bins.Bins:
        """The bins behind the coupling, see `bins`: the middles of the kept entries determine the map of the others."""
        kept, changed = events.split(self._mask.split)
        if kept.is_mapped.any() or changed.is_mapped.any():
            raise ValueError(
                "the probabilities of levels need entries that pass one map each; a coupling keeps or changes entries "
                f"that another one has changed: {self}"
            )
        mapped = changed
        if changed.edges:  # Levels alone only change places, and need no network.
            mapped = bins.forward(self._bijector_fn(self._params(kept.middle)), changed)
        # Nothing reads the middle of a mapped entry. The unmapped middle is data, so no gradient passes through it.
        mapped = mapped._replace(middle=changed.middle, is_mapped=np.ones_like(mapped.is_mapped))
        return kept.merged(self._mask.merge, mapped)

    def inverse_levels(self, z: tf.Tensor, at: bins.At, choice: bins.Choice) -> tf.Tensor:
        """The levels of the changed entries, see `bins`, beside those of the kept ones."""
        kept, changed = self._mask.split(z)
        levels_of_kept = self._mask.merge(kept, tf.zeros_like(changed))  # No latent may pass for a level.
        middles, _ = self._mask.split(at(levels_of_kept + 0.5))
        return self._mask.merge(*choice(self._bijector_fn, self._params(middles), kept, changed, at))

    def _change(self, x: tf.Tensor, apply: Callable[[Any, tf.Tensor, int], tuple]) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies the map to the changed part of x, in the direction of `apply`; returns the result and its log-det."""
        kept, changed = self._mask.split(x)
        f = self._bijector_fn(self._params(kept))
        ndims = f.forward_min_event_ndims  # 1 for a map of all channels of a pixel, 0 for an elementwise map.
        if ndims and isinstance(self._mask, masks.Dense):
            raise ValueError(
                "bijector_fn must give elementwise bijectors for a mask that does not gather the changed entries; "
                f"got {f}: its forward_min_event_ndims is {ndims}"
            )
        result, log_slope = apply(f, changed, ndims)
        shape = tf.shape(changed)
        if ndims:
            log_slope = log_slope[(..., *[tf.newaxis] * ndims)]
            shape = tf.concat([shape[:-ndims], [1] * ndims], 0)
        # TFP computes the log-det of a constant Jacobian once for the whole batch.
        if log_slope.shape.rank < changed.shape.rank:
            log_slope = tf.broadcast_to(log_slope, shape)
        return self._mask.merge(kept, result), self._mask.sum_changed(log_slope)

    def _params(self, kept: tf.Tensor) -> tf.Tensor:
        """The conditioner's output; convolutional networks require exactly one batch axis."""
        shape, event_ndims = tf.shape(kept), self._mask.event_ndims
        if kept.shape.rank == event_ndims + 1:
            params = self._conditioner(kept)
        else:
            params = self._conditioner(tf.reshape(kept, tf.concat([[-1], shape[-event_ndims:]], 0)))
            params = tf.reshape(params, tf.concat([shape[:-event_ndims], tf.shape(params)[1:]], 0))
        return unfused(tf.cast(params, kept.dtype))
