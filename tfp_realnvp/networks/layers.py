"""Layers that the conditioners are made of: weight-normalized convolution, moments, batch norm, bounded log-scale."""

import contextlib
import contextvars
import functools
import random

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfp_realnvp.replicas import moments_over_replicas, num_replicas

register = keras.saving.register_keras_serializable(package="tfp_realnvp")


def draw_seed(seed=None):
    """`seed`, or where it is None one drawn from Python's generator, which `keras.utils.set_random_seed` sets."""
    if seed is None:
        return random.randrange(2**31)
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be None or an int from 0 to 2^63 - 1; got {seed!r}")
    return int(seed)


def spawn_seeds(seed, number):
    """`number` independent seeds for the parts of a network; all None where `seed` is None."""
    if seed is None:
        return [None] * number
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(number)]


def check_positive(**sizes):
    """Raises a ValueError that names the first of these sizes that is no positive int."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int; got {value!r}")


_recomputing = contextvars.ContextVar("recomputing", default=False)


@contextlib.contextmanager
def recomputing():
    """A scope in which networks give what they gave before to the same batch, whose moments they have seen."""
    token = _recomputing.set(True)
    try:
        yield
    finally:
        _recomputing.reset(token)


def is_recomputing():
    """Whether networks are called within `recomputing()`."""
    return _recomputing.get()


@register
class Moments(keras.layers.Layer):
    """Mean and variance of each channel: the batch's in training, their moving averages otherwise.

    ```none
    moving ← momentum · moving + (1 − momentum) · batch        once each training call
    ```

    With `running` training too uses averages, Real NVP's equations 22 to 24, for small batches: those that the batch
    at hand has just entered, and the gradient flows through the batch's share alone. They are debiased: begun at
    nothing, and divided by the sum of their weights, so that the first averages are the first batch's moments.

    Under a distribution strategy the batch is the global one. The moments are computed in the dtype of the weights,
    float32 under a mixed policy, whatever the dtype of the input. As with Keras's batch norm, a layer whose
    `trainable` is False always uses the averages and learns nothing.

    Args:
      momentum: weight of the past in the moving averages, in [0, 1); the paper's ρ.
      running: whether training uses the averages instead of the batch.
      copies: of a stack, how many norms the layer has the averages of, of shape [copies, channels]; see
        `BatchNormalization`. None for one.

    Raises:
      ValueError: for a `momentum` outside of [0, 1).

    Call arguments:
      x: tensor of shape [..., channels].
      training: whether to use, and learn from, the batch; by default Keras's call context decides.

    Returns:
      `(mean, variance)`, each of shape [channels].

    Example: `mean, variance = Moments()(images, training=True)`
    """

    def __init__(self, momentum=0.9, running=False, copies=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); got {momentum!r}")
        self.momentum = momentum
        self.running = running
        self.copies = copies

    def build(self, input_shape):
        options = dict(trainable=False, autocast=False, aggregation="mean")
        shape = (*_stacked(self.copies), input_shape[-1])
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", shape=shape, initializer="ones", **options)
        if self.running:  # how much of an average's weight is that of batches, not of the initial value
            self.filled = self.add_weight(name="filled", shape=(), initializer="zeros", **options)

    def call(self, x, training=False):
        _check_single(self.copies)
        if not self.learns(training):
            return tf.identity(self.mean.value), tf.identity(self.variance.value)
        batch = moments_over_replicas(tf.cast(x, self.variable_dtype))
        averages = self.update(*batch)
        return averages if self.running else batch

    def compute_output_shape(self, input_shape):
        return (input_shape[-1:],) * 2

    def learns(self, training):
        """Whether a call in this mode uses the batch and moves the averages."""
        return bool(training) and self.trainable

    def update(self, mean, variance):
        """Moves the averages towards a batch's moments and returns them."""
        moved = self.moved((self.mean.value, self.variance.value), (mean, variance))
        if not is_recomputing():
            for average, value in zip((self.mean, self.variance), moved, strict=True):
                average.assign(value)
            if self.running:
                self.filled.assign(self._moved_filled())
        return moved

    def moved(self, averages, batch):
        """What a batch's moments make of averages, which stay as they are."""
        share = 1 - self.momentum
        if self.running:
            share = share / self._moved_filled()
        if is_recomputing():  # they have moved, and the gradient is still that of the batch's share
            return [tf.stop_gradient(a - share * b) + share * b for a, b in zip(averages, batch, strict=True)]
        return [a + share * (b - a) for a, b in zip(averages, batch, strict=True)]

    def _moved_filled(self):
        return self.filled.value if is_recomputing() else self.momentum * self.filled + (1 - self.momentum)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "running": self.running, "copies": self.copies}


