"""A mixture over the classes as the distribution of the latents."""

import math
import types
from collections.abc import Callable

import keras
import tensorflow as tf

from tfp_realnvp.architectures.layer_store import LayerStore


def class_means(
    layers: LayerStore, shape: tuple[int, ...], options: types.SimpleNamespace
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The learned means of the latents of each class.

    ```none
    p(x | c) = N(f(x); μ_c, I) |det df/dx|,    p(x) = Σ_c p(x | c) / C
    ```

    All classes share the flow f, so their likelihoods need one pass, and an event's latents f(x) do not depend on its
    class. The means begin near each other: further apart, chance would assign the events to classes before the labels
    do.

    Args:
      layers: `LayerStore` with the layers of the flow.
      shape: the shape of a latent.
      options: the arguments of the family, with `num_classes` and `seed`.

    Returns:
      Function of one-hot classes [..., num_classes], to their means [...] + shape.

    Example: `tfd.Independent(tfd.Normal(class_means(layers, (2,), options)(tf.one_hot([0, 1], 2)), 1.0), 1)`

    References: FlowGMM (Izmailov et al.), arXiv 1912.13025, sections 3 and 4.
    """

    def make(name: str, dtype: keras.DTypePolicy) -> keras.layers.Dense:
        normal = keras.initializers.RandomNormal(stddev=0.1, seed=options.seed)
        size = math.prod(shape)
        # The means belong to the flow, not to a conditioner: they keep the dtype of the weights.
        return keras.layers.Dense(
            size, use_bias=False, kernel_initializer=normal, name=name, dtype=dtype.variable_dtype
        )

    network = layers.layer("class_means", make, (options.num_classes,), layers.last_scale)

    def means(classes: tf.Tensor) -> tf.Tensor:
        flat = network(tf.reshape(classes, [-1, options.num_classes]))
        return tf.reshape(flat, tf.concat([tf.shape(classes)[:-1], shape], 0))

    return means
