"""The gated convolutional network against its formulas in numpy."""

import math

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from tests import laws
from tfp_realnvp.networks.gated import GatedBlock, GatedConvNet, concat_elu

X = np.random.default_rng(0).standard_normal([3, 5, 4, 2])


def convolution(x, kernel, bias):
    """A convolution of odd kernel size, stride 1 and padding with zeros."""
    size, height, width = len(kernel), *x.shape[1:3]
    padded = np.pad(x, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    return bias + sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(size, size))


def celu(x):
    return np.concatenate([np.where(x > 0, x, np.expm1(x)), np.where(x < 0, -x, np.expm1(-x))], axis=-1)


def block(h, conv_kernel, conv_bias, gate_kernel, gate_bias, gamma, beta):
    inner = convolution(celu(h), conv_kernel, conv_bias)
    value, gate = np.split(convolution(celu(inner), gate_kernel, gate_bias), 2, axis=-1)
    h = h + value * scipy.special.expit(gate)
    deviation = np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    return (h - h.mean(-1, keepdims=True)) / deviation * gamma + beta


def built(layer, channels, noise=True):
    layer.build((None, None, None, channels))
    if noise:
        laws.randomize_weights(layer.weights)
    return layer


def test_concat_elu_is_elu_of_both_signs():
    np.testing.assert_allclose(concat_elu(X), celu(X), rtol=1e-12)


def test_a_block_is_its_formula():
    layer = built(GatedBlock(2, seed=0, dtype="float64"), 2)
    np.testing.assert_allclose(layer(X), block(X, *layer.get_weights()), rtol=1e-9, atol=1e-12)


def test_a_new_block_normalizes_the_channels_of_each_pixel():
    y = built(GatedBlock(8, seed=0), 8, noise=False)(np.tile(X, 4)).numpy()
    np.testing.assert_allclose(y.mean(-1), np.zeros(y.shape[:3]), atol=1e-6)
    np.testing.assert_allclose(y.std(-1), np.ones(y.shape[:3]), rtol=1e-3)


def test_the_network_is_its_formula():
    network = built(GatedConvNet(3, filters=4, num_blocks=2, seed=0, dtype="float64"), 2)
    first_kernel, first_bias, *blocks, last_kernel, last_bias = network.get_weights()
    h = convolution(X, first_kernel, first_bias)
    for i in range(2):
        h = block(h, *blocks[6 * i : 6 * i + 6])
    np.testing.assert_allclose(network(X), convolution(celu(h), last_kernel, last_bias), rtol=1e-9, atol=1e-12)


def test_a_coupling_begins_as_the_identity():
    np.testing.assert_array_equal(built(GatedConvNet(3, 4, 1), 2, noise=False)(X), np.zeros([3, 5, 4, 3]))


@pytest.mark.parametrize("channels, out_channels, filters, num_blocks", [(1, 2, 32, 3), (2, 4, 4, 1)])
def test_the_number_of_its_parameters(channels, out_channels, filters, num_blocks):
    network = built(GatedConvNet(out_channels, filters, num_blocks), channels, noise=False)
    of_block = (9 * 2 * filters * filters + filters) + (2 * filters * 2 * filters + 2 * filters) + 2 * filters
    expected = 9 * channels * filters + filters + num_blocks * of_block + 9 * 2 * filters * out_channels + out_channels
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == expected
    assert not network.non_trainable_weights


def test_the_seed_decides_where_it_begins():
    weights = [
        np.concatenate([w.ravel() for w in built(GatedConvNet(2, 4, 2, seed), 2, noise=False).get_weights()])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.any(weights[0] != weights[2])
    network = built(GatedConvNet(2, 4, 2, 0), 4, noise=False)
    assert np.any(network.blocks[0].conv.kernel.numpy() != network.blocks[1].conv.kernel.numpy())


def test_it_takes_images_of_any_size_also_where_the_size_is_not_known():
    network = built(GatedConvNet(2, 4, 1, seed=0), 2)
    dynamic = tf.function(network.__call__, input_signature=[tf.TensorSpec([None, None, None, 2])])
    for part in (X[:2, :3], X[:, :, :1]):
        np.testing.assert_allclose(dynamic(part.astype(np.float32)), network(part), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(out_channels=0), "out_channels must be a positive int; got 0"),
        (dict(out_channels=2, filters=1.5), "filters must be a positive int; got 1.5"),
        (dict(out_channels=2, num_blocks=-1), "num_blocks must be a positive int; got -1"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        GatedConvNet(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
