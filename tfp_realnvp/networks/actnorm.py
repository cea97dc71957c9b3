"""Glow's activation normalization: a shift and a scale per channel, initialized by the first batch."""

from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.bijectors.passes import initialization
from tfp_realnvp.common import register
from tfp_realnvp.internals import sublayers
from tfp_realnvp.representation import Described
from tfp_realnvp.scopes import setting


def initializing() -> AbstractContextManager[None]:
    """A scope in which a batch initializes every `ChannelAffine` that has no values yet.

    One eager pass, data → latent, initializes a whole flow. Each layer sees the output of the layers before it; they
    are initialized by then.

    Under a distribution strategy, make the pass once, on the global batch and in cross-replica context (outside of
    `strategy.run`). All replicas get the values.

    Example:

    ```python
    with initializing():
        flow.log_prob(images)
    ```

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """
    return setting(initialization, True)


@register
class ChannelAffine(Described, keras.layers.Layer):
    """The shift and the log-scale per channel of Glow's activation normalization, as weights.

    Both begin at 0. The first batch within `initializing()` sets them to its own normalization, and sets a third
    weight, `initialized`, from 0 to 1. From then on only training changes the shift and the log-scale.

    ```none
    shift ← −mean
    log_scale ← −½ log(variance + 10⁻⁶)        (x + shift) · exp(log_scale) has mean 0 and variance 1
    ```

    The values are computed in the dtype of the weights, float32 under a mixed policy.

    Call arguments:
      x: tensor of shape [..., channels].
      initialize: bool, whether x may set the values.

    Returns:
      `(shift, log_scale)`, each of shape [channels].

    Example: `shift, log_scale = ChannelAffine()(images)`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: tuple) -> None:
        options = dict(initializer="zeros", autocast=False)
        self.shift = self.add_weight(name="shift", shape=input_shape[-1:], **options)
        self.log_scale = self.add_weight(name="log_scale", shape=input_shape[-1:], **options)
        self.initialized = self.add_weight(name="initialized", shape=(), trainable=False, **options)

    def call(self, x: tf.Tensor, initialize: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        if initialize and initialization.get():
            self._initialize(tf.cast(x, self.variable_dtype))
        return tf.identity(self.shift.value), tf.identity(self.log_scale.value)

    def _initialize(self, x: tf.Tensor) -> None:
        mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
        is_first = self.initialized.value < 0.5
        self.shift.assign(tf.where(is_first, -mean, self.shift.value))
        self.log_scale.assign(tf.where(is_first, -0.5 * tf.math.log(variance + 1e-6), self.log_scale.value))
        self.initialized.assign(1.0)

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape[-1:], input_shape[-1:]]


def uninitialized(layer: keras.layers.Layer) -> list[ChannelAffine]:
    """Every `ChannelAffine` inside a Keras layer that no batch has initialized yet.

    Args:
      layer: Keras layer, built or not.

    Example: `uninitialized(ChannelAffine())` has one entry.
    """
    parts = [part for part in sublayers(layer) if isinstance(part, ChannelAffine)]
    return [part for part in parts if not part.built or part.initialized.numpy() < 0.5]
