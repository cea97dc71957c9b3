"""The residual network that conditions Real NVP's couplings (section 4.1, and the authors' code)."""

import functools
import itertools
import operator

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.bijectors.masks import checkerboard as checkerboard_mask
from tfp_realnvp.networks.layers import (
    BatchNormalization,
    WeightNormConv2D,
    check_positive,
    is_recomputing,
    register,
    spawn_seeds,
)


@register
class ResidualBlocks(keras.layers.Layer):
    """Pre-activation blocks one after the other, h ← h + a chain of (norm, relu, conv) of h.

    What the blocks have of a weight is one variable, with a first axis of blocks: a flow has tens of them, and the time
    to its first step is that of its variables and their operations.

    Args:
      num_blocks: number of blocks.
      filters: number of channels, of input and output.
      bottleneck: False: two convolutions of 3×3; True: three, of 1×1, 3×3 and 1×1, all of the same width.
      use_batch_norm: whether there are norms; without them every convolution has a bias.
      running_average: see `ResNet`.
      l2: penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.

    Returns:
      List of what they are given and what each of them gives.

    Example: `*_, h = ResidualBlocks(num_blocks=4, filters=32)(h)`
    """

    def __init__(
        self,
        num_blocks,
        filters,
        bottleneck=False,
        use_batch_norm=True,
        running_average=None,
        l2=0.0,
        seed=None,
        **kwargs,
    ):
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

    def build(self, input_shape):
        for layer in (*self.norms, *self.convs):
            layer.build(input_shape)

    def call(self, h, training=False):
        norms, convs = self._rows(training)
        hidden, batches = [h], [[] for _ in self.convs]
        for of_norms, of_convs in zip(zip(*norms, strict=True), zip(*convs, strict=True), strict=True):
            residual = hidden[-1]
            for i, weights in enumerate(zip(of_norms, of_convs, strict=True)):
                residual, batch = self._layer(i, residual, *weights, training)
                batches[i].append(batch)
            hidden.append(hidden[-1] + residual)
        for i, norm in enumerate(self.norms):
            norm.learn(h, *map(tf.stack, zip(*batches[i], strict=True)))
        return hidden

    def _rows(self, training):
        """At each place of a block the weights of all blocks' norms, () for none, and those of their convolutions."""
        learns = any(norm.moments.learns(training) for norm in self.norms)
        # Otherwise norms are affine, and all but a block's first become part of the convolution before them.
        norms = self.norms if learns else self.norms[:1]
        folded = [norm.affine() for norm in self.norms[len(norms) :]]
        none = [()] * self.num_blocks
        return (
            [norm.rows() for norm in norms] + [none] * (len(self.convs) - len(norms)),
            [conv.rows(then) for conv, then in itertools.zip_longest(self.convs, folded)],
        )

    def _layer(self, i, x, of_norm, of_conv, training):
        """The norm, relu and convolution at place i of a block, and the moments of the batch for the norm to learn."""
        conv, batch = self.convs[i], ()
        if of_norm:
            norm = self.norms[i]
            if is_recomputing() and norm.is_fused(x, training):
                return norm.relu_into(lambda x, *weights: conv.convolve(x, weights), x, of_norm, of_conv), ()
            x, batch = norm.normalize(x, of_norm, training)
        return conv.convolve(ops.relu(x), of_conv), batch

    def compute_output_shape(self, input_shape):
        return [input_shape] * (self.num_blocks + 1)

    def get_config(self):
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
      skip: whether there are skips; without them the output is that of the last block.
      bottleneck: see `ResidualBlocks`.
      use_batch_norm: whether there are norms; without them nothing is doubled either, as in the authors' code.
      running_average: ρ to normalize by running averages in training as well (see `Moments`), None for the batch's.
      l2: penalty on the magnitudes, see `WeightNormConv2D`.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, or a checkerboard other than None, 0, 1.

    Example: `ResNet(out_channels=6, filters=32, num_blocks=4, checkerboard=1)(masked_images)`
    """

    def __init__(
        self,
        out_channels,
        filters=32,
        num_blocks=4,
        checkerboard=None,
        skip=True,
        bottleneck=False,
        use_batch_norm=True,
        running_average=None,
        l2=0.0,
        seed=None,
        **kwargs,
    ):
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

        def conv(filters, name, kernel_size=1, **options):
            return WeightNormConv2D(filters, kernel_size, seed=next(seeds), name=name, dtype=policy, **options)

        def norm(name):
            if use_batch_norm:
                return _norm(running_average, name=name, dtype=policy)
            return keras.layers.Identity(name=name, dtype=policy.name)  # with a policy itself it would have no config

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

    def build(self, input_shape):
        *spatial, channels = input_shape
        self.norm_in.build(input_shape)
        self.conv_in.build((*spatial, 2 * channels + (self.checkerboard is not None)))
        for layer in (*([self.skips] if self.skip else []), self.blocks, self.norm_out, self.conv_out):
            layer.build((*spatial, self.filters))

    def call(self, x):
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
        if self.skip:
            out = functools.reduce(operator.add, map(self.skips.convolve, hidden, self.skips.rows()))
        return self.conv_out(ops.relu(self.norm_out(out)))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)

    def get_config(self):
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


def _norm(running_average, **options):
    if running_average is None:
        return BatchNormalization(**options)
    return BatchNormalization(running_average, running=True, **options)
