"""`Progress`: what an epoch of training has come to so far, saved with the model."""

import keras

from tfp_realnvp.networks.layers import register


@register
class Progress(keras.metrics.Mean):
    """The mean loss of an epoch's examples so far; in a saved model too, so that the epoch can be gone on with.

    Under a distribution strategy every replica is told of the global batch, and keeps the same sums.

    Example: `progress.update_state(nats); progress.result()`
    """

    def __init__(self, name="loss", dtype="float64"):
        super().__init__(name, dtype)

    def add_variable(self, shape, initializer, dtype=None, aggregation="only_first_replica", name=None):
        return super().add_variable(shape, initializer, dtype, aggregation, name)

    def save_own_variables(self, store):
        for variable in self.variables:
            store[variable.name] = variable.numpy()

    def load_own_variables(self, store):
        for variable in self.variables:
            if variable.name in store.keys():  # not in files of before
                variable.assign(store[variable.name])
