"""Levels as binary decisions: the bins of entries are halved until one level is left.

A map that joins the channels of a pixel finds a channel after the other. The encoder knows the levels, but takes the
same steps as the decoder. So both compute the same probabilities, to the last bit.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors import bins
from tfp_realnvp.compression import ans


class Enough(Exception):
    """All parts that are wanted have been decoded."""


class Halves:
    """The probabilities of the halves of bins.

    A function is traced once for each kind of map. It serves the encoder and the decoder, so both get the same numbers.

    Args:
      standard: function of a latent that makes it a standard logistic one.

    Example: `Halves(bins.standardized(distribution))`
    """

    def __init__(self, standard: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._standard = standard
        self._traced: dict[Any, Callable[..., Any]] = {}

    def of(self, bijector_fn: Callable[[tf.Tensor], Any], params: tf.Tensor) -> Callable[..., Any]:
        """The function of bins of entries that pass the map `bijector_fn(params)`.

        Its arguments, all but the last as values in front of the map or behind it:
          middle: the middles of the bins.
          ends: the latents of the bins' ends.
          is_open: whether each end is open.

        It gives the probability of the lower half, and the latent of the middle.
        """
        key = bijector_fn, *params.shape
        if key not in self._traced:
            self._traced[key] = tf.function(functools.partial(self._halves, bijector_fn), autograph=False)
        return functools.partial(self._traced[key], params)

    def _halves(
        self,
        bijector_fn: Callable[[tf.Tensor], Any],
        params: tf.Tensor,
        middle: tf.Tensor,
        ends: tuple[tf.Tensor, tf.Tensor],
        is_open: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        middle = self._standard(bijector_fn(params).forward(middle))
        lower = bins.log_probs(ends[0], middle, is_open[0], False)
        upper = bins.log_probs(middle, ends[1], False, is_open[1])
        return tf.sigmoid(lower - upper), middle


class Halving:
    """The bins of entries, halved until one level is left.

    Args:
      halves: function of `Halves.of`.
      shape: of the entries.
      edges: array [num_bins + 1], the edges of the levels' bins in front of the map.

    Attributes:
      first: int array, the first level of each bin.
      size: number of levels of each bin.

    Example: `Halving(halves, [100, 4, 4, 1], np.arange(257.0)).frequencies()`
    """

    def __init__(self, halves: Callable[..., Any], shape: Sequence[int], edges: np.ndarray) -> None:
        self._halves, self._edges, self._num_bins = halves, edges, len(edges) - 1
        self.size = 2 ** (self._num_bins - 1).bit_length()
        self.first = np.zeros(shape, int)
        self._low = self._high = np.zeros(shape, edges.dtype)

    def frequencies(self) -> np.ndarray:
        """The frequencies of the lower halves."""
        self.size //= 2
        middle = self.first + self.size
        is_open = self.first == 0, middle + self.size >= self._num_bins
        edges = self._edges[np.minimum(middle, self._num_bins)]
        of_lower, latents = self._halves(edges, (self._low, self._high), is_open)
        self._middle = latents.numpy()
        return ans.frequency(np.where(middle >= self._num_bins, 1.0, of_lower.numpy()))

    def take(self, is_upper: np.ndarray) -> None:
        """Takes the upper or the lower half of each bin."""
        self.first = np.where(is_upper, self.first + self.size, self.first)
        self._low = np.where(is_upper, self._middle, self._low)
        self._high = np.where(is_upper, self._high, self._middle)


class Chooser:
    """Goes through the levels of an image as decisions; see `bins.Choice`. A subclass makes or notes the decisions.

    Args:
      halves: `Halves` of the flow.
      num_bins: number of levels.

    Example: `Writer(halves, num_bins=256)`
    """

    def __init__(self, halves: Halves, num_bins: int) -> None:
        self._halves, self._num_bins = halves, num_bins

    def __call__(self, bijector_fn: Any, params: tf.Tensor, z: tf.Tensor, at: bins.At) -> tf.Tensor:
        """The levels; arguments as of `bins.Choice`."""
        edges = at(tf.range(self._num_bins + 1, dtype=z.dtype)).numpy()
        levels = np.zeros(z.shape)
        turns = bins.num_turns(bijector_fn, params, z)
        for turn in range(turns):
            part, one, of_one = slice(None), bijector_fn, params
            if turns > 1:
                middles = at(tf.constant(levels + 0.5, z.dtype))
                part, (one, of_one) = slice(turn, turn + 1), bijector_fn.of_channel(params, middles, turn)
            halving = Halving(self._halves.of(one, of_one), z[..., part].shape, edges)
            while halving.size > 1:
                frequencies = halving.frequencies()
                halving.take(self._decide(frequencies, halving.first + halving.size, z[..., part]))
            levels[..., part] = halving.first
        return tf.constant(levels, z.dtype)

    def _decide(self, frequencies: np.ndarray, first_of_upper: np.ndarray, z: tf.Tensor) -> np.ndarray:
        """Whether each entry is in the upper half of its bin."""
        raise NotImplementedError(f"{type(self).__name__} must define _decide(frequencies, first_of_upper, z)")


class Writer(Chooser):
    """Notes the decisions that lead to the levels of the images, which stand in place of the latents.

    Args:
      halves, num_bins: as of `Chooser`.

    Example: `Writer(halves, num_bins=256)`
    """

    def __init__(self, halves: Halves, num_bins: int) -> None:
        super().__init__(halves, num_bins)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def _decide(self, frequencies: np.ndarray, first_of_upper: np.ndarray, z: tf.Tensor) -> np.ndarray:
        is_upper = z.numpy() >= first_of_upper
        self._parts.append((_rows(is_upper), _rows(frequencies)))
        return is_upper

    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        """The decisions and the frequencies, two arrays [images, decisions]."""
        decisions, frequencies = zip(*self._parts, strict=True)
        return np.concatenate(decisions, axis=1), np.concatenate(frequencies, axis=1)


class Reader(Chooser):
    """Reads the decisions, and finds the levels.

    Args:
      halves, num_bins: as of `Chooser`.
      decoder: `ans.Decoder`.
      num_parts: number of parts of the images to read; None for all.

    Attributes:
      parts: list of arrays, the levels so far.

    Example: `Reader(halves, 256, ans.Decoder(lanes), num_parts=None)`
    """

    def __init__(self, halves: Halves, num_bins: int, decoder: ans.Decoder, num_parts: int | None) -> None:
        super().__init__(halves, num_bins)
        self._decoder, self._num_parts = decoder, num_parts
        self.parts: list[np.ndarray] = []

    def __call__(self, bijector_fn: Any, params: tf.Tensor, z: tf.Tensor, at: bins.At) -> tf.Tensor:
        """The levels that the decoder reads; arguments as of `bins.Choice`.

        Raises:
          Enough: after `num_parts` parts.
        """
        if len(self.parts) == self._num_parts:
            raise Enough
        levels = super().__call__(bijector_fn, params, z, at)
        self.parts.append(levels.numpy())
        return levels

    def _decide(self, frequencies: np.ndarray, first_of_upper: np.ndarray, z: tf.Tensor) -> np.ndarray:
        del first_of_upper, z  # The decoder knows neither.
        columns = [self._decoder.read(column) for column in _rows(frequencies).T]
        return np.stack(columns, axis=1).reshape(frequencies.shape)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape([len(array), -1])
