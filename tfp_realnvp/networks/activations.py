"""The last hidden activations of the networks of one pass."""

import contextlib
import contextvars
from collections.abc import Iterator

import keras
import tensorflow as tf

from tfp_realnvp.scopes import setting

Activations = list[tuple[keras.layers.Layer, tf.Tensor]]
_recording: contextvars.ContextVar[Activations | None] = contextvars.ContextVar("recording", default=None)


@contextlib.contextmanager
def recording() -> Iterator[Activations]:
    """A scope that records the activations of the networks that run in it.

    Yields:
      A list that grows by a pair for each call of `recorded`: the layer and its activations.

    Example: `with recording() as activations: model.distribution.bijector.inverse(x)`
    """
    activations: Activations = []
    with setting(_recording, activations):
        yield activations


def recorded(layer: keras.layers.Layer, hidden: tf.Tensor) -> tf.Tensor:
    """The hidden activations of a layer, unchanged; a scope `recording()` keeps them.

    Args:
      layer: Keras layer.
      hidden: tensor [batch, ..., units], the input of its last layer.

    Example: `self.dense_out(recorded(self, hidden))`, at the end of `call`.
    """
    if (activations := _recording.get()) is not None:
        activations.append((layer, hidden))
    return hidden


def is_recording() -> bool:
    """Whether the code runs within `recording()`.

    Example: `is_recording()` is False outside of the scope.
    """
    return _recording.get() is not None
