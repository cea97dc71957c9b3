"""The residual network that conditions Real NVP's couplings (section 4.1, and the authors' code)."""

import keras
from keras import ops

from tfp_realnvp.bijectors.masks import checkerboard as checkerboard_mask
from tfp_realnvp.networks.layers import BatchNormalization, WeightNormConv2D, register, spawn_seeds


@register
class ResidualBlock(keras.layers.Layer):
    """h + conv(relu(norm(conv(relu(norm(h)))))): a pre-activation block of 3×3 convolutions.

    Args:
      filters: number of channels, of input and output.
      l2: penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.
    """

    def __init__(self, filters, l2=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.l2 = l2
        self.seed = seed
        seeds = spawn_seeds(seed, 2)
        options = dict(kernel_size=3, dtype=self.dtype_policy)
        self.norm_0 = BatchNormalization(dtype=self.dtype_policy, name="norm_0")
        self.conv_0 = WeightNormConv2D(
            filters, use_magnitude=False, use_bias=False, seed=seeds[0], name="conv_0", **options
        )
        self.norm_1 = BatchNormalization(dtype=self.dtype_policy, name="norm_1")
        self.conv_1 = WeightNormConv2D(filters, l2=l2, seed=seeds[1], name="conv_1", **options)

    def build(self, input_shape):
        for layer in (self.norm_0, self.conv_0, self.norm_1, self.conv_1):
            layer.build(input_shape)

    def call(self, h):
        residual = self.conv_0(ops.relu(self.norm_0(h)))
        return h + self.conv_1(ops.relu(self.norm_1(residual)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "l2": self.l2, "seed": self.seed}


@register
class ResNet(keras.layers.Layer):
    """The authors' conditioner: a weight-normalized pre-activation ResNet whose output sums a skip of every block.

    ```none
    h = norm(x)                                  (× 2 where a checkerboard has zeroed half of x)
    h = conv3×3(relu([h, −h, checkerboard]))
    skip = conv1×1(h);  for each block:  h = block(h),  skip += conv1×1(h)
    output = conv1×1(relu(norm(skip)))
    ```

    Fully convolutional: it takes images of any size.

    Args:
      out_channels: channels of the output, for an affine coupling twice those that change.
      filters: width of the hidden layers (the authors' `base_dim`, doubled at each scale).
      num_blocks: number of residual blocks.
      checkerboard: the value, 0 or 1, of the coupling's mask at the top-left pixel, for a checkerboard coupling; the
        mask is then one more input channel. None for a channel coupling.
      l2: penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, or a checkerboard other than None, 0, 1.

    Example: `ResNet(out_channels=6, filters=32, num_blocks=4, checkerboard=1)(masked_images)`
    """

    def __init__(self, out_channels, filters=32, num_blocks=4, checkerboard=None, l2=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        for name, value in dict(out_channels=out_channels, filters=filters, num_blocks=num_blocks).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive int; got {value!r}")
        if checkerboard not in (None, 0, 1):
            raise ValueError(f"checkerboard must be None, 0 or 1; got {checkerboard!r}")
        self.out_channels = out_channels
        self.filters = filters
        self.num_blocks = num_blocks
        self.checkerboard = checkerboard
        self.l2 = l2
        self.seed = seed
        seeds = iter(spawn_seeds(seed, 3 + 2 * num_blocks))
        policy = self.dtype_policy

        def conv(filters, name, kernel_size=1, **options):
            return WeightNormConv2D(filters, kernel_size, seed=next(seeds), name=name, dtype=policy, **options)

        self.norm_in = BatchNormalization(dtype=policy, name="norm_in")
        self.conv_in = conv(filters, "conv_in", kernel_size=3, use_magnitude=False)
        self.skips = [conv(filters, f"skip_{i}", l2=l2) for i in range(num_blocks + 1)]
        self.blocks = [
            ResidualBlock(filters, l2, next(seeds), name=f"block_{i}", dtype=policy) for i in range(num_blocks)
        ]
        self.norm_out = BatchNormalization(dtype=policy, name="norm_out")
        self.conv_out = conv(out_channels, "conv_out", l2=l2)

    def build(self, input_shape):
        *spatial, channels = input_shape
        self.norm_in.build(input_shape)
        self.conv_in.build((*spatial, 2 * channels + (self.checkerboard is not None)))
        for layer in (*self.skips, *self.blocks, self.norm_out, self.conv_out):
            layer.build((*spatial, self.filters))

    def call(self, x):
        h = self.norm_in(x)
        if self.checkerboard is None:
            h = ops.relu(ops.concatenate([h, -h], axis=-1))
        else:
            shape = ops.shape(h)
            mask = ops.cast(checkerboard_mask(shape[1], shape[2], self.checkerboard), h.dtype)
            mask = ops.broadcast_to(mask, (*shape[:3], 1))
            h = ops.relu(ops.concatenate([2 * h, -2 * h, mask], axis=-1))
        h = self.conv_in(h)
        skip = self.skips[0](h)
        for block, conv in zip(self.blocks, self.skips[1:], strict=True):
            h = block(h)
            skip = skip + conv(h)
        return self.conv_out(ops.relu(self.norm_out(skip)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)

    def get_config(self):
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "checkerboard": self.checkerboard,
            "l2": self.l2,
            "seed": self.seed,
        }
