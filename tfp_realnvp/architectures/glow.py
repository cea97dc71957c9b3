"""Glow (Kingma and Dhariwal, arXiv 1807.03039): actnorm, invertible 1×1 convolution, coupling."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow_probability as tfp

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside, sequential
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import ActNorm, Coupling, FactorOut, Invertible1x1Convolution, Squeeze, additive, affine
from tfp_realnvp.bijectors.masks import ChangeAll, Channel
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import BoundedScale, ChannelAffine, ChannelTanhScale, GlowNet, InvertibleMatrix, SigmoidScale

tfb = tfp.bijectors

BOUNDS: dict[str, type[BoundedScale]] = {"sigmoid": SigmoidScale, "tanh": ChannelTanhScale}


@register
class Glow(Architecture):
    """The multi-scale flow of the paper's figure 2.

    At each scale, data → latent:

    ```none
    squeeze
    steps_per_scale times:  actnorm, invertible 1×1 convolution, coupling of half the channels
    but at the last scale:  half of the channels leave, normalized by a mean and a scale that a convolution of the other
                            half predicts; the next scale for the rest
    at the last scale:      a mean and a scale a channel, learned
    given a class or a context, at every scale before anything leaves: a mean and a scale of each entry
    ```

    A learned prior, N(μ, σ²) with μ and σ from what stays or from the class, is an affine map to a standard normal
    one; written so, the latents are standard normal throughout and have the shape of the image. The actnorms take
    their first values from the first batch that the model is fitted to, see `FlowModel.initialize`.

    Args:
      event_shape: (height, width, channels).
      num_scales: number of scales L; the paper: CIFAR-10 and ImageNet 32×32 3, 64×64 4.
      steps_per_scale: steps of flow a scale K; the paper: 32 or 48.
      filters: width of the couplings' networks; the paper: 512.
      use_affine: False for additive couplings.
      bound: of the couplings' log-scales: "sigmoid", log σ(s + 2) as in the authors' code, or "tanh",
        e^f · tanh(s / e^f) with a learned f a channel, which begins at scale 1 and lets it grow.
      factorized: whether the 1×1 convolutions are parametrized by their PLU factors, section 3.2, or directly.
      num_bins, dequantization, context_size, rematerialize, seed, dtype, name: see `Architecture`.
      num_classes: number of classes of a class-conditional flow. Beside the last scale's prior, as in the paper, every
        network sees the class, and each scale is normalized by it, as the conditional actnorm of arXiv 1905.13288 does.
      alpha: see `Architecture`; None, x / num_bins − ½ without a logit, is that of the authors' code.

    Raises:
      ValueError: for sizes below 1, another `bound`, or a height or width not divisible by 2^num_scales.

    Example:

    ```python
    model = rnvp.Glow((28, 28, 1), num_scales=2, steps_per_scale=8, filters=128, num_classes=10)
    model.compile()
    model.fit(images, labels, epochs=5)
    model.sample(10, labels=range(10))        # uint8 [10, 28, 28, 1]
    model.classify(images[:8])                # int [8]
    ```

    References: arXiv 1807.03039, sections 3 and 4, figure 2, table 1.
    """

    def __init__(
        self,
        event_shape,
        num_scales=3,
        steps_per_scale=32,
        filters=512,
        use_affine=True,
        bound="sigmoid",
        factorized=True,
        num_bins="auto",
        alpha=None,
        dequantization="uniform",
        num_classes=None,
        context_size=None,
        rematerialize=False,
        seed=None,
        dtype=None,
        name="glow",
    ):
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        if len(options.event_shape) != 3:
            raise ValueError(f"event_shape must be (height, width, channels); got {options.event_shape}")
        check_counts(options, "num_scales", "steps_per_scale", "filters")
        check_divisible(options.event_shape, 2**options.num_scales, "2^num_scales")
        if options.bound not in BOUNDS:
            raise ValueError(f"bound must be one of {sorted(BOUNDS)}; got {options.bound!r}")
        bound = BOUNDS[options.bound] if options.use_affine else None
        step = functools.partial(
            glow_step, layers=layers, filters=options.filters, bound=bound, factorized=options.factorized
        )
        return multi_scale(options.event_shape, options.num_scales, options.steps_per_scale, step, options.seed, layers)

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        return [(Squeeze(), None)] * (self.options.num_scales - 1)


def multi_scale(
    shape: tuple[int, int, int],
    num_scales: int,
    steps_per_scale: int,
    step: Callable[..., list[tfb.Bijector]],
    seed: int | None,
    layers: LayerStore,
    scale: int = 0,
) -> list[tfb.Bijector]:
    """The recursion over the scales: squeeze, steps, half of the channels leave, the next scale for the others.

    Args:
      shape: (height, width, channels) of what enters this scale.
      num_scales: number of scales from this one on.
      steps_per_scale: int.
      step: function of a name, the shape of its input, a seed and a scale that returns the bijectors of a step, such as
        `glow_step`.
      seed: int or None.
      layers: `LayerStore`.
      scale: int, the number of this scale.

    Returns:
      The bijectors, data → latent.
    """
    height, width, channels = shape[0] // 2, shape[1] // 2, 4 * shape[2]
    squeezed, half = (height, width, channels), (height, width, channels // 2)
    here, below = spawn_seeds(seed, 2)
    bijectors = []
    for number, step_seed in enumerate(spawn_seeds(here, steps_per_scale)):
        bijectors += step(f"step_{number}", squeezed, step_seed, scale=scale)
    if num_scales == 1 or layers.context_size:
        prior = layers.prior("learned_prior", (height, width, 2 * channels), scale)
        bijectors.append(Coupling(ChangeAll(3), prior))
    if num_scales == 1:
        return inside(Squeeze(), bijectors)
    prior = functools.partial(keras.layers.Conv2D, channels, 3, padding="same", kernel_initializer="zeros")
    bijectors.append(Coupling(Channel(), layers.conditioner("split_prior", prior, half, scale)))
    coarser = multi_scale(half, num_scales - 1, steps_per_scale, step, below, layers, scale + 1)
    return inside(Squeeze(), [*bijectors, FactorOut(sequential(coarser))])


def glow_step(
    name: str,
    shape: tuple[int, int, int],
    seed: int | None,
    layers: LayerStore,
    filters: int,
    bound: type[BoundedScale] | None = SigmoidScale,
    factorized: bool = True,
    scale: int = 0,
) -> list[tfb.Bijector]:
    """A step of flow, figure 2a.

    Args:
      name: the beginning of the names of its networks.
      shape: (height, width, channels) of its input.
      seed: int or None.
      layers: `LayerStore`.
      filters: width of the coupling's network.
      bound: class of the bound of the coupling's log-scales; None for an additive coupling.
      factorized: see `Glow`.

    Returns:
      The bijectors, data → latent.
    """
    *size, channels = shape
    matrix_seed, network_seed = spawn_seeds(seed, 2)
    norm = layers.layer(f"{name}_act_norm", ChannelAffine, (channels,), scale)
    matrix = functools.partial(InvertibleMatrix, channels, factorized, matrix_seed)
    matrix = layers.layer(f"{name}_convolution", matrix, shape, scale)

    def network(name: str, dtype: Any) -> keras.layers.Layer:
        if bound is None:
            return GlowNet(channels // 2, filters, network_seed, name=name, dtype=dtype)
        return bound(GlowNet(channels, filters, network_seed, dtype=dtype), name=name, dtype=dtype)

    conditioner = layers.conditioner(f"{name}_coupling", network, (*size, channels // 2), scale)
    coupling = Coupling(Channel(), conditioner, additive if bound is None else affine)
    return [ActNorm(norm), Invertible1x1Convolution(matrix), coupling]
