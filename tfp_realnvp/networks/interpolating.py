"""The residual network that predicts pixels from their neighbours; it begins as the neighbours' mean."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.networks.kernels import conv_layer, convolve
from tfp_realnvp.representation import Described

# The places of a 2×2 block as (row, column), in the order of `Squeeze(diagonal_first=True)`.
PLACES = ((0, 0), (1, 1), (0, 1), (1, 0))


@register
class InterpolatingResNet(Described, keras.layers.Layer):
    """Predicts parameters for the pixels at one place of each 2×2 block from the pixels at the places before it.

    ```none
    m = mean of the nearest known pixels,  d = (known − m) / (4 · unit)
    h = conv3×3([d, m]);  for each block:  h = h + conv3×3(relu(conv3×3(relu(h))))
    (shift, others) = conv1×1(relu(h)),    output = (m + unit · (shift + conv3×3(d)), others)
    ```

    The first `channels` entries of the output predict the pixel itself, as a sum of three terms. These are the mean m
    of its nearest known neighbours, a linear filter of the differences d, and the network's output. So the
    prediction of a brighter image is brighter from the first step on.

    The differences distinguish one patch from another. They enter the network in the units of its prediction, since
    bfloat16 would round them away beside the brightness. The mean and the filter are computed in the dtype of the
    weights, float32 under a mixed policy. The filter and the network's own output begin at 0.

    The network is fully convolutional: it takes images of any size.

    Args:
      channels: int, channels of the image.
      out_channels: int, channels of the output, at least `channels`.
      num_known: 1, 2 or 3, number of known places of a block, in the order of `Squeeze(diagonal_first=True)`. The
        known pixels are the first channels of the input. Further channels hold a context for the network, not for
        the mean and the filter.
      unit: float, the typical size of a pixel's difference from its prediction.
      limit: float, the largest absolute value of a known pixel in the data; None for no limit. Known pixels beyond it
        count as the limit. They occur in samples alone, where they would lead from pixel to pixel further away.
      filters: int, width of the hidden layers.
      num_blocks: int, number of residual blocks.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, a `unit` or a `limit` that is not positive, or another `num_known`.

    Example: `InterpolatingResNet(channels=3, out_channels=51, num_known=1)(top_left_pixels)`

    References: Reed et al., arXiv 1703.03664, figure 2, for the order of the places.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        num_known: int,
        unit: float = 0.01,
        filters: int = 64,
        num_blocks: int = 2,
        seed: int | None = None,
        limit: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(channels=channels, out_channels=out_channels, filters=filters, num_blocks=num_blocks)
        if out_channels < channels:
            raise ValueError(f"out_channels must be at least channels = {channels}; got {out_channels}")
        if num_known not in (1, 2, 3):
            raise ValueError(f"num_known must be 1, 2 or 3; got {num_known!r}")
        if not unit > 0:
            raise ValueError(f"unit must be positive; got {unit!r}")
        if limit is not None and not limit > 0:
            raise ValueError(f"limit must be None or positive; got {limit!r}")
        self.channels = channels
        self.out_channels = out_channels
        self.num_known = num_known
        self.unit = unit
        self.filters = filters
        self.num_blocks = num_blocks
        self.seed = seed
        self.limit = limit
        self._nearest = _nearest_kernel(num_known, channels)
        seeds = iter(spawn_seeds(seed, 1 + num_blocks))

        def conv(width: int, name: str, size: int = 3, **options: Any) -> keras.layers.Conv2D:
            return conv_layer(width, size, name=name, dtype=self.dtype_policy, **options)

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

    def build(self, input_shape: tuple) -> None:
        *spatial, inputs = input_shape
        self.conv_in.build((*spatial, inputs + self.channels))
        for layer in (*(conv for block in self.blocks for conv in block), self.conv_out):
            layer.build((*spatial, self.filters))
        shape = (3, 3, self.num_known * self.channels, self.channels)
        self.filter = self.add_weight(name="filter", shape=shape, initializer="zeros", autocast=False)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        known, context = ops.split(ops.cast(x, self.variable_dtype), [self.num_known * self.channels], axis=-1)
        if self.limit is not None:
            known = tf.clip_by_value(known, -self.limit, self.limit)
        mean = convolve(known, tf.constant(self._nearest, known.dtype))
        differences = (known - ops.tile(mean, (1, 1, 1, self.num_known))) / (4 * self.unit)
        h = self.conv_in(ops.concatenate([differences, mean, context], axis=-1))
        for first, second in self.blocks:
            h = h + second(ops.relu(first(ops.relu(h))))
        output = ops.cast(self.conv_out(recorded(self, ops.relu(h))), self.variable_dtype)
        shift, others = ops.split(output, [self.channels], axis=-1)
        filtered = convolve(differences, self.filter)
        return ops.concatenate([mean + self.unit * (shift + filtered), others], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "out_channels": self.out_channels,
            "num_known": self.num_known,
            "unit": self.unit,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
            "limit": self.limit,
        }


def _nearest_kernel(num_known: int, channels: int) -> np.ndarray:
    """The kernel for the mean of the known pixels nearest to place `num_known`.

    Its shape is [3, 3, num_known · channels, channels].
    """
    blocks = 2 * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1)[:, :, np.newaxis]
    distances = np.linalg.norm(blocks + PLACES[:num_known] - np.array(PLACES[num_known]), axis=-1)
    weights = np.isclose(distances, distances.min())
    kernel = (weights / weights.sum())[..., np.newaxis, np.newaxis] * np.eye(channels)
    return kernel.reshape(3, 3, num_known * channels, channels)
