"""The base of bijectors whose log-det is 0."""

from typing import Any

import tensorflow as tf

from tfp_realnvp.representation import DescribedBijector


class VolumePreserving(DescribedBijector):
    """A bijector that moves, repeats or shears the entries of an event: its log-det is 0.

    Args:
      parameters: the arguments of the subclass, `dict(locals())`.
      event_ndims: int, rank of an event.
      validate_args, name, dtype: see `tfb.Bijector`.

    Example: `class Flip(VolumePreserving): ...` defines `_forward(x)` and `_inverse(y)`.
    """

    def __init__(
        self, parameters: dict[str, Any], event_ndims: int, validate_args: bool, name: str, dtype: Any = None
    ) -> None:
        super().__init__(
            forward_min_event_ndims=event_ndims,
            is_constant_jacobian=True,
            validate_args=validate_args,
            parameters=parameters,
            dtype=dtype,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return tf.zeros([], x.dtype)
