"""Evaluation that one can cite: importance-weighted bounds, both kinds of batch norm's moments, and recalibration."""

import contextlib
import math

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import value_errors
from tfp_realnvp.networks.moments import moments_of


def log_likelihood(model, data, num_draws=1, batch_moments=False, batch_size=200):
    """A lower bound on the log-probability of each image, averaged over draws of the dequantization noise.

    ```none
    log P(x) ≥ E log 1/K Σ_k p(x + u_k),    u_k ~ U[0, 1)^D independent
    ```

    K = 1 is the bound that training maximizes; in expectation more draws never loosen it. The noise is a function of
    the model's seed, the image and k, so the result repeats.

    Args:
      model: `FlowModel`.
      data: as for `FlowModel.fit`: an array, or a `tf.data.Dataset` of batches; of a conditional flow `(x, y)`.
      num_draws: K, a positive int; 1 for continuous data.
      batch_moments: whether batch norm uses each batch's own moments, as in training, instead of the moving ones, which
        stay as they are.
      batch_size: how many at a time, where `data` is an array. A last batch that is smaller is filled up from the
        first: it would have other moments, and TensorFlow's convolutions of a single image round otherwise.

    Returns:
      float64 array [N], nats (densities for continuous data).

    Raises:
      ValueError: for a wrong `num_draws`, or data that do not fit the model.

    Example: `bits = -log_likelihood(model, images, num_draws=8) / (3072 * np.log(2))`

    References: arXiv 1511.01844, section 3.1; arXiv 1509.00519, equation 8; arXiv 1902.00275, section 3.3.
    """
    if not isinstance(num_draws, int) or num_draws < 1 or (model.num_bins is None and num_draws > 1):
        allowed = "1 for continuous data" if model.num_bins is None else "a positive int"
        raise ValueError(f"num_draws must be {allowed}; got {num_draws!r}")

    @tf.function(reduce_retracing=True)
    def with_batch_moments(x, context, draw):
        return model(x, context, training=True, draw=draw)

    result, first = [], None
    with _restored(_moments(model) if batch_moments else []), value_errors():
        for batch in model.batches(data, batch_size):
            size, first = batch[0].shape[0], first or batch
            if size < first[0].shape[0]:
                batch = [_filled_up(part, with_first) for part, with_first in zip(batch, first, strict=True)]
            nats = with_batch_moments if batch_moments else model.log_likelihood
            draws = [tf.cast(nats(*batch, tf.constant(draw, tf.int64)), tf.float64) for draw in range(num_draws)]
            result.append(tf.reduce_logsumexp(draws, axis=0)[:size] - math.log(num_draws))
    return np.concatenate(result)


def bits_per_dim(model, nats):
    """Mean and standard error of bits/dim over examples: −log p / (D log 2).

    Args:
      model: `FlowModel`.
      nats: array [N], log-likelihoods from `log_likelihood` or `model.predict`.

    Returns:
      Two floats; the standard error of one example is NaN.

    Example: `mean, standard_error = bits_per_dim(model, log_likelihood(model, images))`
    """
    bits = -np.asarray(nats, np.float64) / (math.prod(model.event_shape) * math.log(2))
    return float(bits.mean()), float(bits.std(ddof=1) / math.sqrt(len(bits))) if len(bits) > 1 else math.nan


def has_moments(model):
    """Whether the model has batch norm, so that its density depends on moments."""
    return bool(_moments(model))


def recalibrate(model, data, batch_size=200):
    """Replaces the moving moments of every batch norm by the exact mean and variance over a whole data set.

    Moving averages lag behind the weights and know only the last batches, and a flow's density is sensitive to them.
    One pass over the data a scale, the finest first: its norms run on the moments of the batches, which are summed up
    exactly, while those of the finer scales already use their recalibrated moments.

    Args:
      model: `FlowModel`; its moving moments are changed in place.
      data: the training data, as for `FlowModel.fit`: an array, or a `tf.data.Dataset` of batches.
      batch_size: how many at a time, where `data` is an array; larger is more exact.

    Raises:
      ValueError: for data that do not fit the model.

    Example: `recalibrate(model, images); model.save("recalibrated.keras")`
    """
    for networks in model.networks_by_scale():
        learning = [moments for network in networks for moments in moments_of(network)]
        with _only_learning(learning, _moments(model)), value_errors():

            @tf.function(reduce_retracing=True)
            def learn(x, context):
                model(
                    x, context, training=True, draw=0
                )  # its result is not used, so that the coarser scales do not run

            count, sums = 0, [0.0] * len(learning)
            for x, context in model.batches(data, batch_size):
                learn(x, context)
                count += x.shape[0]
                for i, moments in enumerate(learning):  # they hold the batch's
                    mean, variance = (weight.numpy().astype(np.float64) for weight in (moments.mean, moments.variance))
                    sums[i] = sums[i] + x.shape[0] * np.stack([mean, variance + mean**2])
        for moments, total in zip(learning, sums, strict=True):
            mean, square = total / count
            moments.mean.assign(mean)
            moments.variance.assign(square - mean**2)


def _filled_up(batch, first):
    """A batch filled up from the first one to its size; None for the contexts of a flow without."""
    return None if batch is None else tf.concat([batch, first], axis=0)[: first.shape[0]]


def _moments(model):
    return [moments for network in model.networks for moments in moments_of(network)]


@contextlib.contextmanager
def _restored(moments):
    """Gives the moments back the values that they had."""
    before = [layer.get_weights() for layer in moments]
    try:
        yield
    finally:
        for layer, weights in zip(moments, before, strict=True):
            layer.set_weights(weights)


@contextlib.contextmanager
def _only_learning(learning, moments):
    """In training mode these moments become each batch's, and all others stay as they are."""
    before = [(layer.trainable, layer.momentum) for layer in moments]
    try:
        for layer in moments:
            layer.trainable = layer in learning
            layer.momentum = 0.0
        yield
    finally:
        for layer, (trainable, momentum) in zip(moments, before, strict=True):
            layer.trainable, layer.momentum = trainable, momentum
