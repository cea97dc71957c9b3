"""Glow (Kingma and Dhariwal, arXiv 1807.03039): actnorm, invertible 1×1 convolution, coupling."""

import functools

import keras

from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside, sequential
from tfp_realnvp.bijectors import ActNorm, Coupling, FactorOut, Invertible1x1Convolution, Squeeze, additive, affine
from tfp_realnvp.bijectors.masks import Channel, Nothing
from tfp_realnvp.networks import ChannelAffine, ChannelTanhScale, GlowNet, InvertibleMatrix, SigmoidScale
from tfp_realnvp.networks.layers import register, spawn_seeds

BOUNDS = {"sigmoid": SigmoidScale, "tanh": ChannelTanhScale}


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

    def flow(self, networks):
        options = self.options
        if len(options.event_shape) != 3:
            raise ValueError(f"event_shape must be (height, width, channels); got {options.event_shape}")
        check_counts(options, "num_scales", "steps_per_scale", "filters")
        check_divisible(options.event_shape, 2**options.num_scales, "2^num_scales")
        if options.bound not in BOUNDS:
            raise ValueError(f"bound must be one of {sorted(BOUNDS)}; got {options.bound!r}")
        bound = BOUNDS[options.bound] if options.use_affine else None
        step = functools.partial(
            glow_step, networks=networks, filters=options.filters, bound=bound, factorized=options.factorized
        )
        return multi_scale(
            options.event_shape, options.num_scales, options.steps_per_scale, step, options.seed, networks
        )

    def factor_outs(self):
        return [(Squeeze(), None)] * (self.options.num_scales - 1)


def multi_scale(shape, num_scales, steps_per_scale, step, seed, networks, scale=0):
    """The recursion over the scales: squeeze, steps, half of the channels leave, the next scale for the others.

    Args:
      shape: (height, width, channels) of what enters this scale.
      num_scales: how many scales there are from this one on.
      steps_per_scale: int.
      step: function of a name, the shape of what enters, and a seed, that gives a step's layers, such as `glow_step`.
      seed: int or None.
      networks: `Networks`.
      scale: int, the number of this scale, in the names of its networks.

    Returns:
      List of layers, data → latent.
    """
    height, width, channels = shape[0] // 2, shape[1] // 2, 4 * shape[2]
    squeezed, half = (height, width, channels), (height, width, channels // 2)
    here, below = spawn_seeds(seed, 2)
    layers = []
    for number, step_seed in enumerate(spawn_seeds(here, steps_per_scale)):
        layers += step(f"scale_{scale}_step_{number}", squeezed, step_seed)
    if num_scales == 1 or networks.context_size:
        prior = networks.prior(f"scale_{scale}_learned_prior", (height, width, 2 * channels))
        layers.append(Coupling(Nothing(3), prior))
    if num_scales == 1:
        return inside(Squeeze(), layers)
    prior = functools.partial(keras.layers.Conv2D, channels, 3, padding="same", kernel_initializer="zeros")
    layers.append(Coupling(Channel(), networks.conditioner(f"scale_{scale}_split_prior", prior, half)))
    coarser = multi_scale(half, num_scales - 1, steps_per_scale, step, below, networks, scale + 1)
    return inside(Squeeze(), [*layers, FactorOut(sequential(coarser))])


def glow_step(name, shape, seed, networks, filters, bound=SigmoidScale, factorized=True):
    """A step of flow, figure 2a.

    Args:
      name: str, with which the names of its networks begin.
      shape: (height, width, channels) of what it maps.
      seed: int or None.
      networks: `Networks`.
      filters: width of the coupling's network.
      bound: class of `networks.layers.BoundedScale`, of the coupling's log-scales; None for an additive coupling.
      factorized: see `Glow`.

    Returns:
      List of layers, data → latent.
    """
    *size, channels = shape
    matrix_seed, network_seed = spawn_seeds(seed, 2)
    norm = networks.layer(f"{name}_act_norm", ChannelAffine, (channels,))
    matrix = functools.partial(InvertibleMatrix, channels, factorized, matrix_seed)
    matrix = networks.layer(f"{name}_convolution", matrix, shape)

    def network(name, dtype):
        if bound is None:
            return GlowNet(channels // 2, filters, network_seed, name=name, dtype=dtype)
        return bound(GlowNet(channels, filters, network_seed, dtype=dtype), name=name, dtype=dtype)

    conditioner = networks.conditioner(f"{name}_coupling", network, (*size, channels // 2))
    coupling = Coupling(Channel(), conditioner, additive if bound is None else affine)
    return [ActNorm(norm), Invertible1x1Convolution(matrix), coupling]
