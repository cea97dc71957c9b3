"""Mean and variance per channel as Keras layers: with moving averages, or fixed."""

import contextvars
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.internals import sublayers
from tfp_realnvp.networks.rematerialization import is_recomputing
from tfp_realnvp.networks.stacks import check_single, stack_shape
from tfp_realnvp.replicas import moments_over_replicas
from tfp_realnvp.representation import Described
from tfp_realnvp.scopes import setting

_averages_move: contextvars.ContextVar[bool] = contextvars.ContextVar("averages_move", default=True)


@register
class Moments(Described, keras.layers.Layer):
    """Mean and variance per channel: the batch's in training, their moving averages otherwise.

    ```none
    moving ← momentum · moving + (1 − momentum) · batch        once per training call
    ```

    With `running`, training uses averages as well, for small batches. These averages include the current batch, and the
    gradient flows through its part alone. They are debiased: they begin at 0 and are divided by the sum of their
    weights. So the first averages are the first batch's moments.

    Under a distribution strategy the moments are of the global batch. Their dtype is the dtype of the weights, float32
    under a mixed policy. As in Keras's batch norm, a layer with `trainable = False` always uses the averages and leaves
    them unchanged.

    Args:
      momentum: float in [0, 1), weight of the past in the moving averages; the paper's ρ.
      running: bool, whether training uses the averages instead of the batch.
      copies: int, number of norms in a stack, see `networks.stacks`. The averages then have the shape [copies,
        channels]. None for a single norm.

    Raises:
      ValueError: for a `momentum` outside of [0, 1).

    Call arguments:
      x: tensor of shape [..., channels].
      training: bool, whether to use the batch and move the averages; by default Keras's call context decides.

    Returns:
      `(mean, variance)`, each of shape [channels].

    Example: `mean, variance = Moments()(images, training=True)`

    References: Real NVP, arXiv 1605.08803, section 3.7; appendix E, equations 22 to 24, for `running`.
    """

    def __init__(self, momentum: float = 0.9, running: bool = False, copies: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); got {momentum!r}")
        self.momentum = momentum
        self.running = running
        self.copies = copies

    def build(self, input_shape: tuple) -> None:
        options = dict(trainable=False, autocast=False, aggregation="mean")
        shape = (*stack_shape(self.copies), input_shape[-1])
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **options)
        if self.running:  # The sum of the weights of all batches in an average; the rest belongs to its initial value.
            self.filled = self.add_weight(name="filled", shape=(), initializer="zeros", **options)

    def call(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        check_single(self.copies)
        if not self.uses_batch(training):
            return tf.identity(self.mean.value), tf.identity(self.variance.value)
        batch = moments_over_replicas(tf.cast(x, self.variable_dtype))
        averages = self.update_moving(*batch)
        return averages if self.running else batch

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape[-1:], input_shape[-1:]]

    def uses_batch(self, training: bool | None) -> bool:
        """Whether a call in this mode uses the batch and moves the averages."""
        return bool(training) and self.trainable

    def update_moving(self, mean: tf.Tensor, variance: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Moves the averages towards a batch's moments and returns the averages."""
        moved = self.moved((self.mean.value, self.variance.value), (mean, variance))
        if _averages_move.get() and not is_recomputing():
            for average, value in zip((self.mean, self.variance), moved, strict=True):
                average.assign(value)
            if self.running:
                self.filled.assign(self._moved_filled())
        return moved

    def moved(
        self, averages: tuple[tf.Tensor, tf.Tensor], batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The averages after a batch with the moments `batch`; the weights of the layer do not change."""
        rate = 1 - self.momentum
        if self.running:
            rate = rate / self._moved_filled()
        if is_recomputing():  # The averages have moved already; the gradient still flows through the batch's part.
            mean, variance = (tf.stop_gradient(a - rate * b) + rate * b for a, b in zip(averages, batch, strict=True))
        else:
            mean, variance = (a + rate * (b - a) for a, b in zip(averages, batch, strict=True))
        return mean, variance

    def _moved_filled(self) -> tf.Tensor:
        return self.filled.value if is_recomputing() else self.momentum * self.filled + (1 - self.momentum)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "running": self.running, "copies": self.copies}


@register
class FixedMoments(Described, keras.layers.Layer):
    """A fixed mean and variance per entry, for the standardization of data.

    Call arguments:
      x: tensor of shape [..., size]; only its last axis matters.

    Returns:
      `(mean, variance)`, each of shape [size], initially 0 and 1.

    Example:

    ```python
    layer = FixedMoments()
    layer.build(table.shape)
    layer.mean.assign(table.mean(axis=0))
    layer.variance.assign(table.var(axis=0))
    ```
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: tuple) -> None:
        options = dict(shape=input_shape[-1:], trainable=False, autocast=False)
        self.mean = self.add_weight(name="mean", initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", initializer="ones", **options)

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.identity(self.mean.value), tf.identity(self.variance.value)

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape[-1:], input_shape[-1:]]


def fixed_averages() -> AbstractContextManager[None]:
    """A scope in which a call in training mode uses the moments of its batch, and no average moves.

    Example: `with fixed_averages(): nats = model(images, training=True)`
    """
    return setting(_averages_move, False)


def moments_of(layer: keras.layers.Layer) -> list[Moments]:
    """Every `Moments` inside a Keras layer.

    Example: `moments_of(BatchNormalization())` has one entry.
    """
    return [part for part in sublayers(layer) if isinstance(part, Moments)]
