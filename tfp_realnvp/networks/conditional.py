"""`Given`: a conditioner with a context (a class, a vector, an image) bound to it."""

import tensorflow as tf


class Given:
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

    Example: `Coupling(Checkerboard(), Given(ResNet(6, checkerboard=1), tf.one_hot(labels, 10)))`
    """

    def __init__(self, network, context, event_ndims=1):
        context = tf.convert_to_tensor(context)
        self.network = network
        self._context = tf.reshape(context, tf.concat([[-1], tf.shape(context)[-event_ndims:]], 0))

    @property
    def variables(self):
        """The weights of the network, with those that training does not change."""
        return self.network.variables

    def __call__(self, h):
        shape, context = tf.shape(h), tf.cast(self._context, h.dtype)
        if context.shape.rank < h.shape.rank:
            context = context[:, tf.newaxis, tf.newaxis, :]
        context = tf.tile(context, tf.concat([shape[:1] // tf.shape(context)[:1], tf.ones_like(shape[1:])], 0))
        context = tf.broadcast_to(context, tf.concat([shape[:-1], tf.shape(context)[-1:]], 0))
        return self.network(tf.concat([h, context], axis=-1))
