"""Adam whose update is one TensorFlow operation a variable."""

import keras
import tensorflow as tf

from tfp_realnvp.networks.layers import register


@register
class Adam(keras.optimizers.Adam):
    """Keras's Adam, the same update from TensorFlow's fused operation.

    Keras traces about thirty operations a variable; a flow has hundreds of variables, and most of the time to its
    first step went into them. Arguments, checkpoints and EMA are those of `keras.optimizers.Adam`.

    Raises:
      ValueError: for `amsgrad=True`, which the fused operation does not have.

    Example: `model.compile(rnvp.optimizers.Adam(1e-3, global_clipnorm=100.0))`
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise ValueError("amsgrad must be False; got True. keras.optimizers.Adam has it")

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        step = tf.cast(self.iterations.value + 1, tf.float32)
        correction = tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
        super()._backend_update_step(grads, trainable_variables, learning_rate * correction)

    def update_step(self, gradient, variable, learning_rate):
        slot = self._get_variable_index(variable)
        cast = lambda value: tf.cast(value, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[slot].value.handle,
            v=self._velocities[slot].value.handle,
            beta1_power=cast(0),  # the bias correction is in the learning rate, once for all variables
            beta2_power=cast(0),
            lr=cast(learning_rate),
            beta1=cast(self.beta_1),
            beta2=cast(self.beta_2),
            epsilon=cast(self.epsilon),
            grad=cast(gradient),
        )
