"""`Standardized`: flows whose first layers are fixed affine maps, which `adapt` sets from the data."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.architectures.architecture import Architecture
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import BatchNormalization, masks
from tfp_realnvp.networks import FixedMoments


class Standardized(Architecture):
    """An architecture with layers of fixed moments: without them a flow spends its first steps on the data's scale.

    A subclass defines `inputs_of_moments`.

    Example: `model.adapt(images)`
    """

    def inputs_of_moments(self, x: tf.Tensor, context: Any) -> list[tuple[str, FixedMoments, tf.Tensor]]:
        """The tensors that the layers of fixed moments standardize.

        Args:
          x: events with their noise, [batch] + event_shape.
          context: labels, contexts or None.

        Returns:
          For each layer the name of the argument that it depends on, the layer and its input.
        """
        raise NotImplementedError(f"{type(self).__name__} must define inputs_of_moments(x, context)")

    def adapt(self, x: Any, y: Any = None) -> None:
        """Sets the standardization from the means and deviations of these data, like `keras.layers.Normalization`.

        Args:
          x, y: the training data, as for `fit`. Context vectors are standardized as well, before the conditioners.

        Raises:
          ValueError: for data that do not fit the model, are NaN, or have a constant column.

        Example: `posterior.adapt(parameters, observations)`
        """
        merged: dict[int, tuple[str, FixedMoments, _Moments]] = {}
        for events, context in self.batches(x if isinstance(x, tf.data.Dataset) else (x, y), batch_size=2**10):
            if self.num_bins is not None:
                events, _ = self.dequantization(events, num_bins=self.num_bins, seed=[self.seed, -1])
            for argument, layer, values in self.inputs_of_moments(tf.cast(events, self.events.dtype), context):
                rows = np.reshape(values, [-1, values.shape[-1]]).astype(np.float64)
                if not np.isfinite(rows).all():
                    raise ValueError(f"{argument} must be finite; got NaN or infinity")
                new = _Moments.of(rows)
                merged[id(layer)] = (
                    argument,
                    layer,
                    merged[id(layer)][-1].with_others(new) if id(layer) in merged else new,
                )
        for argument, _, moments in merged.values():
            constant = np.flatnonzero(moments.least == moments.greatest).tolist()
            if constant:
                raise ValueError(f"{argument} must vary in every column; got constants in columns {constant}")
        for _, layer, moments in merged.values():
            layer.mean.assign(moments.mean)
            layer.variance.assign(moments.variance)


def standardization(
    layers: LayerStore, shape: tuple[int, ...], scale: int = 0, mask: masks.Mask | None = None
) -> BatchNormalization:
    """A fixed affine map of each channel, the identity until `adapt` sets it.

    Args:
      layers: `LayerStore`.
      shape: the shape of the changed entries.
      scale: int.
      mask: as for `BatchNormalization`.

    Example: `standardization(layers, (32, 32, 3))`
    """
    moments = layers.layer("standardization", FixedMoments, shape, scale)
    return BatchNormalization(moments, mask, event_ndims=len(shape), epsilon=0.0)


def with_standardized_context(layers: LayerStore, context_size: int | None) -> LayerStore:
    """The layers for their context vectors after a standardization, which `adapt` sets too.

    Args:
      layers: `LayerStore`.
      context_size: size of the vectors; None without a context, or for classes.

    Example: `layers = with_standardized_context(layers, self.options.context_size)`
    """
    if not context_size:
        return layers
    moments = layers.layer("context_standardization", FixedMoments, (context_size,))
    if layers.context is None:
        return layers
    mean, variance = moments(layers.context)
    return layers.with_context((layers.context - mean) * tf.math.rsqrt(variance))


def vectors_of_moments(
    networks: Sequence[Any], x: tf.Tensor, context: Any
) -> list[tuple[str, FixedMoments, tf.Tensor]]:
    """The layers of fixed moments over vectors and over their contexts, see `Standardized.inputs_of_moments`.

    Args:
      networks: layers, among which those of the vectors come before those of the contexts. Classes have none.
      x: vectors [batch, size].
      context: contexts [batch, context_size], labels or None.

    Example: `vectors_of_moments(self.networks, x, context)`
    """
    moments = [network for network in networks if isinstance(network, FixedMoments)]
    return list(zip(("x", "y"), moments, (x, context), strict=False))


@dataclasses.dataclass(frozen=True)
class _Moments:
    """The number, the range and the moments of the rows of a table, in each column."""

    number: int
    least: np.ndarray
    greatest: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "_Moments":
        return cls(len(rows), rows.min(axis=0), rows.max(axis=0), rows.mean(axis=0), rows.var(axis=0))

    def with_others(self, others: "_Moments") -> "_Moments":
        """The moments of all rows together (Chan, Golub and LeVeque, 1979)."""
        number = self.number + others.number
        share, distance = others.number / number, others.mean - self.mean
        return _Moments(
            number,
            np.minimum(self.least, others.least),
            np.maximum(self.greatest, others.greatest),
            self.mean + share * distance,
            (1 - share) * self.variance + share * others.variance + share * (1 - share) * distance**2,
        )
