"""The mixture of logistics against TFP's, and the triangular map of channels against a matrix."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import ChannelAutoregressive, LogisticMixture, ResidualMixture
from tfp_realnvp.bijectors.mixture import SMALLEST_SCALE

tfb = tfp.bijectors
tfd = tfp.distributions

RNG = np.random.default_rng(0)
LOGITS, LOCS, LOG_SCALES = RNG.standard_normal([3, 5])
X = np.linspace(-6, 6, 41)


def mixture(dtype="float64"):
    return LogisticMixture(*(tf.constant(values, dtype) for values in (LOGITS, LOCS, LOG_SCALES)))


def test_a_logistic_variable_becomes_the_mixture():
    flow = tfd.TransformedDistribution(tfd.Logistic(tf.zeros([], "float64"), 1.0), tfb.Invert(mixture()))
    expected = tfd.MixtureSameFamily(tfd.Categorical(LOGITS), tfd.Logistic(LOCS, np.exp(LOG_SCALES)))
    np.testing.assert_allclose(flow.log_prob(X), expected.log_prob(X), rtol=1e-9)
    np.testing.assert_allclose(tf.sigmoid(mixture().forward(X)), expected.cdf(X), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_finite_and_invertible_far_out_in_the_tails(dtype):
    y = tf.constant([-1e4, -300.0, 300.0, 1e4], dtype)
    x = mixture(dtype).inverse(y)
    log_det = mixture(dtype).forward_log_det_jacobian(tf.identity(x), 0)
    assert np.isfinite(x).all() and np.isfinite(log_det).all()
    np.testing.assert_allclose(mixture(dtype).forward(tf.identity(x)), y, rtol=1e-4)


def test_components_that_are_narrow_and_far_apart_are_inverted():
    narrow = LogisticMixture(tf.zeros([2]), tf.constant([-1.0, 1.0]), tf.constant([-6.0, -6.0]))
    y = tf.constant([-8.0, -2.0, 2.0, 8.0])
    x = narrow.inverse(y)
    assert np.abs(np.abs(x) - 1).max() < 0.03  # between the components there is next to nothing
    np.testing.assert_allclose(narrow.forward(tf.identity(x)), y, rtol=1e-3)


def test_the_inverse_has_the_gradients_of_the_implicit_function():
    parameters = [tf.constant(values) for values in (LOGITS, LOCS, LOG_SCALES)]
    y = tf.constant(0.7, "float64")

    def inverse(*parameters):
        return LogisticMixture(*parameters[:3]).inverse(parameters[3])

    _, gradients = tfp.math.value_and_gradient(inverse, [*parameters, y])
    step = 1e-6
    for number, (parameter, gradient) in enumerate(zip([*parameters, y], gradients, strict=True)):
        direction = RNG.standard_normal(parameter.shape)
        ends = []
        for sign in (1, -1):
            moved = [*parameters, y]
            moved[number] = parameter + sign * step * direction
            ends.append(float(inverse(*moved)))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(np.sum(gradient * direction), rel=1e-5, abs=1e-8)


def test_channels_depend_on_those_before_them():
    coefficients = RNG.standard_normal(6)
    matrix = np.eye(4)
    matrix[np.tril_indices(4, -1)] = -coefficients
    x = RNG.standard_normal([5, 4])
    np.testing.assert_allclose(ChannelAutoregressive(coefficients).forward(x), x @ matrix.T, rtol=1e-9)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_map_of_one_channel_is_that_of_all_given_those_before(channel):
    every, rng = ResidualMixture(channels=3, num_components=4, unit=0.2), np.random.default_rng(0)
    params, x = rng.standard_normal([5, 2, every.num_params]), rng.standard_normal([5, 2, 3])
    middles = np.where(np.arange(3) < channel, x, 7.0)  # The others are not known yet.
    one, of_one = every.of_channel(tf.constant(params), tf.constant(middles), channel)
    assert one == ResidualMixture(channels=1, num_components=4, unit=0.2) and one.num_params == of_one.shape[-1]
    joint = every(tf.constant(params)).forward(x)[..., channel]
    np.testing.assert_allclose(one(of_one).forward(x[..., channel, np.newaxis])[..., 0], joint, rtol=1e-12)


@pytest.mark.parametrize("unit", [0.01, 0.25])
def test_no_component_is_narrower_than_a_fraction_of_a_level(unit):
    params = tf.constant([[0.0, 0.0, 0.0, -50.0]], tf.float64)  # shift, logit, location, log-scale
    y = ResidualMixture(channels=1, num_components=1, unit=unit)(params).forward([[0.0], [1.0]])
    np.testing.assert_allclose(y[1] - y[0], 1 / SMALLEST_SCALE, rtol=1e-12)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
