"""The checks of the arguments of completion."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.completion.operators import checked_zeros_and_ones
from tfp_realnvp.model import FlowModel
from tfp_realnvp.parts import as_events


def checked_known(model: FlowModel, images: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Events with zeros at their unknown entries, and the mask of each.

    Args:
      model: `FlowModel`.
      images: events [N] + event_shape; unknown entries may hold anything.
      mask: 1 where an entry is known and 0 elsewhere, of shape event_shape or [N] + event_shape.

    Returns:
      `(images, mask)`, the mask as a bool array [N] + event_shape.

    Raises:
      ValueError: for a mask of another shape or with other values, for events without a known or without an unknown
        entry, or for known entries that do not fit the model.

    Example: `images, mask = checked_known(model, images, mask)`
    """
    images, mask, shape = np.asarray(as_events(images)), checked_zeros_and_ones(mask), model.event_shape
    if images.shape[1:] != shape or not images.ndim:
        raise ValueError(f"images must have shape [N] + {shape}; got {images.shape}")
    if mask.shape not in (shape, images.shape):
        raise ValueError(f"mask must have shape {shape} or {images.shape}; got {mask.shape}")
    mask = np.broadcast_to(mask, images.shape)
    if images.dtype.kind in "biuf":  # Other entries are refused below.
        images = np.where(mask, images, np.zeros([], images.dtype))
    images = model.events.checked_array("images", images)
    number = mask.reshape(len(mask), -1).sum(axis=1)
    if (number == 0).any():
        raise ValueError(
            f"mask must have a known entry in each event; it has none in event {np.argmin(number)}. sample() of the "
            "model draws whole events"
        )
    if (number == mask[0].size).any():
        raise ValueError(f"mask must have an unknown entry in each event; it has none in event {np.argmax(number)}")
    return images, mask


def checked_observations(model: FlowModel, y: Any, operator: Any, noise: Any) -> tuple[np.ndarray, ...]:
    """Observations y = A x + noise, and the standard deviation of each: arrays [N, ...].

    Args:
      model: `FlowModel`.
      y: float array [N] + the shape of an observation.
      operator: of `operators.as_operator`.
      noise: number, or array that broadcasts with y, above 0.

    Raises:
      ValueError: for observations of another shape than the operator's, or that are not finite, or `noise` that is not
        positive.

    Example: `y, noise = checked_observations(model, y, Identity(), 4.0)`
    """
    dtype = model.events.dtype.as_numpy_dtype
    y, noise = np.asarray(y), np.asarray(noise)
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise ValueError(f"y must hold finite numbers; got {y.dtype}, NaN or infinity")
    if noise.dtype.kind not in "iuf" or not (np.isfinite(noise) & (noise > 0)).all():
        raise ValueError(f"noise must be the positive standard deviations of y; got {noise}")
    shape = tuple(operator(tf.zeros([1, *model.event_shape], dtype)).shape[1:])
    if y.shape[1:] != shape or not y.size:
        raise ValueError(f"y must have shape [N] + {shape}, as the operator's results; got {y.shape}")
    try:
        noise = np.broadcast_to(noise, y.shape)
    except ValueError:
        raise ValueError(f"noise must be a number or broadcast with y, {y.shape}; got shape {noise.shape}") from None
    return y.astype(dtype), noise.astype(dtype)


def log_joint(coordinates: Any, apply: Any, u: tf.Tensor, known: tuple, context: tuple, observed: tuple) -> tf.Tensor:
    """log p(u) + log N(y; A x(u), noise²) without its constant, in nats: a tensor [batch].

    Args:
      coordinates: as of `coordinates.of_all_entries`.
      apply: A, a function of batches of entries.
      u, known, context: of the coordinates.
      observed: of `checked_observations`.
    """
    log_prior, entries = coordinates.log_prob_and_entries(u, known, context)
    y, noise = observed
    errors = (apply(entries) - y) / noise
    return log_prior - 0.5 * tf.reduce_sum(errors**2, axis=range(1, errors.shape.rank))
