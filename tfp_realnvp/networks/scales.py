"""Wrappers that bound the log-scale of a network, and a network of constants."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import register
from tfp_realnvp.networks.kernels import l2_penalty
from tfp_realnvp.representation import Described


class Wrapper(Described, keras.layers.Layer):
    """Base class of layers around a network; the saved layer contains the network.

    Args:
      network: Keras layer.

    Example: `class Doubled(Wrapper): ...`
    """

    def __init__(self, network: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return self.network.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Wrapper":
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})


class BoundedScale(Wrapper):
    """Base class that bounds the log-scale of an affine coupling's network: (t, s) ↦ (t, bound(s)).

    A subclass defines `bound(log_scale)`. The result has the dtype of the weights, so a flow computes in float32 while
    its network runs in bfloat16.

    Args:
      network: Keras layer; its output holds t, then s, along its last axis.

    Example:

    ```python
    class Clipped(BoundedScale):
        def bound(self, log_scale):
            return tf.clip_by_value(log_scale, -2.0, 2.0)
    ```

    References: Real NVP, arXiv 1605.08803, section 4.1.
    """

    def __init__(self, network: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(network, autocast=False, **kwargs)

    def bound(self, log_scale: tf.Tensor) -> tf.Tensor:
        """The log-scale of the flow as a function of the network's log-scale."""
        raise NotImplementedError(f"{type(self).__name__} must define bound(log_scale)")

    def build(self, input_shape: tuple) -> None:
        if not self.network.built:
            self.network.build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        shift, log_scale = ops.split(ops.cast(self.network(x), self.variable_dtype), 2, axis=-1)
        return ops.concatenate([shift, self.bound(log_scale)], axis=-1)


@register
class TanhScale(BoundedScale):
    """Real NVP's bound of the log-scale, s ↦ a · tanh(s) + b; see `BoundedScale`.

    a is one learned number per coupling, `rescaling_scale` or `scale` in the authors' code. The number b is learned if
    no norm follows the coupling, `scale_shift` in the code.

    Args:
      network: Keras layer; its output holds t, then s, along its last axis.
      initial: float, the initial a.
      use_offset: bool, whether to learn b; b begins at 0, otherwise it stays 0.
      l2: float, the penalty l2 · a², without a factor ½, in nats.

    Example: `TanhScale(ResNet(out_channels=6, checkerboard=1), initial=0.0)`

    References: Real NVP, arXiv 1605.08803, section 4.1, and the authors' code.
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        initial: float = 1.0,
        use_offset: bool = False,
        l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, **kwargs)
        self.initial = initial
        self.use_offset = use_offset
        self.l2 = l2

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        self.a = self.add_weight(
            name="a",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            regularizer=l2_penalty(self.l2),
            autocast=False,
        )
        self.b = None
        if self.use_offset:
            self.b = self.add_weight(name="b", shape=(), initializer="zeros", autocast=False)

    def bound(self, log_scale: tf.Tensor) -> tf.Tensor:
        log_scale = self.a * ops.tanh(log_scale)
        return log_scale if self.b is None else log_scale + self.b

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial, "use_offset": self.use_offset, "l2": self.l2}


@register
class ChannelTanhScale(BoundedScale):
    """The UvA tutorial's bound of the log-scale, s ↦ e^f · tanh(s / e^f), with one learned f per channel.

    Each f begins at 0. The slope at s = 0 is 1 for every f; see `BoundedScale`.

    Args:
      network: Keras layer; its output holds t, then s, along its last axis.

    Example: `ChannelTanhScale(GatedConvNet(out_channels=2))`

    References: P. Lippe, UvA deep learning tutorial 11.
    """

    def build(self, input_shape: tuple) -> None:
        super().build(input_shape)
        channels = self.network.compute_output_shape(input_shape)[-1] // 2
        self.f = self.add_weight(name="f", shape=(channels,), initializer="zeros", autocast=False)

    def bound(self, log_scale: tf.Tensor) -> tf.Tensor:
        limit = ops.exp(self.f)
        return limit * ops.tanh(log_scale / limit)


@register
class SigmoidScale(BoundedScale):
    """The bound of the log-scale in Glow's code, s ↦ log σ(s + 2), and in Jet's, s ↦ log σ(s) + log 2.

    ```none
    s ↦ log σ(s + offset) + log factor
    ```

    Glow's scale is below 1 and begins at 0.88. Jet's is below 2 and begins at 1. See `BoundedScale`.

    Args:
      network: Keras layer; its output holds t, then s, along its last axis.
      offset: float.
      factor: positive float, the bound of the scale.

    Raises:
      ValueError: for a `factor` that is not positive.

    Example: `SigmoidScale(GlowNet(out_channels=12))`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.3; Jet, arXiv 2412.15129, section 3.
    """

    def __init__(self, network: keras.layers.Layer, offset: float = 2.0, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(network, **kwargs)
        if not factor > 0:
            raise ValueError(f"factor must be positive; got {factor!r}")
        self.offset, self.factor = offset, factor

    def bound(self, log_scale: tf.Tensor) -> tf.Tensor:
        return ops.log_sigmoid(log_scale + self.offset) + math.log(self.factor)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset, "factor": self.factor}


@register
class Constant(Described, keras.layers.Layer):
    """Learned numbers, independent of the input: the parameters of a coupling with `ChangeAll`.

    The numbers begin at 0.

    Args:
      units: int, number of learned numbers.

    Call arguments:
      x: tensor of shape [..., channels]; only the leading shape [...] matters.

    Returns:
      Tensor of shape [..., units].

    Example: `Coupling(ChangeAll(3), Constant(2 * channels))` learns a mean and a scale per channel.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape: tuple) -> None:
        self.values = self.add_weight(name="values", shape=(self.units,), initializer="zeros", autocast=False)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return ops.broadcast_to(self.values, (*ops.shape(x)[:-1], self.units))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}
