"""The dense network of a group of pixels against its formula in numpy."""

import keras
import numpy as np
import pytest

from tests import laws
from tfp_realnvp.networks import DenseResNet

X = np.random.default_rng(0).standard_normal([3, 1, 1, 4])


def built(**options):
    network = DenseResNet(out_units=5, units=6, seed=0, **options)
    network.build((None, 1, 1, 4))
    return network


def test_it_is_the_formula_of_entries_up_to_the_limit():
    network = built(limit=0.5, dtype="float64")
    laws.randomize_weights(network.weights)
    w0, b0, w1, b1, w2, b2 = network.get_weights()
    h = np.maximum(np.clip(X, -0.5, 0.5) @ w0 + b0, 0)
    h = h + np.maximum(h @ w1 + b1, 0)
    np.testing.assert_allclose(network(X), h @ w2 + b2, rtol=1e-12)


def test_it_begins_at_0_and_computes_in_the_dtype_of_its_weights():
    network = built(dtype="mixed_bfloat16")
    assert network(X).dtype == "float32"
    assert not np.any(network(X))


def test_the_saved_network_is_the_same():
    network = built(limit=0.5)
    assert DenseResNet.from_config(network.get_config()).get_config() == network.get_config()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(network))
    assert (copy.out_units, copy.units, copy.seed, copy.limit) == (5, 6, 0, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(out_units=0), "out_units must be a positive int; got 0"),
        (dict(out_units=1, units=0), "units must be a positive int; got 0"),
        (dict(out_units=1, limit=0.0), "limit must be None or positive; got 0.0"),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        DenseResNet(**options)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
