"""`Rematerialized`: a conditioner whose activations the backward pass computes again instead of keeping them."""

import contextlib
import itertools

import tensorflow as tf

from tfp_realnvp.bijectors.fused import in_training
from tfp_realnvp.networks.layers import recomputing


class Rematerialized:
    """x ↦ network(x), keeping x alone for the backward pass, which runs the network again.

    Of a coupling's network all activations are kept otherwise, dozens of tensors the size of an image times its width;
    the input is one image. The price is a third forward pass: about 4/3 of the time. The values and gradients are the
    same, and moving averages move once.

    Args:
      network: Keras layer.

    Attributes:
      network: the Keras layer.

    Example: `Coupling(Checkerboard(), Rematerialized(TanhScale(ResNet(6, checkerboard=1))))`

    References: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    def __init__(self, network):
        self.network = network

    @property
    def variables(self):
        """The weights of the network, with those that training does not change."""
        return self.network.variables

    def __call__(self, x):
        training, passes = in_training(), itertools.count()  # the backward pass is outside of Keras's call

        def network(x):
            with recomputing() if next(passes) else contextlib.nullcontext():
                return self.network(x, training=training)

        return tf.recompute_grad(network)(x)
