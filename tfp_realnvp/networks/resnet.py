"""The residual network that conditions Real NVP's couplings (section 4.1, and the authors' code)."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.bijectors.masks import checkerboard as checkerboard_mask
from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.networks.batch_norm import BatchNormalization
from tfp_realnvp.networks.kernels import convolve
from tfp_realnvp.networks.stacks import BlockStack
from tfp_realnvp.networks.weight_norm import WeightNormConv2D
from tfp_realnvp.representation import Described
from tfp_realnvp.threads import unfused_sum


@register
class ResidualBlocks(Described, keras.layers.Layer):
    """Pre-activation residual blocks: h ← h + conv(relu(norm( … conv(relu(norm(h))) … ))).

    Each kind of weight is stored for all blocks in one variable, see `networks.stacks`.

    Args:
      num_blocks: int, number of blocks.
      filters: int, number of channels of input and output.
      bottleneck: bool. False: two convolutions of 3×3; True: three, of 1×1, 3×3 and 1×1, all of the same width.
      use_batch_norm: bool, whether the blocks have norms; without norms every convolution has a bias.
      running_average: see `ResNet`.
      l2: float, penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.

    Call arguments:
      h: images [batch, height, width, filters].
      training: see `Moments`.

    Returns:
      List of `num_blocks + 1` tensors: the input, then each block's output.

    Example: `*_, h = ResidualBlocks(num_blocks=4, filters=32)(h)`

    References: He et al., arXiv 1603.05027, figure 4e.
    """

    def __init__(
        self,
        num_blocks: int,
        filters: int,
        bottleneck: bool = False,
        use_batch_norm: bool = True,
        running_average: float | None = None,
        l2: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_blocks = num_blocks
        self.filters = filters
        self.bottleneck = bottleneck
        self.use_batch_norm = use_batch_norm
        self.running_average = running_average
        self.l2 = l2
        self.seed = seed
        kernel_sizes = (1, 3, 1) if bottleneck else (3, 3)
        last = len(kernel_sizes) - 1
        stack = dict(copies=num_blocks, dtype=self.dtype_policy)
        self.norms, self.convs = [], []
        for i, (kernel_size, conv_seed) in enumerate(zip(kernel_sizes, spawn_seeds(seed, last + 1), strict=True)):
            if use_batch_norm:
                self.norms.append(_norm(running_average, name=f"norm_{i}", **stack))
            options = dict(l2=l2) if i == last else dict(use_magnitude=False, use_bias=not use_batch_norm)
            conv = WeightNormConv2D(filters, kernel_size, seed=conv_seed, name=f"conv_{i}", **stack, **options)
            self.convs.append(conv)

    def build(self, input_shape: tuple) -> None:
        layers: list[keras.layers.Layer] = [*self.norms, *self.convs]
        for layer in layers:
            layer.build(input_shape)

    def call(self, h: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        stack = BlockStack(self.norms, self.convs, training)
        outputs = [h]
        for block in stack.blocks(h):
            residual = h
            for conv_relu_norm in block:
                residual = conv_relu_norm(residual)
            h = unfused_sum([h, residual])
            outputs.append(h)
        stack.update_moving(h)
        return outputs

    def compute_output_shape(self, input_shape: tuple) -> list[tuple]:
        return [input_shape] * (self.num_blocks + 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_blocks": self.num_blocks,
            "filters": self.filters,
            "bottleneck": self.bottleneck,
            "use_batch_norm": self.use_batch_norm,
            "running_average": self.running_average,
            "l2": self.l2,
            "seed": self.seed,
        }


@register
class ResNet(Described, keras.layers.Layer):
    """The authors' conditioner: a weight-normalized pre-activation ResNet that sums one skip connection per block.

    ```none
    h = norm(x)                                  (× 2 for a checkerboard, which zeroes half of x)
    h = conv3×3(relu([h, −h, checkerboard]))
    skip = conv1×1(h);  for each block:  h = block(h),  skip += conv1×1(h)
    output = conv1×1(relu(norm(skip)))
    ```

    The network is fully convolutional: it takes images of any size.

    Args:
      out_channels: int, channels of the output, for an affine coupling twice the changed channels.
      filters: int, width of the hidden layers (the authors' `base_dim`, doubled at each scale).
      num_blocks: int, number of residual blocks.
      checkerboard: for a checkerboard coupling, the value of its mask at the top-left pixel, 0 or 1. The mask is then
        an additional input channel. None for a channel coupling.
      skip: bool, whether to sum skip connections; otherwise only the last block's output is used.
      bottleneck: see `ResidualBlocks`.
      use_batch_norm: bool, whether the network has norms; without norms h is not doubled, as in the authors' code.
      running_average: float, ρ to use running averages in training as well, see `Moments`. None to use the batch's
        moments.
      l2: float, penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, or a `checkerboard` other than None, 0 and 1.

    Example: `ResNet(out_channels=6, filters=32, num_blocks=4, checkerboard=1)(masked_images)`

    References: Real NVP, arXiv 1605.08803, section 4.1, and the authors' code.
    """

    def __init__(
        self,
        out_channels: int,
        filters: int = 32,
        num_blocks: int = 4,
        checkerboard: int | None = None,
        skip: bool = True,
        bottleneck: bool = False,
        use_batch_norm: bool = True,
        running_average: float | None = None,
        l2: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive(out_channels=out_channels, filters=filters, num_blocks=num_blocks)
        if checkerboard not in (None, 0, 1):
            raise ValueError(f"checkerboard must be None, 0 or 1; got {checkerboard!r}")
        self.out_channels = out_channels
        self.filters = filters
        self.num_blocks = num_blocks
        self.checkerboard = checkerboard
        self.skip = skip
        self.bottleneck = bottleneck
        self.use_batch_norm = use_batch_norm
        self.running_average = running_average
        self.l2 = l2
        self.seed = seed
        seeds = iter(spawn_seeds(seed, 4))
        policy = self.dtype_policy

        def conv(filters: int, name: str, kernel_size: int = 1, **options: Any) -> WeightNormConv2D:
            return WeightNormConv2D(filters, kernel_size, seed=next(seeds), name=name, dtype=policy, **options)

        def norm(name: str) -> keras.layers.Layer:
            if use_batch_norm:
                return _norm(running_average, name=name, dtype=policy)
            return keras.layers.Identity(name=name, dtype=policy.name)  # Keras cannot serialize the policy itself.

        self.norm_in = norm("norm_in")
        self.conv_in = conv(filters, "conv_in", kernel_size=3, use_magnitude=False)
        self.skips = conv(filters, "skips", l2=l2, copies=num_blocks + 1) if skip else None
        self.blocks = ResidualBlocks(
            num_blocks,
            filters,
            bottleneck,
            use_batch_norm,
            running_average,
            l2,
            next(seeds),
            name="blocks",
            dtype=policy,
        )
        self.norm_out = norm("norm_out")
        self.conv_out = conv(out_channels, "conv_out", l2=l2)

    def build(self, input_shape: tuple) -> None:
        *spatial, channels = input_shape
        self.norm_in.build(input_shape)
        self.conv_in.build((*spatial, 2 * channels + (self.checkerboard is not None)))
        for layer in (*([self.skips] if self.skip else []), self.blocks, self.norm_out, self.conv_out):
            layer.build((*spatial, self.filters))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        h = self.norm_in(x)
        if self.checkerboard is None:
            h = ops.relu(ops.concatenate([h, -h], axis=-1))
        else:
            if self.use_batch_norm:
                h = 2 * h
            shape = ops.shape(h)
            mask = ops.cast(checkerboard_mask(shape[1], shape[2], self.checkerboard), h.dtype)
            mask = ops.broadcast_to(mask, (*shape[:3], 1))
            h = ops.relu(ops.concatenate([h, -h, mask], axis=-1))
        hidden = self.blocks(self.conv_in(h))
        out = hidden[-1]
        if self.skips is not None:
            skips = [convolve(h, *weights) for h, weights in zip(hidden, self.skips.unstacked(), strict=True)]
            out = unfused_sum(skips)
        return self.conv_out(recorded(self, ops.relu(self.norm_out(out))))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "checkerboard": self.checkerboard,
            "skip": self.skip,
            "bottleneck": self.bottleneck,
            "use_batch_norm": self.use_batch_norm,
            "running_average": self.running_average,
            "l2": self.l2,
            "seed": self.seed,
        }


def _norm(running_average: float | None, **options: Any) -> BatchNormalization:
    if running_average is None:
        return BatchNormalization(**options)
    return BatchNormalization(running_average, running=True, **options)
