"""A multilayer perceptron: the conditioner of couplings over vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.representation import Described


@register
class MLP(Described, keras.layers.Layer):
    """Dense layers with an activation between them.

    Args:
      out_units: int, size of the output, for an affine coupling twice the size of the event.
      hidden_units: ints, sizes of the hidden layers.
      activation: Keras activation of the hidden layers, a name or a function.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `MLP(out_units=4, hidden_units=[64, 64])(tf.zeros([8, 2]))` has shape [8, 4].

    References: Real NVP, section 3.3, for networks as conditioners.
    """

    def __init__(
        self,
        out_units: int,
        hidden_units: Sequence[int] = (64, 64),
        activation: str | Callable[[tf.Tensor], tf.Tensor] = "relu",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if any(not isinstance(units, int) or units < 1 for units in (out_units, *hidden_units)):
            raise ValueError(
                f"out_units and hidden_units must be positive ints; got {out_units!r} and {tuple(hidden_units)!r}"
            )
        self.out_units = out_units
        self.hidden_units = tuple(hidden_units)
        self.activation = activation
        self.seed = seed
        sizes = [*hidden_units, out_units]
        activations = [activation] * len(hidden_units) + [None]
        self.dense = [
            keras.layers.Dense(
                units,
                activation=function,
                kernel_initializer=keras.initializers.GlorotUniform(layer_seed),
                dtype=self.dtype_policy,
                name=f"dense_{i}",
            )
            for i, (units, function, layer_seed) in enumerate(
                zip(sizes, activations, spawn_seeds(seed, len(sizes)), strict=True)
            )
        ]

    def build(self, input_shape: tuple) -> None:
        for layer in self.dense:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        *hidden, last = self.dense
        for layer in hidden:
            x = layer(x)
        return last(recorded(self, x))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_units": self.out_units,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(keras.activations.get(self.activation)),
            "seed": self.seed,
        }
