"""Conditioners with a context: a class, a vector or an image."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register
from tfp_realnvp.networks.scales import Wrapper
from tfp_realnvp.representation import describe


class WithContext:
    """h ↦ network([h, context]): the context as additional input channels of a network.

    The first layer of the network projects a vector context and adds the projection at every pixel. For a one-hot class
    the projection is an embedding. So a context can condition every network, and couplings know nothing of it.

    Args:
      network: Keras layer of a conditioner, over the channels of h and of the context together.
      context: float tensor, vectors [..., size] or images [..., height, width, channels]. Its batch,
        flattened, is the batch of h. If h has a batch n times larger, the whole batch of contexts repeats n times.
      event_ndims: int, rank of the context, 1 for vectors and 3 for images.

    Attributes:
      network: the Keras layer.
      context: tensor [batch, ...], flattened.

    Example: `Coupling(Checkerboard(), WithContext(ResNet(6, checkerboard=1), tf.one_hot(labels, 10)))`
    """

    def __init__(self, network: keras.layers.Layer, context: tf.Tensor | np.ndarray, event_ndims: int = 1) -> None:
        context = tf.convert_to_tensor(context)
        self.network = network
        self.context = tf.reshape(context, tf.concat([[-1], tf.shape(context)[-event_ndims:]], 0))

    def __repr__(self) -> str:
        return describe("WithContext", network=self.network, context=self.context)

    @property
    def variables(self) -> list[Any]:
        """All weights of the network, trainable or not."""
        return self.network.variables

    def with_context(self, context: tf.Tensor) -> "WithContext":
        """The same network with another context, flattened like the attribute."""
        return WithContext(self.network, context, event_ndims=context.shape.rank - 1)

    def __call__(self, *arguments: tf.Tensor) -> tf.Tensor:
        """The network's output at h, the last argument; dynamics take the time before it."""
        *others, h = arguments
        shape, context = tf.shape(h), tf.cast(self.context, h.dtype)
        if context.shape.rank < h.shape.rank:
            context = context[:, tf.newaxis, tf.newaxis, :]
        context = tf.tile(context, tf.concat([shape[:1] // tf.shape(context)[:1], tf.ones_like(shape[1:])], 0))
        context = tf.broadcast_to(context, tf.concat([shape[:-1], tf.shape(context)[-1:]], 0))
        return self.network(*others, tf.concat([h, context], axis=-1))


@register
class ContextMaps(Wrapper):
    """Turns the context of a convolutional conditioner into images: [h, context] ↦ network([h, maps of the context]).

    ```none
    map[row, column, m] = Σ_k context[k] · maps[row, column, k, m]
    ```

    The channels of a vector are the same at every pixel. They cannot tell a convolution the places of a class's
    strokes. The maps can; they are learned together with the network. They have the size of the images, so the network
    accepts images of this size only.

    Args:
      network: Keras layer over the channels of h and the maps together.
      context_size: int, number of context channels, the last of the input; they are the same at every pixel.
      num_maps: int, number of maps.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `WithContext(ContextMaps(GlowNet(12), context_size=10), tf.one_hot(labels, 10))`
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        context_size: int,
        num_maps: int = 8,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, **kwargs)
        check_positive(context_size=context_size, num_maps=num_maps)
        self.context_size = context_size
        self.num_maps = num_maps
        self.seed = seed

    def build(self, input_shape: tuple) -> None:
        *outer, channels = input_shape
        self.maps = self.add_weight(
            name="maps",
            shape=(*outer[1:], self.context_size, self.num_maps),
            initializer=keras.initializers.RandomNormal(0.0, 0.5, seed=self.seed),
        )
        self.network.build((*outer, channels - self.context_size + self.num_maps))

    def call(self, x: tf.Tensor, of_dynamics: tf.Tensor | None = None) -> tf.Tensor:
        # Dynamics take the time before x.
        others, x = ([], x) if of_dynamics is None else ([x], of_dynamics)
        h, context = x[..., : -self.context_size], x[:, 0, 0, -self.context_size :]
        maps = ops.tensordot(context, ops.cast(self.maps, x.dtype), [[1], [2]])
        return self.network(*others, ops.concatenate([h, maps], axis=-1))

    def get_config(self) -> dict[str, Any]:
        arguments = {"context_size": self.context_size, "num_maps": self.num_maps, "seed": self.seed}
        return {**super().get_config(), **arguments}
