"""Masks: which entries of an event a coupling keeps and which it changes (Real NVP, section 3.4, figure 3)."""

import numpy as np
import tensorflow as tf

from tfp_realnvp.representation import describe


def checkerboard(height, width, top_left=1):
    """The checkerboard `(top_left + row + column) mod 2`, float32 of shape [height, width, 1].

    `height` and `width` may be ints or scalar tensors. As in the authors' code (the paper's text has the opposite
    sign) `top_left=1` gives 1 at the top-left pixel.
    """
    arange = np.arange if isinstance(height, int) and isinstance(width, int) else tf.range  # a constant of the graph
    rows, columns = arange(height)[:, np.newaxis, np.newaxis], arange(width)[:, np.newaxis]
    return tf.cast((top_left + rows + columns) % 2, tf.float32)


class Mask:
    """Splits an event into what is kept and what is changed, and puts the two together again.

    Attributes:
      event_ndims: int, the rank of the events it splits.
    """

    event_ndims: int

    def split(self, x):
        """Returns `(kept, changed)`, the two parts of `x`."""
        raise NotImplementedError

    def merge(self, kept, changed):
        """The inverse of `split`; whatever `changed` holds where entries are kept, even infinity, is ignored."""
        raise NotImplementedError

    def sum_changed(self, values):
        """Sums `values`, shaped like `changed`, over the changed entries: one sum per event."""
        raise NotImplementedError

    def __repr__(self):
        return describe(type(self).__name__, **self._arguments())

    def _arguments(self):
        """The arguments of the mask by name, for its representation."""
        raise NotImplementedError


class ChangeAll(Mask):
    """Keeps nothing: every entry is changed. What is kept is x without its channels, so it still tells the size of x.

    Args:
      event_ndims: int, the rank of an event.
    """

    def __init__(self, event_ndims):
        self.event_ndims = event_ndims

    def _arguments(self):
        return {"event_ndims": self.event_ndims}

    def split(self, x):
        return x[..., :0], x

    def merge(self, kept, changed):
        return changed

    def sum_changed(self, values):
        return tf.reduce_sum(values, axis=list(range(-self.event_ndims, 0)))


class Dense(Mask):
    """A binary mask b in the shape of the event: `kept = b * x`, `changed = (1 - b) * x`.

    Args:
      b: array of 0 (changed) and 1 (kept), of rank 1 for vectors and 3 for images (a size of 1 broadcasts).

    Raises:
      ValueError: for another rank, or entries other than 0 and 1.

    Example: `Dense([1, 0])` keeps the first coordinate of a point in the plane and changes the second.
    """

    def __init__(self, b):
        b = np.asarray(b)
        if b.ndim not in (1, 3):
            raise ValueError(f"mask must have rank 1 (vectors) or 3 (images); got shape {b.shape}")
        if not np.isin(b, (0, 1)).all():
            raise ValueError(f"mask must hold 0 (changed) and 1 (kept) only; got the values {np.unique(b)}")
        self._b = b.astype(np.float32)
        self.event_ndims = b.ndim

    def _arguments(self):
        return {"b": self._b.astype(int)}

    def _mask_of(self, x):
        return tf.constant(self._b, x.dtype)

    def split(self, x):
        b = self._mask_of(x)
        return b * x, (1 - b) * x

    def merge(self, kept, changed):
        return kept + tf.math.multiply_no_nan(changed, 1 - self._mask_of(kept))

    def sum_changed(self, values):
        changed = tf.math.multiply_no_nan(values, 1 - self._mask_of(values))
        return tf.reduce_sum(changed, axis=list(range(-self.event_ndims, 0)))


class Checkerboard(Dense):
    """The checkerboard over the pixels of an image of any size: see `checkerboard`.

    Args:
      top_left: 1 to keep the top-left pixel, 0 to change it.
    """

    event_ndims = 3

    def __init__(self, top_left=1):
        if top_left not in (0, 1):
            raise ValueError(f"top_left must be 0 or 1; got {top_left!r}")
        self.top_left = top_left

    def _arguments(self):
        return {"top_left": self.top_left}

    def _mask_of(self, x):
        height, width = (x.shape[i] or tf.shape(x)[i] for i in (-3, -2))
        return tf.cast(checkerboard(height, width, self.top_left), x.dtype)


class Split(Mask):
    """A binary mask over the entries of a vector whose parts are gathered, so that a network sees only what it needs.

    Args:
      b: array [size] of 0 (changed) and 1 (kept).

    Raises:
      ValueError: for another rank, or entries other than 0 and 1.

    Example: `Split([1, 0, 1, 0])` hands a network two entries.

    References: arXiv 1410.8516, section 3.2.
    """

    event_ndims = 1

    def __init__(self, b):
        b = np.asarray(b)
        if b.ndim != 1 or not np.isin(b, (0, 1)).all():
            raise ValueError(f"mask must be a vector of 0 (changed) and 1 (kept); got {b}")
        self._b, self._kept, self._changed = b, np.flatnonzero(b), np.flatnonzero(1 - b)
        self._places = np.argsort(np.concatenate([self._kept, self._changed]))

    def _arguments(self):
        return {"b": self._b}

    def split(self, x):
        return tf.gather(x, self._kept, axis=-1), tf.gather(x, self._changed, axis=-1)

    def merge(self, kept, changed):
        return tf.gather(tf.concat([kept, changed], axis=-1), self._places, axis=-1)

    def sum_changed(self, values):
        return tf.reduce_sum(values, axis=-1)


class Channel(Mask):
    """The first and the other channels of an image: the parts are slices, so that a network sees only what it needs.

    Args:
      keep_first: whether the first channels are kept and the others changed, or the other way round.
      num_first: how many are the first; None: half of them.
    """

    event_ndims = 3

    def __init__(self, keep_first=True, num_first=None):
        self.keep_first, self.num_first = keep_first, num_first

    def _arguments(self):
        return {"keep_first": self.keep_first, "num_first": self.num_first}

    def split(self, x):
        first, second = first_channels(x, self.num_first)
        return (first, second) if self.keep_first else (second, first)

    def merge(self, kept, changed):
        return tf.concat([kept, changed] if self.keep_first else [changed, kept], axis=-1)

    def sum_changed(self, values):
        return tf.reduce_sum(values, axis=[-3, -2, -1])


def first_channels(x, number=None):
    """The first `number` channels of `x` and the others; None: halves, of an odd number the second gets one more."""
    number = number or x.shape[-1] // 2
    return x[..., :number], x[..., number:]
