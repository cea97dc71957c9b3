"""MRCNF: continuous flows at several resolutions, each given the image at half its size."""

import functools
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp import sampling
from tfp_realnvp.architectures import continuous_layers
from tfp_realnvp.architectures.architecture import check_counts
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.architectures.standardization import Standardized, standardization
from tfp_realnvp.bijectors import FactorOut, Logit, Sequential, Squeeze, UnimodularTransform
from tfp_realnvp.bijectors.masks import Channel, first_channels
from tfp_realnvp.bijectors.solves import Solves, solving
from tfp_realnvp.common import check_positive, draw_seed, register, spawn_seeds
from tfp_realnvp.model import FlowModel
from tfp_realnvp.networks import ConvDynamics, FixedMoments


@register
class MRCNF(Standardized):
    """A multi-resolution continuous normalizing flow.

    An image x_S is the mean of its 2×2 blocks, x_{S−1}, and three details y_S of each block, see
    `bijectors.UnimodularTransform`; so is every x_s down to the coarsest image x_0:

    ```none
    log p(x_S) = log p(x_0) + Σ_s log p(y_s | x_{s−1})
    ```

    Each term is a chain of continuous flows. They see the coarser image as further channels of their first convolution.
    The finest image gets its noise once, and all others follow from it. So the sum bounds the probability of the pixel
    levels. The authors' release draws noise at each scale, and its sum is no bound.

    Args:
      event_shape: (height, width, channels).
      num_scales: number S + 1 of resolutions.
      num_blocks: number of continuous flows per resolution, an int or one int for each, the coarsest first.
      filters: width of the convolutions, an int or one int for each, the coarsest first.
      activation: Keras activation of the convolutions.
      divergence, solver, tolerance, evaluation_tolerance, num_steps, adjoint, kinetic_energy, jacobian_norm: see
        `FFJORD`.
      alpha: of the logit in front of the coarsest flow, see `Architecture`.
      num_bins, dequantization, num_classes, context_size, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for sizes below 1, sides that do not halve as often as there are scales, `num_blocks` or `filters` of
        another length, or names and tolerances that are not allowed.

    Example:

    ```python
    model = rnvp.MRCNF((32, 32, 3), num_scales=3, num_blocks=2, filters=32)
    model.adapt(images)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(images, batch_size=32)
    model.sample(16, num_scales=2)               # uint8 [16, 16, 16, 3]
    model.refine(model.sample(1, num_scales=1), 16)  # 16 images with one coarsest image
    ```

    References: Voleti et al., Multi-Resolution Continuous Normalizing Flows, arXiv 2106.08462, section 3.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_scales: int = 3,
        num_blocks: int | Sequence[int] = 2,
        filters: int | Sequence[int] = 64,
        activation: Any = "softplus",
        divergence: Any = "hutchinson",
        solver: str = "bosh3",
        tolerance: float = 1e-3,
        evaluation_tolerance: float = 1e-5,
        num_steps: int = 4,
        adjoint: bool = False,
        kinetic_energy: float = 0.01,
        jacobian_norm: float = 0.01,
        num_bins: int | str | None = "auto",
        alpha: float | None = 0.05,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "mrcnf",
    ) -> None:
        super().__init__(locals())
        self._coarser = types.SimpleNamespace(models={})  # Keras would save models in a dictionary of its own.

    @classmethod
    def from_official_weights(
        cls,
        weights: Mapping[str, Any],
        event_shape: Sequence[int],
        num_scales: int,
        num_blocks: int | Sequence[int],
        filters: int | Sequence[int],
        alpha: float | None = 0.05,
        **options: Any,
    ) -> "MRCNF":
        """The model of weights of the authors' code.

        Args:
          weights: arrays in PyTorch's layout by the names `s{scale}/b{block}/l{layer}/kernel` and `.../bias`, in which
            scale 0 is the coarsest.
          event_shape, num_scales, num_blocks, filters, alpha, **options: as for `MRCNF`.

        Raises:
          ValueError: lists weights that are missing, unknown, or of another shape.

        Example: `MRCNF.from_official_weights(arrays, (32, 32, 3), num_scales=3, num_blocks=8, filters=64)`
        """
        model = cls(event_shape, num_scales, num_blocks, filters, alpha=alpha, **options)
        expected: dict[str, keras.Variable] = {}
        for scale, networks in enumerate(reversed(model.networks_by_scale())):
            blocks = [network for network in networks if isinstance(network, ConvDynamics)]
            for block, network in enumerate(blocks):
                for layer, convolution in enumerate(network.convolutions):
                    for name in ("kernel", "bias"):
                        expected[f"s{scale}/b{block}/l{layer}/{name}"] = getattr(convolution, name)
        arrays = {name: np.asarray(array) for name, array in weights.items()}
        # PyTorch's kernels are [outputs, inputs, height, width].
        arrays = {name: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for name, a in arrays.items()}
        wrong = [f"{name} is missing" for name in expected if name not in arrays]
        wrong += [f"{name} is unknown" for name in arrays if name not in expected]
        wrong += [
            f"{name} has another shape, {np.shape(weights[name])}"
            for name, variable in expected.items()
            if name in arrays and arrays[name].shape != tuple(variable.shape)
        ]
        if wrong:
            raise ValueError(f"weights must be those of the model: {'; '.join(wrong)}")
        for name, variable in expected.items():
            variable.assign(arrays[name])
        return model

    @staticmethod
    def from_pixels(num_bins: int, alpha: float | None, dtype: str) -> list[tfb.Bijector]:
        return [tfb.Scale(tf.constant(1 / num_bins, dtype))]  # The logit belongs to the coarsest scale.

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options, shape = self.options, self.options.event_shape
        check_counts(options, "num_scales")
        halvings = options.num_scales - 1
        if len(shape) != 3 or shape[0] % 2**halvings or shape[1] % 2**halvings:
            raise ValueError(
                f"event_shape must be (height, width, channels) with sides divisible by 2^(num_scales - 1) = "
                f"{2**halvings}; got {shape} for num_scales = {options.num_scales}"
            )
        options.blocks_by_scale = self._by_scale("num_blocks")
        options.filters_by_scale = self._by_scale("filters")
        continuous_layers.check(options, layers.policy)
        return self._image_flow(layers)

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        return [(Squeeze(diagonal_first=True), self.event_shape[-1])] * (self.options.num_scales - 1)

    # The methods about scales count them from the coarsest, 0; the layers count them from the finest.

    def bits_per_dim_by_scale(
        self, images: Any, context: Any = None, draw: int = 0, batch_size: int = 64
    ) -> np.ndarray:
        """Each scale's part of the bits per dimension of the images: a float array [N, num_scales], the coarsest first.

        ```none
        −log p(y_s | x_{s−1}) / (D log 2)  +  log2(num_bins) · D_s / D,    for the D_s of all D entries of scale s
        ```

        The parts of an image add up to its bits per dimension, for this draw of the noise.

        Args:
          images, context: as for `encode`.
          draw: int, the number of the noise.
          batch_size: number of images per pass.

        Raises:
          ValueError: as for `fit`.

        Example: `model.bits_per_dim_by_scale(images).mean(axis=0)`
        """
        images = self.events.checked_array("images", images)
        contexts = self.events.contexts.of_events(len(images), context)
        nats = lambda *batch: self.nats_by_scale(batch[0], tf.constant(draw, tf.int64), *batch[1:])
        nats = sampling.in_batches(nats, batch_size, images, *contexts)
        size, scales = math.prod(self.event_shape), self.options.num_scales
        shares = np.array([4.0 ** (1 - scales)] + [3 * 4.0 ** (scale - scales) for scale in range(1, scales)])
        return -nats / (size * math.log(2)) + math.log2(self.num_bins or 1) * shares

    @tf.function(reduce_retracing=True, autograph=False)
    def nats_by_scale(self, images: tf.Tensor, draw: tf.Tensor, context: Any = None) -> tf.Tensor:
        """The graph behind `bits_per_dim_by_scale`: log p(x_0), then log p(y_s | x_{s−1}), [batch, num_scales]."""
        seed, nats = self.noise_seed(draw), []
        layers, bins = self._layers_given(context), self.num_bins or 1
        with solving(Solves(images, seed)):
            x, log_q = self.events.checked_tensor(images), 0.0
            if self.num_bins is not None:
                x, log_q = self.dequantization(x, num_bins=bins, seed=seed)
            x = tf.cast(x, self.events.dtype) / bins
            for scale in range(self.options.num_scales):
                is_coarsest = scale == self.options.num_scales - 1
                x = x if is_coarsest else UnimodularTransform().forward(x)
                flow = Sequential(self._scale_flow(layers, scale))
                coarser, z = x, flow.forward(x)
                if not is_coarsest:
                    coarser, z = first_channels(z, self.event_shape[-1])
                log_p = tf.reduce_sum(self.latent(tf.zeros([], z.dtype), 1.0).log_prob(z), [1, 2, 3])
                nats.append(log_p + flow.forward_log_det_jacobian(x, 3))
                x = coarser
        nats[0] -= tf.cast(log_q, nats[0].dtype)
        return tf.stack(nats[::-1], axis=-1)

    def sample(self, num_samples: int, *args: Any, num_scales: int | None = None, **kwargs: Any) -> np.ndarray:
        """Draws images, as `FlowModel.sample`, or coarse images.

        Args:
          num_samples, *args, **kwargs: as for `FlowModel.sample`.
          num_scales: number of scales to draw; the images have the size of the finest of them. None for all.

        Raises:
          ValueError: as `FlowModel.sample`, or for a `num_scales` that the model does not have.

        Example: `model.sample(16, num_scales=1)` are 16 of the coarsest images.
        """
        if num_scales is None or num_scales == self.options.num_scales:
            return super().sample(num_samples, *args, **kwargs)
        return self.coarser(num_scales).sample(num_samples, *args, **kwargs)

    def coarser(self, num_scales: int) -> FlowModel:
        """The model of the images at the size of these scales, by this model's networks.

        Args:
          num_scales: int from 1 to the model's own.

        Raises:
          ValueError: for another number.

        Example: `model.coarser(2).encode(half_size_images)`
        """
        scales = self.options.num_scales
        if not isinstance(num_scales, int) or not 1 <= num_scales <= scales:
            raise ValueError(f"num_scales must be an int from 1 to {scales}; got {num_scales!r}")
        if num_scales not in self._coarser.models:
            flow = functools.partial(self._image_flow, scale=scales - num_scales)
            self._coarser.models[num_scales] = FlowModel(
                self.distribution_over(flow, self._image_shape(scales - num_scales), self.context_size),
                num_bins=self.num_bins,
                seed=self.seed,
                num_classes=self.num_classes,
                context_size=None if self.num_classes else self.context_size,
                networks=[network for part in self.networks_by_scale()[scales - num_scales :] for network in part],
                dtype=self.dtype_policy,
            )
        return self._coarser.models[num_scales]

    def refine(
        self, images: Any, num_samples: int = 1, temperature: float = 1.0, seed: int | None = None, context: Any = None
    ) -> np.ndarray:
        """Draws finer images given coarse ones, from p(x_S | x_s): an array [N, num_samples] + event_shape.

        Args:
          images: coarse images [N, height, width, channels] of one of the scales; pixel levels, of which the middle of
            the bin counts, or fractions of levels. For a single image [height, width, channels] the result has no N.
          num_samples: number of draws for each.
          temperature: non-negative float, as for `sample`.
          seed: int; None draws one.
          context: labels [N] or contexts [N, context_size] of a conditional flow.

        Raises:
          ValueError: for images of another size, or values out of range.

        Example: `model.refine(model.sample(2, num_scales=1), 8)` has shape [2, 8] + event_shape.

        References: arXiv 2106.08462, section 3.
        """
        images, scales = np.asarray(images), self.options.num_scales
        if images.ndim == 3:
            of_all = None if context is None else np.asarray(context)[np.newaxis]
            return self.refine(images[np.newaxis], num_samples, temperature, seed, of_all)[0]
        shapes = {self._image_shape(scale): scale for scale in range(1, scales)}
        if images.ndim != 4 or images.shape[1:] not in shapes:
            allowed = " or ".join(str(shape) for shape in shapes) or "none, since the model has one scale"
            raise ValueError(f"images must have shape [N] + {allowed}; got {images.shape}")
        coarser = self.coarser(scales - shapes[images.shape[1:]])
        if images.dtype.kind == "f" and self.num_bins is not None:
            if not (np.isfinite(images).all() and 0 <= images.min() and images.max() <= self.num_bins):
                raise ValueError(f"images must hold levels from 0 to {self.num_bins}; got others")
        elif self.num_bins is not None:
            images = coarser.events.checked_array("images", images) + 0.5
        check_positive(num_samples=num_samples)
        contexts = self.events.contexts.of_events(len(images), context)
        images, *contexts = (np.repeat(array, num_samples, axis=0) for array in (images, *contexts))
        number: Any = [] if contexts else len(images)
        z = sampling.latents(self.base_given(*contexts), number, temperature, draw_seed(seed)).numpy()
        decoded, is_finite = sampling.in_batches(self.refine_batch, 256, z, images, *contexts)
        sampling.check_finite(is_finite)
        return decoded.reshape([-1, num_samples, *self.event_shape])

    @tf.function(reduce_retracing=True, autograph=False)
    def refine_batch(self, z: tf.Tensor, images: tf.Tensor, context: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The graph behind `refine`: the finest images by these latents, and whether each is finite."""
        layers, bins, details = self._layers_given(context), self.num_bins or 1, []
        for squeeze, num_kept in self.factor_outs():
            z, detail = first_channels(squeeze.forward(z), num_kept)
            details.append(detail)
        x = tf.cast(images, self.events.dtype) / bins
        with solving(Solves(with_log_det=False)):
            for scale in reversed(range(self.options.num_scales - 1)):
                if self._image_shape(scale + 1) == tuple(x.shape[1:]):
                    flow = Sequential([UnimodularTransform(), *self._scale_flow(layers, scale)])
                    x = flow.inverse(tf.concat([x, details[scale]], axis=-1))
        return self.as_data(x * bins)

    def train_scales(self, scales: Sequence[int]) -> None:
        """Makes the flows of these scales trainable, and freezes those of all others; compile the model after it.

        Given the images, the scales do not depend on each other, so they may be trained in any order.

        Args:
          scales: ints, 0 for the coarsest.

        Raises:
          ValueError: for scales that the model does not have.

        Example: `model.train_scales([0]); model.compile(); model.fit(images)`

        References: arXiv 2106.08462, section 3, on progressive training.
        """
        number = self.options.num_scales
        if any(not isinstance(scale, int) or not 0 <= scale < number for scale in scales):
            raise ValueError(f"scales must be ints from 0 to {number - 1}; got {scales!r}")
        for scale, networks in enumerate(reversed(self.networks_by_scale())):
            for network in networks:
                network.trainable = scale in scales

    def inputs_of_moments(self, x: tf.Tensor, context: Any) -> list[tuple[str, FixedMoments, tf.Tensor]]:
        moments = [layer for layers in self.networks_by_scale() for layer in layers if isinstance(layer, FixedMoments)]
        images = x if self.num_bins is None else x / self.num_bins
        inputs = []
        for _ in range(self.options.num_scales - 1):
            images, details = tf.split(UnimodularTransform().forward(images), [self.event_shape[-1], -1], axis=-1)
            inputs.append(details)
        for layer in self._to_real_line():
            images = layer.forward(images)
        inputs.append(images)
        return [("x", layer, values) for layer, values in zip(moments, inputs, strict=True)]

    def _layers_given(self, context: Any) -> LayerStore:
        """The layers for these labels or contexts."""
        return self._store.with_context(self.events.contexts.vectors(context) if self.context_size else None)

    def _image_flow(self, layers: LayerStore, scale: int = 0) -> list[tfb.Bijector]:
        """The flow of an image: the details given the coarser image, and the flow of that one."""
        if scale == self.options.num_scales - 1:
            return self._scale_flow(layers, scale)
        return [
            UnimodularTransform(),
            *self._scale_flow(layers, scale),
            FactorOut(Sequential(self._image_flow(layers, scale + 1)), num_kept=self._image_shape(scale)[-1]),
            tfb.Invert(Squeeze(diagonal_first=True)),
        ]

    def _scale_flow(self, layers: LayerStore, scale: int) -> list[tfb.Bijector]:
        """The continuous flows of a scale: over the details behind the coarser image, or over the coarsest image."""
        options, is_coarsest = self.options, scale == self.options.num_scales - 1
        height, width, channels = self._image_shape(scale)
        shape = (height, width, channels) if is_coarsest else (height // 2, width // 2, 3 * channels)
        inputs = shape if is_coarsest else (*shape[:-1], 4 * channels)
        mask = None if is_coarsest else Channel(num_first=channels)
        bijectors = self._to_real_line() if is_coarsest else []
        bijectors.append(standardization(layers, shape, scale, mask))
        make = functools.partial(
            ConvDynamics, shape[-1], options.filters_by_scale[-1 - scale], activation=options.activation
        )
        seed = spawn_seeds(options.seed, options.num_scales)[scale]
        for block, block_seed in enumerate(spawn_seeds(seed, options.blocks_by_scale[-1 - scale])):
            name = f"block_{block}"
            bijectors.append(continuous_layers.block(layers, options, name, make, inputs, block_seed, scale, mask))
        return bijectors

    def _image_shape(self, scale: int) -> tuple[int, int, int]:
        """The shape of the images after `scale` halvings."""
        height, width, channels = self.options.event_shape
        return height // 2**scale, width // 2**scale, channels

    def _to_real_line(self) -> list[tfb.Bijector]:
        """The layers in front of the coarsest flow, over values in [0, 1)."""
        if self.options.num_bins is None:
            return []
        if self.options.alpha is None:
            return [tfb.Shift(tf.constant(-0.5, self._store.dtype))]
        return [Logit(1, self.options.alpha)]

    def _by_scale(self, name: str) -> list[int]:
        """An option with one value for each scale, the coarsest first."""
        value, number = getattr(self.options, name), self.options.num_scales
        values = [value] * number if isinstance(value, int) else list(value)
        if len(values) != number or any(not isinstance(each, int) or each < 1 for each in values):
            raise ValueError(
                f"{name} must be a positive int, or {number} of them for num_scales = {number}; got {value!r}"
            )
        return values
