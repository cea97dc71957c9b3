"""Bijectors that reshape events: squeeze, factor-out (Real NVP, section 3.6), patches, means and details of blocks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors import bins
from tfp_realnvp.bijectors.fused import FusedBijector, forward_and_log_det, inverse_and_log_det
from tfp_realnvp.bijectors.masks import first_channels
from tfp_realnvp.bijectors.volume_preserving import VolumePreserving
from tfp_realnvp.common import check_positive


class _BlocksToChannels(VolumePreserving):
    """[height, width, c] ↦ [height/n, width/n, n²c], one n×n block per new pixel."""

    def __init__(self, parameters: dict[str, Any], validate_args: bool, name: str, size: int = 2) -> None:
        self._size = size
        super().__init__(parameters, 3, validate_args, name)

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        if tf.TensorShape(shape).rank is None:
            return shape
        height, width, channels = tf.TensorShape(shape[-3:]).as_list()
        n = self._size
        if any(side is not None and side % n for side in (height, width)):
            raise ValueError(
                f"{type(self).__name__} needs a height and width divisible by {n}; got an event of shape "
                f"{tuple(shape[-3:])}"
            )
        return shape[:-3] + [height and height // n, width and width // n, channels and n**2 * channels]

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        if tf.TensorShape(shape).rank is None:
            return shape
        height, width, channels = tf.TensorShape(shape[-3:]).as_list()
        n = self._size
        if channels is not None and channels % n**2:
            raise ValueError(
                f"the inverse of {type(self).__name__} needs a multiple of {n**2} channels; got an event of shape "
                f"{tuple(shape[-3:])}"
            )
        return shape[:-3] + [height and n * height, width and n * width, channels and channels // n**2]

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        n = self._size
        return tf.concat([shape[:-3], [shape[-3] // n, shape[-2] // n, n**2 * shape[-1]]], 0)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        n = self._size
        return tf.concat([shape[:-3], [n * shape[-3], n * shape[-2], shape[-1] // n**2]], 0)


class Squeeze(_BlocksToChannels):
    """Trades space for channels: [height, width, c] ↦ [height/2, width/2, 4c], one 2×2 block per new pixel.

    Forward is data → latent, as in the papers.

    Args:
      diagonal_first: order of the new channels. False: channel-major, `squeeze_2x2` of the authors' code. The four
        pixels of the first channel come first: top-left, top-right, bottom-left, bottom-right. The four pixels of the
        second channel follow. True: position-major, `squeeze_2x2_ordered` of the authors' code, the order for factoring
        out. All channels of the top-left pixel come first, then of the bottom-right, the top-right and the bottom-left
        pixel. So the first half of the channels is the diagonal.

    Raises:
      ValueError: for an odd height or width.

    Example: `Squeeze().forward(tf.zeros([8, 32, 32, 3]))` has shape [8, 16, 16, 12].

    References: Real NVP, section 3.6, figure 3 on the right.
    """

    is_permutation = True  # See `bins`.

    def __init__(self, diagonal_first: bool = False, validate_args: bool = False, name: str = "squeeze") -> None:
        parameters = dict(locals())
        self._diagonal_first = diagonal_first
        super().__init__(parameters, validate_args, name)

    @property
    def _is_permutation(self) -> bool:
        return True

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        self._forward_event_shape(x.shape[-3:])
        height, width, channels = _sizes(x)
        x = _reshape(x, 3, [height // 2, 2, width // 2, 2, channels])
        # Axes from the end: -5 block row, -4 row in block, -3 block column, -2 column in block, -1 channel.
        if not self._diagonal_first:
            return _reshape(_transpose(x, [-5, -3, -1, -4, -2]), 5, [height // 2, width // 2, 4 * channels])
        x = _reshape(_transpose(x, [-5, -3, -4, -2, -1]), 5, [height // 2, width // 2, 4 * channels])
        return _in_order(x, (0, 3, 1, 2))

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        self._inverse_event_shape(y.shape[-3:])
        height, width, channels = _sizes(y)
        channels //= 4
        if not self._diagonal_first:
            y = _transpose(_reshape(y, 3, [height, width, channels, 2, 2]), [-5, -2, -4, -1, -3])
        else:
            y = _reshape(_in_order(y, (0, 2, 3, 1)), 3, [height, width, 2, 2, channels])
            y = _transpose(y, [-5, -3, -4, -2, -1])
        return _reshape(y, 5, [2 * height, 2 * width, channels])


class Patches(_BlocksToChannels):
    """The patches of an image as pixels: [height, width, c] ↦ [height/size, width/size, size²c].

    The channels of a new pixel are the entries of a patch in the order row, column, channel. Forward is data → latent,
    as in the papers.

    Args:
      size: int, the height and width of a patch.

    Raises:
      ValueError: for a `size` below 1, or a height or width that is not divisible by it.

    Example: `Patches(4).forward(tf.zeros([8, 32, 32, 3]))` has shape [8, 8, 8, 48].

    References: Kolesnikov et al., Jet, arXiv 2412.15129, section 3.
    """

    is_permutation = True  # See `bins`.

    def __init__(self, size: int, validate_args: bool = False, name: str = "patches") -> None:
        parameters = dict(locals())
        check_positive(size=size)
        super().__init__(parameters, validate_args, name, size)

    @property
    def _is_permutation(self) -> bool:
        return True

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        self._forward_event_shape(x.shape[-3:])
        height, width, channels = _sizes(x)
        n = self._size
        x = _transpose(_reshape(x, 3, [height // n, n, width // n, n, channels]), [-5, -3, -4, -2, -1])
        return _reshape(x, 5, [height // n, width // n, n**2 * channels])

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        self._inverse_event_shape(y.shape[-3:])
        height, width, channels = _sizes(y)
        n = self._size
        y = _transpose(_reshape(y, 3, [height, width, n, n, channels // n**2]), [-5, -3, -4, -2, -1])
        return _reshape(y, 5, [n * height, n * width, channels // n**2])


class UnimodularTransform(_BlocksToChannels):
    """The mean of each 2×2 block and its three details: [height, width, c] ↦ [height/2, width/2, 4c], with log-det 0.

    ```none
    x̄  = (x₁ + x₂ + x₃ + x₄) / 4          x₁ top-left, x₂ top-right, x₃ bottom-left, x₄ bottom-right
    y₁ = (x₁ + x₂ − x₃ − x₄) / 2^(2/3)
    y₂ = (x₁ − x₂ + x₃ − x₄) / 2^(2/3)
    y₃ = (x₁ − x₂ − x₃ + x₄) / 2^(2/3)
    ```

    The c channels of x̄ come first, the image at half the size, then those of y₁, y₂ and y₃. A Haar wavelet has another
    factor, whose log-det is not 0. Forward is data → latent, as in the paper.

    Raises:
      ValueError: for an odd height or width.

    Example: `UnimodularTransform().forward(images)[..., :3]` are the images of 3 channels at half their size.

    References: Voleti et al., MRCNF, arXiv 2106.08462, section 3.
    """

    def __init__(self, validate_args: bool = False, name: str = "unimodular_transform") -> None:
        super().__init__(dict(locals()), validate_args, name)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        blocks = _channel_major.forward(x)
        height, width, channels = _sizes(blocks)
        parts = tf.matmul(
            _reshape(blocks, 1, [channels // 4, 4]), tf.constant(_MEAN_AND_DETAILS, x.dtype), transpose_b=True
        )
        return _reshape(_transpose(parts, [-1, -2]), 2, [channels])

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        self._inverse_event_shape(y.shape[-3:])
        *_, channels = _sizes(y)
        parts = _transpose(_reshape(y, 1, [4, channels // 4]), [-1, -2])
        blocks = tf.matmul(parts, tf.constant(np.linalg.inv(_MEAN_AND_DETAILS), y.dtype), transpose_b=True)
        return _channel_major.inverse(_reshape(blocks, 2, [channels]))


_channel_major = Squeeze()
_MEAN_AND_DETAILS = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / np.array(
    [[4], [2 ** (2 / 3)], [2 ** (2 / 3)], [2 ** (2 / 3)]]
)


class Broadcast(VolumePreserving):
    """Repeats events over a batch: [...] + event ↦ [...] + `batch_shape` + event.

    It precedes a flow with a batch of contexts, so that each event meets every context of its broadcast shape. The
    batch of the contexts stays innermost, the order in which `networks.WithContext` repeats them.

    Args:
      batch_shape: int tensor, the batch shape of the contexts.
      event_ndims: int, rank of an event.

    Raises:
      tf.errors.InvalidArgumentError: if the last batch axes differ from `batch_shape` after broadcasting. A single
        context fits every batch.

    Example: `Broadcast([10]).forward(tf.zeros([8, 1, 32, 32, 3]))` has shape [8, 10, 32, 32, 3].
    """

    def __init__(
        self,
        batch_shape: tf.Tensor | Sequence[int],
        event_ndims: int = 3,
        validate_args: bool = False,
        name: str = "broadcast",
    ) -> None:
        parameters = dict(locals())
        self._shape, self._event_ndims = batch_shape, event_ndims
        super().__init__(parameters, event_ndims, validate_args, name)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        ones = tf.ones([self._event_ndims], tf.int32)
        # An addition keeps static shapes; TensorFlow's other ways to broadcast lose them.
        y = x + tf.zeros(tf.concat([self._shape, ones], 0), x.dtype)
        batch, num_axes = tf.shape(y)[: -self._event_ndims], tf.size(self._shape)
        innermost = batch[tf.size(batch) - num_axes :]
        is_aligned = tf.reduce_all(innermost == self._shape) | (tf.reduce_prod(self._shape) == 1)
        message = "x must have the batch shape of the context as the last axes of its batch, after broadcasting"
        with tf.control_dependencies([tf.debugging.assert_equal(is_aligned, True, message)]):
            return tf.identity(y)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._forward(y)

    def forward_bins(self, events: bins.Bins) -> bins.Bins:
        """The bins of the repeated events, see `bins`."""
        return events.repeated(self.forward)


class FactorOut(FusedBijector):
    """Applies `inner` to the first channels and passes the other channels on to the latent space unchanged.

    ```none
    y = [inner(x₁), x₂],    log|det dy/dx| = log|det d inner(x₁)/dx₁|        Real NVP, equations 14 to 16
    ```

    `inner` may contain a `FactorOut` itself; this recursion is the multi-scale architecture. Forward is data → latent,
    as in the papers.

    Args:
      inner: `tfb.Bijector` of images, the flow of the coarser scales; it keeps the shape of its event.
      num_kept: int, number of channels for `inner`; None: half of them.

    Raises:
      ValueError: for a `num_kept` below 1 or above the number of channels.

    Example:

    ```python
    coarse_flow, fine_flow = tfb.Scale(2.0), tfb.Scale(3.0)  # Any flows over images.
    two_scales = tfb.Chain([
        tfb.Invert(Squeeze(diagonal_first=True)), FactorOut(coarse_flow), Squeeze(diagonal_first=True), fine_flow])
    ```

    References: Real NVP, section 3.6.
    """

    def __init__(
        self,
        inner: tfb.Bijector,
        num_kept: int | None = None,
        validate_args: bool = False,
        name: str = "factor_out",
    ) -> None:
        parameters = dict(locals())
        if num_kept is not None and (not isinstance(num_kept, int) or num_kept < 1):
            raise ValueError(f"num_kept must be None or a positive int; got {num_kept!r}")
        self._inner = inner
        self._num_kept = num_kept
        super().__init__(parameters, event_ndims=3, networks=[inner], validate_args=validate_args, name=name)

    @property
    def inner(self) -> tfb.Bijector:
        """The flow of the coarser scales."""
        return self._inner

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits the channels of images or latents.

        Args:
          x: tensor [..., height, width, channels].

        Returns:
          The channels for `inner`, and the channels that leave the flow here.
        """
        if self._num_kept is not None and self._num_kept > x.shape[-1]:
            raise ValueError(f"num_kept must be at most the number of channels, {x.shape[-1]}; got {self._num_kept}")
        return first_channels(x, self._num_kept)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"inner": tfp.util.BatchedComponentProperties(event_ndims=lambda self, ndims: ndims)}

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        self._inner.forward_event_shape(self._inner_event_shape(shape))
        return shape

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        self._inner.inverse_event_shape(self._inner_event_shape(shape))
        return shape

    def _inner_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        """The event shape of the channels for `inner`."""
        if tf.TensorShape(shape).rank is None:
            return shape
        (channels,) = tf.TensorShape(shape[-1:]).as_list()
        return shape[:-1] + [self._num_kept or (channels and channels // 2)]

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stays, leaves = self.split(x)
        y, log_det = forward_and_log_det(self._inner, stays, 3)
        # TFP computes the log-det of a constant Jacobian once for the whole batch.
        return tf.concat([y, leaves], axis=-1), tf.broadcast_to(log_det, tf.shape(x)[:-3])

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stays, leaves = self.split(y)
        x, log_det = inverse_and_log_det(self._inner, stays, 3)
        return tf.concat([x, leaves], axis=-1), tf.broadcast_to(log_det, tf.shape(y)[:-3])

    def forward_bins(self, events: bins.Bins) -> bins.Bins:
        """The bins behind the inner flow, and those of the channels that leave, see `bins`."""
        stays, leaves = events.split(self.split)
        return bins.forward(self._inner, stays).merged(_join, leaves)

    def inverse_levels(self, z: tf.Tensor, at: bins.At, choice: bins.Choice) -> tf.Tensor:
        """The levels of the channels for the inner flow, see `bins`, and the latents of the others."""
        stays, leaves = self.split(z)
        return _join(bins.inverse(self._inner, stays, at, choice), leaves)


def _join(stays: tf.Tensor, leaves: tf.Tensor) -> tf.Tensor:
    return tf.concat([stays, leaves], axis=-1)


def _in_order(x: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    """The quarters of the channels in another order."""
    quarters = tf.split(x, 4, axis=-1)
    return tf.concat([quarters[number] for number in order], axis=-1)


def _sizes(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Height, width and channels of images x, each an int if it is static."""
    return [x.shape[i] if x.shape[i] is not None else tf.shape(x)[i] for i in (-3, -2, -1)]


def _reshape(x: tf.Tensor, event_ndims: int, event_shape: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Reshapes the last `event_ndims` axes; static batch axes stay static."""
    batch = [size if size is not None else tf.shape(x)[i] for i, size in enumerate(x.shape[:-event_ndims])]
    return tf.reshape(x, batch + list(event_shape))


def _transpose(x: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
    """Transposes the last axes of x, given as negative numbers."""
    rank = x.shape.rank
    return tf.transpose(x, list(range(rank - len(axes))) + [rank + axis for axis in axes])
