"""Glow's activation normalization: a shift and a scale of each channel, which the first batch initializes."""

import contextlib

import keras
import tensorflow as tf

from tfp_realnvp.bijectors.passes import initialization
from tfp_realnvp.common import register
from tfp_realnvp.internals import sublayers
from tfp_realnvp.representation import Described


@contextlib.contextmanager
def initializing():
    """A scope in which every `ChannelAffine` that is not initialized yet takes its values from the batch it is given.

    One eager pass, data → latent, initializes a whole flow: each layer sees the batch as the layers before it, which
    have their values by then, have normalized it.

    Under a distribution strategy the pass is made once, in cross-replica context (outside of `strategy.run`), on the
    global batch; all replicas get the values.

    Example:

    ```python
    with initializing():
        flow.log_prob(images)
    ```
    """
    token = initialization.set(True)
    try:
        yield
    finally:
        initialization.reset(token)


@register
class ChannelAffine(Described, keras.layers.Layer):
    """Shift and log-scale of each channel, which are weights: those of Glow's activation normalization.

    They begin as 0. The first batch within `initializing()` sets them to what normalizes it, and the third weight,
    `initialized`, from 0 to 1; from then on only training changes them.

    ```none
    shift ← −mean
    log_scale ← −½ log(variance + 10⁻⁶)        (x + shift) · exp(log_scale) has mean 0 and variance 1
    ```

    The values are computed in the dtype of the weights, float32 under a mixed policy, whatever the dtype of the input.

    Call arguments:
      x: tensor of shape [..., channels].
      initialize: whether `x` may set the values.

    Returns:
      `(shift, log_scale)`, each of shape [channels].

    Example: `shift, log_scale = ChannelAffine()(images)`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape):
        options = dict(initializer="zeros", autocast=False)
        self.shift = self.add_weight(name="shift", shape=input_shape[-1:], **options)
        self.log_scale = self.add_weight(name="log_scale", shape=input_shape[-1:], **options)
        self.initialized = self.add_weight(name="initialized", shape=(), trainable=False, **options)

    def call(self, x, initialize=True):
        if initialize and initialization.get():
            self._initialize(tf.cast(x, self.variable_dtype))
        return tf.identity(self.shift.value), tf.identity(self.log_scale.value)

    def _initialize(self, x):
        mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
        is_first = self.initialized.value < 0.5
        self.shift.assign(tf.where(is_first, -mean, self.shift.value))
        self.log_scale.assign(tf.where(is_first, -0.5 * tf.math.log(variance + 1e-6), self.log_scale.value))
        self.initialized.assign(1.0)

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape[-1:], input_shape[-1:]]


def uninitialized(layer):
    """Every `ChannelAffine` inside of a Keras layer that no batch has initialized yet."""
    parts = [part for part in sublayers(layer) if isinstance(part, ChannelAffine)]
    return [part for part in parts if not part.built or part.initialized.numpy() < 0.5]