def _stacked(copies):
    """The first axis of the weights of a stack of layers; of a single layer none."""
    return () if copies is None else (copies,)


def _rows(weights):
    """The weights of each layer of a stack: a list of tuples."""
    return list(zip(*map(tf.unstack, weights), strict=True))


def _check_single(copies):
    """Raises a ValueError for a stack that is called as if it were one layer."""
    if copies is not None:
        raise ValueError(
            f"copies must be None for a layer that is called; got {copies}. A stack goes through its rows()"
        )


@register
class FixedMoments(keras.layers.Layer):
    """Mean and variance of each entry which are set, not learned: what data are standardized by.

    Call arguments:
      x: tensor of shape [..., size]; only its last axis matters.

    Returns:
      `(mean, variance)`, each of shape [size], initially 0 and 1.

    Example: `layer.mean.assign(table.mean(axis=0)); layer.variance.assign(table.var(axis=0))`
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape):
        options = dict(shape=input_shape[-1:], trainable=False, autocast=False)
        self.mean = self.add_weight(name="mean", initializer="zeros", **options)
        self.variance = self.add_weight(name="variance", initializer="ones", **options)

    def call(self, x):
        return tf.identity(self.mean.value), tf.identity(self.variance.value)

    def compute_output_shape(self, input_shape):
        return (input_shape[-1:],) * 2


@register
class Constant(keras.layers.Layer):
    """Learned numbers, initially 0, whatever the input: the parameters of a coupling that keeps nothing.

    Args:
      units: how many.

    Call arguments:
      x: tensor of shape [..., channels], of which only [...] matters.

    Returns:
      Tensor of shape [..., units].

    Example: `Coupling(Nothing(3), Constant(2 * channels))` learns a mean and a scale a channel.
    """

    def __init__(self, units, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape):
        self.values = self.add_weight(name="values", shape=(self.units,), initializer="zeros", autocast=False)

    def call(self, x):
        return ops.broadcast_to(self.values, (*ops.shape(x)[:-1], self.units))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def moments_of(layer):
    """Every `Moments` inside of a Keras layer."""
    return [part for part in layer._flatten_layers() if isinstance(part, Moments)]


@register
class BatchNormalization(keras.layers.Layer):
    """Batch norm of images inside a network: (x − mean) / √(variance + ε) + beta, without a scale.

    As Keras's own layer, but from TensorFlow's fused operation where there is one, and otherwise with the moments of
    `Moments`: those of the global batch under a distribution strategy, and in float32 under a mixed policy.

    A stack of norms, with `copies`, is not called itself: a network of many equal layers goes through its `rows`, and
    has as few weights as if there were one of them, so that it builds and traces faster.

    Args:
      momentum, running: see `Moments`.
      epsilon: added to the variance.
      copies: how many norms the layer is a stack of, each weight of shape [copies, channels]; None for one.

    Example: `BatchNormalization()(images, training=True)`
    """

    def __init__(self, momentum=0.9, epsilon=1e-4, running=False, copies=None, **kwargs):
        super().__init__(**kwargs)
        self.moments = Moments(momentum, running, copies, dtype=self.dtype_policy, name="moments")
        self.epsilon = epsilon
        self.copies = copies

    def build(self, input_shape):
        self.moments.build(input_shape)
        shape = (*_stacked(self.copies), input_shape[-1])
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)

    def call(self, x, training=False):
        _check_single(self.copies)
        y, batch = self.normalize(x, self._values(), training)
        self.learn(x, *batch)
        return y

    def rows(self):
        """Of a stack the weights of each norm, as `normalize` takes them: a list of tuples of tensors."""
        return _rows(self._values())

    def _values(self):
        return self.beta.value, self.moments.mean.value, self.moments.variance.value

    def affine(self):
        """The scale and the offset that the norm is outside of training, of a stack those of all its norms."""
        beta, mean, variance = map(tf.convert_to_tensor, self._values())
        scale = tf.math.rsqrt(variance + self.epsilon)
        return scale, beta - scale * mean

    def normalize(self, x, weights, training):
        """The norm with these weights: y, and what `learn` takes of the batch, nothing where it is not used."""
        beta, mean, variance = weights
        if self.is_fused(x, training):
            y, batch, _ = _fused(x, beta, self.epsilon)
            return y, batch
        if self.moments.learns(training):
            batch = moments_over_replicas(tf.cast(x, self.variable_dtype))
            used = self.moments.moved((mean, variance), batch) if self.moments.running else batch
            return _normalized_by(*used, x, beta, self.epsilon), batch
        if x.dtype.size >= 4:  # where the fused operation takes half as long again on a CPU
            return tf.nn.batch_normalization(x, mean, variance, beta, None, self.epsilon), ()
        y, *_ = _fused(x, beta, self.epsilon, mean, variance)
        return y, ()

    def learn(self, x, *batch):
        """Moves the averages towards the moments of a batch of the size of x, of a stack those of all its norms."""
        if batch:
            mean, variance = batch
            if self.is_fused(x, True):
                variance *= _of_the_batch_itself(x)
            self.moments.update(mean, variance)

    def is_fused(self, x, training):
        """Whether the fused operation takes the moments of a batch itself."""
        is_plain = not (x.dtype == tf.float64 or self.moments.running or num_replicas() > 1)
        return self.moments.learns(training) and is_plain

    def relu_into(self, function, x, weights, more_weights):
        """`function(relu(norm(x)), *more_weights)` in training, which makes all but x again for its gradient.

        Args:
          function: of tensors, to a tensor.
          x: tensor that `is_fused`.
          weights: as for `normalize`.
          more_weights: tuple of tensors.
        """
        beta, *_ = weights

        @tf.custom_gradient
        def layer(x, beta, *more_weights):
            y, (mean, variance), kept = _fused(x, beta, self.epsilon)

            def gradients(of_z):
                # Not before of_z is there, or it would be kept until then.
                with tf.control_dependencies([of_z]):
                    y, *_ = _fused(tf.identity(x), beta, self.epsilon, mean, variance * _of_the_batch_itself(x))
                with tf.GradientTape() as tape:
                    arguments = tf.nn.relu(y), *more_weights
                    tape.watch(arguments)
                    z = function(*arguments)
                of_relu, *of_more = tape.gradient(z, arguments, of_z)
                of_y = tf.raw_ops.ReluGrad(gradients=of_relu, features=arguments[0])
                return *_fused_gradients(of_y, x, beta, self.epsilon, kept), *of_more

            return function(tf.nn.relu(y), *more_weights), gradients

        return layer(x, beta, *more_weights)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        moments = {"momentum": self.moments.momentum, "running": self.moments.running}
        return {**super().get_config(), **moments, "epsilon": self.epsilon, "copies": self.copies}


def _fused(x, beta, epsilon, *moments):
    """Batch norm by TensorFlow's operation, with the batch's moments if none are given.

    Returns:
      y, the moments (the batch's variance is Bessel's), and what the gradient takes.
    """
    mean, variance = moments or (tf.zeros([0]), tf.zeros([0]))
    options = dict(scale=tf.ones(beta.shape), offset=beta, epsilon=epsilon, is_training=not moments)
    y, mean, variance, *kept = tf.raw_ops.FusedBatchNormV3(x=x, mean=mean, variance=variance, **options)
    return y, (mean, variance), kept


def _fused_gradients(of_y, x, beta, epsilon, kept):
    """The gradients of `_fused` with the batch's moments, of x and beta."""
    spaces = {f"reserve_space_{i}": space for i, space in enumerate(kept, start=1)}
    options = dict(scale=tf.ones(beta.shape), epsilon=epsilon, is_training=True, **spaces)
    of_x, _, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(y_backprop=of_y, x=x, **options)
    return of_x, of_beta


