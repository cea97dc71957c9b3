"""Samples, latents and classes of a model: the functions behind `FlowModel`'s methods of the same names."""

import contextlib
import functools
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.common import check_positive, draw_seed, value_errors

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel

ATTEMPTS = 50
"""How often a sample is drawn at most until it is finite: enough for a flow that overflows at four of five latents."""
OVERFLOW = "z must be closer to 0, or the temperature lower: the flow overflows"


def sample(
    model: "FlowModel",
    num_samples: int,
    temperature: float = 1.0,
    seed: int | None = None,
    batch_size: int | None = None,
    image_size: tuple[int, int] | None = None,
    labels: Any = None,
    context: Any = None,
) -> np.ndarray:
    """Draws images or vectors; see `FlowModel.sample`."""
    if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
        raise ValueError(f"num_samples must be a positive int; got {num_samples!r}")
    if not isinstance(temperature, (int, float, np.number)) or not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be a non-negative number; got {temperature!r}")
    seed = draw_seed(seed)
    if model.num_classes and labels is None:
        labels = np.random.default_rng(seed).integers(model.num_classes, size=num_samples)
    contexts = model.events.contexts.of_samples(num_samples, labels, context)
    image_shape = None if image_size is None else _image_shape(model, image_size)
    if model.has_latents:
        # Eagerly TFP's layers take longer than a pass of vectors. A temperature other than 1 is no part of the graph.
        scale = 1 if temperature == 1 else tf.constant(temperature, tf.float64)
        number = tf.constant(num_samples)
        values = lambda attempt: model.latents_of_samples(
            number, scale, tf.constant(seed, tf.int64), tf.constant(attempt), image_shape, *contexts
        ).numpy()
        decode = model.decode_batch
    elif temperature != 1:
        raise ValueError(f"temperature must be 1: {_without_latents(model)}; got {temperature!r}")
    else:
        # A seed for each sample; a batch takes its first.
        values = lambda attempt: np.random.default_rng([seed, attempt]).integers(
            2**31, size=[num_samples, 2], dtype=np.int32
        )
        decode = functools.partial(_draw_values, model)
    batch_size = _batch_size(model, batch_size)
    numbers = np.arange(num_samples)
    samples, is_finite = in_batches(decode, batch_size, values(0), *contexts)
    num_lost = np.sum(~is_finite)
    for attempt in range(1, ATTEMPTS):
        lost = numbers[~is_finite]
        if lost.size:
            again = (part[lost] for part in (values(attempt), *contexts))
            samples[lost], is_finite[lost] = in_batches(decode, batch_size, *again)
    check_finite(is_finite)
    if num_lost:
        warnings.warn(f"{num_lost} of {num_samples} samples were not finite and were drawn again", stacklevel=3)
    return samples


