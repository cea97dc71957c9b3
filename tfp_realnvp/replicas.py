"""Sums and moments over the replicas of a `tf.distribute` strategy: the values of one device with the global batch."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfp_realnvp.scopes import setting

# 1.0 if this replica's share of the batch has examples, 0.0 if it is a stand-in, None if that is unknown.
_presence: contextvars.ContextVar[tf.Tensor | None] = contextvars.ContextVar("presence", default=None)


def num_replicas() -> int:
    """The number of replicas in a step; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(values: Any) -> Any:
    """The sum over all replicas, on each replica. Without a strategy or outside of a step, the values themselves.

    Args:
      values: tensor, or list of tensors, of the same shapes on all replicas.

    Example: `total, count = sum_over_replicas([tf.reduce_sum(nats), tf.size(nats)])`
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or num_replicas() == 1:
        return values
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, values)


def gather_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The values of all examples of the global batch, on each replica: a tensor [global batch].

    Args:
      values: tensor [size], a value for each example of this replica's share.

    Example: `tf.reduce_logsumexp(gather_over_replicas(log_weights))`
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or num_replicas() == 1:
        return values
    return replica.all_gather(values, axis=0)


def logs_of_replica(logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The logs of a step, equal on all replicas, as Keras takes them from each.

    Example: `return logs_of_replica({"loss": loss})` at the end of `train_step`
    """
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        # Keras takes the mean over the workers along an axis that has to exist.
        return {name: value[tf.newaxis] for name, value in logs.items()}
    return logs


def take_from_the_first_replica(weights: Sequence[Any]) -> None:
    """Copies the first replica's values of Keras weights to all replicas, since values may differ between workers.

    Example: `take_from_the_first_replica(model.weights)`
    """
    strategy = tf.distribute.get_strategy()
    if num_replicas() == 1:
        return

    def values() -> list[tf.Tensor]:
        is_first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return sum_over_replicas([tf.where(is_first, weight, tf.zeros_like(weight)) for weight in weights])

    run = tf.function(lambda: strategy.run(values))
    for weight, value in zip(weights, run(), strict=True):
        weight.assign(strategy.experimental_local_results(value)[0])


@contextlib.contextmanager
def nonempty_share(*tensors: Any) -> Iterator[tuple]:
    """A scope that replaces an empty share of the last batch by one example of zeros.

    TensorFlow's convolutions can fail on empty batches. `moments_over_replicas` leaves the stand-in out; the caller
    cuts its results to `size`.

    Args:
      *tensors: this replica's share of the batch: tensors of shape [size, ...], or None.

    Yields:
      `(size, *tensors)`.

    Example: `with nonempty_share(x) as (size, x): nats = -model(x)[:size]`
    """
    size = tf.shape(tensors[0])[0]
    if num_replicas() == 1 or tensors[0].shape[0]:
        yield size, *tensors
        return
    missing = tf.maximum(1 - size, 0)
    with setting(_presence, tf.cast(1 - missing, tf.float32)):
        yield size, *_filled_up(missing, tensors)


def with_stand_in(function: Callable[..., tf.Tensor], *tensors: Any) -> tf.Tensor:
    """The result of `function` on a batch of any size: for an empty one, of one example of zeros, without its result.

    Args:
      function: function of the tensors, to a tensor [size, ...].
      *tensors: tensors or arrays of shape [size, ...], or None.

    Example: `with_stand_in(network, images)`
    """
    batch = [None if x is None else tf.convert_to_tensor(x) for x in tensors]
    size = tf.shape(batch[0])[0]
    return function(*_filled_up(tf.maximum(1 - size, 0), batch))[:size]


def _filled_up(missing: tf.Tensor, tensors: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
    return [None if x is None else tf.pad(x, [[0, missing]] + [[0, 0]] * (x.shape.rank - 1)) for x in tensors]


def share_of_mean(values: tf.Tensor) -> tf.Tensor:
    """This replica's part of the mean over the global batch, times the number of replicas: a scalar.

    The mean of it over the replicas is the mean over all examples, also where the shares have different sizes.

    Args:
      values: tensor [size], a value for each example of this replica's share.

    Example: `model.add_loss(share_of_mean(penalties))`, since a training step takes the mean of such losses.
    """
    if num_replicas() == 1 or tf.distribute.get_replica_context() is None:
        return tf.reduce_mean(values)
    presence = tf.cast(1.0 if (present := _presence.get()) is None else present, values.dtype)
    (count,) = sum_over_replicas([presence * tf.cast(tf.size(values), values.dtype)])
    return presence * tf.reduce_sum(values) * (num_replicas() / count)


def moments_over_replicas(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance of each channel of the global batch.

    The replicas exchange the moments of their shares in one sum, and their parts of the gradient in another:

    ```none
    mean = Σ nᵢ meanᵢ / N,    variance = Σ nᵢ (varianceᵢ + (meanᵢ − mean)²) / N
    ```

    Args:
      x: tensor of shape [..., channels], this replica's share.

    Returns:
      `(mean, variance)`, each of shape [channels], with the gradient of the global batch.

    Example: `mean, variance = moments_over_replicas(images)`
    """
    if num_replicas() == 1 or tf.distribute.get_replica_context() is None:
        return tf.nn.moments(x, list(range(x.shape.rank - 1)))
    presence = _presence.get()
    return _moments_over_replicas(x, tf.cast(1.0 if presence is None else presence, x.dtype))


@tf.custom_gradient
def _moments_over_replicas(x: tf.Tensor, presence: tf.Tensor) -> Any:
    count = presence * tf.cast(tf.size(x) / x.shape[-1], x.dtype)
    here = tf.stack([tf.fill(x.shape[-1:], count), *tf.nn.moments(x, list(range(x.shape.rank - 1)))])
    number = tf.distribute.get_replica_context().replica_id_in_sync_group
    own_row = tf.one_hot(number, num_replicas(), dtype=x.dtype)[:, tf.newaxis, tf.newaxis]
    counts, means, variances = tf.unstack(sum_over_replicas(own_row * here), axis=1)
    total = tf.reduce_sum(counts, axis=0)
    mean = tf.reduce_sum(counts * means, axis=0) / total
    variance = tf.reduce_sum(counts * (variances + tf.math.squared_difference(means, mean)), axis=0) / total

    def gradients(grad_mean: tf.Tensor, grad_variance: tf.Tensor) -> tuple[tf.Tensor, None]:
        grad_mean, grad_variance = tf.unstack(sum_over_replicas(tf.stack([grad_mean, grad_variance])))
        weight = presence / total
        # The products of vectors come first, since each product of images is a pass through memory.
        return weight * grad_mean + (2 * weight * grad_variance) * (x - mean), None

    return (mean, variance), gradients
