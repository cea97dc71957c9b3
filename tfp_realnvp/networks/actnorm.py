"""Layers that the first batch initializes: the shift and scale of activation normalization, and a whitening."""

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
    """A scope in which a batch initializes every `ChannelAffine` and `Whitening` that has no values yet.

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


class InitializedByData(Described, keras.layers.Layer):
    """Base class of layers whose weights the first batch within `initializing()` sets.

    A subclass defines `values_for(rows)` and calls `initialize(x)`. A weight, `initialized`, is 1 from the first batch
    on.

    Example: `class ChannelAffine(InitializedByData): ...`
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: tuple) -> None:
        """Adds `initialized`, the last weight."""
        self.initialized = self.add_weight(
            name="initialized", shape=(), initializer="zeros", trainable=False, autocast=False
        )

    def initialize(self, x: tf.Tensor) -> None:
        """Sets the weights from x, if the code runs within `initializing()` and no batch has done so.

        Args:
          x: tensor of shape [..., channels].
        """
        if initialization.get():
            rows = tf.reshape(tf.cast(x, self.variable_dtype), [-1, x.shape[-1]])
            is_first = self.initialized.value < 0.5
            for weight, value in self.values_for(rows):
                weight.assign(tf.where(is_first, value, weight.value))
            self.initialized.assign(1.0)

    def values_for(self, rows: tf.Tensor) -> list[tuple[keras.Variable, tf.Tensor]]:
        """The weights, each with its value for a batch of rows, a tensor [number, channels]."""
        raise NotImplementedError(f"{type(self).__name__} must define values_for(rows)")


@register
class ChannelAffine(InitializedByData):
    """The shift and the log-scale per channel of Glow's activation normalization, as weights.

    Both begin at 0. The first batch within `initializing()` sets them to its own normalization, and sets a third
    weight, `initialized`, from 0 to 1. From then on only training changes the shift and the log-scale.

    ```none
    shift ← −mean
    log_scale ← −½ log(variance + 10⁻⁶)        (x + shift) · exp(log_scale) has mean 0 and variance 1
    ```

    The values are computed in the dtype of the weights, float32 under a mixed policy.

    Args:
      learned: False for a shift and a log-scale that training does not change.

    Call arguments:
      x: tensor of shape [..., channels].
      initialize: bool, whether x may set the values.

    Returns:
      `(shift, log_scale)`, each of shape [channels].

    Example: `shift, log_scale = ChannelAffine()(images)`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.1.
    """

    def __init__(self, learned: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.learned = learned

    def build(self, input_shape: tuple) -> None:
        options = dict(shape=input_shape[-1:], initializer="zeros", trainable=self.learned, autocast=False)
        self.shift = self.add_weight(name="shift", **options)
        self.log_scale = self.add_weight(name="log_scale", **options)
        super().build(input_shape)

    def call(self, x: tf.Tensor, initialize: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        if initialize:
            self.initialize(x)
        return tf.identity(self.shift.value), tf.identity(self.log_scale.value)

    def values_for(self, rows: tf.Tensor) -> list[tuple[keras.Variable, tf.Tensor]]:
        mean, variance = tf.nn.moments(rows, [0])
        return [(self.shift, -mean), (self.log_scale, -0.5 * tf.math.log(variance + 1e-6))]

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape[-1:], input_shape[-1:]]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learned": self.learned}


@register
class Whitening(InitializedByData):
    """The matrix W of a whitening by principal components, y = x W. Training does not change it.

    W begins as the identity. The first batch within `initializing()` sets it from its covariance Σ:

    ```none
    Σ = U diag(λ) Uᵀ,    W = U diag(λ + 10⁻⁶)^(−½)        y has the covariance 1
    ```

    Raises:
      ValueError: for a first batch with fewer pixels than channels, whose covariance has no inverse.

    Call arguments:
      x: tensor of shape [..., channels].

    Returns:
      `(W, log|det W|)`, of shapes [channels, channels] and [].

    Example: `kernel, log_abs_det = Whitening()(patches)`

    References: Kessy, Lewin and Strimmer, arXiv 1512.00809, section 2.
    """

    def build(self, input_shape: tuple) -> None:
        size = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(size, size), initializer="identity", trainable=False, autocast=False
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.initialize(x)
        kernel = tf.identity(self.kernel.value)
        return kernel, tf.linalg.slogdet(kernel).log_abs_determinant

    def values_for(self, rows: tf.Tensor) -> list[tuple[keras.Variable, tf.Tensor]]:
        number, channels = rows.shape
        if number < channels:
            raise ValueError(f"x must hold at least {channels} pixels to whiten {channels} channels; got {number}")
        rows = tf.cast(rows - tf.reduce_mean(rows, axis=0), tf.float64)
        variances, axes = tf.linalg.eigh(tf.matmul(rows, rows, transpose_a=True) / number)
        return [(self.kernel, tf.cast(axes * tf.math.rsqrt(variances + 1e-6), self.variable_dtype))]

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [(input_shape[-1], input_shape[-1]), ()]


def uninitialized(layer: keras.layers.Layer) -> list[InitializedByData]:
    """Every layer inside a Keras layer that its first batch initializes and no batch has initialized yet.

    Args:
      layer: Keras layer, built or not.

    Example: `uninitialized(ChannelAffine())` has one entry.
    """
    parts = [part for part in sublayers(layer) if isinstance(part, InitializedByData)]
    return [part for part in parts if not part.built or part.initialized.numpy() < 0.5]
