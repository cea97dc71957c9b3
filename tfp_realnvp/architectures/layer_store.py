"""`LayerStore`: the networks of a flow, each made once and used for every context."""

import copy
import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import spawn_seeds
from tfp_realnvp.networks import Constant, ContextMaps, Rematerialized, WithContext


class LayerStore:
    """The networks of a flow by scale and name, each made when it is first asked for.

    A conditional flow is rebuilt for each context, always from the same networks.

    Args:
      policy: the Keras dtype policy of the networks.
      seed: int, the seed of the weights for the contexts.
      context_size: number of the conditioners' input channels for the context, 0 without a context.
      rematerialize: whether the backward pass recomputes the conditioners' activations.

    Attributes:
      policy: see the argument.
      context_size: see the argument.
      context: the tensor [..., context_size] that the conditioners see, or None.

    Example: `layers.layer("step_3_act_norm", ChannelAffine, (32, 32, 12), scale=1)`
    """

    def __init__(self, policy: Any, seed: int, context_size: int = 0, rematerialize: bool = False) -> None:
        self.policy, self._seed, self._rematerialize = policy, seed, rematerialize
        self._layers: dict[tuple[int, str], keras.layers.Layer] = {}
        self.context_size, self.context = context_size, None

    @property
    def dtype(self) -> str:
        """The dtype of the weights, and of the flow."""
        return self.policy.variable_dtype

    @property
    def layers(self) -> Iterable[keras.layers.Layer]:
        """All layers, in the order of their construction."""
        return self._layers.values()

    @property
    def last_scale(self) -> int:
        """The number of the coarsest scale that has a layer."""
        return max(scale for scale, _ in self._layers)

    def by_scale(self, layers: Iterable[keras.layers.Layer]) -> list[list[keras.layers.Layer]]:
        """These layers, one list per scale, the finest first."""
        scales = {id(layer): scale for (scale, _), layer in self._layers.items()}
        found: dict[int, list[keras.layers.Layer]] = {}
        for layer in layers:
            found.setdefault(scales[id(layer)], []).append(layer)
        return [found[scale] for scale in sorted(found)]

    def with_context(self, context: tf.Tensor | None) -> "LayerStore":
        """The same layers for this context, a tensor [..., context_size] or None."""
        store = copy.copy(self)
        store.context = context
        return store

    def layer(self, name: str, make: Callable[..., keras.layers.Layer], shape: tuple, scale: int = 0) -> Any:
        """The layer of this name at this scale, or a new one, built for events of this shape.

        Args:
          name: unique within the scale.
          make: function of `name` and `dtype` that makes the layer.
          shape: the shape of an event, without the batch.
          scale: int, 0 for the finest.
        """
        if (scale, name) not in self._layers:
            layer = make(name=f"scale_{scale}_{name}", dtype=self.policy)
            layer.build((None, *shape))
            self._layers[scale, name] = layer
        return self._layers[scale, name]

    def conditioner(self, name: str, make: Callable[..., keras.layers.Layer], shape: tuple, scale: int = 0) -> Any:
        """As `layer`, for a network that also sees the context; for images as maps, see `networks.ContextMaps`."""
        if self.context_size and len(shape) == 3:
            make = functools.partial(self._with_maps, make)
        network = self.layer(name, make, (*shape[:-1], shape[-1] + self.context_size), scale)
        network = Rematerialized(network) if self._rematerialize else network
        return network if self.context is None else WithContext(network, self.context)

    def prior(self, name: str, shape: tuple, scale: int = 0) -> Any:
        """The conditioner of a coupling that changes everything, with parameters of this shape per event.

        Without a context each channel has learned parameters, which fit images of any size. With a context each entry
        has its own, since the places of a class's strokes tell more than their number.
        """
        if not self.context_size:
            return self.layer(name, functools.partial(Constant, shape[-1]), (*shape[:-1], 0), scale)
        axes = "hw"[: len(shape) - 1]
        equation, options = f"b{axes}k,{axes}kc->b{axes}c", dict(bias_axes=f"{axes}c", kernel_initializer="zeros")
        make = functools.partial(keras.layers.EinsumDense, equation, shape, **options)
        network = self.layer(name, make, (*shape[:-1], self.context_size), scale)
        return network if self.context is None else WithContext(network, self.context)

    def _with_maps(self, make: Callable[..., keras.layers.Layer], name: str, dtype: Any) -> keras.layers.Layer:
        seed = spawn_seeds(self._seed, len(self._layers) + 1)[-1]
        return ContextMaps(make(name=name, dtype=dtype), self.context_size, seed=seed, name=name, dtype=dtype)
