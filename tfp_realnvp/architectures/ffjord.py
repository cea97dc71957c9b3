"""FFJORD: continuous flows over vectors and images; with its regularizers it is RNODE."""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures import continuous_layers
from tfp_realnvp.architectures.architecture import check_counts, check_divisible, inside
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.architectures.standardization import (
    Standardized,
    standardization,
    vectors_of_moments,
    with_standardized_context,
)
from tfp_realnvp.bijectors import FactorOut, Sequential, Squeeze
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import ConvDynamics, FixedMoments, MLPDynamics


@register
class FFJORD(Standardized):
    """Continuous flows over vectors, by multilayer perceptrons, or over images, by convolutions at several scales.

    ```none
    vectors:  standardization, blocks
    images:   logit, standardization, then at each scale: blocks, squeeze, blocks, half of the channels leave
    ```

    A block is a `ContinuousFlow`. The coarsest scale of images is not squeezed. RNODE is the same flow with the
    regularizers `kinetic_energy` and `jacobian_norm`, 0.01 each in the paper.

    Args:
      event_shape: (size,) or (height, width, channels).
      num_blocks: number of blocks; of images, before and after each squeeze.
      hidden_units: sizes of the hidden layers for vectors.
      layer: "concat" or "concatsquash", for vectors; see `networks.MLPDynamics`.
      num_scales: number of scales of images.
      filters: width of the convolutions for images.
      activation: Keras activation; None for tanh over vectors and softplus over images.
      divergence: "exact", "hutchinson" or "gaussian"; None for "exact" over vectors and "hutchinson" over images.
      solver: of training: "bosh3" or "dopri5", adaptive, or "rk4", with fixed steps.
      tolerance: of the adaptive solvers in training.
      evaluation_tolerance: of "dopri5" outside of training.
      num_steps: number of steps of "rk4".
      adjoint: whether gradients come from the adjoint equation, see `solvers.differentiable`.
      kinetic_energy, jacobian_norm: coefficients of the regularizers, in bits per dimension as in the papers.
      num_bins, alpha, dequantization, num_classes, context_size, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for sizes below 1, names or tolerances that are not allowed, or a height or width not divisible by
        2^(num_scales − 1).

    Example:

    ```python
    model = rnvp.FFJORD((2,), hidden_units=[64, 64, 64])
    model.adapt(points)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(points, batch_size=128, epochs=20)
    ```

    References: Grathwohl et al., FFJORD, arXiv 1810.01367; Finlay et al., RNODE, arXiv 2002.02798.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_blocks: int = 1,
        hidden_units: Sequence[int] = (64, 64, 64),
        layer: str = "concatsquash",
        num_scales: int = 2,
        filters: int = 64,
        activation: Any = None,
        divergence: Any = None,
        solver: str = "bosh3",
        tolerance: float = 1e-3,
        evaluation_tolerance: float = 1e-5,
        num_steps: int = 4,
        adjoint: bool = False,
        kinetic_energy: float = 0.0,
        jacobian_norm: float = 0.0,
        num_bins: int | str | None = "auto",
        alpha: float | None = 0.05,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "ffjord",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options = self.options
        check_counts(options, "num_blocks", "num_scales", "filters")
        is_image = len(options.event_shape) == 3
        options.activation = options.activation or ("softplus" if is_image else "tanh")
        options.divergence = options.divergence or ("hutchinson" if is_image else "exact")
        continuous_layers.check(options, layers.policy)
        if not is_image:
            return self._over_vectors(layers)
        check_divisible(options.event_shape, 2 ** (options.num_scales - 1), "2^(num_scales - 1)")
        return [standardization(layers, options.event_shape)] + self._scales(layers, options.event_shape, options.seed)

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        return [(Squeeze(), None)] * (self.options.num_scales - 1 if len(self.event_shape) == 3 else 0)

    def inputs_of_moments(self, x: tf.Tensor, context: Any) -> list[tuple[str, FixedMoments, tf.Tensor]]:
        if self.num_bins is not None:
            x = Sequential(self.from_pixels(self.num_bins, self.options.alpha, x.dtype)).forward(x)
        return vectors_of_moments(self.networks, x, context)

    def _over_vectors(self, layers: LayerStore) -> list[tfb.Bijector]:
        options, shape = self.options, self.options.event_shape
        bijectors: list[tfb.Bijector] = [standardization(layers, shape)]
        layers = with_standardized_context(layers, options.context_size)
        (size,) = shape
        make = functools.partial(MLPDynamics, size, tuple(options.hidden_units), options.activation, options.layer)
        for number, seed in enumerate(spawn_seeds(options.seed, options.num_blocks)):
            bijectors.append(continuous_layers.block(layers, options, f"block_{number}", make, shape, seed))
        return bijectors

    def _scales(
        self, layers: LayerStore, shape: tuple[int, int, int], seed: int | None, scale: int = 0
    ) -> list[tfb.Bijector]:
        """The recursion over the scales: blocks, squeeze, blocks; half of the channels leave."""
        height, width, channels = shape
        before_seed, after_seed, below = spawn_seeds(seed, 3)
        bijectors = self._blocks(layers, "block", shape, before_seed, scale)
        if scale == self.options.num_scales - 1:
            return bijectors
        squeezed, half = (height // 2, width // 2, 4 * channels), (height // 2, width // 2, 2 * channels)
        after = self._blocks(layers, "squeezed_block", squeezed, after_seed, scale)
        coarser = FactorOut(Sequential(self._scales(layers, half, below, scale + 1)))
        return bijectors + inside(Squeeze(), [*after, coarser])

    def _blocks(
        self, layers: LayerStore, name: str, shape: tuple[int, int, int], seed: int | None, scale: int
    ) -> list[tfb.Bijector]:
        options = self.options
        make = functools.partial(ConvDynamics, shape[-1], options.filters, activation=options.activation)
        return [
            continuous_layers.block(layers, options, f"{name}_{number}", make, shape, block_seed, scale)
            for number, block_seed in enumerate(spawn_seeds(seed, options.num_blocks))
        ]
