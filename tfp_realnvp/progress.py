"""`Progress`: what an epoch of training has come to so far, saved with the model."""

import keras

from tfp_realnvp.networks.layers import register


@register
class Progress(keras.metrics.Mean):
    """The mean loss of an epoch's examples so far; in a saved model too, so that the epoch can be gone on with.

    Example: `progress.update_state(nats); progress.result()`
    """

    def __init__(self, name="loss", dtype="float64"):
        super().__init__(name, dtype)

    def save_own_variables(self, store):
        for variable in self.variables:
            store[variable.name] = variable.numpy()

    def load_own_variables(self, store):
        for variable in self.variables:
            if variable.name in store.keys():  # not in files of before
                variable.assign(store[variable.name])
