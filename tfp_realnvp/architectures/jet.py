"""Jet (Kolesnikov et al., arXiv 2412.15129): couplings of patches, conditioned by vision transformers."""

import functools
import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures import official_jet
from tfp_realnvp.architectures.architecture import Architecture, check_counts, check_divisible, inside
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import ActNorm, Coupling, Invertible1x1Convolution, Patches, Permutation
from tfp_realnvp.bijectors.masks import Channel
from tfp_realnvp.bijectors.permutation import channel_order, token_order
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import ChannelAffine, FixedOrder, SigmoidScale, VisionTransformer, Whitening

KINDS = ("channels", "spatial")

# The spatial couplings keep the patches of even numbers, or of odd ones: a checkerboard, columns, rows.
PATTERNS = (lambda row, column: row + column, lambda row, column: column, lambda row, column: row)


@register
class Jet(Architecture):
    """Affine couplings over the patches of an image, and nothing else: no scales, no norms, no learned prior.

    ```none
    patches as tokens
    num_couplings times:  put the entries of the tokens in an order of this coupling
                          (x₁, x₂) = halves of each token,    x₂ ← (x₂ + t(x₁)) · m σ(s(x₁))
                          put them back
    t, s: a vision transformer over the tokens x₁
    ```

    The order of a channel coupling is a random permutation of a token's entries, the same for all tokens. A spatial
    coupling keeps every second patch, by a checkerboard, columns or rows, and each of the two kept halves of a patch is
    a token. The orders are weights that are not trained.

    The transformers begin at 0, so with the scale factor m = 2 the flow begins as the identity. A coupling at most
    multiplies an entry by m, so data need many couplings to become normal. Both directions run each network once. The
    flow is made for GPUs: on a CPU `SubpixelFlow` is better after equal time, see docs/families.md.

    Args:
      event_shape: (height, width, channels).
      patch_size: height and width of the patches.
      num_couplings: number of couplings.
      num_blocks: number of blocks of each transformer.
      width: size of the transformers' tokens.
      num_heads: number of heads of their attention.
      kinds: the kind of each coupling, "channels" or "spatial"; repeated for all couplings.
      scale_factor: m, the bound of the scales.
      whitening: True for couplings behind a fixed whitening of the patches by principal components, of the first batch
        of `fit`, see `FlowModel.initialize`. Neighbouring pixels are alike; without it the couplings learn this first.
        It is not part of the paper.
      num_bins, dequantization, num_classes, context_size, mixture_base, rematerialize, seed, dtype, name: see
        `Architecture`.

    Raises:
      ValueError: for sizes below 1, another kind, a `scale_factor` that is not positive, a height or width not
        divisible by `patch_size`, an odd number of entries of a patch, or spatial couplings of an odd number of rows or
        columns of patches.

    Example:

    ```python
    model = rnvp.Jet((32, 32, 3), num_couplings=16, num_blocks=1, width=128, num_heads=4, whitening=True)
    model.compile(rnvp.optimizers.Adam(2e-3, beta_2=0.95))
    model.fit(images, batch_size=32)
    ```

    References: arXiv 2412.15129, sections 3 and 4, and the authors' code.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        patch_size: int = 4,
        num_couplings: int = 32,
        num_blocks: int = 2,
        width: int = 512,
        num_heads: int = 8,
        kinds: Sequence[str] = ("channels", "channels", "channels", "channels", "spatial"),
        scale_factor: float = 2.0,
        whitening: bool = False,
        num_bins: int | str | None = "auto",
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        mixture_base: bool = False,
        rematerialize: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "jet",
    ) -> None:
        super().__init__(locals())

    @classmethod
    def from_official_weights(
        cls,
        weights: Mapping[str, Any],
        event_shape: Sequence[int],
        patch_size: int = 4,
        num_heads: int = 8,
        scale_factor: float = 2.0,
        **options: Any,
    ) -> "Jet":
        """The model of weights of the authors' code. All other sizes follow from the weights.

        Args:
          weights: arrays by the names `channel_coupling_masks`, `spatial_coupling_masks` and `couplings/dnn/...` of the
            authors' code, whose first axis is the coupling. Each coupling has a matrix of a permutation, for its
            channels or its tokens, and zeros in the place of the other one.
          event_shape, patch_size, num_heads, scale_factor, **options: as for `Jet`.

        Raises:
          ValueError: lists weights that are missing, unknown, or of another shape; for masks that are no permutations.

        Example: `Jet.from_official_weights(arrays, (64, 64, 3), patch_size=4, num_heads=8)`
        """
        sizes = official_jet.sizes(weights)
        model = cls(event_shape, patch_size, num_heads=num_heads, scale_factor=scale_factor, **sizes, **options)
        official_jet.load_weights(model, weights)
        return model

    @staticmethod
    def from_pixels(num_bins: int, alpha: float | None, dtype: str) -> list[tfb.Bijector]:
        """The layers in front of `flow`: pixel levels to [−1, 1], 2x / (num_bins − 1) − 1."""
        return [tfb.Scale(tf.constant(2 / max(num_bins - 1, 1), dtype)), tfb.Shift(tf.constant(-1, dtype))]

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        _check(options)
        tokens = self.tokens_shape
        bijectors = _whitening(layers, tokens) if options.whitening else []
        seeds = spawn_seeds(options.seed, options.num_couplings)
        for number, (order, seed) in enumerate(zip(_orders(options.kinds, tokens, seeds), seeds, strict=True)):
            order = layers.layer(f"order_{number}", functools.partial(FixedOrder, order), tokens)
            make = functools.partial(_network, options=options, out_channels=tokens[-1], seed=seed)
            conditioner = layers.conditioner(f"coupling_{number}", make, (*tokens[:2], tokens[-1] // 2))
            bijectors += inside(Permutation(order), [Coupling(Channel(), conditioner)])
        return inside(Patches(options.patch_size), bijectors)

    @property
    def tokens_shape(self) -> tuple[int, int, int]:
        """The rows and columns of patches, and the number of entries of a patch."""
        (height, width, channels), size = self.options.event_shape, self.options.patch_size
        return height // size, width // size, size**2 * channels

    @property
    def is_convolutional(self) -> bool:
        return False


def _check(options: types.SimpleNamespace) -> None:
    """Raises a ValueError for options that do not fit each other."""
    shape, size = options.event_shape, options.patch_size
    if len(shape) != 3:
        raise ValueError(f"event_shape must be (height, width, channels); got {shape}")
    check_counts(options, "patch_size", "num_couplings", "num_blocks", "width", "num_heads")
    check_divisible(shape, size, "patch_size")
    if shape[-1] * size % 2:
        raise ValueError(f"patch_size must be even for images of {shape[-1]} channels, whose patches halve; got {size}")
    if not options.kinds or not {*options.kinds} <= {*KINDS}:
        raise ValueError(f"kinds must hold {' or '.join(KINDS)}; got {options.kinds!r}")
    if "spatial" in options.kinds and (shape[0] // size % 2 or shape[1] // size % 2):
        raise ValueError(
            f"event_shape must have an even number of rows and columns of patches for spatial couplings; got {shape} "
            f"for patch_size = {size}"
        )
    if not options.scale_factor > 0:
        raise ValueError(f"scale_factor must be positive; got {options.scale_factor!r}")


def _whitening(layers: LayerStore, shape: tuple[int, int, int]) -> list[tfb.Bijector]:
    """The fixed whitening of the tokens: a shift and a scale of each entry, then a matrix."""
    norm = layers.layer("standardization", functools.partial(ChannelAffine, learned=False), shape)
    return [ActNorm(norm), Invertible1x1Convolution(layers.layer("whitening", Whitening, shape))]


def _network(
    name: str, dtype: Any, options: types.SimpleNamespace, out_channels: int, seed: int | None
) -> keras.layers.Layer:
    """The transformer of a coupling, with its bound of the scale."""
    transformer = VisionTransformer(
        out_channels, options.width, options.num_blocks, options.num_heads, seed, name="network", dtype=dtype
    )
    return SigmoidScale(transformer, offset=0.0, factor=options.scale_factor, name=name, dtype=dtype)


def _orders(kinds: Sequence[str], shape: tuple[int, int, int], seeds: Sequence[Any]) -> Iterator[np.ndarray]:
    """The order of the entries of tokens for each coupling.

    Args:
      kinds: "channels" or "spatial", repeated.
      shape: (rows, columns, channels) of the tokens.
      seeds: one for each coupling.
    """
    row, column = np.indices(shape[:2])
    # Zeros at the kept tokens, ones at the changed.
    alternating = itertools.cycle((pattern(row, column) + first) % 2 for pattern in PATTERNS for first in (0, 1))
    for kind, seed in zip(itertools.cycle(kinds), seeds, strict=False):
        if kind == "channels":
            yield channel_order(shape, np.random.default_rng(seed).permutation(shape[-1]))
        else:
            yield token_order(shape, np.argsort(next(alternating), axis=None, kind="stable"))