def _of_the_batch_itself(x):
    """What Bessel's estimate of a channel's variance is multiplied by to be the variance of x itself."""
    return 1 - x.shape[-1] / tf.cast(tf.size(x), tf.float32)


def _normalized_by(mean, variance, x, beta, epsilon):
    """(x − mean) / √(variance + ε) + beta by the fused operation, which by itself takes the moments for constants."""
    if x.dtype == tf.float64:  # which it does not have
        return tf.nn.batch_normalization(x, mean, variance, beta, None, epsilon)

    @tf.custom_gradient
    def normalized(mean, variance, x, beta):
        options = dict(scale=tf.ones_like(mean), epsilon=epsilon, is_training=False)
        y, *_ = tf.raw_ops.FusedBatchNormV3(x=x, offset=beta, mean=mean, variance=variance, **options)

        def gradients(of_y):
            of_x, of_scale, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=of_y,
                x=x,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros([0]),
                **options,
            )
            precision = 1 / (variance + epsilon)
            return -tf.sqrt(precision) * of_beta, -0.5 * precision * of_scale, of_x, of_beta

        return y, gradients

    return normalized(*map(tf.convert_to_tensor, (mean, variance, x, beta)))


@register
class WeightNormConv2D(keras.layers.Layer):
    """A convolution, stride 1 and SAME, by the weight-normalized kernel w = g · v / ‖v‖ (arXiv 1602.07868).

    The norm is taken for each output channel over the rest of the kernel. Initialized as in Real NVP's code:
    v ~ U(−σ, σ) with σ = √(2 / input channels), g = σ · √(input channels · kernel_size² / 12), bias 0.

    A stack of convolutions, with `copies`, is not called itself, as for `BatchNormalization`.

    Args:
      filters: number of output channels.
      kernel_size: height and width of the kernel.
      use_magnitude: whether there is a g; without one the kernel has norm 1.
      use_bias: whether there is a bias.
      l2: the penalty l2 · Σ g² (without a ½), in nats.
      copies: how many convolutions the layer is a stack of, each weight with a first axis of them; None for one.
      seed: int or None.

    Example: `WeightNormConv2D(64, kernel_size=3)(images)`
    """

    def __init__(
        self, filters, kernel_size, use_magnitude=True, use_bias=True, l2=0.0, copies=None, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_magnitude = use_magnitude
        self.use_bias = use_bias
        self.l2 = l2
        self.copies = copies
        self.seed = seed

    def build(self, input_shape):
        channels, stacked = input_shape[-1], _stacked(self.copies)
        sigma = (2 / channels) ** 0.5
        self.v = self.add_weight(
            name="v",
            shape=(*stacked, self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=keras.initializers.RandomUniform(-sigma, sigma, seed=self.seed),
            autocast=False,
        )
        self.magnitude = self.bias = None
        if self.use_magnitude:
            self.magnitude = self.add_weight(
                name="magnitude",
                shape=(*stacked, self.filters),
                initializer=keras.initializers.Constant(sigma * (channels * self.kernel_size**2 / 12) ** 0.5),
                regularizer=_penalty(self.l2),
                autocast=False,
            )
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(*stacked, self.filters), initializer="zeros")

    def call(self, x):
        _check_single(self.copies)
        return self.convolve(x, self._values())

    def rows(self, then=None):
        """Of a stack the weights of each convolution, as `convolve` takes them: a list of tuples of tensors.

        Args:
          then: scale and offset, as of `BatchNormalization.affine`, by which the convolutions' outputs go on.
        """
        return _rows(self._values(then))

    def convolve(self, x, weights):
        """The convolution with these weights, the normalized kernel and, if there is one, the bias."""
        kernel, *bias = weights
        y = ops.conv(x, kernel, padding="same")
        return ops.add(y, *bias) if bias else y

    def _values(self, then=None):
        """The normalized kernel, of a stack those of all its convolutions at once, and the bias if there is one.

        They take up `then`, a scale and an offset of the outputs.
        """
        v = tf.convert_to_tensor(self.v.value)
        if self.magnitude is None:
            magnitude = tf.ones([*_stacked(self.copies), self.filters], v.dtype)
        else:
            magnitude = tf.convert_to_tensor(self.magnitude.value)
        bias = [] if self.bias is None else [tf.convert_to_tensor(self.bias)]
        if then:
            scale, offset = then
            magnitude, bias = scale * magnitude, [scale * b + offset for b in bias] or [offset]
        return [tf.cast(value, self.compute_dtype) for value in (_normalized(v, magnitude), *bias)]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_magnitude": self.use_magnitude,
            "use_bias": self.use_bias,
            "l2": self.l2,
            "copies": self.copies,
            "seed": self.seed,
        }


