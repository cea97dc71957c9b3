"""`Progress`: the mean loss of an epoch so far and the number of skipped steps, saved with the model."""

from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register


class MeanOfReplica(keras.metrics.Mean):
    """A mean that every replica updates for itself; the first one's counts.

    Example: `MeanOfReplica(name="evaluations").update_state(10.0)`
    """

    def add_variable(
        self,
        shape: tuple,
        initializer: Any,
        dtype: Any = None,
        aggregation: str = "only_first_replica",
        name: Any = None,
    ) -> keras.Variable:
        return super().add_variable(shape, initializer, dtype, aggregation, name)


@register
class Progress(MeanOfReplica):
    """The mean loss of an epoch's examples so far, and the number of skipped steps of all epochs.

    Without examples the mean is NaN. A saved model contains its progress, so that training can resume in the middle of
    an epoch. Under a distribution strategy every replica records the global batch, so all hold the same numbers.

    Attributes:
      skipped: `keras.Variable`, the number of steps with a loss or gradient that was not finite.
      skipped_in_a_row: `keras.Variable`, the number of consecutive skipped steps up to now.

    Example: `progress.record(True, mean, count); progress.result()`
    """

    def __init__(self, name: str = "loss", dtype: str = "float64") -> None:
        super().__init__(name, dtype)
        options: dict[str, Any] = dict(shape=(), initializer="zeros", dtype="int64")
        self.skipped = self.add_variable(name="skipped", **options)
        self.skipped_in_a_row = self.add_variable(name="skipped_in_a_row", **options)

    def result(self) -> tf.Tensor:
        return self.total / self.count

    def record(self, is_finite: bool | tf.Tensor, mean: tf.Tensor, count: tf.Tensor) -> None:
        """Records a training step by the mean loss and the number of its examples, or as skipped."""
        self.update_state(tf.where(is_finite, mean, 0), sample_weight=tf.where(is_finite, count, 0))
        skipped = tf.cast(tf.logical_not(is_finite), tf.int64)
        self.skipped.assign_add(skipped)
        self.skipped_in_a_row.assign(skipped * (self.skipped_in_a_row.value + 1))

    def save_own_variables(self, store: dict) -> None:
        for variable in self.variables:
            store[variable.name] = variable.numpy()

    def load_own_variables(self, store: dict) -> None:
        for variable in self.variables:
            if variable.name in store.keys():  # Files of earlier versions lack some of them.
                variable.assign(store[variable.name])
