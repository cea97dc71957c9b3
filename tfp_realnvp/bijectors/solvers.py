"""Solvers of ordinary differential equations, whose gradients need the memory of a single step.

A system has states y and integrals q over them:

```none
dy/dt = f(t, y, θ),    dq/dt = g(t, y, θ),    q = 0 at the start
```

The integrals do not act on the field. For a continuous flow, y is the event, q its log-det, θ the network's weights.

References: Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, sections II.4 and II.5; Chen et al.,
Neural Ordinary Differential Equations, arXiv 1806.07366.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive

Tensors = list[tf.Tensor]
# (t, y) ↦ (dy/dt, dq/dt).
Field = Callable[[tf.Tensor, Tensors], tuple[Tensors, Tensors]]


@dataclasses.dataclass(frozen=True)
class Method:
    """An explicit Runge-Kutta method, by its Butcher tableau.

    Args:
      order: the order of its solution.
      nodes: the times of the stages, as fractions of a step.
      stages: for each stage the weights of the slopes before it.
      weights: the weights of the slopes in the solution.
      error: the weights of the slopes in the estimate of the error; none for a method without an estimate. Such
        stages end with the solution itself, so that their last slope is the first one of the next step.

    Example: `Method(1, (0.0,), ((),), (1.0,))` is Euler's method.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] = ()


