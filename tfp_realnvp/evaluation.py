"""Evaluation for publications: importance-weighted bounds, both kinds of batch norm's moments, and recalibration."""

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors import bins
from tfp_realnvp.common import value_errors
from tfp_realnvp.networks.moments import Moments, fixed_averages, moments_of
from tfp_realnvp.replicas import with_stand_in

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel


def log_likelihood(
    model: "FlowModel", data: Any, num_draws: int = 1, batch_moments: bool = False, batch_size: int = 200
) -> np.ndarray:
    """A lower bound on the log-probability of each image, averaged over draws of the dequantization noise.

    ```none
    log P(x) ≥ E log 1/K Σ_k p(x + u_k),    u_k ~ U[0, 1)^D independent
    ```

    K = 1 is the bound that training maximizes. In expectation, more draws never loosen it. The noise is a function of
    the model's seed, the image and k, so the result is reproducible.

    Args:
      model: `FlowModel`.
      data: as for `FlowModel.fit`: an array, or a `tf.data.Dataset` of batches; for a conditional flow `(x, y)`.
      num_draws: K, a positive int; 1 for continuous data, or for a flow that estimates its log-dets.
      batch_moments: whether batch norm uses each batch's own moments, as in training, instead of the moving moments.
        The moving moments do not change.
      batch_size: number of events per batch, where `data` is an array. A smaller last batch is filled up from the
        first batch. Alone it would have other moments, and TensorFlow rounds the convolution of a single image
        differently.

    Returns:
      float64 array [N], nats (log-densities for continuous data).

    Raises:
      ValueError: for a wrong `num_draws`, or data that do not fit the model.

    Example: `bits = -log_likelihood(model, images, num_draws=8) / (3072 * np.log(2))`

    References: arXiv 1511.01844, section 3.1; arXiv 1509.00519, equation 8; arXiv 1902.00275, section 3.3.
    """
    check_num_draws(model, num_draws)
    result, first = [], None
    with value_errors():
        for batch in model.batches(data, batch_size):
            size, first = batch[0].shape[0], first or batch
            if size < first[0].shape[0]:
                batch = tuple(_filled_up(part, with_first) for part, with_first in zip(batch, first, strict=True))
            x, context = batch
            nats = [model.log_likelihood(x, context, draw, batch_moments) for draw in range(num_draws)]
            result.append(tf.reduce_logsumexp(tf.cast(nats, tf.float64), axis=0)[:size] - math.log(num_draws))
    return np.concatenate(result)


def exact(model: "FlowModel", data: Any, batch_size: int = 200) -> np.ndarray:
    """The exact log-probabilities of images under the weights of a model that was trained with noise.

    For a model with `dequantization="exact"` they equal `model.predict`.

    Args:
      model: `FlowModel` whose entries pass one increasing map each, such as a `SubpixelFlow` without a refinement.
      data, batch_size: as for `log_likelihood`.

    Returns:
      float64 array [N], nats.

    Raises:
      ValueError: for a flow that has only a density, continuous data, or data that do not fit the model.

    Example: `bits, error = bits_per_dim(model, exact(model, images))`

    References: see `bijectors.bins`.
    """
    check_exact(model)
    num_bins: Any = model.num_bins

    @tf.function(reduce_retracing=True, autograph=False)
    def nats(x: tf.Tensor, context: tf.Tensor | None) -> tf.Tensor:
        of_batch = lambda x, context: bins.log_prob(model.distribution_given(context), x, num_bins)
        with fixed_averages():
            return with_stand_in(of_batch, tf.cast(model.events.checked_tensor(x), model.events.dtype), context)

    with value_errors():
        parts = [tf.cast(nats(*batch), tf.float64) for batch in model.batches(data, batch_size)]
    return np.concatenate(parts)


def check_exact(model: "FlowModel") -> None:
    """Raises a ValueError for a model that has only a density, see `exact`.

    Example: `check_exact(rnvp.SubpixelFlow((8, 8, 1), num_bins=17))`
    """
    if model.num_bins is None:
        raise ValueError("num_bins must be a number of pixel levels for exact probabilities; got None")
    bins.check(model.example_distribution(model.events.contexts), model.event_shape)


