"""`Rematerialized`: a conditioner whose backward pass computes the activations again instead of keeping them."""

import contextlib
import contextvars
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.internals import in_training
from tfp_realnvp.representation import describe

_recomputing = contextvars.ContextVar("recomputing", default=False)


class Rematerialized:
    """x ↦ network(x), keeping x alone for the backward pass, which runs the network again.

    Without it all activations of a coupling's network are kept: dozens of tensors of the size of an image times the
    network's width. The input is one image. The price is a third forward pass, about 4/3 of the time. Values and
    gradients are the same, and moving averages move once.

    Args:
      network: Keras layer.

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
        """All weights of the network, also the non-trainable ones."""
        return self.network.variables

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        # TensorFlow calls the function first for the value, then outside of Keras's call for the backward pass.
        training, passes = in_training(), itertools.count()

        def network(x: tf.Tensor) -> tf.Tensor:
            is_backward_pass = next(passes) > 0
            with recomputing() if is_backward_pass else contextlib.nullcontext():
                return self.network(x, training=training)

        return tf.recompute_grad(network)(x)


@contextlib.contextmanager
def recomputing() -> Iterator[None]:
    """A scope in which networks repeat a pass over a batch: they give the same values, and no average moves."""
    token = _recomputing.set(True)
    try:
        yield
    finally:
        _recomputing.reset(token)


def is_recomputing() -> bool:
    """Whether a network is called within `recomputing()`."""
    return _recomputing.get()
