"""`Progress`: what an epoch of training has come to so far, and how many steps were skipped; saved with the model."""

import keras
import tensorflow as tf

from tfp_realnvp.networks.layers import register


@register
class Progress(keras.metrics.Mean):
    """The mean loss of an epoch's examples so far, NaN without any; and the steps that were skipped, over all epochs.

    It is in a saved model too, so that the epoch can be gone on with. Under a distribution strategy every replica is
    told of the global batch, and keeps the same numbers.

    Attributes:
      skipped: `keras.Variable`, how many steps had a loss or gradient that was not finite.
      skipped_in_a_row: `keras.Variable`, how many of them were the last ones.

    Example: `progress.ended(True, mean, count); progress.result()`
    """

    def __init__(self, name="loss", dtype="float64"):
        super().__init__(name, dtype)
        options = dict(shape=(), initializer="zeros", dtype="int64")
        self.skipped = self.add_variable(name="skipped", **options)
        self.skipped_in_a_row = self.add_variable(name="skipped_in_a_row", **options)

    def result(self):
        return self.total / self.count

    def ended(self, is_finite, mean, count):
        """Notes a step of training, by the mean loss of its examples and their number; or that it was skipped."""
        self.update_state(tf.where(is_finite, mean, 0), sample_weight=tf.where(is_finite, count, 0))
        skipped = tf.cast(tf.logical_not(is_finite), tf.int64)
        self.skipped.assign_add(skipped)
        self.skipped_in_a_row.assign(skipped * (self.skipped_in_a_row.value + 1))

    def add_variable(self, shape, initializer, dtype=None, aggregation="only_first_replica", name=None):
        return super().add_variable(shape, initializer, dtype, aggregation, name)

    def save_own_variables(self, store):
        for variable in self.variables:
            store[variable.name] = variable.numpy()

    def load_own_variables(self, store):
        for variable in self.variables:
            if variable.name in store.keys():  # not in the files of earlier versions
                variable.assign(store[variable.name])
