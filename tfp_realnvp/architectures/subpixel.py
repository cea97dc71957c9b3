"""`SubpixelFlow`: an image from coarse to fine, a quarter of the pixels at a time, by mixtures of logistics."""

import functools
import math
import types
from collections.abc import Sequence
from typing import Any

from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.glow import glow_step, multi_scale
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import (
    CoarseToFine,
    Coupling,
    FactorOut,
    ResidualMixture,
    Sequential,
    Squeeze,
)
from tfp_realnvp.bijectors.masks import ChangeAll, Channel
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import ChannelTanhScale, DenseResNet, InterpolatingResNet


@register
class SubpixelFlow(Architecture):
    """An image from coarse to fine: the coarser image predicts the pixels between its own, by mixtures of logistics.

    ```none
    p(image) = p(coarse) · p(bottom-right | coarse) · p(top-right | both) · p(bottom-left | all three)
    coarse: the top-left pixels of all 2×2 blocks, an image of half the size
    ```

    The coarse image is modelled in the same way, over `num_scales` scales. The pixels of the coarsest image are
    independent, each with a learned mixture. With `coarse_units` > 0 they follow one another in the groups of
    `CoarseToFine`, and dense networks see all groups before. A coarsest image of more than one pixel needs them.

    In the terms of Real NVP, a scale is a squeeze and three couplings. Each coupling changes a quarter of the channels,
    and this quarter then leaves. Each pixel passes only one coupling, but its network sees all known neighbours, and
    its map fits any shape of distribution. Each colour channel depends linearly on the channels before it, with
    coefficients from the network.

    At the same place of different blocks, pixels are independent given the pixels before them. In real images a weak
    dependence remains. With `refining_steps` > 0 a small Glow over the latents models it.

    Networks see no pixel beyond the data's range. A sample's pixel beyond it counts as its end there, so that one
    unlikely draw does not lead the pixels after it further away.

    Without a Glow, `dequantization="exact"` trains, evaluates and samples the probabilities of the levels themselves:
    each level has the probability of its bin, with tails at both ends. There is no noise and no bound, see
    `bijectors.bins`.

    A log-likelihood runs 3 · num_scales networks and the networks of Glow's steps. So does a sample, one network after
    the other. The latents are standard logistic.

    Args:
      event_shape: (height, width, channels).
      num_scales: number of scales.
      filters: width of the networks.
      num_blocks: number of residual blocks per network.
      num_components: number of logistics per mixture.
      coarse_units: width of the networks between the pixels of the coarsest image; 0 for independent ones.
      unit: the typical difference of a pixel of the finest scale from its prediction, before training, in units of an
        image's range. The default fits photographs. Drawings with sharp edges need about 0.1.
      refining_scales: number of scales of the Glow over the latents, see `Glow`.
      refining_steps: number of its steps per scale; 0 for no Glow.
      refining_filters: width of its networks.
      num_bins, alpha, dequantization, num_classes, context_size, mixture_base, rematerialize, seed, dtype, name: see
        `Architecture`.

    Raises:
      ValueError: for sizes below 1, a `unit` that is not positive, or a height or width not divisible by 2^num_scales.

    Example:

    ```python
    model = rnvp.SubpixelFlow((32, 32, 3), num_scales=5, filters=64, num_blocks=2)
    model.compile(rnvp.optimizers.Adam(4e-3, beta_2=0.99, global_clipnorm=2000.0))
    model.fit(images, batch_size=32)
    ```

    References: Reed et al., arXiv 1703.03664, for the order of the pixels; Flow++, arXiv 1902.00275, for the map;
    PixelCNN++, arXiv 1701.05517, for the dependence of the channels.
    """

    latent = tfd.Logistic

    def __init__(
        self,
        event_shape: Sequence[int],
        num_scales: int = 3,
        filters: int = 64,
        num_blocks: int = 2,
        num_components: int = 5,
        coarse_units: int = 0,
        unit: float = 0.01,
        refining_scales: int = 2,
        refining_steps: int = 0,
        refining_filters: int = 64,
        num_bins: int | str | None = "auto",
        alpha: float | None = None,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        mixture_base: bool = False,
        rematerialize: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "subpixel_flow",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        if len(options.event_shape) != 3:
            raise ValueError(f"event_shape must be (height, width, channels); got {options.event_shape}")
        check_counts(options, "num_scales", "filters", "num_blocks", "num_components")
        if options.coarse_units:
            check_counts(options, "coarse_units")
        if not 0 < options.unit < math.inf:
            raise ValueError(f"unit must be positive; got {options.unit!r}")
        check_divisible(options.event_shape, 2**options.num_scales, "2^num_scales")
        bijectors = _scale(options.event_shape, options, options.seed, layers)
        return [*bijectors, *_refinement(options, layers)]

    @property
    def coarsest_order(self) -> CoarseToFine | None:
        """The order of the coarsest image's pixels; None if they are independent."""
        height, width, channels = self.event_shape
        factor = 2**self.options.num_scales
        return CoarseToFine((height // factor, width // factor, channels)) if self.options.coarse_units else None

    def num_parts(self, num_scales: int) -> int:
        """The number of parts of the image of `num_scales` scales: the groups of the coarsest, then three a scale.

        Example: `model.num_parts(model.options.num_scales)` is the number of couplings of the pixels.
        """
        return (len(self.coarsest_order.sizes) if self.coarsest_order else 1) + 3 * num_scales

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        if self.options.refining_steps:  # Then Glow's scales order the latents.
            return [(Squeeze(), None)] * (self.options.refining_scales - 1)
        return [(Squeeze(diagonal_first=True), self.event_shape[-1])] * self.options.num_scales


def _pixel_limit(num_bins: int | None, alpha: float | None) -> float | None:
    """A bound, a hundredth above the largest absolute value of `Architecture.from_pixels`; None where there is none."""
    if num_bins is None or alpha == 0:
        return None
    return 1.01 * (0.5 if alpha is None else math.log((1 - alpha) / alpha))


def _scale(
    shape: tuple[int, int, int],
    options: types.SimpleNamespace,
    seed: int | None,
    layers: LayerStore,
    scale: int = 0,
) -> list[tfb.Bijector]:
    """The recursion over the scales: the bijectors, data → latent."""
    height, width, channels = shape
    if scale == options.num_scales and options.coarse_units:
        return _groups(shape, options, seed, layers)
    unit = options.unit * 2**scale  # Neighbours at twice the distance differ by about twice as much.
    mixture = ResidualMixture(channels, options.num_components, unit)
    if scale == options.num_scales:
        prior = layers.prior("learned_prior", (height, width, mixture.num_params), scale)
        return [Coupling(ChangeAll(3), prior, mixture)]
    *seeds, below = spawn_seeds(seed, 4)
    half = (height // 2, width // 2, channels)
    bijectors = []
    for num_known in (3, 2, 1):
        make = functools.partial(
            InterpolatingResNet,
            channels,
            mixture.num_params,
            num_known,
            unit,
            options.filters,
            options.num_blocks,
            seeds[num_known - 1],
            _pixel_limit(options.num_bins, options.alpha),
        )
        known = num_known * channels
        conditioner = layers.conditioner(f"place_{num_known}", make, (*half[:2], known), scale)
        coupling = Coupling(Channel(num_first=known), conditioner, mixture)
        bijectors.append(coupling if num_known == 3 else FactorOut(coupling, known + channels))
    coarser = FactorOut(Sequential(_scale(half, options, below, layers, scale + 1)), channels)
    return inside(Squeeze(diagonal_first=True), [*bijectors, coarser])


def _groups(
    shape: tuple[int, int, int], options: types.SimpleNamespace, seed: int | None, layers: LayerStore
) -> list[tfb.Bijector]:
    """The bijectors of the coarsest image, data → latent: a learned mixture, then one coupling for each group."""
    order, scale, known = CoarseToFine(shape), options.num_scales, 0
    bijectors: list[tfb.Bijector] = []
    for number, (size, own) in enumerate(zip(order.sizes, spawn_seeds(seed, len(order.sizes)), strict=True)):
        # A first pixel may be anything from black to white.
        mixture = ResidualMixture(size, options.num_components, unit=0.25)
        if number == 0:
            prior = layers.prior("learned_prior", (1, 1, mixture.num_params), scale)
            coupling = Coupling(ChangeAll(3), prior, mixture)
        else:
            limit = _pixel_limit(options.num_bins, options.alpha)
            make = functools.partial(DenseResNet, mixture.num_params, options.coarse_units, own, limit)
            conditioner = layers.conditioner(f"group_{number}", make, (1, 1, known), scale)
            coupling = Coupling(Channel(num_first=known), conditioner, mixture)
        known += size
        is_last = number == len(order.sizes) - 1
        bijectors.insert(0, coupling if is_last else FactorOut(coupling, known))
    return inside(order, bijectors)


def _refinement(options: types.SimpleNamespace, layers: LayerStore) -> list[tfb.Bijector]:
    """Glow's steps over the latents."""
    if not options.refining_steps:
        return []
    check_counts(options, "refining_scales", "refining_steps", "refining_filters")
    check_divisible(options.event_shape, 2**options.refining_scales, "2^refining_scales")
    step = functools.partial(glow_step, layers=layers, filters=options.refining_filters, bound=ChannelTanhScale)
    seed = spawn_seeds(options.seed, 5)[-1]  # The first four belong to the pixels.
    first = options.num_scales + 1  # After the scales of the pixels and the coarsest image.
    return multi_scale(options.event_shape, options.refining_scales, options.refining_steps, step, seed, layers, first)
