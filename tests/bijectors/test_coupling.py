"""Couplings: the formulas to the letter, what is kept to the bit, and a short chain of Hamiltonian Monte Carlo."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests import laws
from tfp_realnvp.bijectors import ChannelAutoregressive, Coupling, additive, affine, affine_scale_first, diagonal
from tfp_realnvp.bijectors.masks import ChangeAll, Channel, Checkerboard, Split

tfb = tfp.bijectors
tfd = tfp.distributions

X = np.random.default_rng(0).standard_normal([2, 4, 4, 2])
BOARD = (1 + np.arange(4)[:, None, None] + np.arange(4)[:, None]) % 2


def parameters(kept):
    """Shift sin(kept) and log-scale cos(kept), for as many entries as are kept."""
    return tf.concat([tf.sin(kept), tf.cos(kept)], axis=-1)


# What `affine` and `affine_scale_first` do to x, and log|f'|, given shift t and log-scale s.
FORMULAS = {
    affine: lambda x, t, s: (x + t) * np.exp(s),
    affine_scale_first: lambda x, t, s: x * np.exp(s) + t,
}


@pytest.mark.parametrize("bijector_fn", FORMULAS)
def test_a_checkerboard_coupling_is_the_formula(bijector_fn):
    coupling = Coupling(Checkerboard(), parameters, bijector_fn)
    t, s = np.sin(BOARD * X), np.cos(BOARD * X)
    expected = np.where(BOARD, X, FORMULAS[bijector_fn](X, t, s))
    np.testing.assert_allclose(coupling.forward(X), expected, rtol=1e-12)
    log_det = coupling.forward_log_det_jacobian(tf.constant(X))
    np.testing.assert_allclose(log_det, np.sum((1 - BOARD) * s, axis=(1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("keep_first", [True, False])
@pytest.mark.parametrize("bijector_fn", FORMULAS)
def test_a_channel_coupling_is_the_formula(bijector_fn, keep_first):
    coupling = Coupling(Channel(keep_first), parameters, bijector_fn)
    halves = X[..., :1], X[..., 1:]
    kept, changed = halves if keep_first else halves[::-1]
    t, s = np.sin(kept), np.cos(kept)
    y = FORMULAS[bijector_fn](changed, t, s)
    expected = np.concatenate([kept, y] if keep_first else [y, kept], axis=-1)
    np.testing.assert_allclose(coupling.forward(X), expected, rtol=1e-12)
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(tf.constant(X)), np.sum(s, axis=(1, 2, 3)), rtol=1e-12)


def test_an_additive_coupling_adds_and_has_no_log_det():
    coupling = Coupling(
        [1, 0, 1], lambda kept: tf.reduce_sum(kept, -1, keepdims=True) * tf.constant([1.0, 2.0, 3.0]), additive
    )
    x = tf.constant([[1.0, 10.0, 3.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(coupling.forward(x), [[1.0, 18.0, 3.0], [0.0, 2.0, 1.0]])
    np.testing.assert_array_equal(coupling.forward_log_det_jacobian(x), [0.0, 0.0])


def test_a_scale_coupling_scales_and_its_log_det_is_the_sum_of_the_log_scales():
    coupling = Coupling(Split([1, 0, 0]), lambda kept: kept * tf.constant([1.0, -2.0]), diagonal)
    x = tf.constant([[0.5, 10.0, 3.0], [0.0, 4.0, 5.0]])
    expected = [[0.5, 10 * np.exp(0.5), 3 * np.exp(-1)], [0, 4, 5]]
    np.testing.assert_allclose(coupling.forward(x), expected, rtol=1e-6)
    np.testing.assert_allclose(coupling.inverse(tf.constant(expected, tf.float32)), x, rtol=1e-6)
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(x), [-0.5, 0], atol=1e-7)


@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
@pytest.mark.parametrize("event_shape", [(3, 4, 2), (2,)])
def test_a_coupling_that_keeps_nothing_is_its_biases(event_shape, batch):
    dense = keras.layers.Dense(4, kernel_initializer="zeros", dtype="float64")
    dense.build((None, *event_shape[:-1], 0))
    dense.bias.assign([1.0, -2.0, 0.5, 0.25])
    coupling = Coupling(ChangeAll(len(event_shape)), dense)
    x = np.random.default_rng(0).standard_normal([*batch, *event_shape])
    y = (x + [1.0, -2.0]) * np.exp([0.5, 0.25])
    np.testing.assert_allclose(coupling.forward(x), y, rtol=1e-12)
    np.testing.assert_allclose(coupling.inverse(y), x, rtol=1e-12)
    log_det = np.full(batch, 0.75 * np.prod(event_shape[:-1]))
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(tf.constant(x)), log_det, rtol=1e-12)
    np.testing.assert_allclose(coupling.inverse_log_det_jacobian(tf.constant(y)), -log_det, rtol=1e-12)
    assert list(map(id, coupling.trainable_variables)) == [id(weight.value) for weight in dense.weights]


def test_a_coupling_that_keeps_nothing_takes_images_of_any_size():
    dense = keras.layers.Dense(4)
    dense.build((None, 0))
    dense.bias.assign([1.0, -2.0, 0.5, 0.25])
    coupling = Coupling(ChangeAll(3), dense)
    spec = tf.TensorSpec([None, None, None, 2])
    log_det = tf.function(coupling.forward_log_det_jacobian, input_signature=[spec])
    for height, width in ((2, 3), (5, 1)):
        np.testing.assert_allclose(log_det(tf.ones([4, height, width, 2])), [0.75 * height * width] * 4)


def test_affine_is_the_default():
    x = tf.constant([[0.5, 2.0]])
    shift_and_log_scale = tf.constant([[0.0, 1.0, 0.0, 0.5]])
    y = Coupling([1, 0], lambda kept: shift_and_log_scale).forward(x)
    np.testing.assert_allclose(y, [[0.5, 3 * np.exp(0.5)]], rtol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("mask", [Checkerboard(0), Checkerboard(1), Channel(True), Channel(False)])
def test_what_is_kept_is_kept_to_the_bit(mask, direction):
    x = tf.constant(1e3 * X, tf.float32)
    y = getattr(Coupling(mask, parameters), direction)(x)
    np.testing.assert_array_equal(mask.split(y)[0], mask.split(x)[0])


def test_the_network_sees_what_is_kept_and_one_batch_axis():
    seen = []

    def conditioner(kept):
        seen.append(kept)
        return parameters(kept)

    coupling = Coupling(Checkerboard(), conditioner)
    for shape in ([4, 4, 2], [2, 4, 4, 2], [3, 2, 4, 4, 2]):
        coupling.forward(tf.ones(shape))
    assert [kept.shape[0] for kept in seen] == [1, 2, 6]
    for kept in seen:
        np.testing.assert_array_equal(kept, np.broadcast_to(BOARD, kept.shape))


def test_the_network_never_sees_what_changes():
    coupling = laws.randomize(laws.checkerboard_coupling("float32"))
    x = tf.constant(X, tf.float32)
    other = tf.where(BOARD == 1, x, x + 1)
    np.testing.assert_array_equal(coupling.forward_log_det_jacobian(x), coupling.forward_log_det_jacobian(other))


def test_parameters_in_another_precision_are_cast_to_that_of_the_flow():
    coupling = Coupling([1, 0], lambda kept: tf.cast(parameters(kept), tf.bfloat16))
    y = coupling.forward(tf.constant([[0.5, 2.0]]))
    assert y.dtype == tf.float32
    assert coupling.inverse(tf.identity(y)).dtype == tf.float32


@pytest.mark.parametrize("mask", [[[1, 0]], [0, 3]])
def test_a_wrong_mask_is_refused(mask):
    with pytest.raises(ValueError, match="mask must"):
        Coupling(mask, parameters)


def test_hamiltonian_monte_carlo_walks_through_a_flow():
    coupling = laws.randomize(Coupling([1, 0], laws.mlp(2, 4, "float32")))
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(coupling))
    kernel = tfp.mcmc.HamiltonianMonteCarlo(flow.log_prob, step_size=0.1, num_leapfrog_steps=2)
    transformed = tfp.mcmc.TransformedTransitionKernel(kernel, tfb.Invert(coupling))

    @tf.function(autograph=False)
    def walk(kernel_, start):
        return tfp.mcmc.sample_chain(3, start, kernel=kernel_, trace_fn=lambda _, results: results, seed=[0, 1])

    start = flow.sample(4, seed=[0, 1])
    states, results = walk(kernel, start)
    assert np.all(results.is_accepted)  # small steps along the right gradient hardly change the energy
    np.testing.assert_allclose(results.accepted_results.target_log_prob, flow.log_prob(states), rtol=1e-4)
    states, results = walk(transformed, start)
    assert np.all(results.inner_results.is_accepted)
    assert states.shape == (3, 4, 2)


def test_a_map_of_whole_pixels_needs_a_mask_that_gathers_them():
    coupling = Coupling(Checkerboard(), lambda kept: kept[..., :1], ChannelAutoregressive)
    with pytest.raises(ValueError, match="bijector_fn must give elementwise bijectors.*forward_min_event_ndims is 1"):
        coupling.forward(np.ones([1, 2, 2, 2], np.float32))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