def _penalty(l2):
    """The regularizer l2 · Σ w², or None for 0."""
    return functools.partial(_l2_penalty, l2) if l2 else None


def _l2_penalty(l2, weight):
    return 2 * l2 * tf.nn.l2_loss(tf.convert_to_tensor(weight))  # one operation, and one for its gradient


@tf.custom_gradient  # by hand it takes a third of the operations
def _normalized(v, magnitude):
    """w = g · v / ‖v‖ over all axes of a kernel but the last; arXiv 1602.07868, equations 2 and 3."""
    per_channel = dict(axis=[-4, -3, -2], keepdims=True)
    inverse_length = tf.math.rsqrt(tf.reduce_sum(tf.square(v), **per_channel))
    scale = inverse_length * tf.reshape(magnitude, inverse_length.shape)

    def gradients(w):
        of_magnitude = inverse_length * tf.reduce_sum(w * v, **per_channel)
        return scale * (w - inverse_length * of_magnitude * v), tf.reshape(of_magnitude, magnitude.shape)

    return scale * v, gradients


class Wrapper(keras.layers.Layer):
    """A layer around a network, with which it is saved.

    Args:
      network: Keras layer.
    """

    def __init__(self, network, **kwargs):
        super().__init__(**kwargs)
        self.network = network

    def compute_output_shape(self, input_shape):
        return self.network.compute_output_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})


