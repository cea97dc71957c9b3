"""The vector fields of continuous flows: convolutional for images, multilayer perceptrons for vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.kernels import convolve
from tfp_realnvp.representation import Described


@register
class ConvDynamics(Described, keras.layers.Layer):
    """f(t, x) of images: 3×3 convolutions with the time as a further channel of each, and an activation between them.

    The last kernel is zero at first, so that a new flow is a shift. Further input channels, after those of the event,
    may hold a context.

    Args:
      channels: int, number of channels of an event.
      filters: int, width of the hidden layers.
      num_layers: int, number of convolutions.
      activation: Keras activation of the hidden layers, a smooth one.
      seed: int or None.

    Call arguments:
      t: scalar tensor.
      x: images [batch, height, width, channels or more].

    Returns:
      Tensor [batch, height, width, channels].

    Raises:
      ValueError: for sizes below 1.

    Example: `ConvDynamics(3)(tf.constant(0.5), tf.zeros([8, 32, 32, 3]))` has shape [8, 32, 32, 3].

    References: FFJORD, arXiv 1810.01367, section 4.2; RNODE, arXiv 2002.02798, section 5; MRCNF, arXiv 2106.08462.
    """

    def __init__(
        self,
        channels: int,
        filters: int = 64,
        num_layers: int = 4,
        activation: str | Callable[[tf.Tensor], tf.Tensor] = "softplus",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(channels=channels, filters=filters, num_layers=num_layers)
        self.channels = channels
        self.filters = filters
        self.num_layers = num_layers
        self.activation = activation
        self.seed = seed
        widths = [filters] * (num_layers - 1) + [channels]
        seeds = spawn_seeds(seed, num_layers)
        self.convolutions = [
            TimeConv2D(
                width, is_zero=number == num_layers, seed=layer_seed, dtype=self.dtype_policy, name=f"conv_{number}"
            )
            for number, (width, layer_seed) in enumerate(zip(widths, seeds, strict=True), start=1)
        ]

    def build(self, t_shape: tuple, x_shape: tuple | None = None) -> None:
        shape = x_shape or t_shape  # A single shape is that of x.
        for layer in self.convolutions:
            layer.build(shape)
            shape = (*shape[:-1], layer.filters)

    def call(self, t: Any, x: tf.Tensor) -> tf.Tensor:
        activation = keras.activations.get(self.activation)
        h = ops.cast(x, self.compute_dtype)
        for layer in self.convolutions[:-1]:
            h = activation(layer(t, h))
        return ops.cast(self.convolutions[-1](t, h), self.variable_dtype)

    def compute_output_shape(self, t_shape: tuple, x_shape: tuple | None = None) -> tuple:
        return (*(x_shape or t_shape)[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "filters": self.filters,
            "num_layers": self.num_layers,
            "activation": keras.activations.serialize(keras.activations.get(self.activation)),
            "seed": self.seed,
        }


@register
class TimeConv2D(keras.layers.Layer):
    """A 3×3 convolution of [t, h], with the time as a channel of equal pixels in front of the others.

    The channel of the time is the same for all images, so its convolution is a map that joins the bias.

    Args:
      filters: int.
      is_zero: whether the kernel is zero at first. Otherwise kernel and bias are uniform within ±1/√inputs.
      seed: int or None.

    Call arguments:
      t: scalar tensor.
      h: images [batch, height, width, channels].

    Example: `TimeConv2D(64)(tf.constant(0.5), tf.zeros([8, 32, 32, 3]))` has shape [8, 32, 32, 64].

    References: FFJORD, arXiv 1810.01367, appendix B, "concat" layers.
    """

    def __init__(self, filters: int, is_zero: bool = False, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(filters=filters)
        self.filters = filters
        self.is_zero = is_zero
        self.seed = seed

    def build(self, t_shape: tuple, h_shape: tuple | None = None) -> None:
        inputs = 1 + (h_shape or t_shape)[-1]  # A single shape is that of h.
        of_kernel, of_bias = (_within_one_over_the_root_of(9 * inputs, seed) for seed in spawn_seeds(self.seed, 2))
        shape = (3, 3, inputs, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros" if self.is_zero else of_kernel)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer=of_bias)

    def call(self, t: Any, h: tf.Tensor) -> tf.Tensor:
        kernel, bias = ops.cast(self.kernel, h.dtype), ops.cast(self.bias, h.dtype)
        of_time = convolve(tf.ones_like(h[:1, :, :, :1]), kernel[:, :, :1])
        return convolve(h, kernel[:, :, 1:]) + (ops.cast(t, h.dtype) * of_time + bias)

    def compute_output_shape(self, t_shape: tuple, h_shape: tuple | None = None) -> tuple:
        return (*(h_shape or t_shape)[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "is_zero": self.is_zero, "seed": self.seed}


@register
class MLPDynamics(Described, keras.layers.Layer):
    """f(t, x) of vectors: dense layers that see the time, and an activation between them.

    ```none
    "concat":         W [t, h] + b
    "concatsquash":   (W h + b) · σ(t v + c) + t u
    ```

    Further entries of x, after those of the event, may hold a context.

    Args:
      out_units: int, size of an event.
      hidden_units: ints, sizes of the hidden layers.
      activation: Keras activation of the hidden layers: "tanh", "softplus" or another smooth one.
      layer: "concat" or "concatsquash".
      seed: int or None.

    Call arguments:
      t: scalar tensor.
      x: vectors [batch, out_units or more].

    Returns:
      Tensor [batch, out_units].

    Raises:
      ValueError: for sizes below 1, or another `layer`.

    Example: `MLPDynamics(2, hidden_units=[64, 64])(tf.constant(0.5), tf.zeros([8, 2]))` has shape [8, 2].

    References: FFJORD, arXiv 1810.01367, section 4.1 and appendix B.
    """

    def __init__(
        self,
        out_units: int,
        hidden_units: Sequence[int] = (64, 64),
        activation: str | Callable[[tf.Tensor], tf.Tensor] = "tanh",
        layer: str = "concatsquash",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        sizes = (*hidden_units, out_units)
        if any(not isinstance(units, int) or units < 1 for units in sizes):
            raise ValueError(
                f"out_units and hidden_units must be positive ints; got {out_units!r} and {tuple(hidden_units)!r}"
            )
        layers = {"concat": _Concat, "concatsquash": _ConcatSquash}
        if layer not in layers:
            raise ValueError(f'layer must be "concat" or "concatsquash"; got {layer!r}')
        self.out_units = out_units
        self.hidden_units = tuple(hidden_units)
        self.activation = activation
        self.layer = layer
        self.seed = seed
        self.dense = [
            layers[layer](units, seed=layer_seed, dtype=self.dtype_policy, name=f"dense_{number}")
            for number, (units, layer_seed) in enumerate(zip(sizes, spawn_seeds(seed, len(sizes)), strict=True))
        ]

    def build(self, t_shape: tuple, x_shape: tuple | None = None) -> None:
        shape = x_shape or t_shape  # A single shape is that of x.
        for layer in self.dense:
            layer.build(shape)
            shape = (*shape[:-1], layer.units)

    def call(self, t: Any, x: tf.Tensor) -> tf.Tensor:
        activation = keras.activations.get(self.activation)
        h = ops.cast(x, self.compute_dtype)
        for layer in self.dense[:-1]:
            h = activation(layer(t, h))
        return ops.cast(self.dense[-1](t, h), self.variable_dtype)

    def compute_output_shape(self, t_shape: tuple, x_shape: tuple | None = None) -> tuple:
        return (*(x_shape or t_shape)[:-1], self.out_units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_units": self.out_units,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(keras.activations.get(self.activation)),
            "layer": self.layer,
            "seed": self.seed,
        }


class _TimeDense(keras.layers.Layer):
    """A dense layer of h, W h + b, in front of weights for the time."""

    def __init__(self, units: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.seed = seed

    def add_weights(self, **inputs_by_name: int) -> None:
        """Makes weights [units], uniform within ±1/√inputs; the kernel's inputs are its first axis."""
        seeds = spawn_seeds(self.seed, len(inputs_by_name))
        for (name, inputs), seed in zip(inputs_by_name.items(), seeds, strict=True):
            shape = (self.size, self.units) if name == "kernel" else (self.units,)
            initializer = _within_one_over_the_root_of(inputs, seed)
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))

    def linear(self, h: tf.Tensor) -> tf.Tensor:
        """W h + b."""
        return ops.matmul(h, ops.cast(self.kernel, h.dtype)) + ops.cast(self.bias, h.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "seed": self.seed}


