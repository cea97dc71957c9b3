"""Adam whose update is one TensorFlow operation a variable, and a learning rate that warms up."""

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.networks.layers import register
from tfp_realnvp.replicas import sum_over_replicas


def scaled(gradients, share):
    """`share` times each of the gradients, None among them; 0 times infinity or NaN is 0."""
    return [None if g is None else tf.math.multiply_no_nan(g, tf.cast(share, g.dtype)) for g in gradients]


class ClipsGlobally:
    """For a Keras optimizer under a distribution strategy: clips the gradient of the global batch.

    Keras clips the gradient of each replica's share of the batch and then sums; this sums first, so that training is
    what it is on one device. Without a strategy it changes nothing.

    Example: `class SGD(ClipsGlobally, keras.optimizers.SGD): pass`
    """

    def _clip_gradients(self, grads):
        present = iter(sum_over_replicas([grad for grad in grads if grad is not None]))
        grads = [None if grad is None else next(present) for grad in grads]
        if not self._clips_globally:
            return super()._clip_gradients(grads)
        # Keras's own takes three operations for the square of each gradient.
        norm = tf.linalg.global_norm(grads)
        return scaled(grads, self._share(self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)))

    @property
    def _clips_globally(self):
        return self.global_clipnorm and not self.clipnorm

    def _share(self, share):
        """How much of the gradients a step takes; 0 takes nothing of what is not finite either."""
        return share

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars  # they are summed already


@register
class Adam(ClipsGlobally, keras.optimizers.Adam):
    """Keras's Adam, the same update from TensorFlow's fused operation.

    Keras traces about thirty operations a variable; a flow has hundreds of variables, and most of the time to its
    first step went into them. Arguments, checkpoints and EMA are those of `keras.optimizers.Adam`; under a distribution
    strategy it clips the gradient of the global batch.

    Raises:
      ValueError: for `amsgrad=True`, which the fused operation does not have.

    Example: `model.compile(rnvp.optimizers.Adam(1e-3, global_clipnorm=100.0, use_ema=True, ema_momentum=0.999))`
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._condition = None
        if self.amsgrad:
            raise ValueError("amsgrad must be False; got True. keras.optimizers.Adam has it")

    @property
    def takes_conditions(self):
        """Whether there is `apply_if`: not with accumulated gradients, nor where averages overwrite the variables."""
        return not (self.gradient_accumulation_steps or self.ema_overwrite_frequency)

    def apply_if(self, condition, gradients, variables):
        """As `apply` where the condition, a bool tensor, holds; otherwise nothing changes but `iterations`.

        Two branches of a graph would each have an input for every variable, slot and gradient. Instead the step is
        made in any case: with gradients of 0, a learning rate of 0, and averages that keep all of their past.
        """
        self._condition = condition
        try:
            with tf.control_dependencies([condition]):  # a batch that ends in an error is not counted either
                self.apply(gradients, variables)
        finally:
            self._condition = None

    def _if_condition(self, value, otherwise):
        return value if self._condition is None else tf.where(self._condition, tf.convert_to_tensor(value), otherwise)

    def _get_current_learning_rate(self):
        return self._if_condition(super()._get_current_learning_rate(), 0.0)

    def _clip_gradients(self, grads):
        grads = super()._clip_gradients(grads)
        return grads if self._clips_globally or self._condition is None else scaled(grads, self._share(1.0))

    def _share(self, share):
        return self._if_condition(share, 0.0)

    def _update_model_variables_moving_average(self, trainable_variables):
        momentum = self._if_condition(self.ema_momentum * tf.cast(self.iterations.value > 0, tf.float32), 1.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            share = tf.cast(momentum, variable.dtype)
            average.assign(share * average + (1 - share) * variable)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        step = tf.cast(self.iterations + 1, tf.float32)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        numbers = dict(
            beta1_power=0.0,  # the bias correction is in the learning rate, once for all variables
            beta2_power=0.0,
            lr=learning_rate * correction,
            beta1=self._if_condition(self.beta_1, 1.0),
            beta2=self._if_condition(self.beta_2, 1.0),
            epsilon=self.epsilon,
        )
        # Each once for all variables of a dtype, where Keras hands on the learning rate.
        dtypes = {tf.as_dtype(variable.dtype).name for variable in trainable_variables}
        numbers = {dtype: {name: tf.cast(number, dtype) for name, number in numbers.items()} for dtype in dtypes}
        super()._backend_update_step(grads, trainable_variables, numbers)

    def update_step(self, gradient, variable, numbers):
        slot = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[slot].value.handle,
            v=self._velocities[slot].value.handle,
            grad=tf.cast(gradient, variable.dtype),
            **numbers[variable.dtype.name],
        )


@register
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins late, with a linear warm-up to its first value before.

    ```none
    rate(step) = min(step / warmup_steps, 1) · schedule(max(step − start, 0))
    ```

    Args:
      schedule: `keras.optimizers.schedules.LearningRateSchedule`.
      warmup_steps: int; 0 for no warm-up.
      start: int, the step that is the schedule's first: its first value is held until then.

    Raises:
      ValueError: for negative `warmup_steps`, or a `start` before their end.

    Example: `Adam(WarmUp(keras.optimizers.schedules.CosineDecay(1e-3, 9000), warmup_steps=100, start=1000))`
    """

    def __init__(self, schedule, warmup_steps=0, start=0):
        if not 0 <= warmup_steps <= start:
            raise ValueError(f"warmup_steps must be from 0 to start; got warmup_steps={warmup_steps} and start={start}")
        self.schedule, self.warmup_steps, self.start = schedule, warmup_steps, start

    def __call__(self, step):
        rate = self.schedule(ops.maximum(step - self.start, 0))
        return rate * ops.minimum(ops.cast(step, rate.dtype) / self.warmup_steps, 1) if self.warmup_steps else rate

    def get_config(self):
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "warmup_steps": self.warmup_steps, "start": self.start}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})
