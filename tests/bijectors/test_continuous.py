"""ContinuousFlow: TFP's flow as an oracle, divergences and probes, contexts, regularizers, solves that break off."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import ContinuousFlow, divergence, masks
from tfp_realnvp.bijectors.solvers import BOGACKI_SHAMPINE, DORMAND_PRINCE, RUNGE_KUTTA_4, Adaptive, Fixed
from tfp_realnvp.bijectors.solves import Solves, solving

tfb = tfp.bijectors

pytestmark = pytest.mark.usefixtures("module_eagerly")

X = np.random.default_rng(0).standard_normal([5, 3])
EXACT = Adaptive(DORMAND_PRINCE, 1e-8)


def mlp(size=3, inputs=None, dtype="float64"):
    network = rnvp.networks.MLPDynamics(size, [6], seed=0, dtype=dtype)
    network.build((None, inputs or size))
    laws.randomize_weights(network.weights)
    return network


def images(dtype="float32"):
    network = rnvp.networks.ConvDynamics(2, filters=4, num_layers=3, seed=0, dtype=dtype)
    network.build((None, 4, 4, 2))
    laws.randomize_weights(network.weights)
    return network


def test_it_is_tfps_continuous_flow_with_an_exact_trace(in_graphs):
    network = mlp()
    ours = ContinuousFlow(network, evaluation_solver=EXACT)
    theirs = tfb.FFJORD(
        network,
        ode_solve_fn=tfp.math.ode.DormandPrince(rtol=1e-9, atol=1e-9).solve,
        trace_augmentation_fn=tfb.ffjord.trace_jacobian_exact,
        dtype=tf.float64,
    )
    both = lambda flow: tf.function(lambda x: (flow.forward(x), flow.forward_log_det_jacobian(x, 1)), autograph=False)
    for actual, expected in zip(both(ours)(tf.constant(X)), both(theirs)(tf.constant(X)), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_events_move_part_of_the_way():
    matrix = np.random.default_rng(1).standard_normal([3, 3])
    flow = ContinuousFlow(lambda t, x: tf.matmul(x, matrix), evaluation_solver=EXACT)
    np.testing.assert_allclose(flow.moved(X, 0.25, 0.75), X @ tf.linalg.expm(matrix / 2), atol=1e-6)
    np.testing.assert_allclose(flow.moved(X, 1.0, 0.5), X @ tf.linalg.expm(-matrix / 2), atol=1e-6)


def test_a_linear_field_has_the_exponential_of_its_matrix():
    matrix = np.random.default_rng(1).standard_normal([3, 3])
    flow = ContinuousFlow(lambda t, x: tf.matmul(x, matrix), evaluation_solver=EXACT)
    y = flow.forward(tf.constant(X))
    np.testing.assert_allclose(y, X @ tf.linalg.expm(matrix), atol=1e-6)
    np.testing.assert_allclose(
        flow.forward_log_det_jacobian(tf.constant(X), 1), np.full(5, np.trace(matrix)), atol=1e-6
    )


@pytest.mark.parametrize("probe", [divergence.rademacher, divergence.gaussian])
def test_the_mean_of_the_estimates_is_the_divergence(probe):
    network, x = mlp(), tf.constant(np.repeat(X[:1], 4000, axis=0))
    x += 1e-9 * np.arange(4000)[:, np.newaxis]  # Events with keys of their own.
    f = lambda y: network(tf.constant(0.3, tf.float64), y)
    basis = divergence.Exact().probes(x[:1])
    exact, norm = (each[0] for each in divergence.sums(basis, divergence.jacobian_products(f, x[:1], basis)[1]))
    probes = divergence.Hutchinson(probe, seed=3).probes(x, Solves(x, tf.constant([1, 2], tf.int64)))
    estimates, norms = divergence.sums(probes, divergence.jacobian_products(f, x, probes)[1])
    for values, expected in ((estimates, exact), (norms, norm)):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / np.sqrt(4000)


def test_probes_depend_on_the_seed_the_event_and_the_flow_alone():
    x, seed = tf.constant(X), tf.constant([1, 2], tf.int64)
    hutchinson = divergence.Hutchinson(seed=3)
    probes = hutchinson.probes(x, Solves(x, seed)).numpy()
    assert set(np.unique(probes)) == {-1.0, 1.0} and probes.shape == (1, 5, 3)
    np.testing.assert_array_equal(hutchinson.probes(x[2:4], Solves(x[2:4], seed)), probes[:, 2:4])
    many = tf.constant(np.random.default_rng(2).standard_normal([5, 100]))
    first = hutchinson.probes(many, Solves(many, seed)).numpy()
    for other, other_seed in ((divergence.Hutchinson(seed=4), [1, 2]), (hutchinson, [1, 3]), (hutchinson, [2, 2])):
        again = other.probes(many, Solves(many, tf.constant(other_seed, tf.int64))).numpy()
        assert 0.4 < np.mean(first == again) < 0.6
    assert len(np.unique(first, axis=1)[0]) == 5


def test_outside_of_a_model_both_directions_have_the_same_probe():
    flow = ContinuousFlow(images("float64"), event_ndims=3, divergence="hutchinson", evaluation_solver=EXACT)
    x = tf.constant(np.random.default_rng(0).standard_normal([2, 3, 4, 4, 2]))
    y, log_det = laws.forward(flow, x, 3)
    back, inverse_log_det = laws.inverse(flow, y.numpy(), 3)
    np.testing.assert_allclose(back, x, atol=1e-6)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-6)
    assert log_det.shape == (2, 3)


def test_a_context_has_gradients():
    network = mlp(2, 4)
    context = tf.constant(np.random.default_rng(3).standard_normal([5, 2]))

    def total(context):
        flow = ContinuousFlow(rnvp.networks.WithContext(network, context), evaluation_solver=EXACT)
        return tf.reduce_sum(flow.forward_log_det_jacobian(tf.constant(X[:, :2]), 1))

    with tf.GradientTape() as tape:
        tape.watch(context)
        value = total(context)
    gradient = tape.gradient(value, context).numpy()
    step = np.zeros([5, 2])
    step[1, 0] = 1e-4
    slope = (total(context + step) - total(context - step)) / 2e-4
    assert abs(slope - gradient[1, 0]) < 1e-5 * max(1, abs(slope))


def test_the_kept_part_has_gradients_and_stays():
    flow = ContinuousFlow(mlp(2, 3), masks.Split([0, 1, 0]), evaluation_solver=EXACT)
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = flow.forward(x)
        log_det = flow.forward_log_det_jacobian(x, 1)
        value = tf.reduce_sum(tf.sin(y)) + tf.reduce_sum(log_det)
    np.testing.assert_array_equal(y[:, 1], x[:, 1])
    gradient, step = tape.gradient(value, x).numpy(), np.zeros([5, 3])
    step[2, 1] = 1e-4
    at = lambda x: tf.reduce_sum(tf.sin(flow.forward(x))) + tf.reduce_sum(flow.forward_log_det_jacobian(x, 1))
    slope = (at(tf.constant(X + step)) - at(tf.constant(X - step))) / 2e-4
    assert abs(slope - gradient[2, 1]) < 1e-5 * max(1, abs(slope))


def test_without_log_dets_the_events_are_the_same_and_no_pass_is_mistaken():
    flow, x = ContinuousFlow(mlp(), evaluation_solver=Fixed(RUNGE_KUTTA_4, 4)), tf.constant(X)
    with solving(Solves(with_log_det=False)) as solves:
        y = flow.forward(x)
    assert int(solves.evaluations[0]) == 16
    with_log_det = flow.forward(x)
    np.testing.assert_allclose(y, with_log_det, rtol=1e-12)
    assert np.isfinite(flow.forward_log_det_jacobian(x, 1)).all()


def test_each_group_of_solves_has_a_hash_of_its_own():
    assert len({hash(Solves()) for _ in range(10)}) == 10  # Also where one has the address of another that is gone.


def test_the_regularizers_are_integrals_of_the_training_solves():
    network, x = mlp(), tf.constant(X)
    flow = ContinuousFlow(network, evaluation_solver=Fixed(RUNGE_KUTTA_4, 8), kinetic_energy=2.0, jacobian_norm=3.0)
    with solving(Solves()) as solves:
        laws.in_training(flow.forward, x)
    energy, norm = (float(penalty) for penalty in solves.penalties)
    times, y, expected = np.arange(0, 1, 1 / 128), x, np.zeros(2)
    basis = divergence.Exact().probes(x)
    for t in times:  # The mean value of the integrand over 128 steps of Euler's method.
        velocity, products = divergence.jacobian_products(lambda y, t=t: network(tf.constant(t), y), y, basis)
        expected += np.array([np.mean(velocity**2) / 2, np.mean(divergence.sums(basis, products)[1]) / 3]) / 128
        y = y + velocity / 128
    np.testing.assert_allclose([energy, norm], expected * [2, 3], rtol=0.05)
    with solving(Solves()) as solves:
        flow.forward(tf.identity(x))
    assert not solves.penalties


def test_training_and_evaluation_have_solvers_of_their_own():
    flow = ContinuousFlow(mlp(), solver=Fixed(RUNGE_KUTTA_4, 2), evaluation_solver=Fixed(RUNGE_KUTTA_4, 5))
    with solving(Solves()) as solves:
        laws.in_training(flow.forward, tf.constant(X))
        flow.forward(tf.constant(X))
    assert [int(number) for number in solves.evaluations] == [8, 20]


def test_a_solve_that_breaks_off_is_an_error_and_in_training_not_a_number():
    flow = ContinuousFlow(lambda t, x: x**2, evaluation_solver=Adaptive(BOGACKI_SHAMPINE, 1e-3))
    x = tf.constant([[2.0], [0.1]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="a solve broke off"):
        flow.forward(x)
    assert np.isnan(laws.in_training(flow.forward, tf.identity(x))).all()


def test_a_model_names_the_solve_that_breaks_off_and_skips_the_step():
    network = rnvp.networks.MLPDynamics(2, [4], "softplus", seed=0)
    flow = ContinuousFlow(network)
    base = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), 2)
    model = rnvp.FlowModel(tfp.distributions.TransformedDistribution(base, tfb.Invert(flow)), seed=0)
    model.compile(keras.optimizers.SGD(0.1))
    network.dense[-1].kernel.assign(1e30 * tf.ones([4, 2]))
    x = X[:, :2].astype("float32")
    with pytest.raises(ValueError, match="^tolerance must be larger, or the dynamics smoother: a solve broke off"):
        model.predict_on_batch(x)
    before = model.get_weights()
    model.train_on_batch(x)
    assert model.progress.skipped == 1
    for weight, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(divergence="trace"), 'divergence must be "exact", "hutchinson" or "gaussian"; got \'trace\''),
        (dict(kinetic_energy=-1.0), "kinetic_energy must be a non-negative number; got -1.0"),
        (dict(jacobian_norm=float("inf")), "jacobian_norm must be a non-negative number; got inf"),
        (
            dict(mask=masks.Checkerboard()),
            "mask must gather the changed entries, as ChangeAll, Channel and Split do; got",
        ),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ContinuousFlow(mlp(), **options)


def test_an_exact_divergence_of_a_large_event_is_refused():
    flow = ContinuousFlow(lambda t, x: x, event_ndims=3)
    with pytest.raises(ValueError, match='divergence must be "hutchinson" for events of more than 4096 entries.*12288'):
        flow.forward(tf.zeros([1, 64, 64, 3]))


def test_a_function_with_variables_is_refused():
    scale = tf.Variable(2.0, name="scale")
    with pytest.raises(ValueError, match="dynamics must be a Keras layer to have variables; .* reads .*scale"):
        ContinuousFlow(lambda t, x: scale * x).forward(tf.zeros([1, 2]))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
