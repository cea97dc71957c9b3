"""The gated convolutional network of the UvA deep learning course's flows."""

import keras
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.tracing import TracedOnce
from tfp_realnvp.representation import Described


def concat_elu(x):
    """elu of x and of −x, side by side: twice the channels (arXiv 1605.07725 has it for the ReLU)."""
    return ops.concatenate([ops.elu(x), ops.elu(-x)], axis=-1)


@register
class GatedBlock(TracedOnce, Described, keras.layers.Layer):
    """h + v · σ(g) for (v, g) = conv1×1(celu(conv3×3(celu(h)))), then layer norm over the channels.

    Args:
      filters: number of channels, of input and output.
      seed: int or None.
    """

    def __init__(self, filters, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.seed = seed
        seeds = spawn_seeds(seed, 2)
        self.conv = _conv(filters, 3, seeds[0], "conv", self.dtype_policy)
        self.gate = _conv(2 * filters, 1, seeds[1], "gate", self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm", dtype=self.dtype_policy)

    def build(self, input_shape):
        doubled = (*input_shape[:-1], 2 * self.filters)
        self.conv.build(doubled)
        self.gate.build(doubled)
        self.norm.build(input_shape)

    def call(self, h):
        value, gate = ops.split(self.gate(concat_elu(self.conv(concat_elu(h)))), 2, axis=-1)
        return self.norm(h + value * ops.sigmoid(gate))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "seed": self.seed}


@register
class GatedConvNet(Described, keras.layers.Layer):
    """conv3×3, gated residual blocks, celu, and a conv3×3 whose kernel begins at zero.

    ```none
    h = conv3×3(x);  for each block:  h = layer_norm(h + v · σ(g))
    output = conv3×3(celu(h))                     0 before training, so that a coupling begins as the identity
    ```

    Fully convolutional: it takes images of any size.

    Args:
      out_channels: channels of the output, for an affine coupling twice those that change.
      filters: width of the hidden layers.
      num_blocks: number of gated blocks.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `GatedConvNet(out_channels=2, filters=32)(masked_images)`

    References: P. Lippe, UvA deep learning tutorial 11; the gates are those of arXiv 1703.05169's residual blocks.
    """

    def __init__(self, out_channels, filters=32, num_blocks=3, seed=None, **kwargs):
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

    def build(self, input_shape):
        *spatial, _ = input_shape
        self.conv_in.build(input_shape)
        for block in self.blocks:
            block.build((*spatial, self.filters))
        self.conv_out.build((*spatial, 2 * self.filters))

    def call(self, x):
        h = self.conv_in(x)
        for block in self.blocks:
            h = block(h)
        return self.conv_out(concat_elu(h))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)

    def get_config(self):
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
        }


def _conv(filters, kernel_size, seed, name, dtype, **options):
    options = {"kernel_initializer": keras.initializers.GlorotUniform(seed), **options}
    return keras.layers.Conv2D(filters, kernel_size, padding="same", name=name, dtype=dtype, **options)
