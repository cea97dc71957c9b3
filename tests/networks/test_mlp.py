"""The multilayer perceptron."""

import numpy as np
import pytest

from tfp_realnvp.networks import MLP


def test_it_is_dense_layers_with_an_activation_between_them():
    network = MLP(2, hidden_units=[5], activation="relu", seed=0)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    y = network(x).numpy()
    kernel, bias, out_kernel, out_bias = network.get_weights()
    assert y.shape == (7, 2)
    np.testing.assert_allclose(y, np.maximum(x @ kernel + bias, 0) @ out_kernel + out_bias, rtol=1e-5, atol=1e-6)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="out_units and hidden_units must be positive ints"):
        MLP(2, hidden_units=[0])
    with pytest.raises(ValueError, match="out_units and hidden_units must be positive ints"):
        MLP(0)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
