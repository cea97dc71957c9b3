"""Keras's Adam with one TensorFlow operation per variable."""

from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.optimizers.clipping import ClipsGlobally, scaled


@register
class Adam(ClipsGlobally, keras.optimizers.Adam):
    """Keras's Adam, the same update by TensorFlow's fused operation.

    Keras traces about thirty operations per variable. A flow has hundreds of variables, so they took most of the time
    to the first step. Arguments, checkpoints and averages are the same as in `keras.optimizers.Adam`. Under a
    distribution strategy it clips the gradient of the global batch.

    Args:
      first_step: int, the step from which this optimizer takes over from another one. Its count of steps begins there,
        its corrections of the bias and its averages begin anew.
      *args, **kwargs: as for `keras.optimizers.Adam`.

    Raises:
      ValueError: for `amsgrad=True`, since the fused operation has no such mode; for a negative `first_step`, or a
        positive one with accumulated gradients.

    Example: `model.compile(rnvp.optimizers.Adam(1e-3, global_clipnorm=100.0, use_ema=True, ema_momentum=0.999))`

    References: Kingma and Ba, arXiv 1412.6980, algorithm 1 and section 2.
    """

    def __init__(self, *args: Any, first_step: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._condition: tf.Tensor | None = None
        if self.amsgrad:
            raise ValueError("amsgrad must be False; got True. keras.optimizers.Adam has it")
        if not isinstance(first_step, int) or first_step < 0 or (first_step and self.gradient_accumulation_steps):
            raise ValueError(
                f"first_step must be a non-negative int, and 0 with accumulated gradients; got {first_step!r}"
            )
        self.first_step = first_step
        if first_step:
            self.iterations.assign(first_step)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "first_step": self.first_step} if self.first_step else config

    @property
    def takes_conditions(self) -> bool:
        """Whether `apply_if` works: not with accumulated gradients, nor where averages overwrite the variables."""
        return not (self.gradient_accumulation_steps or self.ema_overwrite_frequency)

    def apply_if(self, condition: tf.Tensor, gradients: list, variables: list) -> None:
        """Does `apply` if the condition, a bool tensor, holds; otherwise only `iterations` changes.

        Two branches of a graph would each take every variable, slot and gradient as an input. Instead the step always
        runs. If the condition fails, its gradients and learning rate are 0, and its averages keep their values.
        """
        self._condition = condition
        try:
            with tf.control_dependencies([condition]):  # A batch that raises an error is not counted.
                self.apply(gradients, variables)
        finally:
            self._condition = None

    def _if_condition(self, value: Any, otherwise: float) -> Any:
        return value if self._condition is None else tf.where(self._condition, tf.convert_to_tensor(value), otherwise)

    def learning_rate_now(self) -> Any:
        return self._if_condition(super().learning_rate_now(), 0.0)

    def clip_gradients(self, gradients: list) -> list:
        gradients = super().clip_gradients(gradients)
        if self._clips_globally or self._condition is None:
            return gradients
        return scaled(gradients, self._factor_of_step(1.0))

    def _factor_of_step(self, factor: Any) -> Any:
        return self._if_condition(factor, 0.0)

    def update_averages(self, variables: list) -> None:
        is_later = tf.cast(self.iterations.value > self.first_step, tf.float32)
        momentum = self._if_condition(self.ema_momentum * is_later, 1.0)
        for variable, average in zip(variables, self.averages(), strict=True):
            past = tf.cast(momentum, variable.dtype)
            average.assign(past * average + (1 - past) * variable)

    def update_variables(self, gradients: list, variables: list, learning_rate: Any) -> None:
        numbers = self.numbers_of_step(tf.convert_to_tensor(learning_rate))  # Of Keras's floatx.
        # Keras hands the learning rate on to `update_step`; here the numbers of each dtype take its place.
        dtypes = {tf.as_dtype(variable.dtype).name for variable in variables}
        by_dtype = {dtype: {name: tf.cast(number, dtype) for name, number in numbers.items()} for dtype in dtypes}
        super().update_variables(gradients, variables, by_dtype)

    def numbers_of_step(self, learning_rate: tf.Tensor) -> dict[str, Any]:
        """The numbers that the step of each variable needs."""
        step = tf.cast(self.iterations + 1 - self.first_step, learning_rate.dtype)
        power = lambda beta: tf.pow(tf.cast(beta, step.dtype), step)
        correction = tf.sqrt(1 - power(self.beta_2)) / (1 - power(self.beta_1))
        return dict(
            beta1_power=0.0,  # The learning rate has the bias correction, once for all variables.
            beta2_power=0.0,
            lr=learning_rate * correction,
            beta1=self._if_condition(self.beta_1, 1.0),
            beta2=self._if_condition(self.beta_2, 1.0),
            epsilon=self.epsilon,
        )

    def update_step(self, gradient: tf.Tensor, variable: Any, numbers: dict[str, dict[str, tf.Tensor]]) -> None:
        mean, square = self.moments_of_gradient(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.value.handle,
            v=square.value.handle,
            grad=tf.cast(gradient, variable.dtype),
            **numbers[variable.dtype.name],
        )
