"""Real NVP (Dinh, Sohl-Dickstein and Bengio, arXiv 1605.08803), as in the authors' code."""

import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures import official_checkpoint
from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import (
    BatchNormalization,
    Coupling,
    FactorOut,
    Sequential,
    Squeeze,
    additive,
    affine,
    affine_scale_first,
)
from tfp_realnvp.bijectors.masks import Channel, Checkerboard, Dense, Mask
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import MLP, Moments, ResNet, TanhScale


@register
class RealNVP(Architecture):
    """The multi-scale flow of the paper's figure 4, with the masks, networks and norms of the authors' code.

    At each scale, data → latent, for images:

    ```none
    three checkerboard couplings with masks 1, 0, 1
    before the last scale:  squeeze; three channel couplings that keep the first, second and first half; un-squeeze;
                            squeeze by diagonals; half of the channels leave; the next scale; un-squeeze
    at the last scale:      a fourth checkerboard coupling with mask 0
    ```

    A batch norm of the changed entries follows each coupling. The width of the networks doubles from scale to scale,
    and channel couplings have twice the width of checkerboard couplings. The latents are standard normal and have the
    shape of the image.

    For vectors (`event_shape` of rank 1) a scale is four couplings. Their masks alternate between even and odd entries,
    and their conditioners are MLPs with `num_blocks` hidden layers of `filters` units. All entries pass all scales.

    Args:
      event_shape: (height, width, channels) or (size,).
      num_scales: number of scales; in the paper 2 for CIFAR-10, 4 for ImageNet 32×32, 5 for 64×64.
      filters: width of the networks at the first scale; in the paper 64 for CIFAR-10, otherwise 32.
      num_blocks: number of residual blocks per network; in the paper 8 for CIFAR-10, otherwise 2 or 4.
      num_bins: number of pixel levels, or None for continuous data; "auto": 256 for images, None for vectors.
      alpha: see `Logit`.
      l2: the penalty l2 · Σ g², in nats, on the magnitudes of the weight norm and the checkerboard couplings' scales.
      recursion_type: the part of the squeezed channels that enters the next scale, numbered as in the code. 1: all
        channels. 2: half, as in the paper. 3: a quarter. 4: a quarter, and the width does not double per scale.
      use_affine: False for additive couplings where the code's `use_aff=0` has them: the first two of each three. The
        third, and the fourth at the last scale, stay affine.
      scale_first: True for the map of the paper, y = x · exp(s) + t, instead of the code's (x + t) · exp(s).
      use_batch_norm: False for a flow without any batch norm. The log-scale of each affine coupling then has a learned
        offset (the code's `scale_shift`).
      running_average: ρ in [0, 1) for the paper's batch norm, equations 22 to 24: training normalizes by running
        averages (see `Moments`). None normalizes by the batch's moments, as the code does by default.
      skip: whether the residual networks have skips, see `ResNet`.
      bottleneck: whether residual blocks have three convolutions, see `ResidualBlocks`.
      dequantization, num_classes, context_size, rematerialize, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for an `event_shape` of rank other than 1 or 3, a height or width not divisible by
        2^(num_scales − 1), sizes below 1, or options that exclude each other or do not fit the rank.

    Example:

    ```python
    model = rnvp.RealNVP(event_shape=(32, 32, 3), num_scales=2, filters=64, num_blocks=8)
    model.compile()
    model.fit(images, batch_size=64, epochs=10)     # uint8 [N, 32, 32, 3]
    model.evaluate(images, return_dict=True)        # {"loss": nats, "bits_per_dim": ...}
    model.sample(16, seed=0)                        # uint8 [16, 32, 32, 3]
    ```

    References: arXiv 1605.08803, sections 3.4 to 3.7 and 4.1.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_scales: int = 2,
        filters: int = 32,
        num_blocks: int = 4,
        num_bins: int | str | None = "auto",
        alpha: float | None = 0.05,
        l2: float = 5e-5,
        recursion_type: int = 2,
        use_affine: bool = True,
        scale_first: bool = False,
        use_batch_norm: bool = True,
        running_average: float | None = None,
        skip: bool = True,
        bottleneck: bool = False,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        rematerialize: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "real_nvp",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        _check(options)
        flow_of = _image_flow if len(options.event_shape) == 3 else _vector_flow
        return flow_of(options.event_shape, options, options.seed, layers)

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        if len(self.event_shape) == 1 or self.options.recursion_type == 1:
            return []
        channels = self.event_shape[-1]
        leaving: list[tuple[tfb.Bijector, int | None]] = []
        for _ in range(self.options.num_scales - 1):
            channels = _num_kept(channels, self.options.recursion_type)
            leaving.append((Squeeze(diagonal_first=True), channels))
        return leaving

    @classmethod
    def oldest_format(cls, config: dict[str, Any]) -> int:
        # Before format 2 each block of a residual network had weights of its own.
        return 2 if len(config["event_shape"]) == 3 else 1

    @classmethod
    def from_official_checkpoint(cls, prefix: Any, image_size: int | None = None, **kwargs: Any) -> "RealNVP":
        """The model of a checkpoint of the authors' TensorFlow 1 script, with its weights.

        Args:
          prefix: path of the checkpoint, without .index or .data-…
          image_size: height and width of the images; the checkpoint does not store them. None for the authors' size
            with this number of scales: 32 for 2 and 4 scales, 64 for 5, otherwise 2^(num_scales + 1).
          **kwargs: arguments that the variables do not determine, such as `seed`, `dtype`, `l2`, `running_average`.

        Raises:
          ValueError: for a missing checkpoint, or variables that do not fit a Real NVP; the message lists them.

        Example: `model = rnvp.RealNVP.from_official_checkpoint("logs/model.ckpt-100000")`
        """
        options = official_checkpoint.options(prefix)
        channels = options.pop("channels")
        size = image_size or (32 if options["num_scales"] == 2 else 2 ** (options["num_scales"] + 1))
        model = cls((size, size, channels), **{**options, **kwargs})
        official_checkpoint.load_weights(model, prefix)
        return model


def _image_flow(
    shape: tuple[int, int, int], options: types.SimpleNamespace, seed: int | None, layers: LayerStore, scale: int = 0
) -> list[tfb.Bijector]:
    """The recursion over the scales: the bijectors, data → latent."""
    height, width, channels = shape
    here, below = spawn_seeds(seed, 2)
    seeds = iter(spawn_seeds(here, 7))
    filters = options.filters * (2**scale if options.recursion_type < 4 else 1)
    resnet = functools.partial(
        ResNet,
        num_blocks=options.num_blocks,
        skip=options.skip,
        bottleneck=options.bottleneck,
        use_batch_norm=options.use_batch_norm,
        running_average=options.running_average,
        l2=options.l2,
    )

    coupling = functools.partial(_coupling, options=options, layers=layers, scale=scale)

    # The couplings have the numbers of the authors' code.
    def checkerboard(number: int, top_left: int, use_affine: bool = True) -> list[tfb.Bijector]:
        network = functools.partial(resnet, filters=filters, checkerboard=top_left, seed=next(seeds))
        return coupling(number, Checkerboard(top_left), shape, network, use_affine, initial=0.0, l2=options.l2)

    def channel(number: int, keep_first: bool, use_affine: bool = True) -> list[tfb.Bijector]:
        network = functools.partial(resnet, filters=2 * filters, seed=next(seeds))
        half = (height // 2, width // 2, 2 * channels)
        return coupling(number, Channel(keep_first), half, network, use_affine)

    use_affine = options.use_affine
    bijectors = [*checkerboard(0, 1, use_affine), *checkerboard(1, 0, use_affine), *checkerboard(2, 1)]
    if scale == options.num_scales - 1:
        return [*bijectors, *checkerboard(3, 0)]
    bijectors += inside(Squeeze(), [*channel(4, True, use_affine), *channel(5, False, use_affine), *channel(6, True)])
    num_kept = _num_kept(channels, options.recursion_type)
    coarser = _image_flow((height // 2, width // 2, num_kept), options, below, layers, scale + 1)
    if options.recursion_type > 1:
        coarser = [FactorOut(Sequential(coarser), num_kept)]
    return [*bijectors, *inside(Squeeze(diagonal_first=True), coarser)]


def _num_kept(channels: int, recursion_type: int) -> int:
    """The number of channels that enter the next scale; a squeezed image has 4 · `channels`."""
    return {1: 4, 2: 2, 3: 1, 4: 1}[recursion_type] * channels


def _vector_flow(
    shape: tuple[int], options: types.SimpleNamespace, seed: int | None, layers: LayerStore
) -> list[tfb.Bijector]:
    """Couplings with masks that keep the odd and even entries in turn: the bijectors, data → latent."""
    (size,) = shape
    bijectors = []
    for number, layer_seed in enumerate(spawn_seeds(seed, 4 * options.num_scales)):
        mask = Dense([(entry + number) % 2 for entry in range(size)])
        hidden_units = [options.filters] * options.num_blocks
        network = functools.partial(MLP, hidden_units=hidden_units, seed=layer_seed)
        scale, number = divmod(number, 4)
        use_affine = options.use_affine or number >= 2
        bijectors += _coupling(number, mask, shape, network, use_affine, options, layers, scale)
    return bijectors


def _coupling(
    number: int,
    mask: Mask,
    shape: tuple[int, ...],
    network: Callable[..., keras.layers.Layer],
    use_affine: bool,
    options: types.SimpleNamespace,
    layers: LayerStore,
    scale: int,
    initial: float = 1.0,
    l2: float = 0.0,
) -> list[tfb.Bijector]:
    """A coupling and the batch norm of its changed part.

    Args:
      number: int, its number in the authors' code.
      mask: `Mask`.
      shape: the shape of the kept part and of the changed part.
      network: function of a number of outputs that makes the conditioner.
      use_affine: False for an additive coupling.
      options, layers, scale: as for `_image_flow`.
      initial, l2: arguments of the conditioner's `TanhScale`.
    """

    def bounded(name: str, dtype: Any) -> TanhScale:
        inner = network(2 * shape[-1], name="network", dtype=dtype)
        return TanhScale(inner, initial, not options.use_batch_norm, l2, dtype=dtype, name=name)

    if use_affine:
        make, bijector_fn = bounded, affine_scale_first if options.scale_first else affine
    else:
        make, bijector_fn = functools.partial(network, shape[-1]), additive
    coupling = Coupling(mask, layers.conditioner(f"coupling_{number}", make, shape, scale), bijector_fn)
    if not options.use_batch_norm:
        return [coupling]
    momentum = {} if options.running_average is None else dict(momentum=options.running_average, running=True)
    moments = layers.layer(f"coupling_{number}_moments", functools.partial(Moments, **momentum), (shape[-1],), scale)
    return [coupling, BatchNormalization(moments, mask)]


def _check(options: types.SimpleNamespace) -> None:
    shape = options.event_shape
    check_counts(options, "num_scales", "filters", "num_blocks")
    check_divisible(shape, 2 ** (options.num_scales - 1), "2^(num_scales - 1)")
    if options.recursion_type not in (1, 2, 3, 4):
        raise ValueError(f"recursion_type must be 1, 2, 3 or 4; got {options.recursion_type!r}")
    if options.running_average is not None and not (options.use_batch_norm and 0 <= options.running_average < 1):
        raise ValueError(
            "running_average must be None, or in [0, 1) with use_batch_norm=True; got "
            f"{options.running_average!r} with use_batch_norm={options.use_batch_norm}"
        )
    image_defaults = dict(recursion_type=2, skip=True, bottleneck=False)
    values = {name: getattr(options, name) for name in image_defaults}
    changed = {name: value for name, value in values.items() if value != image_defaults[name]}
    if len(shape) == 1 and changed:
        raise ValueError(f"{', '.join(changed)} must be left at the default for vectors; got {changed}")