class BoundedScale(Wrapper):
    """Bounds the log-scale that a network emits for an affine coupling: (t, s) ↦ (t, bound(s)).

    The result has the dtype of the weights: what the flow computes with it stays in float32 when the network runs in
    bfloat16. A subclass writes `bound(log_scale)`.

    Args:
      network: Keras layer whose output holds t, then s, along its last axis.
    """

    def __init__(self, network, **kwargs):
        super().__init__(network, autocast=False, **kwargs)

    def bound(self, log_scale):
        """The log-scale that the flow uses, from the one that the network emits."""
        raise NotImplementedError(f"{type(self).__name__} must define bound(log_scale)")

    def build(self, input_shape):
        if not self.network.built:
            self.network.build(input_shape)

    def call(self, x):
        shift, log_scale = ops.split(ops.cast(self.network(x), self.variable_dtype), 2, axis=-1)
        return ops.concatenate([shift, self.bound(log_scale)], axis=-1)


@register
class TanhScale(BoundedScale):
    """Real NVP's bound, s ↦ a · tanh(s) + b, see `BoundedScale`.

    a is one learned number a coupling, `rescaling_scale` or `scale` in the authors' code, and b another where nothing
    normalizes the coupling's output, `scale_shift` in the code.

    Args:
      network: Keras layer whose output holds t, then s, along its last axis.
      initial: the initial a.
      use_offset: whether there is a b, initially 0.
      l2: the penalty l2 · a² (without a ½), in nats.

    Example: `TanhScale(ResNet(out_channels=6, checkerboard=1), initial=0.0)`
    """

    def __init__(self, network, initial=1.0, use_offset=False, l2=0.0, **kwargs):
        super().__init__(network, **kwargs)
        self.initial = initial
        self.use_offset = use_offset
        self.l2 = l2

    def build(self, input_shape):
        super().build(input_shape)
        self.a = self.add_weight(
            name="a",
            shape=(),
            initializer=keras.initializers.Constant(self.initial),
            regularizer=_penalty(self.l2),
            autocast=False,
        )
        self.b = None
        if self.use_offset:
            self.b = self.add_weight(name="b", shape=(), initializer="zeros", autocast=False)

    def bound(self, log_scale):
        log_scale = self.a * ops.tanh(log_scale)
        return log_scale if self.b is None else log_scale + self.b

    def get_config(self):
        return {**super().get_config(), "initial": self.initial, "use_offset": self.use_offset, "l2": self.l2}


@register
class ChannelTanhScale(BoundedScale):
    """The bound of the UvA tutorial, s ↦ e^f · tanh(s / e^f), with a learned f for each channel, initially 0.

    Its slope at 0 is 1 whatever f is; see `BoundedScale`.

    Args:
      network: Keras layer whose output holds t, then s, along its last axis.

    Example: `ChannelTanhScale(GatedConvNet(out_channels=2))`

    References: P. Lippe, UvA deep learning tutorial 11.
    """

    def build(self, input_shape):
        super().build(input_shape)
        channels = self.network.compute_output_shape(input_shape)[-1] // 2
        self.f = self.add_weight(name="f", shape=(channels,), initializer="zeros", autocast=False)

    def bound(self, log_scale):
        limit = ops.exp(self.f)
        return limit * ops.tanh(log_scale / limit)


@register
class SigmoidScale(BoundedScale):
    """The bound of Glow's code, s ↦ log σ(s + 2): the scale is below 1 and begins at 0.88; see `BoundedScale`.

    Args:
      network: Keras layer whose output holds t, then s, along its last axis.

    Example: `SigmoidScale(GlowNet(out_channels=12))`

    References: arXiv 1807.03039, section 3.3.
    """

    def bound(self, log_scale):
        return ops.log_sigmoid(log_scale + 2)
