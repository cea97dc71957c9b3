"""A context (a class, a vector, an image) and the conditioners that see it."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register
from tfp_realnvp.networks.scales import Wrapper
from tfp_realnvp.representation import describe


class WithContext:
    """h ↦ network([h, context]): the context as more channels of what the network sees.

    What the network's first layer makes of a vector's channels is a projection of it, added at every pixel (of a
    one-hot class: an embedding), so every network can be conditioned, and couplings need not know.

    Args:
      network: Keras layer of a conditioner, over the channels of h and of the context together.
      context: float tensor, vectors [..., size] or images [..., height, width, channels]. Its batch is that of h, or
        repeats: h has n times as many, the context's running fastest.
      event_ndims: int, 1 for vectors and 3 for images.

    Attributes:
      network: the Keras layer.

    Example: `Coupling(Checkerboard(), WithContext(ResNet(6, checkerboard=1), tf.one_hot(labels, 10)))`
    """

    def __init__(self, network, context, event_ndims=1):
        context = tf.convert_to_tensor(context)
        self.network = network
        self._context = tf.reshape(context, tf.concat([[-1], tf.shape(context)[-event_ndims:]], 0))

    def __repr__(self) -> str:
        return describe("WithContext", network=self.network, context=self._context)

    @property
    def variables(self) -> list[Any]:
        """All weights of the network, also the non-trainable ones."""
        return self.network.variables

    def __call__(self, h):
        shape, context = tf.shape(h), tf.cast(self._context, h.dtype)
        if context.shape.rank < h.shape.rank:
            context = context[:, tf.newaxis, tf.newaxis, :]
        context = tf.tile(context, tf.concat([shape[:1] // tf.shape(context)[:1], tf.ones_like(shape[1:])], 0))
        context = tf.broadcast_to(context, tf.concat([shape[:-1], tf.shape(context)[-1:]], 0))
        return self.network(tf.concat([h, context], axis=-1))


@register
class ContextMaps(Wrapper):
    """Draws the context of a convolutional conditioner as images: [h, context] ↦ network([h, maps of the context]).

    ```none
    map[row, column, m] = Σ_k context[k] · maps[row, column, k, m]
    ```

    A vector's own channels are the same at every pixel, and tell a convolution nothing of where a class has its
    strokes; its maps, learned like the kernels that they are seen through, do. As they have the size of the images, the
    network is made for images of one size.

    Args:
      network: Keras layer over the channels of h and the maps together.
      context_size: how many of the last channels are the context, the same at every pixel.
      num_maps: how many maps the network sees.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `WithContext(ContextMaps(GlowNet(12), context_size=10), tf.one_hot(labels, 10))`
    """

    def __init__(self, network, context_size, num_maps=8, seed=None, **kwargs):
        super().__init__(network, **kwargs)
        check_positive(context_size=context_size, num_maps=num_maps)
        self.context_size = context_size
        self.num_maps = num_maps
        self.seed = seed

    def build(self, input_shape):
        *outer, channels = input_shape
        self.maps = self.add_weight(
            name="maps",
            shape=(*outer[1:], self.context_size, self.num_maps),
            initializer=keras.initializers.RandomNormal(0.0, 0.5, seed=self.seed),
        )
        self.network.build((*outer, channels - self.context_size + self.num_maps))

    def call(self, x):
        h, context = x[..., : -self.context_size], x[:, 0, 0, -self.context_size :]
        maps = ops.tensordot(context, ops.cast(self.maps, x.dtype), [[1], [2]])
        return self.network(ops.concatenate([h, maps], axis=-1))

    def get_config(self):
        arguments = {"context_size": self.context_size, "num_maps": self.num_maps, "seed": self.seed}
        return {**super().get_config(), **arguments}
