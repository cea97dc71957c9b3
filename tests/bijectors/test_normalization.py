"""Normalizations of the flow against their formulas, in training and otherwise, before and after an initialization."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import BatchNormalization, Coupling, FactorOut, Squeeze
from tfp_realnvp.bijectors.masks import Channel, Checkerboard
from tfp_realnvp.bijectors.normalization import ActNorm
from tfp_realnvp.networks.actnorm import ChannelAffine, initializing

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


# Activation normalization.


def act_norm(**kwargs):
    affine = ChannelAffine(dtype="float64")
    return ActNorm(affine, **kwargs), affine


def act_norm_flow():
    """A chain in which an act norm comes first, two are inside of a factor-out and one is last; and their layers."""
    layers = [ChannelAffine(dtype="float64") for _ in range(4)]
    first, *inner, last = (ActNorm(affine) for affine in layers)
    coupling = laws.randomize(laws.checkerboard_coupling("float64"))
    return tfb.Chain([last, FactorOut(tfb.Chain(inner)), Squeeze(), coupling, first]), layers


def values_of(layers):
    return [value for affine in layers for value in affine.get_weights()]


def assert_normal(y):
    axes = tuple(range(np.ndim(y) - 1))
    np.testing.assert_allclose(np.mean(y, axes), np.zeros(y.shape[-1]), atol=1e-9)
    np.testing.assert_allclose(np.var(y, axes), np.ones(y.shape[-1]), rtol=1e-4)


@pytest.mark.parametrize("shape", [(3, 4, 4, 2), (4, 4, 2), (1, 3, 4, 4, 2)])
def test_an_act_norm_is_its_formula_over_images(shape):
    bijector, affine = act_norm()
    affine.build(shape)
    affine.shift.assign([1.0, -2.0])
    affine.log_scale.assign([0.5, 0.25])
    x = tf.constant(X.ravel()[: np.prod(shape)].reshape(shape))
    y = (x + [1.0, -2.0]) * np.exp([0.5, 0.25])
    np.testing.assert_allclose(bijector.forward(x), y, rtol=1e-12)
    np.testing.assert_allclose(bijector.inverse(y), x, rtol=1e-12, atol=1e-12)
    log_det = np.full(shape[:-3], 4 * 4 * 0.75)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x, 3), log_det, rtol=1e-12)
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(y, 3), -log_det, rtol=1e-12)


def test_the_values_of_an_act_norm_may_come_from_a_function():
    bijector = ActNorm(lambda x, initialize=True: ([1.0, 2.0], [0.0, np.log(3.0)]), event_ndims=1)
    np.testing.assert_allclose(bijector.forward([[1.0, 2.0]]), [[2.0, 12.0]], rtol=1e-6)
    np.testing.assert_allclose(bijector.inverse([[2.0, 12.0]]), [[1.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian([[1.0, 2.0]]), [np.log(3)], rtol=1e-6)


@pytest.mark.parametrize("shape", [[48, 2], [3, 16, 2], [3, 2, 8, 2]])
def test_an_act_norm_is_initialized_over_all_axes_of_a_batch(shape):
    bijector, _ = act_norm(event_ndims=1)
    with initializing():
        y = bijector.forward(X.reshape(shape))
    assert_normal(y)


@pytest.mark.parametrize("ask", ["forward", "forward_log_det_jacobian", "log_prob"])
def test_one_pass_initializes_each_act_norm_on_what_the_ones_before_it_make_of_the_batch(ask):
    bijector, layers = act_norm_flow()
    x = tf.constant(X)
    with initializing():
        {
            "forward": bijector.forward,
            "forward_log_det_jacobian": lambda x: bijector.forward_log_det_jacobian(x, 3),
            "log_prob": flow(bijector, (2, 2, 8)).log_prob,
        }[ask](x)
    assert [affine.initialized.numpy() for affine in layers] == [1, 1, 1, 1]
    last, factor_out, squeeze, coupling, first = bijector.bijectors
    x = first.forward(X)
    assert_normal(x)
    x = squeeze.forward(coupling.forward(x))
    stays, leaves = factor_out.split(x)
    for part in reversed(factor_out.inner.bijectors):
        stays = part.forward(stays)
        assert_normal(stays)
    assert_normal(last.forward(tf.concat([stays, leaves], axis=-1)))


@pytest.mark.parametrize("ask", ["forward", "forward_log_det_jacobian"])
def test_answers_from_before_an_initialization_are_given_neither_within_nor_after(ask):
    bijector, layers = act_norm_flow()
    ask = {"forward": bijector.forward, "forward_log_det_jacobian": lambda x: bijector.forward_log_det_jacobian(x, 3)}[
        ask
    ]
    x = tf.constant(X)
    before = ask(x)
    with initializing():
        within = ask(x)
    assert [affine.initialized.numpy() for affine in layers] == [1, 1, 1, 1]
    after, fresh = ask(x), ask(tf.identity(x))
    assert np.all(np.abs(before - after) > 1e-3)
    np.testing.assert_allclose(within, fresh, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after, fresh, rtol=1e-9, atol=1e-9)


def test_a_second_batch_of_the_scope_changes_nothing():
    bijector, layers = act_norm_flow()
    with initializing():
        bijector.forward(X)
        first = values_of(layers)
        bijector.forward(2 * X + 1)
    with initializing():
        bijector.forward(3 * X - 1)
    for value, expected in zip(values_of(layers), first, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_outside_of_the_scope_nothing_is_initialized(compiled):
    bijector, layers = act_norm_flow()
    log_prob = functools.partial(laws.in_training, flow(bijector, (2, 2, 8)).log_prob)
    (tf.function(log_prob) if compiled else log_prob)(tf.constant(X))
    assert not np.any(np.concatenate([value.ravel() for value in values_of(layers)]))


def test_the_inverse_never_initializes():
    bijector, layers = act_norm_flow()
    with initializing():
        bijector.inverse(X.reshape(3, 2, 2, 8))
        flow(bijector, (2, 2, 8)).sample(5, seed=[0, 1])
    assert not np.any(np.concatenate([value.ravel() for value in values_of(layers)]))


def test_a_constant_channel_stays_finite_in_an_act_norm_and_comes_back():
    bijector, _ = act_norm(event_ndims=1)
    x = tf.constant(np.full([4, 2], 3.0))
    with initializing():
        y = bijector.forward(x)
    np.testing.assert_array_equal(y, np.zeros([4, 2]))
    np.testing.assert_allclose(bijector.inverse(tf.identity(y)), x)
    assert np.isfinite(bijector.forward_log_det_jacobian(x, 1)).all()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
