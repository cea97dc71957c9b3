"""The network of Glow's couplings."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import laws
from tests.networks.test_gated import convolution
from tfp_realnvp.networks import GlowNet

X = np.random.default_rng(0).standard_normal([3, 5, 4, 2])


def built(*arguments, channels=2, **kwargs):
    network = GlowNet(*arguments, **kwargs)
    network.build((None, None, None, channels))
    return network


def test_it_is_two_rectified_convolutions_and_a_third():
    network = built(3, 4, seed=0, dtype="float64")
    laws.randomize_weights(network.weights)
    kernels, biases = network.get_weights()[::2], network.get_weights()[1::2]
    assert [kernel.shape for kernel in kernels] == [(3, 3, 2, 4), (1, 1, 4, 4), (3, 3, 4, 3)]
    h = np.maximum(convolution(X, kernels[0], biases[0]), 0)
    h = np.maximum(convolution(h, kernels[1], biases[1]), 0)
    np.testing.assert_allclose(network(X), convolution(h, kernels[2], biases[2]), rtol=1e-9, atol=1e-12)


def test_a_coupling_begins_as_the_identity():
    np.testing.assert_array_equal(built(3, 4)(X), np.zeros([3, 5, 4, 3]))


def test_the_hidden_weights_begin_as_in_the_authors_code():
    kernels = built(12, 100, channels=6, seed=0).get_weights()[::2]
    for kernel in kernels[:2]:
        assert kernel.std() == pytest.approx(0.05, rel=0.05) and abs(kernel.mean()) < 0.003
        assert np.abs(kernel).max() > 0.15  # a normal that is not truncated


@pytest.mark.parametrize("channels, out_channels, filters", [(6, 12, 16), (2, 2, 5)])
def test_the_number_of_its_parameters(channels, out_channels, filters):
    network = built(out_channels, filters, channels=channels)
    expected = 9 * channels * filters + filters + filters**2 + filters + 9 * filters * out_channels + out_channels
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == expected
    assert not network.non_trainable_weights


def test_the_seed_decides_where_it_begins():
    weights = [built(2, 4, seed=seed).get_weights() for seed in (0, 0, 1)]
    for one, same, other in list(zip(*weights, strict=True))[:3:2]:
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)


def test_it_takes_images_of_any_size_also_where_the_size_is_not_known():
    network = built(2, 4, seed=0)
    laws.randomize_weights(network.weights)
    dynamic = tf.function(network.__call__, input_signature=[tf.TensorSpec([None, None, None, 2])])
    for part in (X[:2, :3], X[:, :, :1]):
        np.testing.assert_allclose(dynamic(part.astype(np.float32)), network(part), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(out_channels=0), "out_channels must be a positive int; got 0"),
        (dict(out_channels=2, filters=None), "filters must be a positive int; got None"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        GlowNet(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
