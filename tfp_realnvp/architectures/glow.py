"""Glow (Kingma and Dhariwal, arXiv 1807.03039): actnorm, invertible 1×1 convolution, coupling."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import (
    ActNorm,
    Coupling,
    FactorOut,
    Invertible1x1Convolution,
    Sequential,
    Squeeze,
    additive,
    affine,
)
from tfp_realnvp.bijectors.masks import ChangeAll, Channel
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import BoundedScale, ChannelAffine, ChannelTanhScale, GlowNet, InvertibleMatrix, SigmoidScale
from tfp_realnvp.networks.kernels import conv_layer

BOUNDS: dict[str, type[BoundedScale]] = {"sigmoid": SigmoidScale, "tanh": ChannelTanhScale}


@register
class Glow(Architecture):
    """The multi-scale flow of the paper's figure 2.

    At each scale, data → latent:

    ```none
    squeeze
    steps_per_scale times:      actnorm, invertible 1×1 convolution, coupling of half the channels
    with a class or a context:  normalize each entry by a mean and a scale, predicted from the class or context
    before the last scale:      half of the channels leave, normalized by a mean and a scale that a convolution
                                predicts from the other half; the next scale transforms the other half
    at the last scale:          without a class or a context, normalize each channel by a learned mean and scale
    ```

    A learned prior N(μ, σ²) is an affine map to N(0, 1), with μ and σ predicted from the remaining channels or the
    class. So all latents are standard normal and have the shape of the image. The actnorms take their initial values
    from the first batch of `fit`, see `FlowModel.initialize`.

    Args:
      event_shape: (height, width, channels).
      num_scales: number of scales L; in the paper 3 for CIFAR-10 and ImageNet 32×32, 4 for ImageNet 64×64.
      steps_per_scale: number of steps of flow per scale, K; in the paper 32 or 48.
      filters: width of the couplings' networks; in the paper 512.
      use_affine: False for additive couplings.
      bound: the bound of the couplings' log-scales. "sigmoid": log σ(s + 2), as in the authors' code. "tanh":
        e^f · tanh(s / e^f) with a learned f per channel; the scales start at 1 and their bound can grow.
      factorized: True to parametrize the 1×1 convolutions by their PLU factors (section 3.2), False for free matrices.
      num_bins, dequantization, context_size, rematerialize, seed, dtype, name: see `Architecture`.
      num_classes: number of classes of a class-conditional flow. In the paper only the prior of the last scale depends
        on the class. Here every network sees it, and the prior of each scale depends on it, like the conditional
        actnorm of arXiv 1905.13288.
      alpha: see `Architecture`. None, x / num_bins − ½ without a logit, as in the authors' code.

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
        event_shape: Sequence[int],
        num_scales: int = 3,
        steps_per_scale: int = 32,
        filters: int = 512,
        use_affine: bool = True,
        bound: str = "sigmoid",
        factorized: bool = True,
        num_bins: int | str | None = "auto",
        alpha: float | None = None,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        rematerialize: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "glow",
    ) -> None:
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
    """The recursion over the scales: squeeze, steps; half of the channels leave, and the others enter the next scale.

    Args:
      shape: (height, width, channels) of the input of this scale.
      num_scales: number of scales from this one on.
      steps_per_scale: int.
      step: function of a name, the shape of its input, a seed and a scale that returns the bijectors of a step, such as
        `glow_step`.
      seed: int or None.
      layers: `LayerStore`.
      scale: int, the number of this scale.

    Returns:
      The bijectors, data → latent.

    Example: `multi_scale((32, 32, 3), 3, 32, functools.partial(glow_step, layers=layers, filters=512), 0, layers)`

    References: arXiv 1807.03039, figure 2b.
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
    prior = functools.partial(conv_layer, channels, 3, kernel_initializer="zeros")
    bijectors.append(Coupling(Channel(), layers.conditioner("split_prior", prior, half, scale)))
    coarser = multi_scale(half, num_scales - 1, steps_per_scale, step, below, layers, scale + 1)
    return inside(Squeeze(), [*bijectors, FactorOut(Sequential(coarser))])


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
    """A step of flow: actnorm, invertible 1×1 convolution, coupling.

    Args:
      name: prefix of the names of its networks.
      shape: (height, width, channels) of its input.
      seed: int or None.
      layers: `LayerStore`.
      filters: width of the coupling's network.
      bound: class of the bound of the coupling's log-scales; None for an additive coupling.
      factorized: see `Glow`.
      scale: int, the number of its scale.

    Returns:
      The bijectors, data → latent.

    Example: `glow_step("step_0", (16, 16, 12), seed=0, layers=layers, filters=512)`

    References: arXiv 1807.03039, figure 2a, table 1.
    """
    *size, channels = shape
    matrix_seed, network_seed = spawn_seeds(seed, 2)
    norm = layers.layer(f"{name}_act_norm", ChannelAffine, (channels,), scale)
    matrix = functools.partial(InvertibleMatrix, channels, factorized, matrix_seed)
    matrix = layers.layer(f"{name}_convolution", matrix, shape, scale)

    def network(name: str, dtype: Any) -> keras.layers.Layer:
        if bound is None:
            return GlowNet(channels // 2, filters, network_seed, name=name, dtype=dtype)
        inner = GlowNet(channels, filters, network_seed, name="network", dtype=dtype)
        return bound(inner, name=name, dtype=dtype)

    conditioner = layers.conditioner(f"{name}_coupling", network, (*size, channels // 2), scale)
    coupling = Coupling(Channel(), conditioner, additive if bound is None else affine)
    return [ActNorm(norm), Invertible1x1Convolution(matrix), coupling]
