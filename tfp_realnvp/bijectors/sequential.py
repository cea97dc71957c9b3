"""`Sequential`: the layers of a flow, one after the other, in one pass."""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors.fused import FusedBijector, forward_and_log_det, inverse_and_log_det
from tfp_realnvp.representation import describe, layers_of


class Sequential(FusedBijector):
    """Applies layers in the order of the papers, data → latent: a `tfb.Chain`, whose order is the reverse.

    ```none
    y = fₙ(… f₂(f₁(x))),    log|det dy/dx| = Σᵢ log|det dfᵢ|
    ```

    The layers run in one pass, and the flow as a whole remembers it. A `tfb.Chain` walks through its bijectors for the
    value, walks back for the log-det, and lets each of them remember its own pass. Eagerly that takes as long as a
    small network.

    Args:
      layers: list of `tfb.Bijector`s. Together they keep the rank of an event.

    Raises:
      ValueError: for layers that change the rank of an event.

    Example: `Sequential([Logit(), coupling])`

    References: Real NVP, arXiv 1605.08803, equations 6 to 8.
    """

    def __init__(self, layers: Sequence[tfb.Bijector], validate_args: bool = False, name: str = "sequential") -> None:
        parameters = dict(locals())
        self._bijectors = list(reversed(layers))  # In the order of a `tfb.Chain`, also for `tf.Module.submodules`.
        event_ndims = max((layer.forward_min_event_ndims for layer in layers), default=0)
        change = lambda event_ndims, layer: layer.forward_event_ndims(event_ndims)
        # The rank of an event in front of each layer, and behind the last one.
        self._event_ndims = list(itertools.accumulate(layers, change, initial=event_ndims))
        if self._event_ndims[-1] != event_ndims:
            raise ValueError(
                f"layers must keep the rank of an event, {event_ndims}; got {self._event_ndims[-1]} behind"
            )
        super().__init__(parameters, event_ndims, networks=layers, validate_args=validate_args, name=name)

    @property
    def bijectors(self) -> list[tfb.Bijector]:
        """The layers in the order of a `tfb.Chain`, the last one first."""
        return self._bijectors

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        event_ndims = lambda self, ndims: [ndims] * len(self._bijectors)
        return {"layers": tfp.util.BatchedComponentProperties(event_ndims=event_ndims)}

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y, log_dets = x, []
        for layer, event_ndims in zip(reversed(self._bijectors), self._event_ndims, strict=False):
            y, log_det = forward_and_log_det(layer, y, event_ndims)
            log_dets.append(log_det)
        return y, self._sum(log_dets[::-1], y)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, log_dets = y, []
        for layer, event_ndims in zip(self._bijectors, reversed(self._event_ndims), strict=False):
            x, log_det = inverse_and_log_det(layer, x, event_ndims)
            log_dets.append(log_det)
        return x, self._sum(log_dets, x)

    def _sum(self, log_dets: list[tf.Tensor], events: tf.Tensor) -> tf.Tensor:
        """The sum of log-dets, those of the latents first in both directions, as in a `tfb.Chain`."""
        total = functools.reduce(operator.add, log_dets or [tf.zeros([], events.dtype)])
        if total.shape.rank == 0:  # TFP computes the log-det of a constant Jacobian once for the whole batch.
            total = tf.fill(tf.shape(events)[: tf.rank(events) - self.forward_min_event_ndims], total)
        return total

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return functools.reduce(lambda shape, layer: layer.forward_event_shape(shape), reversed(self._bijectors), shape)

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return functools.reduce(lambda shape, layer: layer.inverse_event_shape(shape), self._bijectors, shape)

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return functools.reduce(
            lambda shape, layer: layer.forward_event_shape_tensor(shape), reversed(self._bijectors), shape
        )

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return functools.reduce(lambda shape, layer: layer.inverse_event_shape_tensor(shape), self._bijectors, shape)

    def _forward_dtype(self, dtype: Any) -> Any:
        return functools.reduce(lambda dtype, layer: layer.forward_dtype(dtype), reversed(self._bijectors), dtype)

    def _inverse_dtype(self, dtype: Any) -> Any:
        return functools.reduce(lambda dtype, layer: layer.inverse_dtype(dtype), self._bijectors, dtype)

    def __repr__(self) -> str:
        return describe("sequential", *layers_of(self))

    __str__ = __repr__
