"""Clipping of the gradient of the global batch, over all replicas."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.internals import OptimizerHooks
from tfp_realnvp.replicas import sum_over_replicas


def scaled(gradients: Sequence[tf.Tensor | None], factor: Any) -> list[tf.Tensor | None]:
    """Each gradient times `factor`, None among them; 0 times infinity or NaN is 0.

    Example: `scaled([tf.constant([math.inf]), None], 0.0)` is [[0.], None].
    """
    return [None if g is None else tf.math.multiply_no_nan(g, tf.cast(factor, g.dtype)) for g in gradients]


class ClipsGlobally(OptimizerHooks):
    """Mixin for a Keras optimizer under a distribution strategy: clips the gradient of the global batch.

    Keras clips the gradient of each replica and then sums. This mixin sums first, so that training is the same as on
    one device. Without a strategy it changes nothing.

    Example: `class SGD(ClipsGlobally, keras.optimizers.SGD): pass`
    """

    def clip_gradients(self, gradients: list) -> list:
        present = iter(sum_over_replicas([gradient for gradient in gradients if gradient is not None]))
        gradients = [None if gradient is None else next(present) for gradient in gradients]
        if not self._clips_globally:
            return super().clip_gradients(gradients)
        # Keras's own norm takes three operations for the square of each gradient.
        norm = tf.linalg.global_norm(gradients)
        factor = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)  # type: ignore[attr-defined]
        return scaled(gradients, self._factor_of_step(factor))

    def sum_gradients(self, gradients_and_variables: list) -> list:
        return gradients_and_variables  # They are summed already.

    @property
    def _clips_globally(self) -> bool:
        return self.global_clipnorm and not self.clipnorm  # type: ignore[attr-defined]

    def _factor_of_step(self, factor: Any) -> Any:
        """The factor on the gradients of a step; at 0, infinite gradients count as 0 too."""
        return factor


def check_clipping(optimizer: keras.optimizers.Optimizer, num_replicas: int) -> None:
    """Raises a ValueError for an optimizer that clips the gradient of each of several replicas alone.

    Example: `check_clipping(optimizer, strategy.num_replicas_in_sync)`
    """
    clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(optimizer, name, None)]
    if clips and num_replicas > 1 and not isinstance(optimizer, ClipsGlobally):
        raise ValueError(
            f"optimizer must not have {clips[0]} under a strategy of {num_replicas} replicas, since Keras clips the "
            f"gradient of each replica alone; got a {type(optimizer).__name__}. Take rnvp.optimizers.Adam, or make "
            "yours a subclass of rnvp.optimizers.ClipsGlobally as well"
        )