class _Concat(_TimeDense):
    def build(self, input_shape: tuple) -> None:
        self.size = input_shape[-1]
        self.add_weights(kernel=self.size + 1, bias=self.size + 1, time_kernel=self.size + 1)

    def call(self, t: Any, h: tf.Tensor) -> tf.Tensor:
        return self.linear(h) + ops.cast(t, h.dtype) * ops.cast(self.time_kernel, h.dtype)


class _ConcatSquash(_TimeDense):
    def build(self, input_shape: tuple) -> None:
        self.size = input_shape[-1]
        self.add_weights(kernel=self.size, bias=self.size, gate_kernel=1, gate_bias=1, time_kernel=1)

    def call(self, t: Any, h: tf.Tensor) -> tf.Tensor:
        t, gate_kernel, gate_bias, time_kernel = (
            ops.cast(value, h.dtype) for value in (t, self.gate_kernel, self.gate_bias, self.time_kernel)
        )
        return self.linear(h) * ops.sigmoid(t * gate_kernel + gate_bias) + t * time_kernel


def _within_one_over_the_root_of(inputs: int, seed: int | None) -> keras.initializers.Initializer:
    """PyTorch's initialization of layers with so many inputs, with which the authors' networks begin."""
    return keras.initializers.RandomUniform(-(inputs**-0.5), inputs**-0.5, seed=seed)
