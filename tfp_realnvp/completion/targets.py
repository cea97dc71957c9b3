"""`Target`: a log-density of states with its gradient, as one graph for chains and optimizers; batches of one size."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

TOLERANCE = 1e-3
"""The largest entry of the gradient at a maximum, in nats: float32 does not tell smaller ones from 0."""


class Target:
    """A log-density of a batch of states, with its gradient. Each shape of a batch is traced once.

    Where the density or its gradient is not finite, the density is 0 and the gradient too: a chain does not go there.

    Args:
      log_prob: function (states, data) ↦ log-densities [batch], for states [batch, ...] and tensors about each of
        them in any structure.

    Example: `Target(lambda z, data: -0.5 * tf.reduce_sum(z**2, -1)).value_and_gradient(tf.zeros([8, 2]), ())`
    """

    def __init__(self, log_prob: Callable[..., tf.Tensor]) -> None:
        self._log_prob = log_prob

    @tf.function(autograph=False)
    def value_and_gradient(self, states: tf.Tensor, data: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The log-densities [batch] and their gradients [batch, ...]; arguments as for `log_prob`."""
        value, gradient = tfp.math.value_and_gradient(lambda states: self._log_prob(states, data), states)
        axes = range(1, states.shape.rank)
        is_finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient), axis=axes)
        value = tf.where(is_finite, value, tf.constant(-float("inf"), value.dtype))
        return value, tf.where(like_events(is_finite, gradient), gradient, tf.zeros_like(gradient))

    @tf.function(autograph=False)
    def maximum(self, starts: tf.Tensor, data: Any, max_iterations: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The states to which L-BFGS climbs from the starts, and their log-densities [batch].

        Args:
          starts: tensor [batch, ...].
          data: as for `log_prob`.
          max_iterations: int.

        References: J. Nocedal and S. Wright, Numerical Optimization, section 7.2.
        """
        shape = tf.shape(starts)

        def loss(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            states = tf.ensure_shape(tf.reshape(flat, shape), starts.shape)
            value, gradient = self.value_and_gradient(states, data)
            return -value, -tf.reshape(gradient, tf.shape(flat))

        flat = tf.reshape(starts, [shape[0], np.prod(starts.shape[1:])])
        results = tfp.optimizer.lbfgs_minimize(loss, flat, tolerance=TOLERANCE, max_iterations=max_iterations)
        return tf.reshape(results.position, shape), -results.objective_value


def like_events(values: tf.Tensor, events: tf.Tensor) -> tf.Tensor:
    """Values [batch] with an axis of size 1 for each axis of events [batch, ...], so that both broadcast.

    Example: `like_events(tf.zeros([8]), tf.zeros([8, 28, 28, 1]))` has shape [8, 1, 1, 1].
    """
    return tf.reshape(values, tf.concat([tf.shape(values), tf.ones([events.shape.rank - 1], tf.int32)], 0))


def batches(data: Any, batch_size: int) -> Iterator[tuple[int, Any]]:
    """The events of arrays in batches of one size, so that a graph is traced once.

    Args:
      data: arrays [N, ...] in any structure.
      batch_size: the largest number of events in a batch.

    Yields:
      `(size, batch)`: the number of events that count, and the batch. The last event fills up the last batch.

    Example: `[size for size, _ in batches((np.zeros([33, 2]),), 32)]` is [17, 16].
    """
    number = len(tf.nest.flatten(data)[0])
    size = math.ceil(number / math.ceil(number / batch_size))
    for first in range(0, number, size):
        rows = np.minimum(np.arange(first, first + size), number - 1)
        yield min(size, number - first), tf.nest.map_structure(lambda array, rows=rows: array[rows], data)


def repeated(data: Any, num_chains: int) -> Any:
    """Arrays [N, ...] about events in any structure, for each chain: [num_chains · N, ...].

    Example: `repeated((labels,), 4)`
    """
    return tf.nest.map_structure(lambda array: np.concatenate([array] * num_chains), data)
