"""The weight-normalized convolution."""

from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.networks.kernels import convolve, l2_penalty, normalized_kernel
from tfp_realnvp.networks.stacks import Weights, check_single, stack_shape, unstack
from tfp_realnvp.representation import Described


@register
class WeightNormConv2D(Described, keras.layers.Layer):
    """A convolution, stride 1 and SAME, with the weight-normalized kernel w = g · v / ‖v‖.

    The norm of each output channel is taken over the rest of the kernel. The weights begin as in Real NVP's code:
    v ~ U(−σ, σ) with σ = √(2 / input channels), g = σ · √(input channels · kernel_size² / 12), bias 0.

    Args:
      filters: int, number of output channels.
      kernel_size: int, height and width of the kernel.
      use_magnitude: bool, whether to learn g; otherwise g is 1.
      use_bias: bool, whether to add a bias.
      l2: float, the penalty l2 · Σ g², without a factor ½, in nats.
      copies: int, number of convolutions in a stack, see `networks.stacks`; it is then the first axis of each weight.
        None for a single convolution.
      seed: int or None.

    Call arguments:
      x: images [batch, height, width, channels].

    Returns:
      Tensor [batch, height, width, filters].

    Example: `WeightNormConv2D(64, kernel_size=3)(images)`

    References: Salimans and Kingma, arXiv 1602.07868; Real NVP, arXiv 1605.08803, section 4.1.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        use_magnitude: bool = True,
        use_bias: bool = True,
        l2: float = 0.0,
        copies: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_magnitude = use_magnitude
        self.use_bias = use_bias
        self.l2 = l2
        self.copies = copies
        self.seed = seed

    def build(self, input_shape: tuple) -> None:
        channels, stacked = input_shape[-1], stack_shape(self.copies)
        sigma = (2 / channels) ** 0.5
        self.v = self.add_weight(
            name="v",
            shape=(*stacked, self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=keras.initializers.RandomUniform(-sigma, sigma, seed=self.seed),
            autocast=False,
        )
        self.magnitude = self.bias = None
        if self.use_magnitude:
            self.magnitude = self.add_weight(
                name="magnitude",
                shape=(*stacked, self.filters),
                initializer=keras.initializers.Constant(sigma * (channels * self.kernel_size**2 / 12) ** 0.5),
                regularizer=l2_penalty(self.l2),
                autocast=False,
            )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(*stacked, self.filters), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        check_single(self.copies)
        return convolve(x, *self._values())

    def unstacked(self, fold: tuple[tf.Tensor, tf.Tensor] | None = None) -> list[Weights]:
        """The weights of each convolution of a stack, in the form for `kernels.convolve`.

        Args:
          fold: scale and offset of the outputs, from `BatchNormalization.affine`, to fold into the weights; or None.
        """
        return unstack(self._values(fold))

    def _values(self, fold: tuple[tf.Tensor, tf.Tensor] | None = None) -> Weights:
        v = tf.convert_to_tensor(self.v.value)
        if self.magnitude is None:
            magnitude = tf.ones([*stack_shape(self.copies), self.filters], v.dtype)
        else:
            magnitude = tf.convert_to_tensor(self.magnitude.value)
        bias = [] if self.bias is None else [tf.convert_to_tensor(self.bias)]
        if fold:
            scale, offset = fold
            magnitude, bias = scale * magnitude, [scale * b + offset for b in bias] or [offset]
        return tuple(tf.cast(value, self.compute_dtype) for value in (normalized_kernel(v, magnitude), *bias))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_magnitude": self.use_magnitude,
            "use_bias": self.use_bias,
            "l2": self.l2,
            "copies": self.copies,
            "seed": self.seed,
        }
