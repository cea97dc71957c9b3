"""`Rematerialized`: a conditioner that computes its activations again in the backward pass instead of keeping them."""

import contextlib
import contextvars
import itertools
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.internals import in_training
from tfp_realnvp.representation import describe
from tfp_realnvp.scopes import setting

_recomputing = contextvars.ContextVar("recomputing", default=False)


class Rematerialized:
    """x ↦ network(x); the backward pass keeps x alone and runs the network again.

    Otherwise the backward pass keeps all activations of a coupling's network. They are dozens of tensors, each of the
    size of an image times the network's width. The input is one image. The price is a third forward pass, about 4/3 of
    the time. Values and gradients are the same, and moving averages move once.

    There are no second derivatives: TensorFlow's `tf.recompute_grad` has none.

    Args:
      network: Keras layer.

    Raises:
      NotImplementedError: where a gradient is differentiated once more.

    Attributes:
      network: the Keras layer.

    Example: `Coupling(Checkerboard(), Rematerialized(TanhScale(ResNet(6, checkerboard=1))))`

    References: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    def __init__(self, network: keras.layers.Layer) -> None:
        self.network = network

    def __repr__(self) -> str:
        return describe("Rematerialized", network=self.network)

    @property
    def variables(self) -> list[Any]:
        """All weights of the network, trainable or not."""
        return self.network.variables

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        # TensorFlow calls the function first for the value, then for the backward pass, outside of Keras's call.
        training, passes = in_training(), itertools.count()

        def network(x: tf.Tensor) -> tf.Tensor:
            is_backward_pass = next(passes) > 0
            with recomputing() if is_backward_pass else contextlib.nullcontext():
                return self.network(x, training=training)

        # TensorFlow names the function in its error on second derivatives.
        network.__name__ = "a network: rematerialize must be False for second derivatives; got True"
        return tf.recompute_grad(network)(x)


def recomputing() -> contextlib.AbstractContextManager[None]:
    """A scope for repeating the pass of networks over a batch: the values are the same, and no average moves.

    Example: `with recomputing(): y = network(x, training=True)`
    """
    return setting(_recomputing, True)


def is_recomputing() -> bool:
    """Whether the code runs within `recomputing()`.

    Example: `is_recomputing()` is False outside of the scope.
    """
    return _recomputing.get()
