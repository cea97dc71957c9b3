"""`surrogate`: a flow as the posterior of a `tfd.JointDistribution`, with the supports of its variables."""

import math
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.architectures import VectorRealNVP
from tfp_realnvp.energy.target import LogProb, check_flow
from tfp_realnvp.model import FlowModel


class Surrogate(NamedTuple):
    """A flow over the unconstrained vectors θ of a joint distribution's variables, x = b(θ).

    Attributes:
      model: `FlowModel` over θ, for `fit`, `weigh` and `kernel`.
      log_prob: log p̃(θ) = log p̃(b(θ)) + log|det ∂b/∂θ|, its target.
      bijector: b, from vectors [..., D] to the structure of the variables, within their supports.
      distribution: `tfd.Distribution` of x. Its `trainable_variables` are the weights of the flow, as `tfp.vi` needs.

    Example: `surrogate.bijector.forward(weighted.samples)` are samples of the variables.
    """

    model: FlowModel
    log_prob: LogProb
    bijector: tfb.Bijector
    distribution: tfd.Distribution


def surrogate(joint_distribution: Any, model: FlowModel | None = None) -> Surrogate:
    """A trainable flow over all variables of a joint distribution, with the bijectors of their supports.

    Args:
      joint_distribution: `tfd.JointDistribution` of continuous variables of one dtype, usually with its data pinned by
        `experimental_pin`.
      model: `FlowModel` over vectors of the unconstrained size D, without a context; None for a `VectorRealNVP` with
        its own defaults.

    Returns:
      `Surrogate`.

    Raises:
      ValueError: for variables that are discrete or of several dtypes, for a single number in all and no model, or a
        model of another shape or dtype.

    Example:

    ```python
    pinned = joint.experimental_pin(y=data)
    posterior = rnvp.energy.surrogate(pinned)
    posterior.model.compile(rnvp.optimizers.Adam(1e-3))
    rnvp.energy.fit(posterior.model, posterior.log_prob, steps=2000)
    variables = posterior.distribution.sample(1000)

    # TFP's own loop takes an optimizer for tf.Variables.
    tfp.vi.fit_surrogate_posterior(
        pinned.unnormalized_log_prob, posterior.distribution, tf_keras.optimizers.Adam(1e-3), num_steps=2000
    )
    ```
    """
    dtypes = {tf.as_dtype(dtype) for dtype in tf.nest.flatten(joint_distribution.dtype)}
    if len(dtypes) != 1 or not all(dtype.is_floating for dtype in dtypes):
        names = sorted(dtype.name for dtype in dtypes)
        raise ValueError(f"joint_distribution must have continuous variables of one floating dtype; got {names}")
    (dtype,) = dtypes
    supports = joint_distribution.experimental_default_event_space_bijector()
    shapes = joint_distribution.event_shape
    bijector = _from_vectors(shapes, supports, dtype)
    size = sum(math.prod(shape) for shape in tf.nest.flatten(supports.inverse_event_shape(shapes)))
    model = VectorRealNVP((size,), dtype=dtype.name) if model is None else model
    check_flow(model)
    if model.event_shape != (size,) or model.events.dtype != dtype:
        raise ValueError(
            f"model must be a flow over vectors of shape ({size},) in {dtype.name}; got {model.event_shape} in "
            f"{model.events.dtype.name}"
        )

    def log_prob(theta: tf.Tensor) -> tf.Tensor:
        log_p = joint_distribution.unnormalized_log_prob(bijector.forward(theta))
        return log_p + bijector.forward_log_det_jacobian(theta, event_ndims=1)

    return Surrogate(model, log_prob, bijector, tfd.TransformedDistribution(model.distribution, bijector))


def _from_vectors(shapes: Any, supports: tfb.Bijector, dtype: tf.DType) -> tfb.Bijector:
    """The bijector from unconstrained vectors to variables of these shapes and supports."""
    identity = tfp.experimental.vi.build_split_flow_surrogate_posterior(shapes, tfb.Identity(), supports, dtype=dtype)
    return identity.bijector
