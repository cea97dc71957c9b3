"""Conditional sequential Monte Carlo, also called particle Gibbs: chains of levels that have exact probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import bins
from tfp_realnvp.common import assert_finite, value_errors
from tfp_realnvp.completion.targets import repeated
from tfp_realnvp.model import FlowModel

BLOCK = 25
"""Iterations of one call of the graph."""


class Particles:
    """Chains of the unknown levels of events. In each iteration a chain draws a population of particles, its events.

    A flow of exact probabilities finds levels part by part, see `bins`. A particle draws the unknown levels of a part,
    and the known ones weigh it:

    ```none
    k ~ P(k | levels before) where unknown,    w ← w · Π P(k | levels before) over the known levels of the part
    ```

    Where the effective number of particles (Σ w)² / Σ w² is below half of them, the weights draw them anew. After the
    last part the weights draw one particle, the chain's next state. The first particle always follows the state
    before. So the chain keeps the posterior, whatever the number of particles. More particles let it move further.

    Args:
      model: `FlowModel` with exact probabilities.
      num_particles: number of particles of each chain, at least 2.

    Raises:
      ValueError: when run, for a flow that finds a part of the levels without all those before it.

    Example: `levels = Particles(model, 32).run(images, mask, (), 4, 100, rng, bar.add)`

    References: C. Andrieu, A. Doucet and R. Holenstein, Particle Markov chain Monte Carlo methods, 2010, section 2.4.3.
    """

    def __init__(self, model: FlowModel, num_particles: int) -> None:
        self._model, self._num_particles = model, num_particles

    def run(
        self,
        images: np.ndarray,
        mask: np.ndarray,
        context: tuple,
        num_chains: int,
        num_iterations: int,
        rng: np.random.Generator,
        report: Callable[[int], Any],
    ) -> np.ndarray:
        """The states of the chains after each iteration: a float array [num_iterations, num_chains, N] + event_shape.

        Args:
          images: array [N] + event_shape of levels; unknown entries may hold any number.
          mask: bool array [N] + event_shape, True where known.
          context: tuple of one array [N, ...], empty for a flow without a context.
          num_chains: number of chains of each event.
          num_iterations: number of iterations.
          rng: of the seeds.
          report: function that gets the number of iterations done, for a progress bar.

        Raises:
          ValueError: for a model whose log-probabilities are not finite.
        """
        known = repeated(_marks(images.astype(self._model.events.dtype.as_numpy_dtype), mask), num_chains)
        of_particles = tuple(np.repeat(repeated(array, num_chains), self._num_particles, axis=0) for array in context)
        states, parts = tf.fill(known.shape, tf.constant(-1, known.dtype)), []
        for first in range(0, num_iterations, BLOCK):
            size, seed = tf.constant(min(BLOCK, num_iterations - first)), rng.integers(2**31, size=2, dtype=np.int32)
            with value_errors():
                part, states = self._advance(size, states, known, seed, of_particles)
            parts.append(part.numpy())
            report(len(part))
        return np.concatenate(parts).reshape([num_iterations, num_chains, *images.shape])

    @tf.function(autograph=False)
    def _advance(self, number: Any, states: Any, known: Any, seed: Any, context: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        """The states after each of `number` iterations, and the last ones."""

        def step(iteration: tf.Tensor, states: tf.Tensor, every: tf.TensorArray) -> tuple:
            states = self._next(states, known, tf.random.fold_in(seed, iteration), context)
            return iteration + 1, states, every.write(iteration, states)

        every = tf.TensorArray(states.dtype, number, element_shape=states.shape)
        _, states, every = tf.while_loop(
            lambda iteration, *_: iteration < number, step, [0, states, every], parallel_iterations=1
        )
        return every.stack(), states

    def _next(self, states: tf.Tensor, known: tf.Tensor, seed: tf.Tensor, context: tuple) -> tf.Tensor:
        """The states of the chains after an iteration. States of −1 lead no particle, before the first iteration."""
        distribution: Any = self._model.distribution_given(*context)
        flow = bins.data_to_latent(distribution)
        first = tf.where(known > 0, known, -(states + 1))
        marks = tf.stack([first] + [known] * (self._num_particles - 1), axis=1)
        marks = bins.in_latents_order(flow, tf.reshape(marks, [-1, *known.shape[1:]]))
        population = _Population(distribution, self._model.num_bins, known.shape[0], self._num_particles, seed)
        levels = bins.inverse(flow, marks, tf.identity, population.choose)
        return population.one_of_each_chain(levels)


class _Population:
    """The particles of all chains during one iteration, a batch [chains · particles] of events.

    The latents of `bins.inverse` are marks here, which tell the given level k of an entry:

    ```none
    k + 1 if it is known,    −(k + 1) if the particle follows the chain's state,    0 if it is to be drawn
    ```

    Args:
      distribution: `tfd.TransformedDistribution` with exact probabilities.
      num_bins: number of levels.
      num_chains: number of chains.
      num_particles: number of particles of each chain.
      seed: int32 tensor [2].
    """

    def __init__(self, distribution: Any, num_bins: Any, num_chains: int, num_particles: int, seed: tf.Tensor) -> None:
        self._latent, self._standard = bins.latent(distribution), bins.standardized(distribution)
        self._num_bins, self._shape, self._seed = num_bins, [num_chains, num_particles], seed
        self._log_weights = tf.zeros(self._shape, distribution.dtype)
        self._num_found = 0

    def choose(
        self, bijector_fn: Any, params: tf.Tensor, kept: tf.Tensor, marks: tf.Tensor, at: bins.At
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The levels of a part and those before it, after the weights have drawn the particles; see `bins.Choice`."""
        if kept.shape[1:].num_elements() < self._num_found:
            raise ValueError("model must find each part of the levels given all parts before it")
        self._num_found += marks.shape[1:].num_elements()
        z = tf.ensure_shape(self._latent.sample(tf.shape(marks), seed=self._next_seed()), marks.shape)
        levels = bins.levels_at(bijector_fn, params, z, at, self._num_bins, given=tf.abs(marks) - 1)
        log_probs = bins.log_probs_behind(bijector_fn(params), levels, at, self._num_bins, self._standard)
        log_probs = assert_finite(log_probs, "model must have finite log-probabilities of levels; got NaN or infinity")
        of_known = tf.where(marks > 0, log_probs, tf.zeros_like(log_probs))
        self._log_weights += tf.reshape(tf.reduce_sum(of_known, axis=range(1, marks.shape.rank)), self._shape)
        ancestors = self._ancestors()
        return self._gathered(kept, ancestors), self._gathered(levels, ancestors)

    def one_of_each_chain(self, levels: tf.Tensor) -> tf.Tensor:
        """A particle of each chain, drawn by the weights: [chains] + event_shape."""
        return self._gathered(levels, tf.random.stateless_categorical(self._log_weights, 1, self._next_seed()))

    def _ancestors(self) -> tf.Tensor:
        """The number of the particle that each one goes on from, [chains, particles]. The first goes on from itself."""
        num_particles, weights = self._shape[1], tf.nn.softmax(self._log_weights)
        is_drawn = 2 / tf.reduce_sum(weights**2, axis=1, keepdims=True) < num_particles
        drawn = tf.random.stateless_categorical(self._log_weights, num_particles, self._next_seed(), tf.int32)
        self._log_weights = tf.where(is_drawn, tf.zeros_like(weights), self._log_weights)
        selves = tf.range(num_particles)
        return tf.where(is_drawn & (selves > 0), drawn, selves)

    def _gathered(self, levels: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """The levels of the particles of these numbers in each chain, as a batch."""
        of_chains = tf.reshape(levels, [*self._shape, *levels.shape[1:]])
        return tf.reshape(tf.gather(of_chains, numbers, batch_dims=1), [-1, *levels.shape[1:]])

    def _next_seed(self) -> tf.Tensor:
        self._seed, seed = tf.unstack(tfp.random.split_seed(self._seed))
        return seed


def _marks(levels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The marks of known levels, see `_Population`."""
    return np.where(mask, levels + 1, 0 * levels)
