"""Hamiltonian Monte Carlo for a batch of events: several chains for each, with step sizes and masses of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.completion.targets import Target, like_events, repeated

BLOCK = 25
"""Iterations of one call of the graph."""
FIRST_STEP = 0.1
"""The step size from which the adaptation begins, in units of the scales."""


class JitteredHMC(tfp.mcmc.HamiltonianMonteCarlo):
    """Hamiltonian Monte Carlo that draws the number of its leapfrog steps anew at each iteration.

    Trajectories of one length may return to their beginning in some directions. Then the means of these directions are
    antithetic and their variances hardly move.

    It takes the arguments of `tfp.mcmc.HamiltonianMonteCarlo`. The numbers are uniform from 1 to `num_leapfrog_steps`.
    An outer `tfp.mcmc.DualAveragingStepSizeAdaptation` puts both parameters into the results.

    Example: `tfp.mcmc.DualAveragingStepSizeAdaptation(JitteredHMC(log_prob, 0.5, num_leapfrog_steps=8), 100)`

    References: R. M. Neal, MCMC using Hamiltonian dynamics, arXiv 1206.1901, section 3.2.
    """

    def one_step(self, current_state: Any, previous_kernel_results: Any, seed: Any = None) -> Any:
        number_seed, seed = tf.unstack(tfp.random.split_seed(seed))
        number = tf.random.stateless_uniform([], number_seed, 1, self.num_leapfrog_steps + 1, tf.int32)
        accepted = previous_kernel_results.accepted_results._replace(num_leapfrog_steps=number)
        return super().one_step(current_state, previous_kernel_results._replace(accepted_results=accepted), seed)


class Chains:
    """The chains of a target: their burn-in and their draws.

    The first half of the burn-in finds the posterior and its scales: the standard deviations of the states in its
    second half. They are the masses of all later iterations. Each half adapts the step size of each event.

    Args:
      target: `Target` of states [batch, ...].
      max_leapfrogs: see `JitteredHMC`.

    Example: `draws, acceptance = Chains(target, 8).run(starts, [], 100, 100, np.random.default_rng(0), bar.add)`

    References: M. D. Hoffman and A. Gelman, The No-U-Turn sampler, arXiv 1111.4246, section 3.2, for the step size.
    """

    def __init__(self, target: Target, max_leapfrogs: int) -> None:
        self._target, self._max_leapfrogs = target, max_leapfrogs

    def run(
        self,
        starts: np.ndarray,
        data: Any,
        num_samples: int,
        burn_in: int,
        rng: np.random.Generator,
        report: Callable[[int], Any],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The draws of the chains, and their mean probability of acceptance.

        Args:
          starts: float array [chains, N, ...], dispersed states.
          data: arrays [N, ...] about the events, in any structure, for the target.
          num_samples: number of draws that each chain keeps.
          burn_in: number of iterations before them.
          rng: of the seeds.
          report: function that gets the number of iterations done, for a progress bar.

        Returns:
          `(draws, acceptance)`: arrays [num_samples, chains, N, ...] and [N].

        Raises:
          ValueError: for starts where the density is not finite.
        """
        half = burn_in // 2
        data = repeated(data, len(starts))
        spread = np.std(starts, axis=(0, 1))
        scales = np.broadcast_to(np.where(spread > 0, spread, 1), starts.shape[1:]).astype(starts.dtype)
        draws, _ = self._adapted(starts, scales, data, half, half, rng, report)
        scales = _scales(draws[half // 2 :], scales)
        draws, acceptance = self._adapted(draws[-1], scales, data, half, burn_in - half + num_samples, rng, report)
        return draws[-num_samples:], acceptance[-num_samples:].mean(axis=(0, 1))

    def _adapted(
        self, states: np.ndarray, scales: np.ndarray, data: Any, half: int, number: int, rng: Any, report: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The draws of `number` iterations, the first half of a burn-in of which adapts the step size."""
        state, of_state = tf.constant(states / scales), tf.constant(scales)
        results = self._kernel(state, of_state, data, half).bootstrap_results(state)
        if not np.isfinite(results.inner_results.accepted_results.target_log_prob).all():
            raise ValueError(
                "model must have a finite density and gradient at the starts of the chains; got NaN or infinity"
            )
        parts = []
        for first in range(0, number, BLOCK):
            size, seed = tf.constant(min(BLOCK, number - first)), rng.integers(2**31, size=2, dtype=np.int32)
            part, acceptance, state, results = self._advance(size, state, results, seed, of_state, data)
            parts.append((part.numpy(), acceptance.numpy()))
            report(len(part))
        draws, acceptance = map(np.concatenate, zip(*parts, strict=True))
        return draws * scales, acceptance

    @tf.function(autograph=False)
    def _advance(self, number: Any, states: Any, results: Any, seed: Any, scales: Any, data: Any) -> Any:
        """The draws of `number` iterations, their probabilities of acceptance, and the last state and results."""
        draws, accepted, results = tfp.mcmc.sample_chain(
            number,
            states,
            results,
            self._kernel(states, scales, data),
            trace_fn=lambda _, results: _acceptance(results),
            return_final_kernel_results=True,
            seed=seed,
        )
        return draws, accepted, draws[-1], results

    def _kernel(self, states: Any, scales: Any, data: Any, half: int = 0) -> tfp.mcmc.TransitionKernel:
        """The kernel of states in units of their scales. Its first results hold the number of adapting iterations."""

        @tf.custom_gradient
        def log_prob(states: tf.Tensor) -> Any:
            flat = tf.reshape(states * scales, tf.concat([[-1], tf.shape(states)[2:]], 0))
            value, gradient = self._target.value_and_gradient(flat, data)
            value, gradient = tf.reshape(value, tf.shape(states)[:2]), tf.reshape(gradient, tf.shape(states))

            def of_states(grad: tf.Tensor, variables: Any = None) -> Any:
                of_states = like_events(grad, states[0]) * gradient * scales
                return of_states if variables is None else (of_states, [None] * len(variables))

            return value, of_states

        ones = [1] * (states.shape.rank - 2)
        steps = tf.fill([tf.shape(states)[1], *ones], tf.constant(FIRST_STEP, states.dtype))
        kernel = JitteredHMC(log_prob, steps, self._max_leapfrogs)
        return tfp.mcmc.DualAveragingStepSizeAdaptation(kernel, half, target_accept_prob=0.8)


def _acceptance(results: Any) -> tf.Tensor:
    """The probabilities of acceptance, [chains, N]."""
    return tf.exp(tf.minimum(results.inner_results.log_accept_ratio, 0.0))


def _scales(draws: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The standard deviations of draws [S, chains, N, ...] of each event, regularized as Stan's masses."""
    number = draws.shape[0] * draws.shape[1]
    weight = number / (number + 5)
    variance = weight * draws.var(axis=(0, 1)) + (1 - weight) * 1e-3 * before**2
    return np.sqrt(variance).astype(draws.dtype)