BOGACKI_SHAMPINE = Method(
    3,
    (0, 1 / 2, 3 / 4, 1),
    ((), (1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9),
    (-5 / 72, 1 / 12, 1 / 9, -1 / 8),
)
"""Bogacki and Shampine's pair of orders 3 and 2: three evaluations a step, for tolerances down to 1e-3."""
DORMAND_PRINCE = Method(
    5,
    (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
"""Dormand and Prince's pair of orders 5 and 4: six evaluations a step, for smaller tolerances."""
RUNGE_KUTTA_4 = Method(
    4,
    (0, 1 / 3, 2 / 3, 1),
    ((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)),
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
"""Kutta's 3/8 rule of order 4, as in the authors' code: four evaluations a step, for fixed steps."""


@dataclasses.dataclass(frozen=True)
class Solution:
    """The end of a solve.

    Args:
      states: y there.
      integrals: q there.
      evaluations: int32 scalar, the number of evaluations of the field.
      has_ended: bool scalar; False for a solve that broke off, whose tensors are then of the point that it reached.
      trajectory: of a recorded solve, the start t, the length h and the states y of each step, in stacked arrays, and
        the number of steps.

    Example: `solver.solve(field, [y], [log_det], 0.0, 1.0).states`
    """

    states: Tensors
    integrals: Tensors
    evaluations: tf.Tensor
    has_ended: tf.Tensor
    trajectory: tuple[list[tf.TensorArray], tf.Tensor] | None = None


@dataclasses.dataclass(frozen=True)
class System:
    """A system from the time `start` to `stop`, with the errors that count; see `Solver.solve`.

    Example: `System(field, [y], [log_det], 0.0, 1.0, sizes=[1.0], num_steering=1)`
    """

    field: Field
    states: Tensors
    integrals: Tensors
    start: float
    stop: float
    sizes: Sequence[Any]
    num_steering: int

    @property
    def dtype(self) -> tf.DType:
        """The dtype of the states, and of the time."""
        return self.states[0].dtype


class Solver:
    """The base class of `Adaptive` and `Fixed`.

    Attributes:
      method: `Method` of the steps.

    Example: `Fixed(RUNGE_KUTTA_4, 4).solve(lambda t, y: ([-y[0]], []), [tf.ones([1])], [], 0.0, 1.0)`
    """

    method: Method

    def solve(
        self,
        field: Field,
        states: Tensors,
        integrals: Tensors,
        start: float,
        stop: float,
        sizes: Sequence[Any] | None = None,
        num_steering: int = 0,
        record: bool = False,
    ) -> Solution:
        """Solves the system from the time `start` to `stop`, which may be the earlier one.

        Args:
          field: (t, y) ↦ (dy/dt, dq/dt).
          states, integrals: y and q at the start; the first axis of a state is the batch.
          start, stop: times.
          sizes: for each state the size of its entries, to which an absolute error is compared; None for 1.
          num_steering: the number of integrals, from the first on, whose errors are controlled too.
          record: whether to keep the trajectory.
        """
        sizes = [1.0] * len(states) if sizes is None else sizes
        return self.solve_system(System(field, states, integrals, start, stop, sizes, num_steering), record)

    def solve_system(self, system: System, record: bool) -> Solution:
        """As `solve`; each kind of solver defines it."""
        raise NotImplementedError(f"{type(self).__name__} must define solve_system(system, record)")


@dataclasses.dataclass(frozen=True)
class Adaptive(Solver):
    """Steps of a length that keeps the error of every example of the batch below a tolerance.

    ```none
    |error| ≤ tolerance · max(1, |y|), in the mean square over an example's entries
    ```

    Args:
      method: a method with an estimate of its error.
      tolerance: positive float.
      max_evaluations: int; a solve that needs more breaks off.

    Raises:
      ValueError: for a tolerance that is not positive, or a method without an estimate.

    Example: `Adaptive(DORMAND_PRINCE, 1e-5).solve(lambda t, y: ([-y[0]], []), [tf.ones([1])], [], 0.0, 1.0)`
    """

    method: Method
    tolerance: float
    max_evaluations: int = 10_000

    def __post_init__(self) -> None:
        if not isinstance(self.tolerance, (int, float)) or not 0 < self.tolerance < np.inf:
            raise ValueError(f"tolerance must be positive; got {self.tolerance!r}")
        if not self.method.error:
            raise ValueError("method must estimate its error; for another one use Fixed")
        check_positive(max_evaluations=self.max_evaluations)

    def solve_system(self, system: System, record: bool) -> Solution:
        dtype, start, stop = system.dtype, system.start, system.stop
        length, sign = tf.constant(abs(stop - start), dtype), float(np.sign(stop - start))
        shortest = 10 * np.finfo(dtype.as_numpy_dtype).eps * abs(stop - start)
        # A sixth, as in the authors' code, at their tolerances.
        first = min(1.0, self.tolerance ** (1 / self.method.order) / 0.6) * abs(stop - start)
        time_at = lambda done: start + sign * done

        def body(done: tf.Tensor, h: tf.Tensor, y: Tensors, q: Tensors, slopes: Any, count: Any, path: Any) -> Any:
            remaining = length - done
            is_last = h >= remaining
            h = tf.minimum(h, remaining)
            new_y, new_q, errors, last = _step(self.method, system.field, time_at(done), sign * h, y, q, slopes)
            scaled = [
                _per_example(error, self.tolerance * tf.maximum(tf.maximum(tf.abs(before), tf.abs(after)), size))
                for error, size, before, after in zip(
                    errors, [*system.sizes, *[1.0] * system.num_steering], [*y, *q], [*new_y, *new_q], strict=False
                )
            ]
            ratio = tf.stop_gradient(tf.reduce_max(tf.stack(scaled)))  # The lengths of the steps have no gradients.
            accepts = ratio <= 1  # Never where it is NaN.
            factor = tf.clip_by_value(0.8 * tf.maximum(ratio, 1e-10) ** (-1 / self.method.order), 0.2, 10.0)
            factor = tf.where(tf.math.is_finite(ratio), factor, tf.constant(0.2, dtype))
            choose = lambda new, old: tf.nest.map_structure(functools.partial(tf.where, accepts), new, old)
            if record:
                path = _recorded(path, accepts, [time_at(done), sign * h, *y])
            done = tf.where(accepts, tf.where(is_last, length, done + h), done)
            count = count + (len(self.method.nodes) - 1)
            return done, h * factor, choose(new_y, y), choose(new_q, q), choose(last, slopes), count, path

        def goes_on(done: tf.Tensor, h: tf.Tensor, y: Any, q: Any, slopes: Any, count: Any, path: Any) -> tf.Tensor:
            return (done < length) & (h > shortest) & (count < self.max_evaluations)

        zero, path = tf.zeros([], dtype), _empty_path(system) if record else ()
        slopes = system.field(time_at(zero), system.states)
        initial = (zero, tf.constant(first, dtype), system.states, system.integrals, slopes, tf.constant(1), path)
        done, _, y, q, _, count, path = _loop(goes_on, body, initial)
        return Solution(y, q, count, done >= length, path or None)


@dataclasses.dataclass(frozen=True)
class Fixed(Solver):
    """Steps of one length. A grid that is too coarse gives a wrong solution without a word.

    Args:
      method: any method.
      num_steps: int, the number of steps.

    Raises:
      ValueError: for a number below 1.

    Example: `Fixed(RUNGE_KUTTA_4, 4).solve(lambda t, y: ([-y[0]], []), [tf.ones([1])], [], 0.0, 1.0)`
    """

    method: Method
    num_steps: int

    def __post_init__(self) -> None:
        check_positive(num_steps=self.num_steps)

    def solve_system(self, system: System, record: bool) -> Solution:
        dtype, length = system.dtype, (system.stop - system.start) / self.num_steps
        h = tf.constant(length, dtype)

        def body(number: tf.Tensor, y: Tensors, q: Tensors, path: Any) -> Any:
            t = system.start + length * tf.cast(number, dtype)
            if record:
                path = _recorded(path, True, [t, h, *y])
            y, q = step(self.method, system.field, t, h, y, q)
            return number + 1, y, q, path

        path = _empty_path(system, self.num_steps) if record else ()
        initial = (tf.constant(0), system.states, system.integrals, path)
        _, y, q, path = _loop(lambda number, *_: number < self.num_steps, body, initial)
        evaluations = tf.constant(self.num_steps * len(self.method.weights))
        return Solution(y, q, evaluations, tf.constant(True), path or None)


def differentiable(
    solver: Solver,
    field: Callable[[tf.Tensor, Tensors, Tensors], tuple[Tensors, Tensors]],
    states: Tensors,
    integrals: Tensors,
    parameters: Tensors,
    start: float,
    stop: float,
    num_steering: int = 0,
    adjoint: bool = False,
) -> Solution:
    """Solves the system with gradients by the states at the start and by θ, in the memory of one step.

    Either the backward pass repeats the steps of the solve one by one, from their recorded states: these gradients are
    those of the computation itself. Or it solves the adjoint equation backward in time, and keeps nothing:

    ```none
    da/dt = −(∂f/∂y)ᵀ a − (∂g/∂y)ᵀ b,    dL/dθ = ∫ (∂f/∂θ)ᵀ a + (∂g/∂θ)ᵀ b dt,    a = dL/dy,  b = dL/dq
    ```

    Args:
      solver: `Adaptive` or `Fixed`.
      field: (t, y, θ) ↦ (dy/dt, dq/dt); it depends on no other tensor with a gradient.
      states, integrals, start, stop, num_steering: see `Solver.solve`.
      parameters: θ.
      adjoint: whether to solve the adjoint equation.

    Returns:
      `Solution`, without a trajectory.

    Example: `differentiable(solver, lambda t, y, theta: ([theta[0] * y[0]], []), [y], [], [theta], 0.0, 1.0)`

    References: Chen et al., arXiv 1806.07366, algorithm 1; arXiv 1604.06174, section 4, on steps that are repeated.
    """
    take = functools.partial(_split, (len(states), len(integrals)))

    @tf.custom_gradient
    def solved(*inputs: tf.Tensor) -> Any:
        y, q, theta = take(inputs)
        at = lambda t, y, theta=theta: field(t, y, theta)
        solution = solver.solve(at, y, q, start, stop, num_steering=num_steering, record=not adjoint)

        def gradients(*grads: tf.Tensor) -> Any:
            a, b, _ = take(grads)
            backward = _adjoint if adjoint else _repeated
            grad_y, grad_theta = backward(solver, field, solution, theta, a, b, start, stop)
            return *grad_y, *b, *grad_theta

        return (*solution.states, *solution.integrals, solution.evaluations, solution.has_ended), gradients

    y, q, (evaluations, has_ended) = take(solved(*states, *integrals, *parameters))
    return Solution(y, q, evaluations, has_ended)


def traced_once(field: Callable[..., tuple[Tensors, Tensors]]) -> Callable[..., tuple[Tensors, Tensors]]:
    """The field as one traced function of a graph, which the stages of a step and those of its repetition share.

    Example: `solver.solve(traced_once(field), [y], [log_det], 0.0, 1.0)`
    """
    return field if tf.executing_eagerly() else tf.function(field, autograph=False)


def step(
    method: Method, field: Field, t: tf.Tensor, h: tf.Tensor, states: Tensors, integrals: Tensors
) -> tuple[Tensors, Tensors]:
    """One step of a Runge-Kutta method: the states and the integrals at t + h.

    Args:
      method: `Method`.
      field: (t, y) ↦ (dy/dt, dq/dt).
      t, h: scalars.
      states, integrals: y and q at t.

    Example: `step(RUNGE_KUTTA_4, lambda t, y: ([-y[0]], []), 0.0, 0.1, [tf.ones([1])], [])`
    """
    slopes = _slopes(method, field, t, h, states, field(t, states), len(method.weights))
    return (
        _moved(states, h, method.weights, [dy for dy, _ in slopes]),
        _moved(integrals, h, method.weights, [dq for _, dq in slopes]),
    )


def _step(method: Method, field: Field, t: Any, h: Any, y: Tensors, q: Tensors, first: Any) -> tuple:
    """As `step`, from the slopes at t; also the errors of states and integrals, and the slopes at t + h."""
    slopes = _slopes(method, field, t, h, y, first, len(method.nodes))
    new_y = _moved(y, h, method.weights, [dy for dy, _ in slopes])
    new_q = _moved(q, h, method.weights, [dq for _, dq in slopes])
    zeros = [tf.zeros([], h.dtype)] * (len(y) + len(q))
    errors = _moved(zeros, h, method.error, [[*dy, *dq] for dy, dq in slopes])
    return new_y, new_q, errors, slopes[-1]


def _slopes(method: Method, field: Field, t: Any, h: Any, y: Tensors, first: Any, number: int) -> list:
    """The slopes of the first stages of a step, of which `first` is known."""
    slopes = [first]
    for node, row in list(zip(method.nodes, method.stages, strict=True))[1:number]:
        slopes.append(field(t + node * h, _moved(y, h, row, [dy for dy, _ in slopes])))
    return slopes


def _moved(values: Tensors, h: Any, weights: Sequence[float], slopes: Sequence[Tensors]) -> Tensors:
    """values + h · Σ weights · slopes, for each of the values."""
    terms = [(weight, slope) for weight, slope in zip(weights, slopes, strict=False) if weight]
    sums = [functools.reduce(operator.add, (w * slope[i] for w, slope in terms)) for i in range(len(values))]
    return [value + h * total for value, total in zip(values, sums, strict=True)]


def _per_example(error: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The largest of the root mean squares of error / scale over the entries of each example."""
    squares = tf.square(error / scale)
    means = tf.reduce_mean(tf.reshape(squares, [tf.shape(squares)[0], -1]), axis=1)
    return tf.sqrt(tf.reduce_max(tf.concat([tf.zeros([1], error.dtype), means], 0)))  # Also of an empty batch.


def _adjoint(solver: Solver, field: Any, solution: Solution, theta: Tensors, a: Tensors, b: Tensors, *times: float):
    """The gradients by the states at the start and by θ, from the adjoint equation."""
    start, stop = times
    number = len(a)

    def backward(t: tf.Tensor, ya: Tensors) -> tuple[Tensors, Tensors]:
        y, a = ya[:number], ya[number:]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([y, theta])
            slopes = field(t, y, theta)
        grad_y, grad_theta = _gradient(tape, slopes, y, theta, (a, b))
        return [*slopes[0], *[-grad for grad in grad_y]], [-grad for grad in grad_theta]

    # The equation is linear in a, so its errors are relative to the gradient of each example.
    tiny = np.finfo(a[0].dtype.as_numpy_dtype).tiny
    axes = [list(range(1, each.shape.rank)) for each in a]
    lengths = [tf.sqrt(tf.reduce_mean(tf.square(x), i, keepdims=True)) + tiny for x, i in zip(a, axes, strict=True)]
    zeros = [tf.zeros_like(each) for each in theta]
    found = solver.solve(backward, [*solution.states, *a], zeros, stop, start, sizes=[*[1.0] * number, *lengths])
    return found.states[number:], found.integrals


def _repeated(solver: Solver, field: Any, solution: Solution, theta: Tensors, a: Tensors, b: Tensors, *times: float):
    """The gradients by the states at the start and by θ, from the recorded steps, the last one first."""
    assert solution.trajectory is not None
    arrays, num_steps = solution.trajectory

    def body(left: tf.Tensor, a: Tensors, grad_theta: Tensors) -> Any:
        t, h, *y = (array.read(left - 1) for array in arrays)
        for each, shape in zip(y, solution.states, strict=True):
            each.set_shape(shape.shape)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([y, theta])
            ends = step(solver.method, lambda t, y: field(t, y, theta), t, h, y, [tf.zeros_like(each) for each in b])
        grad_y, grad_step = _gradient(tape, ends, y, theta, (a, b))
        return left - 1, grad_y, [total + grad for total, grad in zip(grad_theta, grad_step, strict=True)]

    initial = (num_steps, a, [tf.zeros_like(each) for each in theta])
    _, a, grad_theta = _loop(lambda left, *_: left > 0, body, initial)
    return a, grad_theta


def _gradient(tape: tf.GradientTape, targets: Any, y: Tensors, theta: Tensors, grads: Any) -> tuple[Tensors, Tensors]:
    flat = [tf.nest.flatten(targets), tf.nest.flatten(grads)]
    found = tape.gradient(flat[0], [*y, *theta], flat[1], tf.UnconnectedGradients.ZERO)
    return found[: len(y)], found[len(y) :]


def _loop(goes_on: Callable, body: Callable, initial: tuple) -> Any:
    """A while loop whose tensors keep their shapes; one with all its arrays is differentiated as a whole."""
    shapes = tf.nest.map_structure(lambda x: x.shape if tf.is_tensor(x) else tf.TensorShape(None), initial)
    return tf.while_loop(goes_on, body, initial, shape_invariants=shapes, parallel_iterations=1)


def _empty_path(system: System, num_steps: int | None = None) -> tuple[list[tf.TensorArray], tf.Tensor]:
    """A path without a step. XLA compiles only arrays of a known number of steps."""
    size = dict(size=0, dynamic_size=True) if num_steps is None else dict(size=num_steps)
    array = functools.partial(tf.TensorArray, **size, clear_after_read=False)
    times = [array(system.dtype, element_shape=[]) for _ in range(2)]
    return [*times, *(array(y.dtype, element_shape=y.shape) for y in system.states)], tf.constant(0)


def _recorded(path: Any, accepts: Any, step: Tensors) -> Any:
    """The path with a step at its end, which the next one replaces unless it was accepted."""
    arrays, number = path
    arrays = [array.write(number, value) for array, value in zip(arrays, step, strict=True)]
    return arrays, number + tf.cast(accepts, tf.int32)


def _split(numbers: Sequence[int], tensors: Sequence[tf.Tensor]) -> tuple[Tensors, Tensors, Tensors]:
    states, integrals = numbers
    return list(tensors[:states]), list(tensors[states : states + integrals]), list(tensors[states + integrals :])
