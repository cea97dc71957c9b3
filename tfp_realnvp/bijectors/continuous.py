"""`ContinuousFlow`: a bijector that follows an ordinary differential equation (FFJORD, RNODE)."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.bijectors import divergence as divergences
from tfp_realnvp.bijectors import masks
from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.solvers import (
    DORMAND_PRINCE,
    Adaptive,
    Fixed,
    Solution,
    Solver,
    differentiable,
    traced_once,
)
from tfp_realnvp.bijectors.solves import Solves, scope, solving
from tfp_realnvp.common import assert_that
from tfp_realnvp.internals import in_training, listening_tapes, tf_variable, watched_variables, weights_are_substituted
from tfp_realnvp.replicas import share_of_mean

EVALUATION = Adaptive(DORMAND_PRINCE, 1e-5)
"""The solver outside of training, unless another one is given."""


class ContinuousFlow(FusedBijector):
    """Moves events along a vector field: y = x(1) for dx/dt = f(t, x), x(0) = x.

    ```none
    log|det dy/dx| = ∫ tr ∂f/∂x dt,    from t = 0 to t = 1            FFJORD, equation 3
    ```

    The inverse follows the field backward. Value and log-det come of one solve. Its gradients need the memory of one
    step, see `solvers.differentiable`. Forward is data → latent, as in the papers.

    In a `FlowModel` the regularizers of RNODE are further integrals of the solves in training, and join its losses:

    ```none
    kinetic_energy · ∫ ½ |f|² / D dt  +  jacobian_norm · ∫ ‖∂f/∂x‖² / D dt,    for the D entries of an event
    ```

    Args:
      dynamics: f, callable `(t, x) -> dx/dt` over x of shape [batch] + event_shape: a Keras layer, a
        `networks.WithContext` of one, or a function without variables.
      mask: `masks.ChangeAll`, `Channel` or `Split`: the field moves the changed part of an event, and sees the kept
        part behind it. None: it moves the whole event.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors; only for `mask=None`.
      divergence: "exact", the trace itself, at the price of one product per entry; "hutchinson" or "gaussian", an
        unbiased estimate, see `divergence.Hutchinson`; or an object of this kind.
      solver: the solver in Keras's training mode: `solvers.Adaptive` or `solvers.Fixed`. None for `evaluation_solver`.
      evaluation_solver: the solver otherwise.
      adjoint: whether gradients come from the adjoint equation instead of the repeated steps.
      kinetic_energy, jacobian_norm: floats, the coefficients of the regularizers, in nats.

    Raises:
      ValueError: for another `divergence`, for a function that reads variables, or, when called, for an exact
        divergence of more than 4,096 entries.
      tf.errors.InvalidArgumentError: for a solve that breaks off; see `common.value_errors`. In training its events
        become NaN instead, so that `fit` skips the step.

    Example:

    ```python
    flow = ContinuousFlow(rnvp.networks.MLPDynamics(2, hidden_units=[64, 64]))
    distribution = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0., 1.), 2), tfb.Invert(flow))
    distribution.log_prob([[0.5, -1.0]])
    ```

    References: Chen et al., arXiv 1806.07366, theorem 1; Grathwohl et al., FFJORD, arXiv 1810.01367; Finlay et al.,
    RNODE, arXiv 2002.02798, section 3.
    """

    def __init__(
        self,
        dynamics: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        mask: masks.Mask | None = None,
        event_ndims: int = 1,
        divergence: Any = "exact",
        solver: Solver | None = None,
        evaluation_solver: Solver = EVALUATION,
        adjoint: bool = False,
        kinetic_energy: float = 0.0,
        jacobian_norm: float = 0.0,
        validate_args: bool = False,
        name: str = "continuous_flow",
    ) -> None:
        parameters = dict(locals())
        for argument, value in (("kinetic_energy", kinetic_energy), ("jacobian_norm", jacobian_norm)):
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise ValueError(f"{argument} must be a non-negative number; got {value!r}")
        self._mask = mask or masks.ChangeAll(event_ndims)
        if isinstance(self._mask, masks.Dense):
            raise ValueError(f"mask must gather the changed entries, as ChangeAll, Channel and Split do; got {mask}")
        self._dynamics = self._no_dependency(dynamics)
        self._divergence = divergences.get(divergence)
        self._evaluation_solver = evaluation_solver
        self._solver = solver or evaluation_solver
        self._adjoint = adjoint
        self._penalties = kinetic_energy, jacobian_norm
        super().__init__(parameters, self._mask.event_ndims, [dynamics], validate_args=validate_args, name=name)

    @property
    def is_estimate(self) -> bool:
        """Whether the log-det is an estimate by random probes."""
        return not isinstance(self._divergence, divergences.Exact)

    @property
    def supports_jit(self) -> bool:
        """Whether XLA compiles the gradients: it knows no arrays for a number of steps that depends on the data."""
        return self._adjoint or isinstance(self._solver, Fixed)

    def moved(self, x: Any, start: float, stop: float) -> tf.Tensor:
        """The events that the field moves from x, where they are at the time `start`, to the time `stop`.

        Args:
          x: tensor [batch] + event_shape.
          start, stop: floats from 0, the time of the data, to 1, the time of the latents.

        Example: `flow.moved(latents, 1.0, 0.5)` is halfway between latents and data.
        """
        with solving(Solves(with_log_det=False)):
            moved, _ = self._solve(tf.convert_to_tensor(x), start, stop)
        return moved

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._solve(x, 0.0, 1.0)

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._solve(y, 1.0, 0.0)

    def _solve(self, x: tf.Tensor, start: float, stop: float) -> tuple[tf.Tensor, tf.Tensor]:
        """The events that begin at the time `start`, at the time `stop`, and the log-det of their map."""
        solves, is_training = scope.get() or Solves(), in_training()
        ndims, shape = self._mask.event_ndims, divergences.sizes(x)
        batch, event = shape[: len(shape) - ndims], shape[len(shape) - ndims :]
        kept, y = self._mask.split(tf.reshape(x, [-1, *event]))
        probes = self._divergence.probes(y, solves) if solves.with_log_det else None
        is_penalized = is_training and solves.with_log_det and any(self._penalties)
        velocity_at, parameters = _as_function(self._dynamics, y, kept)

        def field(t: tf.Tensor, states: list[tf.Tensor], parameters: list[tf.Tensor]) -> Any:
            (y,) = states
            f = lambda y: tf.ensure_shape(tf.cast(velocity_at(t, y, parameters), y.dtype), y.shape)
            if probes is None:
                return [f(y)], []
            velocity, products = divergences.jacobian_products(f, y, probes)
            divergence, norm = divergences.sums(probes, products)
            if not is_penalized:
                return [velocity], [divergence]
            size = tf.cast(tf.size(velocity[0]), velocity.dtype)
            energy = 0.5 * tf.reduce_sum(tf.square(velocity), range(1, velocity.shape.rank))
            return [velocity], [divergence, energy / size, norm / size]

        number = 0 if probes is None else 3 if is_penalized else 1
        zeros = [tf.zeros(tf.shape(y)[:1], y.dtype)] * number
        solver = self._solver if is_training else self._evaluation_solver
        field, times = traced_once(field), (start, stop)
        if is_training or listening_tapes():
            solution = differentiable(
                solver, field, [y], zeros, parameters, *times, num_steering=min(number, 1), adjoint=self._adjoint
            )
        else:  # A graph without custom gradients, since TensorFlow cannot export those that need tensors of the solve.
            at = lambda t, y: field(t, y, parameters)
            solution = solver.solve(at, [y], zeros, *times, num_steering=min(number, 1))
        unknown = tf.fill(tf.shape(y)[:1], tf.constant(float("nan"), y.dtype))
        log_det, *penalties = solution.integrals or [unknown]
        for coefficient, penalty in zip(self._penalties, penalties, strict=False):  # Without penalties there are none.
            solves.penalties.append(coefficient * share_of_mean(penalty))
        solves.evaluations.append(solution.evaluations)
        (y,) = _checked(solution, is_training)
        return tf.reshape(self._mask.merge(kept, y), shape), tf.reshape(log_det, batch)


# (t, y, θ) ↦ dy/dt.
Velocity = Callable[[tf.Tensor, tf.Tensor, list[tf.Tensor]], tf.Tensor]


def _as_function(dynamics: Any, y: tf.Tensor, kept: tf.Tensor) -> tuple[Velocity, list[tf.Tensor]]:
    """The dynamics at [y, kept] as a function of (t, y, θ), and θ: kept, the context and the weights.

    TensorFlow's custom gradients are by the arguments of a function alone.
    """
    layer, context = getattr(dynamics, "network", dynamics), getattr(dynamics, "context", None)
    inputs = lambda y, kept: tf.concat([y, _repeated(kept, y)], -1) if kept.shape[-1] else y
    if not isinstance(layer, keras.layers.Layer):
        _, watched = watched_variables(lambda: dynamics(tf.zeros([], y.dtype), inputs(y, kept)))
        if watched:
            raise ValueError(
                "dynamics must be a Keras layer to have variables; got a function that reads "
                f"{sorted(variable.name for variable in watched)}"
            )
        return lambda t, y, theta: dynamics(t, inputs(y, *theta)), [kept]
    if not layer.built:
        dynamics(tf.zeros([], y.dtype), inputs(y, kept))
    variables, contexts = layer.variables, [] if context is None else [context]

    def velocity(t: tf.Tensor, y: tf.Tensor, theta: list[tf.Tensor]) -> tf.Tensor:
        kept, *contexts = theta[: len(theta) - len(variables)]
        network = dynamics.with_context(*contexts) if contexts else layer
        with keras.StatelessScope(list(zip(variables, theta[len(theta) - len(variables) :], strict=True))):
            return network(t, inputs(y, kept))

    return velocity, [kept, *contexts, *(tf.convert_to_tensor(_value(variable)) for variable in variables)]


def _repeated(kept: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The kept parts of a batch, as often as an exact divergence repeats the changed ones."""
    times = tf.shape(y)[0] // tf.maximum(tf.shape(kept)[0], 1)
    return tf.tile(kept, tf.concat([[times], tf.ones([kept.shape.rank - 1], tf.int32)], 0))


def _value(variable: Any) -> Any:
    """The value of a Keras variable, or what Keras substitutes for it."""
    return variable.value if weights_are_substituted() else tf_variable(variable)


def _checked(solution: Solution, is_training: bool) -> list[tf.Tensor]:
    """The states at the end of a solve. Those of a solve that broke off are NaN in training, and an error elsewhere."""
    if is_training:
        return [tf.where(solution.has_ended, y, float("nan")) for y in solution.states]
    message = (
        "tolerance must be larger, or the dynamics smoother: a solve broke off, by values that are not finite, by "
        "steps too short for the dtype, or by too many evaluations"
    )
    with tf.control_dependencies([assert_that(solution.has_ended, message)]):
        return [tf.identity(y) for y in solution.states]
