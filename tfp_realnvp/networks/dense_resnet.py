"""The dense network with a skip that predicts a group of pixels from all groups before it."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.representation import Described


@register
class DenseResNet(Described, keras.layers.Layer):
    """A residual block between two dense layers.

    ```none
    h = relu(W₀ x + b₀),    h ← h + relu(W₁ h + b₁),    output = W₂ h + b₂
    ```

    The output begins at 0. The network computes in the dtype of its weights, float32 under a mixed policy.

    Args:
      out_units: int, size of the output.
      units: int, width of the hidden layers.
      seed: int or None.
      limit: float, the largest absolute value of an entry of x in the data; None for no limit. Entries beyond it count
        as the limit. They occur in samples alone, where they would lead from pixel to pixel further away.

    Raises:
      ValueError: for sizes below 1, or a `limit` that is not positive.

    Example: `DenseResNet(out_units=4, units=64)(tf.zeros([8, 2]))` has shape [8, 4].

    References: He et al., arXiv 1512.03385, for the skip; Real NVP, section 3.3, for networks as conditioners.
    """

    def __init__(
        self, out_units: int, units: int = 256, seed: int | None = None, limit: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(out_units=out_units, units=units)
        if limit is not None and not limit > 0:
            raise ValueError(f"limit must be None or positive; got {limit!r}")
        self.out_units, self.units, self.seed, self.limit = out_units, units, seed, limit
        seeds = spawn_seeds(seed, 2)

        def dense(units: int, name: str, initializer: Any, activation: str | None = "relu") -> keras.layers.Dense:
            return keras.layers.Dense(
                units, activation, kernel_initializer=initializer, dtype=self.variable_dtype, name=name
            )

        self.dense_in = dense(units, "dense_in", keras.initializers.HeNormal(seeds[0]))
        self.dense_skipped = dense(units, "dense_skipped", keras.initializers.HeNormal(seeds[1]))
        self.dense_out = dense(out_units, "dense_out", "zeros", activation=None)

    def build(self, input_shape: tuple) -> None:
        hidden_shape = (*input_shape[:-1], self.units)
        self.dense_in.build(input_shape)
        self.dense_skipped.build(hidden_shape)
        self.dense_out.build(hidden_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = ops.cast(x, self.variable_dtype)
        if self.limit is not None:
            x = tf.clip_by_value(x, -self.limit, self.limit)
        h = self.dense_in(x)
        h = h + self.dense_skipped(h)
        return self.dense_out(recorded(self, h))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_units": self.out_units,
            "units": self.units,
            "seed": self.seed,
            "limit": self.limit,
        }
