"""Squeeze and factor-out: the bijectors of the multi-scale architecture (Real NVP, section 3.6)."""

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.masks import first_channels
from tfp_realnvp.representation import DescribedBijector

tfb = tfp.bijectors


class Squeeze(DescribedBijector):
    """Trades space for channels: [height, width, c] ↦ [height/2, width/2, 4c], one 2×2 block a pixel.

    Forward is data → latent, as in the papers.

    Args:
      diagonal_first: False for the channel-major order (`squeeze_2x2` of the authors' code): the four pixels of the
        first channel, then those of the second, in the order top-left, top-right, bottom-left, bottom-right.
        True for the position-major order that the authors factor out by (`squeeze_2x2_ordered`): all channels of the
        top-left pixel, then of the bottom-right, the top-right, the bottom-left; so the first half of the channels is
        the diagonal.

    Raises:
      ValueError: where the height or width is odd.

    Example: `Squeeze().forward(tf.zeros([8, 32, 32, 3]))` has shape [8, 16, 16, 12].
    """

    def __init__(self, diagonal_first=False, validate_args=False, name="squeeze"):
        parameters = dict(locals())
        self._diagonal_first = diagonal_first
        super().__init__(
            forward_min_event_ndims=3,
            is_constant_jacobian=True,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def _is_permutation(self):
        return True

    def _forward(self, x):
        self._forward_event_shape(x.shape[-3:])
        height, width, channels = _sizes(x)
        x = _reshape(x, 3, [height // 2, 2, width // 2, 2, channels])
        # Axes from the end: -5 block row, -4 row in block, -3 block column, -2 column in block, -1 channel.
        if not self._diagonal_first:
            return _reshape(_transpose(x, [-5, -3, -1, -4, -2]), 5, [height // 2, width // 2, 4 * channels])
        x = _reshape(_transpose(x, [-5, -3, -4, -2, -1]), 5, [height // 2, width // 2, 4, channels])
        x = tf.stack([x[..., position, :] for position in (0, 3, 1, 2)], axis=-2)
        return _reshape(x, 4, [height // 2, width // 2, 4 * channels])

    def _inverse(self, y):
        self._inverse_event_shape(y.shape[-3:])
        height, width, channels = _sizes(y)
        channels //= 4
        if not self._diagonal_first:
            y = _transpose(_reshape(y, 3, [height, width, channels, 2, 2]), [-5, -2, -4, -1, -3])
        else:
            y = _reshape(y, 3, [height, width, 4, channels])
            y = tf.stack([y[..., position, :] for position in (0, 2, 3, 1)], axis=-2)
            y = _transpose(_reshape(y, 4, [height, width, 2, 2, channels]), [-5, -3, -4, -2, -1])
        return _reshape(y, 5, [2 * height, 2 * width, channels])

    def _forward_log_det_jacobian(self, x):
        return tf.zeros([], x.dtype)

    def _forward_event_shape(self, shape):
        if tf.TensorShape(shape).rank is None:
            return shape
        height, width, channels = tf.TensorShape(shape[-3:]).as_list()
        if any(size is not None and size % 2 for size in (height, width)):
            raise ValueError(f"Squeeze needs an even height and width; got an event of shape {tuple(shape[-3:])}")
        return shape[:-3] + [height and height // 2, width and width // 2, channels and 4 * channels]

    def _inverse_event_shape(self, shape):
        if tf.TensorShape(shape).rank is None:
            return shape
        height, width, channels = tf.TensorShape(shape[-3:]).as_list()
        if channels is not None and channels % 4:
            raise ValueError(f"the inverse of Squeeze needs 4n channels; got an event of shape {tuple(shape[-3:])}")
        return shape[:-3] + [height and 2 * height, width and 2 * width, channels and channels // 4]

    def _forward_event_shape_tensor(self, shape):
        return tf.concat([shape[:-3], [shape[-3] // 2, shape[-2] // 2, 4 * shape[-1]]], 0)

    def _inverse_event_shape_tensor(self, shape):
        return tf.concat([shape[:-3], [2 * shape[-3], 2 * shape[-2], shape[-1] // 4]], 0)


class Broadcast(DescribedBijector):
    """Repeats events over a batch: [...] + event ↦ [...] + `batch_shape` + event.

    In front of a flow given a batch of contexts, so that each event meets every context that it is broadcast to. The
    contexts' batch stays the innermost, in which order `networks.WithContext` repeats them.

    Args:
      batch_shape: int tensor.
      event_ndims: int, rank of an event.

    Raises:
      tf.errors.InvalidArgumentError: where the last batch axes, after broadcasting, are others than `batch_shape`,
        unless that is a single context.

    Example: `Broadcast([10], event_ndims=3).forward(images)` has shape [N, 10, ...] for `images` [N, 1, ...].
    """

    def __init__(self, batch_shape, event_ndims=3, validate_args=False, name="broadcast"):
        parameters = dict(locals())
        self._shape, self._event_ndims = batch_shape, event_ndims
        super().__init__(
            forward_min_event_ndims=event_ndims,
            is_constant_jacobian=True,
            validate_args=validate_args,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward(self, x):
        ones = tf.ones([self._event_ndims], tf.int32)
        y = x + tf.zeros(tf.concat([self._shape, ones], 0), x.dtype)  # of all that broadcasts it keeps static shapes
        batch, number = tf.shape(y)[: -self._event_ndims], tf.size(self._shape)
        innermost = batch[tf.size(batch) - number :]
        is_aligned = tf.reduce_all(innermost == self._shape) | (tf.reduce_prod(self._shape) == 1)
        message = "x must have the batch shape of the context as the last axes of its own, after broadcasting"
        with tf.control_dependencies([tf.debugging.assert_equal(is_aligned, True, message)]):
            return tf.identity(y)

    def _inverse(self, y):
        return self._forward(y)

    def _forward_log_det_jacobian(self, x):
        return tf.zeros([], x.dtype)


class FactorOut(FusedBijector):
    """Applies `inner` to the first channels and hands the others to the latent space as they are.

    ```none
    y = [inner(x₁), x₂],    log|det dy/dx| = log|det d inner(x₁)/dx₁|        Real NVP, equations 14 to 16
    ```

    `inner` may hold a `FactorOut` itself: that is the multi-scale recursion. Forward is data → latent.

    Args:
      inner: `tfb.Bijector` of images, the flow of the coarser scales; it keeps the shape of its event.
      num_kept: how many channels `inner` gets; None: half of them.

    Raises:
      ValueError: for a `num_kept` below 1 or above the number of channels.

    Example:

    ```python
    two_scales = tfb.Chain([
        tfb.Invert(Squeeze(diagonal_first=True)), FactorOut(coarse_flow), Squeeze(diagonal_first=True), fine_flow])
    ```
    """

    def __init__(self, inner, num_kept=None, validate_args=False, name="factor_out"):
        parameters = dict(locals())
        if num_kept is not None and (not isinstance(num_kept, int) or num_kept < 1):
            raise ValueError(f"num_kept must be None or a positive int; got {num_kept!r}")
        self._inner = inner
        self._num_kept = num_kept
        super().__init__(parameters, event_ndims=3, networks=[inner], validate_args=validate_args, name=name)

    @property
    def inner(self):
        """The flow of what stays."""
        return self._inner

    def split(self, x):
        """What stays of images or latents `x`, and what leaves."""
        if self._num_kept is not None and self._num_kept > x.shape[-1]:
            raise ValueError(f"num_kept must be at most the number of channels, {x.shape[-1]}; got {self._num_kept}")
        return first_channels(x, self._num_kept)

    @classmethod
    def _parameter_properties(cls, dtype):
        return {"inner": tfp.util.BatchedComponentProperties(event_ndims=lambda self, ndims: ndims)}

    def _forward_event_shape(self, shape):
        self._inner.forward_event_shape(self._shape_of_inner(shape))
        return shape

    def _inverse_event_shape(self, shape):
        self._inner.inverse_event_shape(self._shape_of_inner(shape))
        return shape

    def _shape_of_inner(self, shape):
        """The shape of what `inner` gets of an event."""
        if tf.TensorShape(shape).rank is None:
            return shape
        (channels,) = tf.TensorShape(shape[-1:]).as_list()
        return shape[:-1] + [self._num_kept or (channels and channels // 2)]

    def _forward_and_log_det(self, x):
        stays, leaves = self.split(x)
        y, log_det = self._inner.forward(stays), self._inner.forward_log_det_jacobian(stays, 3)
        # TFP gives the log-det of a constant Jacobian once for the whole batch.
        return tf.concat([y, leaves], axis=-1), tf.broadcast_to(log_det, tf.shape(x)[:-3])

    def _inverse_and_log_det(self, y):
        stays, leaves = self.split(y)
        x, log_det = self._inner.inverse(stays), self._inner.inverse_log_det_jacobian(stays, 3)
        return tf.concat([x, leaves], axis=-1), tf.broadcast_to(log_det, tf.shape(y)[:-3])


def _sizes(x):
    """Height, width and channels, each an int where it is known."""
    return [x.shape[i] if x.shape[i] is not None else tf.shape(x)[i] for i in (-3, -2, -1)]


def _reshape(x, event_ndims, event_shape):
    """Reshapes the last `event_ndims` axes and leaves the batch as it is, static where it is."""
    batch = [size if size is not None else tf.shape(x)[i] for i, size in enumerate(x.shape[:-event_ndims])]
    return tf.reshape(x, batch + list(event_shape))


def _transpose(x, axes):
    rank = x.shape.rank
    return tf.transpose(x, list(range(rank - len(axes))) + [rank + axis for axis in axes])
