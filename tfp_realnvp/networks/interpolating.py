"""The residual network that predicts pixels from their neighbours, beginning with the neighbours' mean."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.representation import Described

# Of a 2×2 block, in the order of Squeeze(diagonal_first=True): top-left, bottom-right, top-right, bottom-left.
PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))


@register
class InterpolatingResNet(Described, keras.layers.Layer):
    """Parameters of the pixels at one place of each 2×2 block, given those at the places before it.

    ```none
    m = mean of the nearest known pixels,  d = (known − m) / (4 · unit)
    h = conv3×3([d, m]);  for each block:  h = h + conv3×3(relu(conv3×3(relu(h))))
    (shift, others) = conv1×1(relu(h)),    output = (m + unit · (shift + conv3×3(d)), others)
    ```

    The first `channels` entries of the output are a prediction of the pixel: the mean of its nearest known neighbours,
    what a linear filter of the differences from it adds, and what the network makes of them. So a brighter image is
    predicted brighter from the first step on, and what the network sees is what tells one patch from another, in the
    size of what it has to predict, which bfloat16 would lose in the brightness. The mean and the filter are computed
    in the dtype of the weights, float32 under a mixed policy; the filter and the network's own output begin at 0.

    Fully convolutional: it takes images of any size.

    Args:
      channels: channels of the image.
      out_channels: channels of the output, at least `channels`.
      num_known: 1, 2 or 3, the places of a block that are known, in the order of `Squeeze(diagonal_first=True)`; they
        are the first channels of the input. Channels behind them, of a context, are for the network alone.
      unit: the typical size of a pixel's difference from its prediction.
      filters: width of the hidden layers.
      num_blocks: number of residual blocks.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, a `unit` that is not positive, or another `num_known`.

    Example: `InterpolatingResNet(channels=3, out_channels=51, num_known=1)(top_left_pixels)`

    References: the order of the places is that of Reed et al., arXiv 1703.03664, figure 2.
    """

    def __init__(self, channels, out_channels, num_known, unit=0.01, filters=64, num_blocks=2, seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_positive(channels=channels, out_channels=out_channels, filters=filters, num_blocks=num_blocks)
        if out_channels < channels:
            raise ValueError(f"out_channels must be at least channels = {channels}; got {out_channels}")
        if num_known not in (1, 2, 3):
            raise ValueError(f"num_known must be 1, 2 or 3; got {num_known!r}")
        if not unit > 0:
            raise ValueError(f"unit must be positive; got {unit!r}")
        self.channels = channels
        self.out_channels = out_channels
        self.num_known = num_known
        self.unit = unit
        self.filters = filters
        self.num_blocks = num_blocks
        self.seed = seed
        self._nearest = _kernel_of_the_nearest(num_known, channels)
        seeds = iter(spawn_seeds(seed, 1 + num_blocks))

        def conv(width, name, size=3, **options):
            return keras.layers.Conv2D(width, size, padding="same", name=name, dtype=self.dtype_policy, **options)

        he = lambda: keras.initializers.HeNormal(next(seeds))
        self.conv_in = conv(filters, "conv_in", kernel_initializer=he())
        self.blocks = [
            (
                conv(filters, f"block_{i}_conv_0", kernel_initializer=he()),
                conv(filters, f"block_{i}_conv_1", kernel_initializer="zeros", use_bias=False),
            )
            for i in range(num_blocks)
        ]
        self.conv_out = conv(out_channels, "conv_out", size=1, kernel_initializer="zeros")

    def build(self, input_shape):
        *spatial, inputs = input_shape
        self.conv_in.build((*spatial, inputs + self.channels))
        for layer in (*(conv for block in self.blocks for conv in block), self.conv_out):
            layer.build((*spatial, self.filters))
        shape = (3, 3, self.num_known * self.channels, self.channels)
        self.filter = self.add_weight(name="filter", shape=shape, initializer="zeros", autocast=False)

    def call(self, x):
        known, context = ops.split(ops.cast(x, self.variable_dtype), [self.num_known * self.channels], axis=-1)
        mean = ops.conv(known, tf.constant(self._nearest, known.dtype), padding="same")
        differences = (known - ops.tile(mean, (1, 1, 1, self.num_known))) / (4 * self.unit)
        h = self.conv_in(ops.concatenate([differences, mean, context], axis=-1))
        for first, second in self.blocks:
            h = h + second(ops.relu(first(ops.relu(h))))
        output = ops.cast(self.conv_out(ops.relu(h)), self.variable_dtype)
        shift, others = ops.split(output, [self.channels], axis=-1)
        filtered = ops.conv(differences, self.filter, padding="same")
        return ops.concatenate([mean + self.unit * (shift + filtered), others], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "out_channels": self.out_channels,
            "num_known": self.num_known,
            "unit": self.unit,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
        }


def _kernel_of_the_nearest(num_known, channels):
    """[3, 3, num_known · channels, channels]: the mean of those known pixels that are nearest to place `num_known`."""
    blocks = 2 * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1)[:, :, np.newaxis]
    distances = np.linalg.norm(blocks + PLACES[:num_known] - np.array(PLACES[num_known]), axis=-1)
    weights = np.isclose(distances, distances.min())
    kernel = (weights / weights.sum())[..., np.newaxis, np.newaxis] * np.eye(channels)
    return kernel.reshape(3, 3, num_known * channels, channels)
