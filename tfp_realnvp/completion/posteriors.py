"""Posteriors of unknown entries: by particles where probabilities are exact, elsewhere by Hamiltonian Monte Carlo."""

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.completion.chains import Chains
from tfp_realnvp.completion.coordinates import of_all_entries, of_entries, unknown
from tfp_realnvp.completion.observations import checked_known, checked_observations, log_joint
from tfp_realnvp.completion.operators import as_operator
from tfp_realnvp.completion.particles import Particles
from tfp_realnvp.completion.targets import Target, batches, repeated
from tfp_realnvp.model import FlowModel

MIXED = 1.05
"""The largest R-hat of chains that have mixed."""
MAX_LEAPFROGS = 6
NUM_PARTICLES = 16
BATCH_SIZE = 32
LARGEST_POPULATION = 1024
"""Particles that move together, of all chains, unless a single event's chains have more."""


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Draws of events from a posterior, and how far they can be trusted.

    Attributes:
      values: float array [S, N] + event_shape, the draws of all chains: vectors, or pixel values. The values of level k
        are those from k to k + 1, and a known level counts as the middle of its bin.
      samples: the same as vectors or pixel levels.
      r_hat: float array [N] + event_shape, the potential scale reduction of each unknown entry: near 1 where the chains
        agree. NaN for known entries.
      ess: float array [N] + event_shape, how many independent draws are worth as much for the mean of an entry or its
        variance, whichever is worse. NaN for known entries.
      acceptance: float array [N], the mean probability that a chain takes its next step; for chains of particles the
        share of iterations that change it.
      num_bins: number of pixel levels, None for vectors.

    References: A. Gelman and D. B. Rubin, Inference from iterative simulation using multiple sequences, 1992.
    """

    values: np.ndarray
    r_hat: np.ndarray
    ess: np.ndarray
    acceptance: np.ndarray
    num_bins: int | None

    @property
    def samples(self) -> np.ndarray:
        """The draws as data: vectors, or pixel levels as of `FlowModel.sample`."""
        if self.num_bins is None:
            return self.values
        levels = np.clip(np.floor(self.values), 0, self.num_bins - 1)
        return levels.astype(np.uint8 if self.num_bins <= 256 else np.uint16)

    def mean(self) -> np.ndarray:
        """The posterior mean of each entry, in levels for pixels: a float array [N] + event_shape.

        No other estimate has a smaller mean squared error.
        """
        return self.samples.mean(axis=0, dtype=np.float64)

    def interval(self, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The ends of the central interval of each entry: two float arrays [N] + event_shape, in the units of `values`.

        Args:
          level: the probability inside, between 0 and 1.

        Raises:
          ValueError: for another `level`.

        Example: `low, high = posterior.interval(0.9)`
        """
        if not isinstance(level, (int, float, np.number)) or not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1; got {level!r}")
        low, high = np.quantile(self.values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


def sample(
    model: FlowModel,
    images: Any,
    mask: Any,
    num_samples: int = 200,
    num_chains: int = 4,
    burn_in: int = 100,
    max_leapfrogs: int | None = None,
    num_particles: int | None = None,
    seed: int | None = None,
    labels: Any = None,
    context: Any = None,
    batch_size: int | None = None,
    verbose: int = 1,
) -> Posterior:
    """Draws the unknown entries of events given the known ones.

    ```none
    x ~ p(x | x_known),    pixels: also over the dequantization noise of the known levels
    ```

    A model with exact probabilities of its levels moves particles, see `particles.Particles`. Any other one moves by
    Hamiltonian Monte Carlo, from draws of the model with the known entries put in. All chains of a batch move
    together. It warns where they have not mixed.

    With Hutchinson's divergence, p is the density by one set of probes, which is the same for all events.

    Args:
      model: `FlowModel`.
      images: events [N] + event_shape, images of levels or vectors. Unknown entries may hold anything, also NaN.
      mask: 1 where an entry is known and 0 elsewhere, of shape event_shape or [N] + event_shape.
      num_samples: number of draws that each chain keeps, at least 4.
      num_chains: number of chains per event.
      burn_in: number of iterations before the draws, at least 20. Hamiltonian chains adapt step sizes and masses there.
      max_leapfrogs: the largest number of gradients in an iteration, see `chains.JitteredHMC`; None for 6. Only for
        models without exact probabilities.
      num_particles: number of particles of each chain, at least 2; None for 16. Only for models with exact
        probabilities.
      seed: int; None draws one.
      labels: the classes for a class-conditional flow, an int or ints [N].
      context: the context for a flow conditioned on vectors, [context_size] or [N, context_size].
      batch_size: number of events whose chains move together; None for 32, or for the number with 1,024 particles.
      verbose: 1 for a progress bar, 0 for none.

    Returns:
      `Posterior` with num_chains · num_samples draws of each event.

    Raises:
      ValueError: for a mask of another shape or with other values, events without a known or an unknown entry, known
        entries that do not fit the model, numbers out of range, `max_leapfrogs` or `num_particles` for a model of the
        other kind, labels or contexts that do not fit, or chains that start where the density is not finite.

    Example:

    ```python
    mask = np.ones([8, 8, 1])
    mask[4:] = 0                                 # the bottom half is unknown
    posterior = rnvp.completion.sample(model, images, mask, seed=0)
    posterior.mean(), posterior.interval(0.9), posterior.samples[:4]
    ```
    """
    images, mask = checked_known(model, images, mask)
    check_positive(num_chains=num_chains)
    context = tuple(model.events.contexts.of_samples(len(images), labels, context))
    data: tuple
    if model.is_exact:
        number = _checked_particles(max_leapfrogs, num_particles)
        draw, size = _by_particles(model, number), max(1, LARGEST_POPULATION // (num_chains * number))
        data = (images, mask, context)
    else:
        coordinates = of_entries(model)
        log_prob = lambda u, data: coordinates.log_prob_and_entries(u, *data)[0]
        number = _checked_leapfrogs(max_leapfrogs, num_particles)
        draw, size = _by_leapfrogs(model, coordinates, log_prob, number), BATCH_SIZE
        data = (coordinates.known(images, mask), context)
    batch_size = size if batch_size is None else batch_size
    sampler = _Sampler(num_samples, num_chains, burn_in, draw_seed(seed), batch_size, verbose)
    posterior = sampler.posterior(model, draw, data)
    values = images.astype(posterior.values.dtype) + (0.0 if model.num_bins is None else 0.5)
    return _with_warning(
        dataclasses.replace(
            posterior,
            values=np.where(mask, values, posterior.values),
            r_hat=np.where(mask, np.nan, posterior.r_hat),
            ess=np.where(mask, np.nan, posterior.ess),
        )
    )


def restore(
    model: FlowModel,
    y: Any,
    operator: Any,
    noise: Any,
    num_samples: int = 200,
    num_chains: int = 4,
    burn_in: int = 100,
    max_leapfrogs: int = 6,
    seed: int | None = None,
    labels: Any = None,
    context: Any = None,
    batch_size: int = 32,
    verbose: int = 1,
) -> Posterior:
    """Draws events x given noisy linear observations of them.

    ```none
    y = A x + ε,    ε ~ N(0, noise²)
    ```

    x counts in levels, for pixels the middle of a bin less ½. The chains move the latents of a flow, with the density
    p(z) · N(y; A G(z), noise²). They move logits of the pixel values for a model with exact probabilities, or without
    latents. The posterior is well conditioned for noise of several levels. Small noise needs a longer burn-in.

    Args:
      model: `FlowModel`.
      y: float array [N] + the shape of an observation.
      operator: A, a function of batches such as `Blur`, or a pair (A, Aᵀ) of functions, see `operators.as_operator`.
      noise: the standard deviation of the noise in levels, a number or an array that broadcasts with y.
      num_samples, num_chains, burn_in, max_leapfrogs, seed, labels, context, batch_size, verbose: as for `sample`.

    Returns:
      `Posterior`.

    Raises:
      ValueError: for operators or observations that do not fit the model, `noise` that is not positive, and as
        `sample`.

    Example: `rnvp.completion.restore(model, blurred, rnvp.completion.Blur(kernel), noise=4.0)`

    References: Asim et al., arXiv 1905.11672, for the latents of a flow as the prior.
    """
    apply = as_operator(operator)
    observed = checked_observations(model, y, apply, noise)
    sampler = _Sampler(num_samples, num_chains, burn_in, draw_seed(seed), batch_size, verbose)
    check_positive(max_leapfrogs=max_leapfrogs)
    context = tuple(model.events.contexts.of_samples(len(observed[0]), labels, context))
    coordinates = of_all_entries(model)
    known = unknown(coordinates, model, len(observed[0]))
    log_prob = lambda u, data: log_joint(coordinates, apply, u, *data)
    draw = _by_leapfrogs(model, coordinates, log_prob, max_leapfrogs)
    return _with_warning(sampler.posterior(model, draw, (known, context, observed)))


@dataclasses.dataclass(frozen=True)
class _Sampler:
    """The arguments of `sample` and `restore` about all chains, and the draws by them."""

    num_samples: int
    num_chains: int
    burn_in: int
    seed: int
    batch_size: int
    verbose: int

    def __post_init__(self) -> None:
        check_positive(num_chains=self.num_chains, batch_size=self.batch_size)
        for name, least in (("num_samples", 4), ("burn_in", 20)):
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise ValueError(f"{name} must be an int of at least {least}; got {value!r}")

    def posterior(self, model: FlowModel, draw: "_Draw", data: tuple) -> Posterior:
        """The draws of all events, `batch_size` events at a time.

        Args:
          model: `FlowModel`.
          draw: function (sampler, batch, rng, report) ↦ `(values, acceptance)`, arrays [num_samples, num_chains, n] +
            event_shape and [n] for a batch of n events.
          data: arrays [N, ...] about the events, in any structure.
        """
        rng, parts = np.random.default_rng(self.seed), list(batches(data, self.batch_size))
        total = len(parts) * (self.burn_in + self.num_samples)
        bar = keras.utils.Progbar(total, verbose=self.verbose, unit_name="iteration")
        results = []
        for size, batch in parts:
            values, acceptance = draw(self, batch, rng, bar.add)
            results.append((values[:, :, :size], *_r_hat_and_ess(values[:, :, :size]), acceptance[:size]))
        values, r_hat, ess, acceptance = zip(*results, strict=True)
        draws = np.concatenate(values, axis=2)
        draws = draws.reshape([-1, *draws.shape[2:]])
        return Posterior(draws, np.concatenate(r_hat), np.concatenate(ess), np.concatenate(acceptance), model.num_bins)


_Draw = Callable[[_Sampler, Any, np.random.Generator, Callable[[int], Any]], tuple[np.ndarray, np.ndarray]]


def _by_leapfrogs(model: FlowModel, coordinates: Any, log_prob: Callable[..., tf.Tensor], max_leapfrogs: int) -> _Draw:
    """The draws of Hamiltonian chains.

    Args:
      model: `FlowModel`.
      coordinates: as of `coordinates.of_entries`.
      log_prob: function (u, data) ↦ log-densities of coordinates. The data begin with tuples `known` and `context`.
      max_leapfrogs: see `Chains`.
    """
    chains = Chains(Target(log_prob), max_leapfrogs)
    values_of = tf.function(lambda u, data: coordinates.values(u, *data[:2]), autograph=False)

    def draw(sampler: _Sampler, batch: Any, rng: np.random.Generator, report: Any) -> tuple[np.ndarray, np.ndarray]:
        number, num_chains = len(tf.nest.flatten(batch)[0]), sampler.num_chains
        starts = coordinates.starts(num_chains, number, *batch[:2], rng)
        draws, acceptance = chains.run(starts, batch, sampler.num_samples, sampler.burn_in, rng, report)
        of_chains = repeated(batch, num_chains)
        values = np.stack([values_of(u, of_chains) for u in draws.reshape([len(draws), -1, *draws.shape[3:]])])
        values = values.reshape([len(draws), num_chains, number, *model.event_shape])
        # Between levels of exact probabilities the coordinates have a density of their own.
        return _spread(np.floor(values), rng) if model.is_exact else values, acceptance

    return draw


def _by_particles(model: FlowModel, num_particles: int) -> _Draw:
    """The draws of chains of particles, for a batch `(images, mask, context)`."""
    particles = Particles(model, num_particles)

    def draw(sampler: _Sampler, batch: Any, rng: np.random.Generator, report: Any) -> tuple[np.ndarray, np.ndarray]:
        num_iterations = sampler.burn_in + sampler.num_samples
        images, mask, context = batch
        levels = particles.run(images, mask, context, sampler.num_chains, num_iterations, rng, report)
        before, levels = levels[sampler.burn_in - 1 : -1], levels[sampler.burn_in :]
        is_changed = (levels != before).any(axis=tuple(range(3, levels.ndim)))
        return _spread(levels, rng), is_changed.mean(axis=(0, 1))

    return draw


def _spread(levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Values of levels, each anywhere in its bin."""
    return levels + rng.uniform(size=levels.shape).astype(levels.dtype)


def _checked_particles(max_leapfrogs: Any, num_particles: Any) -> int:
    """The number of particles, for a model with exact probabilities."""
    if max_leapfrogs is not None:
        raise ValueError(
            f"max_leapfrogs must be None for a model with exact probabilities, which num_particles move; got "
            f"{max_leapfrogs!r}"
        )
    num_particles = NUM_PARTICLES if num_particles is None else num_particles
    if not isinstance(num_particles, int) or num_particles < 2:
        raise ValueError(f"num_particles must be an int of at least 2; got {num_particles!r}")
    return num_particles


def _checked_leapfrogs(max_leapfrogs: Any, num_particles: Any) -> int:
    """The largest number of leapfrogs, for a model without exact probabilities."""
    if num_particles is not None:
        raise ValueError(
            f"num_particles must be None for a model without exact probabilities, which max_leapfrogs move; got "
            f"{num_particles!r}"
        )
    max_leapfrogs = MAX_LEAPFROGS if max_leapfrogs is None else max_leapfrogs
    check_positive(max_leapfrogs=max_leapfrogs)
    return max_leapfrogs


def _r_hat_and_ess(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The potential scale reduction and the effective sample size of each entry of draws [S, chains, N, ...].

    The size is the smaller one of the means of x and of (x − mean)². A chain may be antithetic in the first and slow in
    the second.
    """
    r_hat = tfp.mcmc.potential_scale_reduction(values, independent_chain_ndims=1, split_chains=True)
    with _errors_alone():  # TFP drops the imaginary parts of an autocorrelation, of which TensorFlow warns.
        sizes = [
            tfp.mcmc.effective_sample_size(moment, cross_chain_dims=1, filter_beyond_positive_pairs=True)
            for moment in (values, (values - values.mean(axis=(0, 1))) ** 2)
        ]
    return r_hat.numpy(), np.minimum(*sizes)


@contextlib.contextmanager
def _errors_alone() -> Iterator[None]:
    """A context in which TensorFlow logs no warnings."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _with_warning(posterior: Posterior) -> Posterior:
    """The posterior, after a warning where its chains have not mixed."""
    worst = np.nanmax(posterior.r_hat.reshape(len(posterior.r_hat), -1), axis=1)
    if (worst > MIXED).any():
        warnings.warn(
            f"the chains of {np.sum(worst > MIXED)} of {len(worst)} events have not mixed: R-hat must be at most "
            f"{MIXED} in all entries; got up to {worst.max():.2f}. Increase burn_in and num_samples",
            stacklevel=3,
        )
    return posterior
