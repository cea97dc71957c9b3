"""Masks: a coupling keeps some entries of an event and changes the others (Real NVP, section 3.4, figure 3)."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.representation import describe


def checkerboard(height: int | tf.Tensor, width: int | tf.Tensor, top_left: int = 1) -> tf.Tensor:
    """The checkerboard `(top_left + row + column) mod 2`.

    Args:
      height, width: ints or scalar int tensors.
      top_left: 0 or 1, the value at the top-left pixel. The authors' code has 1 where the paper's text has 0.

    Returns:
      Tensor [height, width, 1], float32.

    Example: `checkerboard(2, 2)[..., 0]` is [[1, 0], [0, 1]].

    References: Real NVP, section 3.4.
    """
    # With ints the checkerboard is a constant of the graph.
    arange = np.arange if isinstance(height, int) and isinstance(width, int) else tf.range
    rows, columns = arange(height)[:, np.newaxis, np.newaxis], arange(width)[:, np.newaxis]
    return tf.cast((top_left + rows + columns) % 2, tf.float32)


class Mask:
    """Splits an event into a kept and a changed part, and merges the two again.

    Attributes:
      event_ndims: int, the rank of an event.

    Example:

    ```python
    mask = Checkerboard()
    kept, changed = mask.split(images)
    mask.merge(kept, changed)  # The images.
    ```

    References: Real NVP, section 3.4.
    """

    event_ndims: int

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Splits events.

        Args:
          x: tensor [batch] + event.

        Returns:
          `(kept, changed)`, the two parts of x.
        """
        raise NotImplementedError

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        """The inverse of `split`; it ignores values of `changed` at kept entries, even infinity.

        Args:
          kept, changed: the two parts of events.

        Returns:
          Tensor [batch] + event.
        """
        raise NotImplementedError

    def sum_changed(self, values: tf.Tensor) -> tf.Tensor:
        """Sums values over the changed entries of each event.

        Args:
          values: tensor of the shape of `changed`.

        Returns:
          Tensor [batch].
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return describe(type(self).__name__, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """The arguments of the mask by name, for its representation."""
        raise NotImplementedError


class ChangeAll(Mask):
    """Changes every entry. The kept part is x without its channels, so it still has the size of x.

    Args:
      event_ndims: int, the rank of an event.

    Example: `ChangeAll(3).split(tf.zeros([8, 32, 32, 3]))` has the shapes [8, 32, 32, 0] and [8, 32, 32, 3].
    """

    def __init__(self, event_ndims: int) -> None:
        self.event_ndims = event_ndims

    def _arguments(self) -> dict[str, Any]:
        return {"event_ndims": self.event_ndims}

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return x[..., :0], x

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return changed

    def sum_changed(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, axis=list(range(-self.event_ndims, 0)))


class Dense(Mask):
    """A binary mask b in the shape of the event: `kept = b * x`, `changed = (1 - b) * x`.

    Args:
      b: array of 0 (changed) and 1 (kept), of rank 1 for vectors and 3 for images. An axis of size 1 broadcasts.

    Raises:
      ValueError: for another rank, or entries other than 0 and 1.

    Example: `Dense([1, 0])` keeps the first coordinate of a point in the plane and changes the second.

    References: Real NVP, equation 9.
    """

    def __init__(self, b: np.ndarray | list) -> None:
        b = np.asarray(b)
        if b.ndim not in (1, 3):
            raise ValueError(f"mask must have rank 1 (vectors) or 3 (images); got shape {b.shape}")
        if not np.isin(b, (0, 1)).all():
            raise ValueError(f"mask must hold 0 (changed) and 1 (kept) only; got the values {np.unique(b)}")
        self._b = b.astype(np.float32)
        self.event_ndims = b.ndim

    def _arguments(self) -> dict[str, Any]:
        return {"b": self._b.astype(int)}

    def _mask_of(self, x: tf.Tensor) -> tf.Tensor:
        """The mask b for events of the size and dtype of x."""
        return tf.constant(self._b, x.dtype)

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        b = self._mask_of(x)
        return b * x, (1 - b) * x

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return kept + tf.math.multiply_no_nan(changed, 1 - self._mask_of(kept))

    def sum_changed(self, values: tf.Tensor) -> tf.Tensor:
        changed = tf.math.multiply_no_nan(values, 1 - self._mask_of(values))
        return tf.reduce_sum(changed, axis=list(range(-self.event_ndims, 0)))


class Checkerboard(Dense):
    """The checkerboard over the pixels of an image of any size; see `checkerboard`.

    Args:
      top_left: 1 to keep the top-left pixel, 0 to change it.

    Raises:
      ValueError: for another `top_left`.

    Example: `kept, changed = Checkerboard().split(images)`

    References: Real NVP, section 3.4, figure 3 on the left.
    """

    event_ndims = 3

    def __init__(self, top_left: int = 1) -> None:
        if top_left not in (0, 1):
            raise ValueError(f"top_left must be 0 or 1; got {top_left!r}")
        self.top_left = top_left

    def _arguments(self) -> dict[str, Any]:
        return {"top_left": self.top_left}

    def _mask_of(self, x: tf.Tensor) -> tf.Tensor:
        height, width = (x.shape[i] or tf.shape(x)[i] for i in (-3, -2))
        return tf.cast(checkerboard(height, width, self.top_left), x.dtype)


class Split(Mask):
    """A binary mask over the entries of a vector. It gathers each part, so a network sees the kept entries alone.

    Args:
      b: array [size] of 0 (changed) and 1 (kept).

    Raises:
      ValueError: for another rank, or entries other than 0 and 1.

    Example: `Split([1, 0, 1, 0])` gives a network two entries.

    References: Dinh et al., NICE, arXiv 1410.8516, section 3.2.
    """

    event_ndims = 1

    def __init__(self, b: np.ndarray | list) -> None:
        b = np.asarray(b)
        if b.ndim != 1 or not np.isin(b, (0, 1)).all():
            raise ValueError(f"mask must be a vector of 0 (changed) and 1 (kept); got {b}")
        self._b, self._keeps_first = b, bool(b[:1].sum())
        is_second = b != b[:1]  # The first part has the first entry, so that all alternating masks have one order.
        self._num_first = int(np.sum(~is_second))
        self._order = np.argsort(is_second, kind="stable")
        self._places = np.argsort(self._order)

    def _arguments(self) -> dict[str, Any]:
        return {"b": self._b}

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = tf.split(_in_order(x, self._order), [self._num_first, -1], axis=-1)
        return (first, second) if self._keeps_first else (second, first)

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return _in_order(tf.concat([kept, changed] if self._keeps_first else [changed, kept], axis=-1), self._places)

    def sum_changed(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, axis=-1)


def _in_order(x: tf.Tensor, places: np.ndarray) -> tf.Tensor:
    """The entries of vectors in the order of these places.

    TensorFlow gathers the entries of a last axis one by one. So a graph gathers rows, which are copied at once. The
    order of an alternating mask needs no gathering: it transposes pairs of entries.
    """
    if tf.executing_eagerly() or x.shape.rank != 2:
        return tf.gather(x, places, axis=-1)
    size = len(places)
    for shape in [(2, size // 2), (size // 2, 2)] if size % 2 == 0 else []:
        if np.array_equal(places, np.arange(size).reshape(shape).T.ravel()):
            return tf.reshape(tf.transpose(tf.reshape(x, [-1, *shape]), [0, 2, 1]), [-1, size])
    return tf.transpose(tf.gather(tf.transpose(x), places))


class Channel(Mask):
    """Splits the channels of an image in two. The parts are slices, so a network sees the kept channels alone.

    Args:
      keep_first: True to keep the first channels and change the others, False to change the first.
      num_first: int, number of first channels; None: half of the channels.

    Example: `Channel().split(tf.zeros([8, 16, 16, 12]))` has two parts of shape [8, 16, 16, 6].

    References: Real NVP, section 3.4, figure 3 on the right.
    """

    event_ndims = 3

    def __init__(self, keep_first: bool = True, num_first: int | None = None) -> None:
        self.keep_first, self.num_first = keep_first, num_first

    def _arguments(self) -> dict[str, Any]:
        return {"keep_first": self.keep_first, "num_first": self.num_first}

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first, second = first_channels(x, self.num_first)
        return (first, second) if self.keep_first else (second, first)

    def merge(self, kept: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
        return tf.concat([kept, changed] if self.keep_first else [changed, kept], axis=-1)

    def sum_changed(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(values, axis=[-3, -2, -1])


def first_channels(x: tf.Tensor, number: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits x into its first channels and the others.

    Args:
      x: tensor [..., channels].
      number: number of first channels; None: half of them. Of an odd number the second part gets one more.

    Returns:
      Two tensors, [..., number] and [..., channels − number].

    Example: `first, others = first_channels(tf.zeros([8, 16, 16, 3]))` has 1 and 2 channels.
    """
    number = number or x.shape[-1] // 2
    first, others = tf.split(x, [number, -1], axis=-1)  # A slice has a gradient of the size of x.
    return first, others