def _draw_values(model: "FlowModel", seeds: np.ndarray, *contexts: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """The events of a distribution without latents, by the first of these seeds, and whether each is finite."""
    distribution = model.distribution_given(*contexts)
    return model.as_data(distribution.sample([] if contexts else len(seeds), seed=seeds[0]))


def latents(base: tfd.Distribution, sample_shape: Any, temperature: Any, seed: Any, attempt: Any = 0) -> tf.Tensor:
    """The latents of samples: mean + T · (z − mean) for z ~ base.

    Args:
      base: the distribution of the latents.
      sample_shape: int, tensor or [], as for `base.sample`.
      temperature: T, a float or a scalar tensor.
      seed: int, or int64 tensor.
      attempt: int or int32 tensor, which counts the draws with this seed.

    Example: `latents(model.base_distribution, 16, temperature=0.7, seed=0)`
    """
    z = base.sample(sample_shape, seed=_seed_of(seed, attempt))
    if not tf.is_tensor(temperature) and temperature == 1:  # A base without a mean allows no other.
        return z
    mean = base.mean()
    return mean + tf.cast(temperature, z.dtype) * (z - mean)


def push(distribution: Any, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The events of latents and their log-density, from one pass of the flow.

    ```none
    x = f(z),    log q(x) = log p(z) − log|det ∂f/∂z|
    ```

    Args:
      distribution: `tfd.TransformedDistribution`.
      z: tensor [..., *batch_shape, *event_shape].

    Returns:
      `(x, log_q)`: tensors [..., *batch_shape, *event_shape] and [..., *batch_shape].

    Example: `x, log_q = push(model.distribution, model.base_distribution.sample(16))`
    """
    base, f = distribution.distribution, distribution.bijector
    return f.forward(z), base.log_prob(z) - f.forward_log_det_jacobian(z, event_ndims=len(base.event_shape))


def encode(model: "FlowModel", images: Any, context: Any = None, batch_size: int | None = None) -> np.ndarray:
    """The latents of images or vectors; see `FlowModel.encode`."""
    _check_latents(model)
    images = model.events.checked_array("images", images)
    contexts = model.events.contexts.of_events(len(images), context)
    return in_batches(model.encode_batch, _batch_size(model, batch_size), images, *contexts)


def decode(model: "FlowModel", z: Any, context: Any = None, batch_size: int | None = None) -> np.ndarray:
    """The images or vectors of latents; see `FlowModel.decode`."""
    _check_latents(model)
    z = model.events.checked_latents(z, model.latent_shape)
    contexts = model.events.contexts.of_events(len(z), context)
    decoded, is_finite = in_batches(model.decode_batch, _batch_size(model, batch_size), z, *contexts)
    check_finite(is_finite)
    return decoded


def class_probabilities(model: "FlowModel", images: Any, batch_size: int = 64, num_draws: int = 1) -> np.ndarray:
    """Bayes' rule over the classes; see `FlowModel.class_probabilities`."""
    if not model.num_classes:
        raise ValueError("num_classes must be given to a flow for it to classify; got None")
    check_positive(num_draws=num_draws)
    images = model.events.checked_array("images", images)
    nats = []
    for draw in tf.range(num_draws, dtype=tf.int64):
        nats.append(in_batches(lambda part, draw=draw: model.nats_of_classes(part, draw), batch_size, images))
    return tf.nn.softmax(np.mean(nats, axis=0)).numpy()


def _batch_size(model: "FlowModel", batch_size: int | None) -> int:
    """The number of events per pass where none is given: images need much more memory than vectors."""
    if batch_size is not None:
        return batch_size
    return 256 if len(model.event_shape) == 3 else 4096


def _seed_of(seed: Any, attempt: Any) -> tf.Tensor:
    """The seed of one attempt as TFP takes it: [seed, 0] for the first attempt with a small seed."""
    pair = tf.bitcast(tf.convert_to_tensor(seed, tf.int64), tf.int32)
    return tf.where(tf.equal(attempt, 0), pair, tf.random.fold_in(pair, attempt))


def _check_latents(model: "FlowModel") -> None:
    if not model.has_latents:
        raise ValueError(f"distribution must be a tfd.TransformedDistribution: {_without_latents(model)}")


def _without_latents(model: "FlowModel") -> str:
    """The reason why a distribution cannot be encoded, decoded or drawn from at another temperature."""
    name = "this one" if model.context_size else type(model.distribution).__name__.strip("_")
    return f"{name} has no single latent of each event"


def _image_shape(model: "FlowModel", image_size: Any) -> tuple[int, int, int]:
    """The shape of images of this height and width; a ValueError where the flow cannot draw them."""
    if not model.is_convolutional:
        raise ValueError(f"image_size must be None for a flow that is not convolutional; got {image_size}")
    sides = tuple(image_size) if np.iterable(image_size) else ()
    if len(sides) != 2 or any(not isinstance(side, (int, np.integer)) or side < 1 for side in sides):
        raise ValueError(f"image_size must be (height, width), two positive ints; got {image_size!r}")
    divisor = _divisor_of_sides(model)
    if any(side % divisor for side in sides):
        raise ValueError(f"image_size must have a height and width divisible by {divisor}; got {image_size!r}")
    height, width = sides
    return height, width, model.event_shape[-1]


def _divisor_of_sides(model: "FlowModel") -> int:
    """The smallest power of 2 that divides every height and width that the flow's squeezes accept."""
    *sides, channels = model.event_shape
    for divisor in (2**halvings for halvings in range(max(sides).bit_length())):
        with contextlib.suppress(ValueError):  # Squeeze refuses odd sides.
            model.bijector.inverse_event_shape((divisor, divisor, channels))
            return divisor
    return 1  # Flows with a fixed image size raise their own error.


def check_finite(is_finite: np.ndarray) -> None:
    """Raises a ValueError that names the rows that are not finite.

    Args:
      is_finite: bool array, an entry per row.

    Example: `check_finite(np.isfinite(values))`
    """
    if not is_finite.all():
        rows = np.flatnonzero(~is_finite)
        named = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        raise ValueError(f"{OVERFLOW}; in {len(rows)} of {len(is_finite)} rows: {named}")


def in_batches(function: Callable[..., Any], batch_size: int, *arrays: Any) -> Any:
    """The results of `function` on the arrays, `batch_size` entries at a time, as one array per result.

    Args:
      function: function of batches of the arrays that returns tensors.
      batch_size: int.
      *arrays: arrays with as many entries each.

    Example: `in_batches(tf.sin, 256, values)`
    """
    check_positive(batch_size=batch_size)
    slices = [slice(i, i + batch_size) for i in range(0, len(arrays[0]), batch_size)]
    with value_errors():
        parts = [function(*(array[part] for array in arrays)) for part in slices]
    return tf.nest.map_structure(lambda *part: np.concatenate(part), *parts)
