"""The most likely events given their known entries or noisy observations, by L-BFGS."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive
from tfp_realnvp.completion.coordinates import Latents, named, of_entries
from tfp_realnvp.completion.observations import checked_known, checked_observations, log_joint
from tfp_realnvp.completion.operators import Identity, as_operator
from tfp_realnvp.completion.targets import Target, batches
from tfp_realnvp.model import FlowModel

ANNEALING = (16.0, 8.0, 4.0, 2.0, 1.0)
"""The noise of each climb in latents, in units of the last one's."""
ITERATIONS = 30
"""L-BFGS iterations of each climb in latents."""
ITERATIONS_IN_PIXELS = 200
SPREAD_OF_NOISE = 1 / 128
"""The last noise of known entries: two of 256 levels, or this share of four standard deviations of a vector's entry."""
NUM_DRAWS = 256
"""Draws of the model, for the standard deviations of vectors."""


@dataclasses.dataclass(frozen=True)
class Mode:
    """The most likely events.

    Attributes:
      images: array [N] + event_shape, vectors or pixel levels.
      log_density: float array [N], the maximum, in nats.
      density: the density that is maximal there. A density has another maximum in other coordinates.
    """

    images: np.ndarray
    log_density: np.ndarray
    density: str


def most_likely(
    model: FlowModel,
    images: Any,
    mask: Any,
    coordinates: str = "latents",
    labels: Any = None,
    context: Any = None,
    batch_size: int = 64,
) -> Mode:
    """The most likely events with these known entries.

    ```none
    latents: max over z of p(z) N(x_known; G(z), noise²),    noise annealed to 1/128 of the range
    pixels:  max over u of p(x_known, x(u)) |dx/du|,         x = num_bins σ(u); vectors: x = u
    ```

    A maximum is not typical of a density, and depends on the coordinates. For the smallest error take the mean of
    `sample`.

    Args:
      model: `FlowModel`.
      images, mask, labels, context: as for `posteriors.sample`.
      coordinates: "latents", or "pixels" for the unknown entries themselves.
      batch_size: number of events that climb together.

    Returns:
      `Mode`; its known entries are the given ones.

    Raises:
      ValueError: as `posteriors.sample`; for other `coordinates`; for latents of a distribution that has none, or
        pixels of a model with exact probabilities, whose levels have no density.

    Example: `rnvp.completion.most_likely(model, images, mask).images`

    References: Asim et al., arXiv 1905.11672, for latents; NICE, arXiv 1410.8516, section 5.2, for pixels.
    """
    images, mask = checked_known(model, images, mask)
    contexts = tuple(model.events.contexts.of_samples(len(images), labels, context))
    if coordinates == "latents":
        noise = np.where(mask, _noise_of_entries(model, contexts), np.inf).astype(model.events.dtype.as_numpy_dtype)
        observed = (images.astype(noise.dtype), noise)
        mode = _climb_in_latents(model, Identity(), contexts, observed, batch_size)
    elif coordinates == "pixels":
        mode = _climb_in_pixels(model, images, mask, contexts, batch_size)
    else:
        raise ValueError(f'coordinates must be "latents" or "pixels"; got {coordinates!r}')
    return dataclasses.replace(mode, images=np.where(mask, images, mode.images).astype(mode.images.dtype))


def restore_most_likely(
    model: FlowModel,
    y: Any,
    operator: Any,
    noise: Any,
    labels: Any = None,
    context: Any = None,
    batch_size: int = 64,
) -> Mode:
    """The events of the most likely latents given noisy linear observations.

    ```none
    max over z of p(z) N(y; A G(z), noise²),    noise annealed from 16 times its value
    ```

    Args:
      model: `FlowModel` with latents.
      y, operator, noise, labels, context: as for `posteriors.restore`.
      batch_size: number of events that climb together.

    Raises:
      ValueError: as `posteriors.restore`, and for a distribution without latents.

    Example: `rnvp.completion.restore_most_likely(model, y, rnvp.completion.Downsample(2), noise=2.0).images`

    References: Asim et al., arXiv 1905.11672.
    """
    apply = as_operator(operator)
    observed = checked_observations(model, y, apply, noise)
    contexts = tuple(model.events.contexts.of_samples(len(observed[0]), labels, context))
    return _climb_in_latents(model, apply, contexts, observed, batch_size)


def _climb_in_latents(model: FlowModel, apply: Any, context: tuple, observed: tuple, batch_size: int) -> Mode:
    """The mode of latents from z = 0, with the noise annealed to that of the observations."""
    if not model.has_latents:
        raise ValueError("model must have latents; got the distribution of a FlowModel that has none")
    latents = Latents(model)
    target = Target(lambda z, data: log_joint(latents, apply, z, (), *data))

    def climb(context: tuple, y: np.ndarray, noise: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        z = tf.zeros([len(y), *model.latent_shape], model.events.dtype)
        for factor in ANNEALING:
            z, log_density = target.maximum(z, (context, (y, (factor * noise).astype(y.dtype))), ITERATIONS)
        return latents.values(z, (), context), log_density

    density = "p(z) N(y; A G(z), noise²) of the latents z, without the constant of N"
    return _mode(model, climb, density, (context, *observed), batch_size)


def _climb_in_pixels(model: FlowModel, images: np.ndarray, mask: np.ndarray, context: tuple, batch_size: int) -> Mode:
    """The mode of the unknown entries, from u = 0."""
    if model.is_exact:
        raise ValueError('coordinates must be "latents" for a model with exact probabilities; got "pixels"')
    entries = of_entries(model)
    target = Target(lambda u, data: entries.log_prob_and_entries(u, *data)[0])

    def climb(known: tuple, context: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        u, log_density = target.maximum(tf.zeros_like(known[0]), (known, context), ITERATIONS_IN_PIXELS)
        return entries.values(u, known, context), log_density

    density = "p(x) of the unknown entries" if model.num_bins is None else "p(u) of the logits u of all pixel values"
    return _mode(model, climb, density, (entries.known(images, mask), context), batch_size)


def _mode(model: FlowModel, climb: Any, density: str, data: tuple, batch_size: int) -> Mode:
    """The modes of all events, `batch_size` events at a time."""
    check_positive(batch_size=batch_size)
    images, log_densities = [], []
    for size, batch in batches(data, batch_size):
        values, log_density = climb(*batch)
        images.append(model.as_data(values)[0].numpy()[:size])
        log_densities.append(log_density.numpy()[:size])
    return Mode(np.concatenate(images), np.concatenate(log_densities), density)


def _noise_of_entries(model: FlowModel, context: tuple) -> Any:
    """The last noise of known entries: a number of levels, or an array [event_shape] for vectors."""
    if model.num_bins is not None:
        return SPREAD_OF_NOISE * model.num_bins
    context = tuple(np.resize(array, [NUM_DRAWS, *array.shape[1:]]) for array in context)
    return 4 * SPREAD_OF_NOISE * model.sample(NUM_DRAWS, seed=0, **named(model, context)).std(axis=0)
