"""The three flows of the UvA deep learning tutorial 11 (P. Lippe): simple, variational dequantization, multi-scale."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import Coupling, FactorOut, Sequential, Squeeze
from tfp_realnvp.bijectors.masks import Checkerboard, Dense, Mask
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import ChannelTanhScale, GatedConvNet


@register
class UvA(Architecture):
    """Affine couplings with gated convolutional networks, as in the tutorial for MNIST.

    Data → latent:

    ```none
    simple        checkerboard ×8
    multi-scale   checkerboard ×2, squeeze, channel ×2, half of the channels leave, squeeze, channel ×4
    ```

    The networks of the multi-scale flow are `filters`, 1.5 · `filters` and 2 · `filters` wide. Its squeezes are
    channel-major. The network of a channel coupling sees all channels, and the changed channels as zeros. The latents
    are standard normal and have the shape of the image.

    Args:
      event_shape: (height, width, channels).
      multi_scale: True for the multi-scale flow, False for the simple one.
      filters: width of the networks at the first scale.
      num_blocks: number of gated blocks per network.
      num_bins, alpha, dequantization, num_classes, context_size, rematerialize, seed, dtype, name: see `Architecture`.
        The tutorial uses "variational" dequantization for all but its simple flow.

    Raises:
      ValueError: for sizes below 1; for the multi-scale flow also for an odd `filters`, or a height or width not
        divisible by 4.

    Example: `rnvp.UvA((28, 28, 1), multi_scale=True, dequantization="variational")` is the tutorial's third flow.

    References: P. Lippe, UvA deep learning tutorials, 11: normalizing flows for image modeling.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        multi_scale: bool = False,
        filters: int = 32,
        num_blocks: int = 3,
        num_bins: int | str | None = "auto",
        alpha: float | None = 5e-6,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        rematerialize: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "uva",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        if len(options.event_shape) != 3:
            raise ValueError(f"event_shape must be (height, width, channels); got {options.event_shape}")
        check_counts(options, "filters", "num_blocks")
        seeds = iter(spawn_seeds(options.seed, 8))

        def couplings(scale: int, shape: tuple, filters: int, masks: Sequence[Mask], first: int = 0) -> list[Coupling]:
            bijectors, channels = [], shape[-1]
            for number, mask in enumerate(masks, start=first):
                network = functools.partial(_conditioner, 2 * channels, filters, options.num_blocks, next(seeds))
                conditioner = layers.conditioner(f"coupling_{number}", network, shape, scale)
                bijectors.append(Coupling(mask, conditioner))
            return bijectors

        if not options.multi_scale:
            return couplings(0, options.event_shape, options.filters, [Checkerboard(i % 2) for i in range(8)])
        if options.filters % 2:
            raise ValueError(f"filters must be even for the multi-scale flow; got {options.filters}")
        check_divisible(options.event_shape, 4, "2^(number of scales)")
        height, width, channels = options.event_shape
        half, quarter = (height // 2, width // 2, 4 * channels), (height // 4, width // 4, 8 * channels)
        fine = couplings(0, options.event_shape, options.filters, [Checkerboard(0), Checkerboard(1)])
        middle = couplings(0, half, 3 * options.filters // 2, _halves(half[-1], 2), first=2)
        coarse = couplings(1, quarter, 2 * options.filters, _halves(quarter[-1], 4))
        return [*fine, *inside(Squeeze(), [*middle, FactorOut(Sequential(inside(Squeeze(), coarse)))])]

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        return [(Squeeze(), None)] if self.options.multi_scale else []


def _conditioner(
    out_channels: int, filters: int, num_blocks: int, seed: int | None, name: str, dtype: Any
) -> ChannelTanhScale:
    network = GatedConvNet(out_channels, filters, num_blocks, seed, name="network", dtype=dtype)
    return ChannelTanhScale(network, dtype=dtype, name=name)


def _halves(channels: int, number: int) -> list[Dense]:
    """Masks that keep the first half of the channels, the second half, the first half, …"""
    first = np.arange(channels) < channels // 2
    return [Dense((first if i % 2 == 0 else ~first)[np.newaxis, np.newaxis]) for i in range(number)]
