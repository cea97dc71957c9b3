"""Adam with one TensorFlow operation per variable, clipping of the global batch, and a learning rate that warms up."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import register
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
        learning_rate = tf.convert_to_tensor(learning_rate)  # Of Keras's floatx.
        step = tf.cast(self.iterations + 1 - self.first_step, learning_rate.dtype)
        power = lambda beta: tf.pow(tf.cast(beta, step.dtype), step)
        correction = tf.sqrt(1 - power(self.beta_2)) / (1 - power(self.beta_1))
        numbers = dict(
            beta1_power=0.0,  # The learning rate has the bias correction, once for all variables.
            beta2_power=0.0,
            lr=learning_rate * correction,
            beta1=self._if_condition(self.beta_1, 1.0),
            beta2=self._if_condition(self.beta_2, 1.0),
            epsilon=self.epsilon,
        )
        # Keras hands the learning rate on to `update_step`; here the numbers of each dtype take its place.
        dtypes = {tf.as_dtype(variable.dtype).name for variable in variables}
        by_dtype = {dtype: {name: tf.cast(number, dtype) for name, number in numbers.items()} for dtype in dtypes}
        super().update_variables(gradients, variables, by_dtype)

    def update_step(self, gradient: tf.Tensor, variable: Any, numbers: dict[str, dict[str, tf.Tensor]]) -> None:
        mean, square = self.moments_of_gradient(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.value.handle,
            v=square.value.handle,
            grad=tf.cast(gradient, variable.dtype),
            **numbers[variable.dtype.name],
        )


@register
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning-rate schedule that starts late, after a linear warm-up to its first value.

    ```none
    rate(first_step + step) = min(step / warmup_steps, 1) · schedule(max(step − start, 0))
    ```

    Args:
      schedule: `keras.optimizers.schedules.LearningRateSchedule`.
      warmup_steps: int; 0 for no warm-up.
      start: int, the step at which the schedule starts; its first value holds until then.
      first_step: int, of the optimizer, see `Adam`: the steps count from there.

    Raises:
      ValueError: for negative `warmup_steps`, or a `start` before their end.

    Example: `Adam(WarmUp(keras.optimizers.schedules.CosineDecay(1e-3, 9000), warmup_steps=100, start=1000))`
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int = 0,
        start: int = 0,
        first_step: int = 0,
    ) -> None:
        if not 0 <= warmup_steps <= start:
            raise ValueError(f"warmup_steps must be from 0 to start; got warmup_steps={warmup_steps} and start={start}")
        self.schedule, self.warmup_steps, self.start, self.first_step = schedule, warmup_steps, start, first_step

    def __call__(self, step: Any) -> Any:
        step = step - self.first_step
        rate = self.schedule(ops.maximum(step - self.start, 0))
        return rate * ops.minimum(ops.cast(step, rate.dtype) / self.warmup_steps, 1) if self.warmup_steps else rate

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        config = {"schedule": schedule, "warmup_steps": self.warmup_steps, "start": self.start}
        return {**config, "first_step": self.first_step} if self.first_step else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})
