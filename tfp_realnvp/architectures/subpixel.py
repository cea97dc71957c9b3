"""`SubpixelFlow`: an image from coarse to fine, a quarter of the pixels at a time, by mixtures of logistics."""

import functools
import math
import types
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.glow import glow_step, multi_scale
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import ChannelAutoregressive, Coupling, FactorOut, LogisticMixture, Sequential, Squeeze
from tfp_realnvp.bijectors.masks import ChangeAll, Channel
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import ChannelTanhScale, InterpolatingResNet

LARGEST_LOG_SCALE = 20.0  # of a component, in absolute value: far beyond a level or an image, far below float32's end


@register
class SubpixelFlow(Architecture):
    """An image from coarse to fine: the coarser image predicts the pixels between its own, by mixtures of logistics.

    ```none
    p(image) = p(coarse) · p(bottom-right | coarse) · p(top-right | both) · p(bottom-left | all three)
    coarse: the top-left pixels of all 2×2 blocks, an image of half the size
    ```

    The coarse image is modelled in the same way, over `num_scales` scales. The coarsest image is a learned mixture. In
    the terms of Real NVP, a scale is a squeeze and three couplings. Each coupling changes a quarter of the channels,
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
      refining_scales: number of scales of the Glow over the latents, see `Glow`.
      refining_steps: number of its steps per scale; 0 for no Glow.
      refining_filters: width of its networks.
      num_bins, alpha, dequantization, num_classes, context_size, rematerialize, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for sizes below 1, or a height or width not divisible by 2^num_scales.

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
        refining_scales: int = 2,
        refining_steps: int = 0,
        refining_filters: int = 64,
        num_bins: int | str | None = "auto",
        alpha: float | None = None,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
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
        check_divisible(options.event_shape, 2**options.num_scales, "2^num_scales")
        bijectors = _scale(options.event_shape, options, options.seed, layers)
        return [*bijectors, *_refinement(options, layers)]

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
    unit = 0.01 * 2**scale  # Neighbours at twice the distance differ by about twice as much.
    mixture = functools.partial(residual_mixture, channels=channels, num_components=options.num_components, unit=unit)
    num_params = channels + channels * (channels - 1) // 2 + 3 * channels * options.num_components
    if scale == options.num_scales:
        prior = layers.prior("learned_prior", (height, width, num_params), scale)
        return [Coupling(ChangeAll(3), prior, mixture)]
    *seeds, below = spawn_seeds(seed, 4)
    half = (height // 2, width // 2, channels)
    bijectors = []
    for num_known in (3, 2, 1):
        make = functools.partial(
            InterpolatingResNet,
            channels,
            num_params,
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


def residual_mixture(params: tf.Tensor, channels: int, num_components: int, unit: float) -> tfb.Bijector:
    """The map of a pixel: a mixture of logistics for its difference from a prediction.

    ```none
    y = mixture(triangular((x − shift) / unit))
    ```

    If all parameters are 0, the locations of the components spread over [−1, 1], so that training can separate them.
    From the difference of each channel, the map then subtracts the difference of the channel before.

    Args:
      params: tensor whose last axis holds the shift of each channel, the coefficients of `ChannelAutoregressive`, and
        the logits, locations and log-scales of `LogisticMixture`. Log-scales are clipped at ± `LARGEST_LOG_SCALE`.
      channels: channels of a pixel.
      num_components: logistics per mixture.
      unit: the typical size of the difference before training.

    Returns:
      `tfb.Bijector`; its forward direction is data → latent.

    Example: `residual_mixture(tf.zeros([8, 51]), channels=3, num_components=5, unit=0.01)`

    References: arXiv 1902.00275, section 3.2; arXiv 1701.05517, section 2.2.
    """
    sizes = [channels, channels * (channels - 1) // 2, 3 * channels * num_components]
    shift, coefficients, components = tf.split(params, sizes, axis=-1)
    components = tf.reshape(components, tf.concat([tf.shape(params)[:-1], [3, channels, num_components]], 0))
    logits, locs, log_scales = tf.unstack(components, axis=-3)
    log_scales = tf.clip_by_value(log_scales, -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
    apart = tf.linspace(tf.constant(-1.0, params.dtype), 1.0, num_components)
    previous = tf.constant([float(b == c - 1) for c in range(channels) for b in range(c)], params.dtype)
    return tfb.Chain(
        [
            LogisticMixture(logits, locs + apart, log_scales),
            ChannelAutoregressive(coefficients + previous),
            tfb.Scale(tf.constant(1 / unit, params.dtype)),
            tfb.Shift(-shift),
        ]
    )
