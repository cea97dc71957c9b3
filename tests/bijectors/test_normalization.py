"""Batch norm of the flow: the batch's moments in training, the moving ones otherwise and always in the inverse."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import BatchNormalization, Coupling, FactorOut, Squeeze
from tfp_realnvp.bijectors.masks import Channel, Checkerboard

tfb = tfp.bijectors
tfd = tfp.distributions

X = np.random.default_rng(0).standard_normal([3, 4, 4, 2]) * [1.0, 3.0] + [0.5, -1.0]
BOARD = (1 + np.arange(4)[:, None, None] + np.arange(4)[:, None]) % 2  # 1 is kept
EPSILON = 1e-4


def norm(mask=None, size=2, mean=0.0, variance=1.0, **kwargs):
    moments = laws.moments(size, "float64")
    moments.mean.assign(np.broadcast_to(mean, [size]))
    moments.variance.assign(np.broadcast_to(variance, [size]))
    return BatchNormalization(moments, mask, **kwargs), moments


def flow(bijector, event_shape=(4, 4, 2)):
    base = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), event_shape)
    return tfd.TransformedDistribution(base, tfb.Invert(bijector))


def changed_part(mask, x):
    """What `mask` changes, its zeros included."""
    if mask is None:
        return x
    return x[..., 1:] if isinstance(mask, Channel) else (1 - BOARD) * x


MASKS = {"all": (None, 2), "checkerboard": (Checkerboard(), 2), "channel": (Channel(), 1)}


@pytest.mark.parametrize("name", MASKS)
def test_training_normalizes_by_the_moments_of_what_changes(name):
    mask, size = MASKS[name]
    bijector, _ = norm(mask, size, mean=5.0, variance=7.0)
    changed = changed_part(mask, X)  # a checkerboard's zeros count, as in the authors' code
    mean, variance = changed.mean((0, 1, 2)), changed.var((0, 1, 2)) + EPSILON
    normalized = (changed - mean) / np.sqrt(variance)
    expected = {
        "all": lambda: normalized,
        "checkerboard": lambda: np.where(BOARD, X, normalized),
        "channel": lambda: np.concatenate([X[..., :1], normalized], axis=-1),
    }[name]()
    y, log_det = laws.in_training(lambda x: (bijector.forward(x), bijector.forward_log_det_jacobian(x, 3)), X)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    pixels = 8 if name == "checkerboard" else 16
    np.testing.assert_allclose(log_det, [-0.5 * pixels * np.sum(np.log(variance))] * 3, rtol=1e-10)


@pytest.mark.parametrize("name", MASKS)
def test_outside_of_training_the_moving_moments_normalize(name):
    mask, size = MASKS[name]
    bijector, moments = norm(mask, size, mean=0.5, variance=4.0)
    changed = changed_part(mask, bijector.forward(X).numpy())
    expected = (changed_part(mask, X) - 0.5) / np.sqrt(4 + EPSILON)
    if name == "checkerboard":
        expected = (1 - BOARD) * expected
    np.testing.assert_allclose(changed, expected, rtol=1e-10, atol=1e-12)
    entries = X[0].size // (1 if name == "all" else 2)
    log_det = bijector.forward_log_det_jacobian(tf.constant(X), 3)
    np.testing.assert_allclose(log_det, [-0.5 * entries * np.log(4 + EPSILON)] * 3, rtol=1e-10)
    np.testing.assert_array_equal(moments.mean, [0.5] * size)


@pytest.mark.parametrize("shape", [[48, 2], [3, 16, 2], [3, 2, 8, 2]])
def test_the_moments_go_over_all_axes_of_a_batch(shape):
    bijector, _ = norm(event_ndims=1, epsilon=0.0)
    y = np.reshape(laws.in_training(bijector.forward, np.reshape(X, shape)), [-1, 2])
    np.testing.assert_allclose(y.mean(axis=0), [0, 0], atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0), [1, 1], rtol=1e-12)


@pytest.mark.parametrize("name", MASKS)
def test_gradients_flow_through_the_moments_of_the_batch(name):
    mask, size = MASKS[name]
    bijector, _ = norm(mask, size)
    weights = np.random.default_rng(1).standard_normal(X.shape)

    def loss(x):
        return tf.reduce_sum(weights * bijector.forward(x)) + tf.reduce_sum(bijector.forward_log_det_jacobian(x, 3))

    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = laws.in_training(loss, x)
    gradient = tape.gradient(value, x)
    step = 1e-5 * np.random.default_rng(2).standard_normal(X.shape)
    difference = laws.in_training(loss, tf.constant(X + step)) - laws.in_training(loss, tf.constant(X - step))
    np.testing.assert_allclose(2 * np.sum(gradient * step), difference, rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_moves_the_averages_once(compiled):
    bijector, moments = norm(mean=1.0, variance=2.0)
    distribution = flow(tfb.Chain([tfb.Shift(tf.constant(1.0, tf.float64)), bijector]))
    log_prob = functools.partial(laws.in_training, distribution.log_prob)
    (tf.function(log_prob) if compiled else log_prob)(tf.constant(X))
    np.testing.assert_allclose(moments.mean, 0.9 * 1 + 0.1 * X.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, 0.9 * 2 + 0.1 * X.var((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_moves_the_averages_once_also_inside_a_factor_out(compiled):
    bijector, moments = norm(size=4)
    squeeze = Squeeze()
    distribution = flow(tfb.Chain([tfb.Invert(squeeze), FactorOut(tfb.Chain([bijector])), squeeze]))
    log_prob = functools.partial(laws.in_training, distribution.log_prob)
    with tf.GradientTape():
        (tf.function(log_prob) if compiled else log_prob)(tf.constant(X))
    first_channel = X[..., 0]  # squeezed, its four pixels are the half that stays
    expected = [first_channel[:, i::2, j::2].mean() for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(moments.mean, 0.1 * np.array(expected), rtol=1e-12)


def test_evaluation_leaves_the_averages_alone():
    bijector, moments = norm(mean=1.0, variance=2.0)
    flow(bijector).log_prob(X)
    bijector.forward(X)
    bijector.inverse(X)
    np.testing.assert_array_equal(moments.mean, [1.0, 1.0])
    np.testing.assert_array_equal(moments.variance, [2.0, 2.0])


def test_the_inverse_uses_the_moving_moments_also_in_training():
    bijector, moments = norm(mean=1.0, variance=4.0)
    x = laws.in_training(bijector.inverse, tf.constant(X))
    np.testing.assert_allclose(x, X * np.sqrt(4 + EPSILON) + 1, rtol=1e-12)
    np.testing.assert_array_equal(moments.mean, [1.0, 1.0])
    # Not even a value that training has just handed out knows its way back by the batch's moments.
    y = laws.in_training(bijector.forward, tf.constant(X))
    expected = y * np.sqrt(moments.variance + EPSILON) + moments.mean
    np.testing.assert_allclose(bijector.inverse(y), expected, rtol=1e-10)


@pytest.mark.parametrize("compiled", [False, True])
def test_evaluation_after_training_on_the_same_tensor_uses_the_moving_moments(compiled):
    bijector, _ = norm(mean=1.0, variance=4.0)
    distribution = flow(tfb.Chain([bijector]))

    def answers(x):
        y = laws.in_training(bijector.forward, x)
        log_prob = laws.in_training(distribution.log_prob, x)
        fresh = tf.identity(x)
        actual = bijector.forward(x), bijector.forward_log_det_jacobian(x, 3), distribution.log_prob(x)
        expected = bijector.forward(fresh), bijector.forward_log_det_jacobian(fresh, 3), distribution.log_prob(fresh)
        return (y, log_prob), actual, expected

    _, actual, expected = (tf.function(answers, autograph=False) if compiled else answers)(tf.constant(X))
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_training_after_evaluation_on_the_same_tensor_uses_the_moments_of_the_batch():
    bijector, _ = norm(mean=1.0, variance=4.0)
    x = tf.constant(X)
    evaluated = bijector.forward(x)
    trained = laws.in_training(bijector.forward, x)
    np.testing.assert_allclose(np.mean(trained, axis=(0, 1, 2)), [0, 0], atol=1e-12)
    assert np.all(evaluated != trained)


def test_a_conditioner_without_state_may_differ_in_training():
    def doubled_in_training(function):
        class Conditioner(laws.Training):
            def call(self, x, training=False):
                return function(x) * (2 if training else 1)

        return Conditioner(function)

    coupling = Coupling([1, 0], doubled_in_training(lambda kept: tf.tile(kept[..., :1], [1, 4])))
    x = tf.constant([[1.0, 2.0]])
    trained = laws.in_training(coupling.forward, x)
    np.testing.assert_allclose(trained, [[1.0, (2 + 2) * np.exp(2)]], rtol=1e-6)
    np.testing.assert_allclose(coupling.forward(x), [[1.0, (2 + 1) * np.exp(1)]], rtol=1e-6)


def test_moments_that_build_themselves_have_the_size_of_what_changes():
    for mask, size in ((None, 4), (Checkerboard(), 4), (Channel(), 2), (Channel(keep_first=False), 2)):
        moments = rnvp.networks.Moments()
        BatchNormalization(moments, mask).forward(tf.zeros([2, 2, 2, 4]))
        assert moments.mean.shape == moments.variance.shape == (size,)


def test_moments_may_be_a_function():
    bijector = BatchNormalization(lambda x, training=None: ([1.0, 2.0], [4.0, 9.0]), event_ndims=1, epsilon=0.0)
    np.testing.assert_allclose(bijector.forward([[3.0, 8.0]]), [[1.0, 2.0]])
    np.testing.assert_allclose(bijector.inverse([[1.0, 2.0]]), [[3.0, 8.0]])
    np.testing.assert_allclose(bijector.forward_log_det_jacobian([[3.0, 8.0]]), [-np.log(6)], rtol=1e-6)


def test_a_mask_may_be_an_array():
    bijector, _ = norm([1, 0], mean=1.0, variance=4.0, epsilon=0.0)
    np.testing.assert_allclose(bijector.forward(np.array([[3.0, 3.0]])), [[3.0, 1.0]])
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(np.array([[3.0, 3.0]])), [-np.log(2)])


def test_a_constant_channel_stays_finite():
    bijector, _ = norm(event_ndims=1)
    y = laws.in_training(bijector.forward, np.ones([4, 2]))
    np.testing.assert_array_equal(y, np.zeros([4, 2]))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
