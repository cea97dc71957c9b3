"""Detects and skips training steps whose loss or gradient is not finite."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.internals import merge_replicas
from tfp_realnvp.progress import Progress


def is_finite(loss: tf.Tensor, gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
    """Whether the loss and every gradient are finite on all replicas: a bool tensor.

    The function checks loss + Σ g² / 2, in one pass over the gradients and without copies.

    Args:
      loss: scalar tensor.
      gradients: tensors, None among them.

    Example: `is_finite(tf.constant(1.0), [tf.constant([0.0, math.nan]), None])` is False.
    """
    squares = [tf.nn.l2_loss(gradient) for gradient in gradients if gradient is not None]
    total = tf.add_n([tf.cast(term, tf.float32) for term in (loss, *squares)])
    if tf.distribute.has_strategy():
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, total)
    return tf.math.is_finite(total)


def cond_across_replicas(
    condition: tf.Tensor, then: Callable[..., None], otherwise: Callable[..., None], *args: Any
) -> None:
    """A `tf.cond` that all replicas take together: `then(*args)` or `otherwise(*args)`.

    Args:
      condition: bool tensor, equal on all replicas.
      then, otherwise: functions without a result. Under a distribution strategy they run in each replica's context.
      *args: structures of this replica's tensors. Pass them here; do not capture them in a closure.

    Example: `cond_across_replicas(is_finite(loss, gradients), apply, skip, gradients)`
    """

    def decide(strategy: tf.distribute.Strategy, condition: Any, *args: Any) -> None:
        def run(function: Callable[..., None]) -> None:
            if tf.distribute.in_cross_replica_context():
                strategy.extended.call_for_each_replica(function, args)
            else:
                function(*args)

        holds = strategy.experimental_local_results(condition)[0]
        tf.cond(holds, lambda: run(then), lambda: run(otherwise))

    # Keras's optimizers may merge the replicas. TensorFlow forbids that inside a condition, so the merge comes first.
    merge_replicas(decide, condition, *args)


class StepGuard:
    """Ends a training step: applies the gradients if they are finite, and skips the step otherwise.

    A skipped step changes only `progress` and the optimizer's count of steps, as data and noise follow that count.
    The forward pass has changed `state` already, so a skipped step restores its earlier values.

    Args:
      optimizer: Keras optimizer.
      progress: `Progress`.
      weights: the trainable weights.
      state: the other weights that a forward pass changes.

    Example:

    ```python
    guard = StepGuard(model.optimizer, model.progress, model.trainable_variables, moving_averages)
    loss, gradients = forward_and_backward()
    guard.apply_or_skip(loss, gradients, mean, count)
    ```
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        progress: Progress,
        weights: Sequence[keras.Variable],
        state: Sequence[keras.Variable],
    ) -> None:
        self._optimizer, self._progress, self._weights, self._state = optimizer, progress, list(weights), list(state)
        self._state_before = [tf.convert_to_tensor(weight.value) for weight in self._state]

    def apply_or_skip(
        self, loss: tf.Tensor, gradients: list[tf.Tensor | None], mean: tf.Tensor, count: tf.Tensor
    ) -> None:
        """Ends the step.

        Args:
          loss: scalar tensor.
          gradients: the gradient of each weight, None among them.
          mean, count: the mean negative log-likelihood of the global batch and its number of examples.
        """
        finite = is_finite(loss, gradients)
        if getattr(self._optimizer, "takes_conditions", False) and not tf.distribute.has_strategy():
            # A graph without branches has half the size.
            self._optimizer.apply_if(finite, gradients, self._weights)
            for weight, before in zip(self._state, self._state_before, strict=True):
                weight.assign(tf.where(finite, weight.value, before))
            self._progress.record(finite, mean, count)
        else:
            cond_across_replicas(finite, self._apply, self._skip, gradients, mean, count, self._state_before)

    def _apply(self, gradients: list, mean: tf.Tensor, count: tf.Tensor, state_before: list) -> None:
        del state_before
        self._optimizer.apply(gradients, self._weights)
        self._progress.record(True, mean, count)

    def _skip(self, gradients: list, mean: tf.Tensor, count: tf.Tensor, state_before: list) -> None:
        del gradients
        for weight, before in zip(self._state, state_before, strict=True):
            weight.assign(before)
        step_counter(self._optimizer).assign_add(1)
        self._progress.record(False, mean, count)


def step_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """The optimizer's first variable: it counts every batch, also batches of accumulated gradients.

    Example: `step_counter(model.optimizer).numpy()`
    """
    return optimizer.variables[0]
