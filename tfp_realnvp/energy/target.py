"""The target p̃ of a flow q: an unnormalised density, and the checks of both."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.model import FlowModel
from tfp_realnvp.sampling import latents, push

LogProb = Callable[[Any], Any]
"""log p̃, the logarithm of an unnormalised density: events [..., *event_shape] ↦ nats [...]."""


def check_flow(model: FlowModel) -> None:
    """Raises a ValueError for a model without reparametrised samples of an exact density.

    Args:
      model: `FlowModel`.

    Raises:
      ValueError: for a conditional flow, a distribution without latents, latents that are not reparametrised, or
        log-dets that are estimates: their exponentials, the weights, would be biased.

    Example: `check_flow(rnvp.VectorRealNVP((2,)))`
    """
    if model.context_size:
        raise ValueError(f"model must be a flow without a context; got one given {model.events.contexts.name}")
    if not model.has_latents:
        raise ValueError(f"model must have latents; got a {type(model.distribution).__name__.strip('_')}")
    if model.base_distribution.reparameterization_type != tfd.FULLY_REPARAMETERIZED:
        raise ValueError(
            f"model must have reparametrised latents; got a {type(model.base_distribution).__name__.strip('_')}"
        )
    if model.has_estimates:
        raise ValueError('model must have exact log-dets, by divergence="exact"; got estimates')


def checked_target(model: FlowModel, log_prob: LogProb) -> LogProb:
    """`log_prob` in the dtype of the flow, with a check of its result at each call and a call at some of its samples.

    Args:
      model: `FlowModel`.
      log_prob: see `LogProb`.

    Raises:
      ValueError: for a model as in `check_flow`, or a `log_prob` that is no function, returns another shape or numbers
        that are not floating, or is NaN or infinitely large at a sample of the flow.

    Example: `target = checked_target(model, lambda x: -tf.reduce_sum(x**2, axis=-1))`
    """
    check_flow(model)
    if not callable(log_prob):
        raise ValueError(f"log_prob must be a function of a batch of events; got {log_prob!r}")

    def target(x: tf.Tensor) -> tf.Tensor:
        nats = tf.convert_to_tensor(log_prob(x))
        expected = x.shape[: x.shape.rank - len(model.event_shape)]
        if nats.shape.rank != expected.rank or not nats.shape.is_compatible_with(expected):
            raise ValueError(
                f"log_prob must return a number for each event, of shape {expected} for events of shape {x.shape}; "
                f"got {nats.shape}"
            )
        if not nats.dtype.is_floating:
            raise ValueError(f"log_prob must return floats; got {nats.dtype.name}")
        return tf.cast(nats, model.events.dtype)

    x, _ = push(model.distribution, latents(model.base_distribution, 16, 1.0, seed=0))
    check_nats(target(x).numpy())
    return target


def check_nats(nats: np.ndarray) -> None:
    """Raises a ValueError for values of `log_prob` that are NaN or infinitely large. A density of 0 is allowed.

    Args:
      nats: float array.

    Example: `check_nats(np.array([-1.0, -np.inf]))`
    """
    wrong = np.isnan(nats) | (nats == np.inf)
    if wrong.any():
        raise ValueError(
            f"log_prob must be a number at each event; got {nats[wrong][0]} at {wrong.sum()} of {nats.size} samples of "
            "the flow"
        )
