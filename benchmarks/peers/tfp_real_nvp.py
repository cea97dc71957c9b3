"""TFP's Real NVP, `tfb.RealNVP`, for vectors: the same number of couplings and the same MLPs as in our flow."""

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from benchmarks.peers import VECTOR_SIZE, VECTORS
from benchmarks.peers.tfp_flow import TfpFlow

tfb = tfp.bijectors
tfd = tfp.distributions


def vector_real_nvp(size=VECTOR_SIZE, number=None):
    """Couplings that keep the first half of the entries, with a reversal between them; `number` vectors a call."""
    bijectors = []
    for _ in range(VECTORS["num_couplings"]):
        network = _network(size // 2, 2 * (size - size // 2))
        coupling = tfb.RealNVP(num_masked=size // 2, shift_and_log_scale_fn=_shift_and_log_scale(network))
        coupling.network = network  # So the distribution finds the variables.
        bijectors += [coupling, tfb.Permute(list(reversed(range(size))))]
    base = tfd.Sample(tfd.Normal(0.0, 1.0), size)
    return TfpFlow(tfd.TransformedDistribution(base, tfb.Chain(bijectors[:-1])), "vectors", number)


def _network(inputs, outputs):
    hidden = [tf_keras.layers.Dense(units, activation="relu") for units in VECTORS["hidden_units"]]
    return tf_keras.Sequential([tf_keras.layers.Input([inputs]), *hidden, tf_keras.layers.Dense(outputs)])


def _shift_and_log_scale(network):
    def shift_and_log_scale(kept, units):
        del units
        shift, log_scale = tf.split(network(kept), 2, axis=-1)
        return shift, tf.tanh(log_scale)

    return shift_and_log_scale
