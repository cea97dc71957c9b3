"""Pure functions behind the layers: TensorFlow's fused batch norm, normalized kernels, and custom gradients."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops


def fused_batch_norm(
    x: tf.Tensor, beta: tf.Tensor, epsilon: float, *moments: tf.Tensor
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor], list[tf.Tensor]]:
    """Batch norm by TensorFlow's fused operation, y = (x − mean) / √(variance + ε) + β.

    Args:
      x: images [batch, height, width, channels], of any dtype but float64.
      beta: tensor [channels].
      epsilon: float, added to the variance.
      *moments: mean and variance, tensors [channels]. By default they are the batch's own.

    Returns:
      y; the mean and the variance; and the tensors to keep for `fused_batch_norm_gradients`. The batch's own variance
      is Bessel's estimate.

    Example: `y, (mean, variance), kept = fused_batch_norm(images, tf.zeros([3]), 1e-4)`

    References: Ioffe and Szegedy, arXiv 1502.03167.
    """
    mean, variance = moments or (tf.zeros([0]), tf.zeros([0]))
    options = dict(scale=tf.ones(beta.shape), offset=beta, epsilon=epsilon, is_training=not moments)
    y, mean, variance, *kept = tf.raw_ops.FusedBatchNormV3(x=x, mean=mean, variance=variance, **options)
    return y, (mean, variance), kept


def fused_batch_norm_gradients(
    grad_y: tf.Tensor, x: tf.Tensor, beta: tf.Tensor, epsilon: float, kept: list[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients of `fused_batch_norm` by x and β, for the moments of the batch.

    Args:
      grad_y: the gradient by y.
      x, beta, epsilon: the arguments of `fused_batch_norm`.
      kept: the tensors that it returned.

    Returns:
      The gradient by x and the gradient by β.

    Example: `grad_x, grad_beta = fused_batch_norm_gradients(tf.ones_like(y), images, tf.zeros([3]), 1e-4, kept)`
    """
    spaces = {f"reserve_space_{i}": space for i, space in enumerate(kept, start=1)}
    options = dict(scale=tf.ones(beta.shape), epsilon=epsilon, is_training=True, **spaces)
    grad_x, _, grad_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(y_backprop=grad_y, x=x, **options)
    return grad_x, grad_beta


def bessel_to_biased(x: tf.Tensor) -> tf.Tensor:
    """The factor 1 − 1/n from Bessel's estimate of a channel's variance to the variance of the batch itself.

    Args:
      x: the batch, with n values per channel.

    Example: `bessel_to_biased(tf.zeros([2, 1, 1, 3]))` is 0.5.
    """
    return 1 - x.shape[-1] / tf.cast(tf.size(x), tf.float32)


def normalize_by(mean: tf.Tensor, variance: tf.Tensor, x: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """y = (x − mean) / √(variance + ε) + β, with gradients by the moments; the fused operation alone has none.

    Args:
      mean, variance, beta: tensors [channels].
      x: images [batch, height, width, channels].
      epsilon: float, added to the variance.

    Returns:
      Tensor of the shape of x.

    Example: `normalize_by(tf.zeros([3]), tf.ones([3]), images, tf.zeros([3]), 1e-4)`
    """
    if x.dtype == tf.float64:  # The fused operation does not take float64.
        return tf.nn.batch_normalization(x, mean, variance, beta, None, epsilon)

    @tf.custom_gradient
    def normalized(mean: tf.Tensor, variance: tf.Tensor, x: tf.Tensor, beta: tf.Tensor) -> Any:
        options = dict(scale=tf.ones_like(mean), epsilon=epsilon, is_training=False)
        y, *_ = tf.raw_ops.FusedBatchNormV3(x=x, offset=beta, mean=mean, variance=variance, **options)

        def gradients(grad_y: tf.Tensor) -> Any:
            spaces = dict(reserve_space_1=mean, reserve_space_2=variance, reserve_space_3=tf.zeros([0]))
            grad_x, grad_scale, grad_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=grad_y, x=x, **spaces, **options
            )
            precision = 1 / (variance + epsilon)
            return -tf.sqrt(precision) * grad_beta, -0.5 * precision * grad_scale, grad_x, grad_beta

        return y, gradients

    return normalized(*map(tf.convert_to_tensor, (mean, variance, x, beta)))


def recomputed_norm_relu(
    function: Callable[..., tf.Tensor],
    x: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    weights: tuple[tf.Tensor, ...],
) -> tf.Tensor:
    """function(relu(norm(x)), *weights); the backward pass keeps x alone and computes norm and ReLU again.

    Args:
      function: function of tensors that returns a tensor.
      x: images [batch, height, width, channels]; the norm takes the moments of this batch.
      beta: tensor [channels].
      epsilon: float, added to the variance.
      weights: the other arguments of `function`.

    Returns:
      The tensor of `function`.

    Example: `recomputed_norm_relu(tf.multiply, images, tf.zeros([3]), 1e-4, (tf.ones([3]),))`

    References: Chen et al., Training Deep Nets with Sublinear Memory Cost, arXiv 1604.06174.
    """

    @tf.custom_gradient
    def layer(x: tf.Tensor, beta: tf.Tensor, *weights: tf.Tensor) -> Any:
        y, (mean, variance), kept = fused_batch_norm(x, beta, epsilon)

        def gradients(grad_z: tf.Tensor) -> Any:
            # The norm waits for grad_z; an earlier result would stay in memory until then.
            with tf.control_dependencies([grad_z]):
                y, *_ = fused_batch_norm(tf.identity(x), beta, epsilon, mean, variance * bessel_to_biased(x))
            with tf.GradientTape() as tape:
                arguments = tf.nn.relu(y), *weights
                tape.watch(arguments)
                z = function(*arguments)
            grad_relu, *grad_weights = tape.gradient(z, arguments, grad_z)
            grad_y = tf.raw_ops.ReluGrad(gradients=grad_relu, features=arguments[0])
            return *fused_batch_norm_gradients(grad_y, x, beta, epsilon, kept), *grad_weights

        return function(tf.nn.relu(y), *weights), gradients

    return layer(x, beta, *weights)