def check_num_draws(model: "FlowModel", num_draws: int) -> None:
    """Raises a ValueError for a number of draws over which the mean density would be no bound.

    Args:
      model: `FlowModel`.
      num_draws: a positive int; 1 for continuous data, and for exact probabilities. With Hutchinson's divergence each
        draw has an error of its own. Its mean is 0 in log p, not in p.

    Example: `check_num_draws(model, 8)`
    """
    allowed = None
    if not isinstance(num_draws, int) or num_draws < 1:
        allowed = "a positive int"
    elif num_draws > 1 and model.num_bins is None:
        allowed = "1 for continuous data"
    elif num_draws > 1 and model.is_exact:
        allowed = '1 for dequantization="exact", which has no noise'
    elif num_draws > 1 and model.has_estimates:
        allowed = '1 for a flow that estimates its log-dets, unless divergence="exact"'
    if allowed:
        raise ValueError(f"num_draws must be {allowed}; got {num_draws!r}")


def bits_per_dim(model: "FlowModel", nats: Any) -> tuple[float, float]:
    """Mean and standard error, over examples, of bits/dim = −log p / (D log 2).

    Args:
      model: `FlowModel`.
      nats: array [N], log-likelihoods from `log_likelihood` or `model.predict`.

    Returns:
      `(mean, standard_error)`; the standard error of one example is NaN.

    Example: `mean, standard_error = bits_per_dim(model, log_likelihood(model, images))`
    """
    bits = -np.asarray(nats, np.float64) / (math.prod(model.event_shape) * math.log(2))
    return float(bits.mean()), float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else math.nan


def has_moments(model: "FlowModel") -> bool:
    """Whether the model has batch norm, so that its density depends on moments.

    Example: `if has_moments(model): recalibrate(model, images)`
    """
    return bool(_moments(model))


def recalibrate(model: "FlowModel", data: Any, batch_size: int = 200) -> None:
    """Replaces the moving moments of every batch norm by the exact mean and variance over a whole data set.

    Moving averages lag behind the weights and reflect only the last batches. A flow's density is sensitive to them.
    Each scale takes one pass over the data, the finest scale first. In this pass the norms of the scale use the moments
    of each batch, and their sums over the batches are exact. The norms of finer scales use their recalibrated moments.

    Args:
      model: `FlowModel`; its moving moments change in place.
      data: the training data, as for `FlowModel.fit`: an array, or a `tf.data.Dataset` of batches.
      batch_size: number of events per batch, where `data` is an array; larger is more exact.

    Raises:
      ValueError: for data that do not fit the model.

    Example: `recalibrate(model, images); model.save("recalibrated.keras")`
    """
    for networks in model.networks_by_scale():
        of_scale = [moments for network in networks for moments in moments_of(network)]
        with _updating_only(of_scale, _moments(model)), value_errors():

            @tf.function(reduce_retracing=True, autograph=False)
            def update_moments(x: tf.Tensor, context: tf.Tensor | None) -> None:
                # TensorFlow drops the coarser scales from the graph: nothing uses the result or updates their moments.
                model(x, context, training=True, draw=0)

            count = 0
            sums: list[Any] = [0.0] * len(of_scale)
            for x, context in model.batches(data, batch_size):
                update_moments(x, context)
                count += x.shape[0]
                for i, moments in enumerate(of_scale):  # Now each holds the moments of this batch.
                    mean, variance = (weight.numpy().astype(np.float64) for weight in (moments.mean, moments.variance))
                    sums[i] = sums[i] + x.shape[0] * np.stack([mean, variance + mean**2])
        for moments, total in zip(of_scale, sums, strict=True):
            mean, square = total / count
            moments.mean.assign(mean)
            moments.variance.assign(square - mean**2)


def _filled_up(batch: tf.Tensor | None, first: Any) -> tf.Tensor | None:
    """The batch filled up with entries of the first batch to its size; None stands for no contexts."""
    return None if batch is None else tf.concat([batch, first], axis=0)[: first.shape[0]]


def _moments(model: "FlowModel") -> list[Moments]:
    return [moments for network in model.networks for moments in moments_of(network)]


@contextlib.contextmanager
def _updating_only(updated: Collection[Moments], moments: Sequence[Moments]) -> Iterator[None]:
    """A scope where a training-mode call sets `updated` to the moments of its batch and leaves all others unchanged."""
    before = [(layer.trainable, layer.momentum) for layer in moments]
    try:
        for layer in moments:
            layer.trainable = layer in updated
            layer.momentum = 0.0
        yield
    finally:
        for layer, (trainable, momentum) in zip(moments, before, strict=True):
            layer.trainable, layer.momentum = trainable, momentum
