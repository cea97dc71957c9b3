"""The solvers of differential equations: orders, tolerances, gradients by both ways, solves that break off."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.bijectors import solvers
from tfp_realnvp.bijectors.solvers import BOGACKI_SHAMPINE, DORMAND_PRINCE, RUNGE_KUTTA_4, Adaptive, Fixed

pytestmark = pytest.mark.usefixtures("module_eagerly")

METHODS = {"bosh3": BOGACKI_SHAMPINE, "dopri5": DORMAND_PRINCE, "rk4": RUNGE_KUTTA_4}
Y = np.random.default_rng(0).standard_normal([4, 3])
MATRIX = np.random.default_rng(1).standard_normal([3, 3])


def pendulum(t, states):
    """d²/dt² = −position, with the integral of the velocity, which is the way."""
    (y,) = states
    position, velocity = tf.unstack(y, axis=-1)
    return [tf.stack([velocity, -position], axis=-1)], [velocity]


def solve(solver, start=0.0, stop=1.0, **options):
    y = tf.constant([[1.0, 0.0], [0.0, 2.0]], tf.float64)
    return solver.solve(pendulum, [y], [tf.zeros([2], tf.float64)], start, stop, **options)


def error(solution, stop=1.0):
    exact = np.array([[np.cos(stop), -np.sin(stop)], [2 * np.sin(stop), 2 * np.cos(stop)]])
    ways = exact[:, 0] - [1, 0]
    return max(np.abs(solution.states[0] - exact).max(), np.abs(solution.integrals[0] - ways).max())


@pytest.mark.parametrize("name", METHODS)
def test_the_error_of_fixed_steps_falls_with_the_order(name):
    method = METHODS[name]
    coarse, fine = (error(solve(Fixed(method, number))) for number in (4, 8))
    assert method.order - 0.5 < np.log2(coarse / fine) < method.order + 1.5


@pytest.mark.parametrize("method", [BOGACKI_SHAMPINE, DORMAND_PRINCE])
@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.0), (0.0, -2.0)])
def test_adaptive_steps_keep_the_tolerance(method, times):
    start, stop = times
    errors, counts = [], []
    for tolerance in (1e-3, 1e-6):
        solution = solve(Adaptive(method, tolerance), start, stop, num_steering=1)
        assert solution.has_ended
        errors.append(error(solution, stop - start))
        counts.append(int(solution.evaluations))
        assert errors[-1] < 10 * tolerance
    assert counts[0] < counts[1] and counts[0] % (len(method.nodes) - 1) == 1


def test_the_worst_example_of_a_batch_sets_the_steps():
    rates = tf.constant([0.1, 10.0], tf.float64)[:, tf.newaxis]
    field = lambda t, y: ([rates * y[0]], [])
    solver = Adaptive(DORMAND_PRINCE, 1e-6)
    solution = solver.solve(field, [tf.ones([2, 1], tf.float64)], [], 0.0, 1.0)
    np.testing.assert_allclose(solution.states[0], np.exp(rates), rtol=1e-4)
    alone = solver.solve(lambda t, y: ([0.1 * y[0]], []), [tf.ones([1, 1], tf.float64)], [], 0.0, 1.0)
    assert 3 * alone.evaluations < solution.evaluations


def test_an_empty_batch_is_solved():
    solution = Adaptive(DORMAND_PRINCE, 1e-6).solve(pendulum, [tf.zeros([0, 2])], [tf.zeros([0])], 0.0, 1.0)
    assert solution.has_ended and solution.states[0].shape == (0, 2)


@pytest.mark.parametrize(
    "field",
    [lambda t, y: ([y[0] ** 2], []), lambda t, y: ([tf.math.log(-y[0])], [])],
    ids=["runs away", "is not a number"],
)
def test_a_solve_that_does_not_end_says_so(field):
    solution = Adaptive(DORMAND_PRINCE, 1e-5).solve(field, [tf.constant([[2.0]])], [], 0.0, 1.0)
    assert not solution.has_ended and solution.evaluations < 1000


def test_a_solve_of_too_many_evaluations_breaks_off():
    solution = solve(Adaptive(BOGACKI_SHAMPINE, 1e-9, max_evaluations=100))
    assert not solution.has_ended and 100 <= solution.evaluations < 104


def field_of(t, states, theta):
    y, (matrix, shift) = states[0], theta
    velocity = tf.tanh(tf.matmul(y, matrix) + t * shift)
    return [velocity], [tf.reduce_sum(velocity**2, 1), tf.reduce_sum(y, 1)]


def loss_and_gradients(solver, adjoint, eagerly=True):
    inputs = [tf.constant(Y), tf.constant(MATRIX), tf.constant([0.3, -1.0, 0.5], tf.float64)]

    def compute(*inputs):
        y, *theta = inputs
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            zero = tf.zeros([4], tf.float64)
            solution = solvers.differentiable(
                solver, field_of, [y], [zero, zero], theta, 0.0, 1.0, num_steering=1, adjoint=adjoint
            )
            (end,), (first, second) = solution.states, solution.integrals
            loss = tf.reduce_sum(tf.sin(end)) + tf.reduce_sum(first**2) + 0.3 * tf.reduce_sum(second)
        return loss, tape.gradient(loss, inputs)

    return compute(*inputs) if eagerly else tf.function(compute, autograph=False)(*inputs)


@pytest.mark.parametrize(
    "solver", [Adaptive(DORMAND_PRINCE, 1e-7), Fixed(RUNGE_KUTTA_4, 32)], ids=["adaptive", "fixed"]
)
def test_the_gradients_of_both_ways_are_those_of_the_steps(solver):
    _, repeated = loss_and_gradients(solver, adjoint=False)
    _, adjoint = loss_and_gradients(solver, adjoint=True)
    y, matrix, shift = tf.constant(Y), tf.constant(MATRIX), tf.constant([0.3, -1.0, 0.5], tf.float64)
    with tf.GradientTape() as tape:  # Through every operation of 64 steps.
        tape.watch((y, matrix, shift))
        states, integrals = [y], [tf.zeros([4], tf.float64)] * 2
        for number in range(64):
            field = lambda t, y: field_of(t, y, [matrix, shift])
            states, integrals = solvers.step(RUNGE_KUTTA_4, field, number / 64, 1 / 64, states, integrals)
        loss = tf.reduce_sum(tf.sin(states[0])) + tf.reduce_sum(integrals[0] ** 2) + 0.3 * tf.reduce_sum(integrals[1])
    expected = tape.gradient(loss, (y, matrix, shift))
    for each in (repeated, adjoint):
        for gradient, wanted in zip(each, expected, strict=True):
            assert np.abs(gradient - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_repeated_steps_have_the_gradient_of_a_coarse_computation_too():
    solver = Fixed(BOGACKI_SHAMPINE, 2)
    loss, (by_y, *_) = loss_and_gradients(solver, adjoint=False)
    step = np.zeros_like(Y)
    step[1, 2] = 1e-6

    def at(y):
        zero = tf.zeros([4], tf.float64)
        theta = [tf.constant(MATRIX), tf.constant([0.3, -1.0, 0.5], tf.float64)]
        solution = solver.solve(lambda t, y: field_of(t, y, theta), [tf.constant(y)], [zero, zero], 0.0, 1.0)
        (end,), (first, second) = solution.states, solution.integrals
        return tf.reduce_sum(tf.sin(end)) + tf.reduce_sum(first**2) + 0.3 * tf.reduce_sum(second)

    slope = (at(Y + step) - at(Y - step)) / 2e-6
    assert abs(slope - by_y[1, 2]) < 1e-8 * max(1, abs(slope))
    assert abs(at(Y) - loss) < 1e-12


@pytest.mark.parametrize("adjoint", [False, True])
def test_a_graph_gives_the_eager_gradients(adjoint, in_graphs):
    solver = Adaptive(BOGACKI_SHAMPINE, 1e-4)
    loss, gradients = loss_and_gradients(solver, adjoint, eagerly=False)
    tf.config.run_functions_eagerly(True)
    expected_loss, expected = loss_and_gradients(solver, adjoint)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adaptive(DORMAND_PRINCE, 0.0), "tolerance must be positive; got 0.0"),
        (lambda: Adaptive(DORMAND_PRINCE, float("nan")), "tolerance must be positive; got nan"),
        (lambda: Adaptive(RUNGE_KUTTA_4, 1e-3), "method must estimate its error; for another one use Fixed"),
        (lambda: Adaptive(DORMAND_PRINCE, 1e-3, 0), "max_evaluations must be a positive int; got 0"),
        (lambda: Fixed(RUNGE_KUTTA_4, 0), "num_steps must be a positive int; got 0"),
    ],
)
def test_wrong_arguments_are_errors(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