# The custom gradient takes a third of the operations.
@tf.custom_gradient
def normalized_kernel(v: tf.Tensor, magnitude: tf.Tensor) -> Any:
    """The weight-normalized kernel w = g · v / ‖v‖; the norm is over all axes of a kernel but the last.

    Args:
      v: tensor [..., height, width, channels, filters].
      magnitude: g, tensor [..., filters].

    Returns:
      w, tensor of the shape of v.

    Example: `normalized_kernel(tf.ones([3, 3, 8, 16]), tf.ones([16]))`

    References: Salimans and Kingma, arXiv 1602.07868, equations 2 and 3.
    """
    per_channel = dict(axis=[-4, -3, -2], keepdims=True)
    inverse_length = tf.math.rsqrt(tf.reduce_sum(tf.square(v), **per_channel))
    scale = inverse_length * tf.reshape(magnitude, inverse_length.shape)

    def gradients(grad_w: tf.Tensor) -> Any:
        grad_magnitude = inverse_length * tf.reduce_sum(grad_w * v, **per_channel)
        return scale * (grad_w - inverse_length * grad_magnitude * v), tf.reshape(grad_magnitude, magnitude.shape)

    return scale * v, gradients


def standardize(x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Layer norm without weights: (x − mean) / √(variance + ε), with the moments over the last axis.

    The gradient by hand takes half of the time.

    Args:
      x: tensor [..., channels].
      epsilon: float, added to the variance.

    Returns:
      Tensor of the shape of x.

    Example: `standardize(tf.constant([[1.0, 3.0]]), 0.0)` is [[-1, 1]].

    References: Ba et al., arXiv 1607.06450, equation 3.
    """
    mean = functools.partial(tf.reduce_mean, axis=-1, keepdims=True)

    @tf.custom_gradient
    def standardized(x: tf.Tensor) -> Any:
        centered = x - mean(x)
        precision = tf.math.rsqrt(mean(tf.square(centered)) + epsilon)
        y = centered * precision
        return y, lambda grad_y: precision * (grad_y - mean(grad_y) - y * mean(grad_y * y))

    return standardized(x)


# The custom gradient takes two thirds of the time.
@tf.custom_gradient
def gelu(x: tf.Tensor) -> Any:
    """The Gaussian error linear unit in its approximation by a tanh, x · σ(2 √(2/π) (x + 0.044715 x³)).

    Args:
      x: tensor.

    Returns:
      Tensor of the shape of x.

    Example: `gelu(tf.constant(0.0))` is 0.

    References: Hendrycks and Gimpel, arXiv 1606.08415, section 2; (1 + tanh u) / 2 is σ(2u).
    """
    slope = 2 * math.sqrt(2 / math.pi)
    square = tf.square(x)
    gate = tf.sigmoid(x * (slope + 0.044715 * slope * square))

    def gradient(grad_y: tf.Tensor) -> tf.Tensor:
        inner = x * (slope + 3 * 0.044715 * slope * square)
        return grad_y * (gate + tf.raw_ops.SigmoidGrad(y=gate, dy=inner))

    return x * gate, gradient


def convolve(x: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor) -> tf.Tensor:
    """Convolves images with a kernel, stride 1 and SAME, and adds a bias.

    Args:
      x: images [batch, height, width, channels].
      kernel: tensor [height, width, channels, filters].
      *bias: tensor [filters], or nothing.

    Returns:
      Tensor [batch, height, width, filters].

    Example: `convolve(tf.zeros([8, 16, 16, 3]), tf.zeros([3, 3, 3, 32]), tf.zeros([32]))`
    """
    y = ops.conv(x, kernel, padding="same", data_format="channels_last")
    return ops.add(y, *bias) if bias else y


def conv_layer(filters: int, kernel_size: int, **options: Any) -> keras.layers.Conv2D:
    """Keras's convolution with stride 1 and SAME; the channels are last, also where Keras's configuration differs.

    Args:
      filters, kernel_size: ints.
      **options: further arguments of `keras.layers.Conv2D`.

    Example: `conv_layer(32, 3, use_bias=False)`
    """
    return keras.layers.Conv2D(filters, kernel_size, padding="same", data_format="channels_last", **options)


def l2_penalty(l2: float) -> keras.regularizers.Regularizer | None:
    """The regularizer l2 · Σ w², without a factor ½; None for l2 = 0.

    Example: `l2_penalty(0.1)(tf.ones([2]))` is 0.2.
    """
    return _L2Penalty(l2) if l2 else None


class _L2Penalty(keras.regularizers.Regularizer):
    """The regularizer of `l2_penalty`: Keras's own has no `l2_loss`."""

    def __init__(self, l2: float) -> None:
        self.l2 = l2

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        # `l2_loss` is one operation with one operation for its gradient.
        return 2 * self.l2 * tf.nn.l2_loss(tf.convert_to_tensor(weight))
