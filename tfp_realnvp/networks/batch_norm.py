"""Batch norm as a layer of a network."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.networks.kernels import bessel_to_biased, fused_batch_norm, normalize_by
from tfp_realnvp.networks.moments import Moments
from tfp_realnvp.networks.stacks import Weights, check_single, stack_shape, unstack
from tfp_realnvp.replicas import moments_over_replicas, num_replicas
from tfp_realnvp.representation import Described

Normalization = Callable[..., tuple[tf.Tensor, Weights]]


@register
class BatchNormalization(Described, keras.layers.Layer):
    """Batch norm of images inside a network: (x − mean) / √(variance + ε) + β, without a scale.

    It differs from Keras's layer in two ways. Under a distribution strategy it takes the moments of the global batch.
    Under a mixed policy the moments are float32. It uses TensorFlow's fused operation where possible.

    Saved flows contain the name of this class, so it keeps the name of Keras's layer.

    Args:
      momentum, running: see `Moments`.
      epsilon: float, ε.
      copies: int, number of norms in a stack, see `networks.stacks`; each weight then has the shape [copies, channels].
        None for a single norm.

    Call arguments:
      x: images [batch, height, width, channels].
      training: see `Moments`.

    Returns:
      Tensor of the shape of x.

    Example: `BatchNormalization()(images, training=True)`

    References: Real NVP, arXiv 1605.08803, section 3.7; Ioffe and Szegedy, arXiv 1502.03167.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-4,
        running: bool = False,
        copies: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.moments = Moments(momentum, running, copies, dtype=self.dtype_policy, name="moments")
        self.epsilon = epsilon
        self.copies = copies

    def build(self, input_shape: tuple) -> None:
        self.moments.build(input_shape)
        shape = (*stack_shape(self.copies), input_shape[-1])
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        check_single(self.copies)
        y, batch_moments = self.normalization(x, training)(x, *self._values())
        self.update_moving(x, *batch_moments)
        return y

    def normalization(self, x: tf.Tensor, training: bool | None) -> Normalization:
        """The norm as a function, for one mode and for tensors of the shape and dtype of x.

        Args:
          x: images [batch, height, width, channels].
          training: see `Moments`.

        Returns:
          Function of x, β, mean and variance; it returns y and the moments of the batch for `update_moving`. It returns
          `()` as the moments if the norm uses the averages.
        """
        if self.is_fused(x, training):
            return self._by_fused_moments
        if self.moments.uses_batch(training):
            return self._by_running_moments if self.moments.running else self._by_batch_moments
        return self._by_averages if self.is_affine(x, training) else self._by_averages_fused

    def _by_fused_moments(self, x: tf.Tensor, beta: tf.Tensor, *averages: tf.Tensor) -> tuple[tf.Tensor, Weights]:
        y, batch, _ = fused_batch_norm(x, beta, self.epsilon)
        return y, batch

    def _by_batch_moments(self, x: tf.Tensor, beta: tf.Tensor, *averages: tf.Tensor) -> tuple[tf.Tensor, Weights]:
        batch = moments_over_replicas(tf.cast(x, self.variable_dtype))
        return normalize_by(*batch, x, beta, self.epsilon), batch

    def _by_running_moments(self, x: tf.Tensor, beta: tf.Tensor, *averages: tf.Tensor) -> tuple[tf.Tensor, Weights]:
        batch = moments_over_replicas(tf.cast(x, self.variable_dtype))
        return normalize_by(*self.moments.moved(averages, batch), x, beta, self.epsilon), batch

    def _by_averages(self, x: tf.Tensor, beta: tf.Tensor, *averages: tf.Tensor) -> tuple[tf.Tensor, Weights]:
        return tf.nn.batch_normalization(x, *averages, beta, None, self.epsilon), ()

    def _by_averages_fused(self, x: tf.Tensor, beta: tf.Tensor, *averages: tf.Tensor) -> tuple[tf.Tensor, Weights]:
        y, *_ = fused_batch_norm(x, beta, self.epsilon, *averages)
        return y, ()

    def update_moving(self, x: tf.Tensor, *batch_moments: tf.Tensor) -> None:
        """Moves the averages towards the moments of a batch; for a stack, the averages of all its norms.

        Args:
          x: the batch, or a tensor of its shape.
          *batch_moments: the moments from the function of `normalization`; none, and nothing moves.
        """
        if batch_moments:
            mean, variance = batch_moments
            if self.is_fused(x, True):
                variance *= bessel_to_biased(x)
            self.moments.update_moving(mean, variance)

    def is_fused(self, x: tf.Tensor, training: bool | None) -> bool:
        """Whether the fused operation computes the moments of the batch."""
        is_plain = not (x.dtype == tf.float64 or self.moments.running or num_replicas() > 1)
        return self.moments.uses_batch(training) and is_plain

    def is_affine(self, x: tf.Tensor, training: bool | None) -> bool:
        """Whether the norm is a product and a sum, see `affine`; in float32 the fused operation takes longer."""
        return not self.moments.uses_batch(training) and x.dtype.size >= 4

    def affine(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The scale and the offset of the norm outside of training; for a stack, of all its norms."""
        beta, mean, variance = map(tf.convert_to_tensor, self._values())
        scale = tf.math.rsqrt(variance + self.epsilon)
        return scale, beta - scale * mean

    def unstacked(self) -> list[Weights]:
        """β, mean and variance of each norm of a stack."""
        return unstack(self._values())

    def _values(self) -> Weights:
        return self.beta.value, self.moments.mean.value, self.moments.variance.value

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        moments = {"momentum": self.moments.momentum, "running": self.moments.running}
        return {**super().get_config(), **moments, "epsilon": self.epsilon, "copies": self.copies}
