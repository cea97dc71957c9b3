"""The dynamics of continuous flows: their formulas, their first values, errors."""

import re

import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws

pytestmark = pytest.mark.usefixtures("module_eagerly")

RNG = np.random.default_rng(0)


def test_the_time_is_the_first_channel_of_every_convolution():
    network = rnvp.networks.ConvDynamics(2, filters=4, num_layers=2, seed=0, dtype="float64")
    network.build((None, 5, 4, 3))
    laws.randomize_weights(network.weights)
    x, t = tf.constant(RNG.standard_normal([3, 5, 4, 3])), 0.7
    h = x
    for number, layer in enumerate(network.convolutions):
        with_time = tf.concat([tf.fill([3, 5, 4, 1], tf.constant(t, tf.float64)), h], axis=-1)
        h = tf.nn.conv2d(with_time, tf.convert_to_tensor(layer.kernel), 1, "SAME") + layer.bias
        h = tf.nn.softplus(h) if number == 0 else h
    np.testing.assert_allclose(network(tf.constant(t, tf.float64), x), h, rtol=1e-12)


def test_new_convolutional_dynamics_are_constant():
    network = rnvp.networks.ConvDynamics(3, filters=8, seed=0)
    values = network(tf.constant(0.3), tf.constant(RNG.standard_normal([2, 4, 4, 3]), tf.float32))
    np.testing.assert_array_equal(values, np.broadcast_to(network.convolutions[-1].bias, values.shape))
    inner = network.convolutions[1]
    bound = (9 * 9) ** -0.5
    assert inner.kernel.shape == (3, 3, 9, 8)
    assert 0.9 * bound < np.abs(inner.kernel).max() <= bound and np.abs(inner.bias).max() <= bound


@pytest.mark.parametrize("layer", ["concat", "concatsquash"])
def test_dense_layers_follow_their_formula(layer):
    network = rnvp.networks.MLPDynamics(2, [5], "softplus", layer, seed=0, dtype="float64")
    network.build((None, 3))
    laws.randomize_weights(network.weights)
    x, t = RNG.standard_normal([4, 3]), 0.7
    h = x
    for number, dense in enumerate(network.dense):
        weight = {each.name: each.numpy() for each in dense.weights}
        linear = h @ weight["kernel"] + weight["bias"]
        if layer == "concat":
            h = linear + t * weight["time_kernel"]
        else:
            gate = 1 / (1 + np.exp(-(t * weight["gate_kernel"] + weight["gate_bias"])))
            h = linear * gate + t * weight["time_kernel"]
        h = np.log1p(np.exp(h)) if number == 0 else h
    np.testing.assert_allclose(network(tf.constant(t, tf.float64), tf.constant(x)), h, rtol=1e-12)


@pytest.mark.parametrize("make", [rnvp.networks.ConvDynamics, rnvp.networks.MLPDynamics])
def test_a_config_makes_the_same_network(make):
    network = make(3, seed=5)
    again = make.from_config(network.get_config())
    for each in (network, again):
        each.build((None, 4, 4, 3) if make is rnvp.networks.ConvDynamics else (None, 3))
    for weight, other in zip(network.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rnvp.networks.ConvDynamics(0), "channels must be a positive int; got 0"),
        (lambda: rnvp.networks.ConvDynamics(3, filters=1.5), "filters must be a positive int; got 1.5"),
        (lambda: rnvp.networks.ConvDynamics(3, num_layers=0), "num_layers must be a positive int; got 0"),
        (
            lambda: rnvp.networks.MLPDynamics(2, [0]),
            "out_units and hidden_units must be positive ints; got 2 and (0,)",
        ),
        (
            lambda: rnvp.networks.MLPDynamics(2, layer="squash"),
            'layer must be "concat" or "concatsquash"; got \'squash\'',
        ),
    ],
)
def test_wrong_arguments_are_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
