"""The gated convolutional network of the UvA deep learning course's flows."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.networks.kernels import conv_layer
from tfp_realnvp.networks.tracing import TracedOnce
from tfp_realnvp.representation import Described


def concat_elu(x: tf.Tensor) -> tf.Tensor:
    """The concatenation of elu(x) and elu(−x), with twice the channels.

    Args:
      x: tensor [..., channels].

    Returns:
      Tensor [..., 2 · channels].

    Example: `concat_elu(tf.constant([2.0]))` is [2, −0.865].

    References: Shang et al., arXiv 1603.05201, for the ReLU.
    """
    return ops.concatenate([ops.elu(x), ops.elu(-x)], axis=-1)


@register
class GatedBlock(TracedOnce, Described, keras.layers.Layer):
    """A gated residual block, then layer norm over the channels.

    ```none
    (v, g) = conv1×1(concat_elu(conv3×3(concat_elu(h))))
    output = layer_norm(h + v · σ(g))
    ```

    Args:
      filters: int, number of channels of input and output.
      seed: int or None.

    Example: `GatedBlock(filters=32)(tf.zeros([8, 16, 16, 32]))`

    References: P. Lippe, UvA deep learning tutorial 11.
    """

    def __init__(self, filters: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.seed = seed
        seeds = spawn_seeds(seed, 2)
        self.conv = _conv(filters, 3, seeds[0], "conv", self.dtype_policy)
        self.gate = _conv(2 * filters, 1, seeds[1], "gate", self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=self.dtype_policy)

    def build(self, input_shape: tuple) -> None:
        doubled = (*input_shape[:-1], 2 * self.filters)
        self.conv.build(doubled)
        self.gate.build(doubled)
        self.norm.build(input_shape)

    def call(self, h: tf.Tensor) -> tf.Tensor:
        value, gate = ops.split(self.gate(concat_elu(self.conv(concat_elu(h)))), 2, axis=-1)
        return self.norm(h + value * ops.sigmoid(gate))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


@register
class GatedConvNet(Described, keras.layers.Layer):
    """A convolution, gated residual blocks, and a convolution with a kernel that begins at zero.

    ```none
    h = conv3×3(x);  for each block:  h = layer_norm(h + v · σ(g))
    output = conv3×3(concat_elu(h))               0 before training, so that a coupling begins as the identity
    ```

    The network is fully convolutional: it takes images of any size.

    Args:
      out_channels: int, channels of the output, for an affine coupling twice the changed channels.
      filters: int, width of the hidden layers.
      num_blocks: int, number of gated blocks.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `GatedConvNet(out_channels=2, filters=32)(masked_images)`

    References: P. Lippe, UvA deep learning tutorial 11. The gated blocks are from PixelCNN++'s code, arXiv 1701.05517.
    """

    def __init__(
        self, out_channels: int, filters: int = 32, num_blocks: int = 3, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_positive(out_channels=out_channels, filters=filters, num_blocks=num_blocks)
        self.out_channels = out_channels
        self.filters = filters
        self.num_blocks = num_blocks
        self.seed = seed
        seeds = spawn_seeds(seed, 1 + num_blocks)
        self.conv_in = _conv(filters, 3, seeds[0], "conv_in", self.dtype_policy)
        self.blocks = [
            GatedBlock(filters, block_seed, name=f"block_{i}", dtype=self.dtype_policy)
            for i, block_seed in enumerate(seeds[1:])
        ]
        self.conv_out = _conv(out_channels, 3, None, "conv_out", self.dtype_policy, kernel_initializer="zeros")

    def build(self, input_shape: tuple) -> None:
        *spatial, _ = input_shape
        self.conv_in.build(input_shape)
        for block in self.blocks:
            block.build((*spatial, self.filters))
        self.conv_out.build((*spatial, 2 * self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        h = self.conv_in(x)
        for block in self.blocks:
            h = block(h)
        return self.conv_out(recorded(self, concat_elu(h)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
        }


def _conv(
    filters: int, kernel_size: int, seed: int | None, name: str, dtype: Any, **options: Any
) -> keras.layers.Conv2D:
    options = {"kernel_initializer": keras.initializers.GlorotUniform(seed), **options}
    return conv_layer(filters, kernel_size, name=name, dtype=dtype, **options)
