"""The quantities of a batch of events from which the scores are made."""

import functools
import itertools
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures import Architecture
from tfp_realnvp.bijectors import FactorOut, bins
from tfp_realnvp.bijectors.solves import Solves, solving
from tfp_realnvp.model import FlowModel
from tfp_realnvp.representation import layers_of

SMALLEST_NORM = 1e-30  # The gradient of a uniform density is 0, and its logarithm must be finite.


class Quantities:
    """The quantities of a batch of events under a flow. Each is computed once, when a score first asks for it.

    ```none
    log p(x) = Σ_s log p(z_s) + Σ_s log|det_s|    over the scales s, the finest first
    ```

    log|det_s| sums the log-dets of the layers between two places where latents leave the flow. For the densities of
    scales, pixel levels enter at the middles of their bins.

    Args:
      model: `FlowModel`.
      x: float tensor [batch] + event_shape, checked.
      context: labels [batch] or contexts [batch, context_size] of a conditional flow.

    Example: `Quantities(model, tf.cast(images, tf.float32)).log_prob`
    """

    def __init__(self, model: FlowModel, x: tf.Tensor, context: tf.Tensor | None = None) -> None:
        self.model, self.x, self.context = model, x, context

    @functools.cached_property
    def log_prob(self) -> tf.Tensor:
        """The log-likelihood of each event in nats, of `FlowModel.log_likelihood`: a tensor [batch]."""
        if self.model.is_exact and isinstance(self.model, Architecture):  # The pass of the scales serves both.
            return tf.reduce_sum(self.log_probs_of_scales, axis=-1)
        return self.model.log_likelihood(self.x, self.context)

    @functools.cached_property
    def log_probs_of_scales(self) -> tf.Tensor:
        """The log-probability of each scale given the coarser ones, in nats: a tensor [batch, num_scales].

        It is log p(z_s) + log|det_s|, and of an exact flow the log-probability of the levels at the scale's places.
        """
        if not self._flow.is_exact:
            return self.log_probs_of_latents + self.log_dets
        distribution: Any = self._flow.distribution_given(self.context)
        assert self._flow.num_bins is not None
        nats = bins.log_probs_of_entries(distribution, self.x, self._flow.num_bins)
        return _sums(self._flow.split_by_scale(nats))

    @property
    def log_probs_of_latents(self) -> tf.Tensor:
        """log p(z_s) of each scale: a tensor [batch, num_scales]."""
        return self._density[0]

    @property
    def log_dets(self) -> tf.Tensor:
        """log|det_s| of each scale: a tensor [batch, num_scales]."""
        return self._density[1]

    @property
    def log_gradient(self) -> tf.Tensor:
        """The logarithm of the norm of ∇ log p(x): a tensor [batch]."""
        return self._density[2]

    @functools.cached_property
    def bits_of_png(self) -> tf.Tensor:
        """The bits of each image as a PNG file: a tensor [batch]."""
        levels = tf.cast(self.x, self.model.events.data_dtype)
        return 8 * tf.cast(tf.strings.length(tf.io.encode_png(levels, compression=9)), self.x.dtype)

    @property
    def _flow(self) -> Architecture:
        """The model, whose latents have scales."""
        assert isinstance(self.model, Architecture)
        return self.model

    @functools.cached_property
    def _density(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """`log_probs_of_latents`, `log_dets` and `log_gradient`, of one pass and its gradient."""
        model = self._flow
        x = self.x if model.num_bins is None else self.x + 0.5
        distribution: Any = model.distribution_given(self.context)
        with solving(Solves(x, model.noise_seed(0))), tf.GradientTape() as tape:
            tape.watch(x)
            z, log_dets = _with_log_dets(bins.data_to_latent(distribution), x)
            latent = model.latent(tf.zeros([], z.dtype), 1.0)
            of_latents = _sums(model.split_by_scale(latent.log_prob(z)))
            of_layers = tf.stack([tf.broadcast_to(log_det, tf.shape(x)[:1]) for log_det in log_dets], axis=-1)
            log_p = tf.reduce_sum(of_latents, axis=-1) + tf.reduce_sum(of_layers, axis=-1)
        gradient = tape.gradient(log_p, x)
        norm = tf.norm(tf.reshape(gradient, [tf.shape(x)[0], -1]), axis=-1)
        return of_latents, of_layers, tf.math.log(tf.maximum(norm, SMALLEST_NORM))


def num_scales(model: Architecture) -> int:
    """The number of scales of a flow's latents.

    Example: `num_scales(rnvp.Glow((28, 28, 1), num_scales=2))` is 2.
    """
    return 1 + len(model.factor_outs())


def num_depths(flow: tfb.Bijector) -> int:
    """The number of log-dets of `Quantities.log_dets`: one more than the places where latents leave behind each other.

    Args:
      flow: `tfb.Bijector`, data → latent.

    Example: `num_depths(bins.data_to_latent(model.distribution))`
    """
    return 1 + max((num_depths(layer.inner) for layer in layers_of(flow) if _begins_scale(layer)), default=0)


def _begins_scale(layer: Any) -> bool:
    """Whether a layer is the flow of all coarser scales; `SubpixelFlow` has single couplings in a `FactorOut` too."""
    return isinstance(layer, FactorOut) and hasattr(layer.inner, "bijectors")


def _with_log_dets(flow: tfb.Bijector, x: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The latents, and the log-det of each scale."""
    log_det: Any = 0.0
    coarser: list[tf.Tensor] = []
    for layer in layers_of(flow):
        if _begins_scale(layer):
            stays, leaves = layer.split(x)
            z, log_dets = _with_log_dets(layer.inner, stays)
            coarser = [sum(pair) for pair in itertools.zip_longest(coarser, log_dets, fillvalue=0.0)]
            x = tf.concat([z, leaves], axis=-1)
        else:
            log_det += layer.forward_log_det_jacobian(x, x.shape.rank - 1)
            x = layer.forward(x)
    return x, [log_det, *coarser]


def _sums(parts: list[tf.Tensor]) -> tf.Tensor:
    """The sum of each part over its entries: a tensor [batch, len(parts)]."""
    return tf.stack([tf.reduce_sum(part, axis=range(1, part.shape.rank)) for part in parts], axis=-1)
