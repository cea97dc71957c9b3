"""The options that the continuous families share, and their continuous flows."""

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.architectures.architecture import check_counts
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import ContinuousFlow, divergence, masks
from tfp_realnvp.bijectors.solvers import (
    BOGACKI_SHAMPINE,
    DORMAND_PRINCE,
    RUNGE_KUTTA_4,
    Adaptive,
    Fixed,
    Solver,
)
from tfp_realnvp.common import spawn_seeds


def check(options: types.SimpleNamespace, policy: Any) -> None:
    """Raises a ValueError for wrong options of a continuous family, or a dtype in which no tolerance would hold.

    Args:
      policy: the Keras dtype policy of the networks.
      options: the arguments `solver`, `tolerance`, `evaluation_tolerance`, `num_steps`, `divergence`, `kinetic_energy`
        and `jacobian_norm`.

    Example: `check(self.options, layers.policy)`
    """
    if policy.compute_dtype != policy.variable_dtype:
        raise ValueError(
            'dtype must be "float32" or "float64": in lower precision the error of a network exceeds the tolerances of '
            f'the solvers, which would take ever shorter steps; got "{policy.name}"'
        )
    check_counts(options, "num_steps")
    divergence.get(options.divergence, seed=0)
    _solvers(options)


def block(
    layers: LayerStore,
    options: types.SimpleNamespace,
    name: str,
    make: Callable[..., keras.layers.Layer],
    shape: tuple[int, ...],
    seed: int | None,
    scale: int = 0,
    mask: masks.Mask | None = None,
) -> ContinuousFlow:
    """A continuous flow with dynamics of its own.

    Args:
      layers: `LayerStore`.
      options: as for `check`, with `adjoint` and `event_shape`.
      name: the name of the dynamics.
      make: function of `seed`, `name` and `dtype` that makes the dynamics.
      shape: the shape of their input.
      seed: int or None.
      scale: int.
      mask: as for `ContinuousFlow`; None to move all entries.

    Example: `block(layers, options, "block_0", functools.partial(ConvDynamics, 3), (32, 32, 3), seed=0)`
    """
    network_seed, probe_seed = spawn_seeds(seed, 2)
    mask = mask or masks.ChangeAll(len(shape))
    _, changed = mask.split(tf.zeros([1, *shape]))
    found = divergence.get(options.divergence, probe_seed)
    found.check(changed.shape.num_elements())
    dynamics = layers.conditioner(name, functools.partial(make, seed=network_seed), shape, scale)
    solver, evaluation_solver = _solvers(options)
    # The authors' coefficients are of bits per dimension, the loss here is in nats of an image.
    nats = math.prod(options.event_shape) * math.log(2)
    return ContinuousFlow(
        dynamics,
        mask,
        divergence=found,
        solver=solver,
        evaluation_solver=evaluation_solver,
        adjoint=options.adjoint,
        kinetic_energy=options.kinetic_energy * nats,
        jacobian_norm=options.jacobian_norm * nats,
    )


def _solvers(options: types.SimpleNamespace) -> tuple[Solver, Solver]:
    """The solvers of training and of evaluation; Dormand and Prince's method evaluates."""
    for name in ("tolerance", "evaluation_tolerance"):
        value = getattr(options, name)
        if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive; got {value!r}")
    of_training: dict[Any, Callable[[], Solver]] = {
        "bosh3": lambda: Adaptive(BOGACKI_SHAMPINE, options.tolerance),
        "dopri5": lambda: Adaptive(DORMAND_PRINCE, options.tolerance),
        "rk4": lambda: Fixed(RUNGE_KUTTA_4, options.num_steps),
    }
    if options.solver not in of_training:
        raise ValueError(f'solver must be "bosh3", "dopri5" or "rk4"; got {options.solver!r}')
    return of_training[options.solver](), Adaptive(DORMAND_PRINCE, options.evaluation_tolerance)
