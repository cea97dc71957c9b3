"""Levels as binary decisions: the bins of entries are halved until one level is left.

The encoder knows the levels, and takes all channels of a pixel at once. The decoder finds a channel after the other.
Both compute the probabilities by the same steps on tensors of the same shapes.
"""

import functools
from collections.abc import Callable
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
        self._traced: dict[Any, tuple[Any, Callable[..., Any]]] = {}

    def of(self, bijector_fn: Callable[[tf.Tensor], Any], params: tf.Tensor) -> Callable[..., Any]:
        """The function of bins of entries that pass the map `bijector_fn(params)`.

        Its arguments, all but the last as values in front of the map or behind it:
          levels: the middles of all levels, of which those of earlier channels count.
          middle: the middles of the bins.
          ends: the latents of the bins' ends.
          is_open: whether each end is open.

        It gives the probability of the lower half, and the latent of the middle.
        """
        key = id(bijector_fn), *params.shape
        if key not in self._traced:
            traced = tf.function(functools.partial(self._halves, bijector_fn), autograph=False)
            self._traced[key] = bijector_fn, traced  # While it is kept here, no other function gets its id.
        return functools.partial(self._traced[key][1], params)

    def _halves(
        self,
        bijector_fn: Callable[[tf.Tensor], Any],
        params: tf.Tensor,
        levels: tf.Tensor,
        middle: tf.Tensor,
        ends: tuple[tf.Tensor, tf.Tensor],
        is_open: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        entries = bins.Bins(levels, levels, (middle,), np.zeros(levels.shape[1:], bool))
        middle = self._standard(*bins.forward(bijector_fn(params), entries).edges)
        lower = bins.log_probs(ends[0], middle, is_open[0], False)
        upper = bins.log_probs(middle, ends[1], False, is_open[1])
        return tf.sigmoid(lower - upper), middle


class Halving:
    """The bins of entries, halved until one level is left.

    Args:
      halves: function of `Halves.of`.
      levels: tensor of the entries' shape, the levels, of which those of the channels before an entry count.
      at: function of levels, which gives the values in front of the map.
      num_bins: number of levels.

    Attributes:
      first: the first level of each bin.
      size: number of levels of each bin.

    Example: `Halving(halves.of(bijector_fn, params), levels, at, num_bins=256).frequencies()`
    """

    def __init__(self, halves: Callable[..., Any], levels: tf.Tensor, at: bins.At, num_bins: int) -> None:
        self._halves = functools.partial(halves, at(levels + 0.5))
        self._at, self._num_bins = at, num_bins
        self.size = 2 ** (num_bins - 1).bit_length()
        self.first = self._low = self._high = tf.zeros_like(levels)

    def frequencies(self) -> np.ndarray:
        """The frequencies of the lower halves."""
        self.size //= 2
        middle = self.first + self.size
        is_open = self.first == 0, middle + self.size >= self._num_bins
        of_lower, self._middle = self._halves(self._at(middle), (self._low, self._high), is_open)
        return ans.frequency(np.where(middle.numpy() >= self._num_bins, 1.0, of_lower.numpy()))

    def take(self, is_upper: np.ndarray) -> None:
        """Takes the upper or the lower half of each bin."""
        self.first = tf.where(is_upper, self.first + self.size, self.first)
        self._low = tf.where(is_upper, self._middle, self._low)
        self._high = tf.where(is_upper, self._high, self._middle)


class Writer:
    """Notes the decisions that lead to the levels of the images.

    Args:
      halves: `Halves` of the flow.
      num_bins: number of levels.

    Example: `Writer(halves, num_bins=256)`
    """

    def __init__(self, halves: Halves, num_bins: int) -> None:
        self._halves, self._num_bins = halves, num_bins
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(
        self, bijector_fn: Callable[[tf.Tensor], Any], params: tf.Tensor, levels: tf.Tensor, at: bins.At
    ) -> tf.Tensor:
        """The levels, as they are given; see `bins.Choice`.

        Args:
          bijector_fn, params, levels, at: as of `bins.Choice`, with the levels in place of the latents.
        """
        halving, parts = Halving(self._halves.of(bijector_fn, params), levels, at, self._num_bins), []
        while halving.size > 1:
            frequencies = halving.frequencies()
            is_upper = (levels >= halving.first + halving.size).numpy()
            halving.take(is_upper)
            parts.append((is_upper, frequencies))
        for turn in _turns(bijector_fn(params), levels):
            self._parts += [(_rows(is_upper[turn]), _rows(frequencies[turn])) for is_upper, frequencies in parts]
        return levels

    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        """The decisions and the frequencies, two arrays [images, decisions]."""
        decisions, frequencies = zip(*self._parts, strict=True)
        return np.concatenate(decisions, axis=1), np.concatenate(frequencies, axis=1)


class Reader:
    """Reads the decisions, and finds the levels.

    Args:
      halves: `Halves` of the flow.
      num_bins: number of levels.
      decoder: `ans.Decoder`.
      num_parts: number of parts of the images to read; None for all.

    Attributes:
      parts: list of arrays, the levels so far.

    Example: `Reader(halves, 256, ans.Decoder(lanes), num_parts=None)`
    """

    def __init__(self, halves: Halves, num_bins: int, decoder: ans.Decoder, num_parts: int | None) -> None:
        self._halves, self._num_bins, self._decoder, self._num_parts = halves, num_bins, decoder, num_parts
        self.parts: list[np.ndarray] = []

    def __call__(
        self, bijector_fn: Callable[[tf.Tensor], Any], params: tf.Tensor, z: tf.Tensor, at: bins.At
    ) -> tf.Tensor:
        """The levels that the decoder reads; arguments as of `bins.Choice`.

        Raises:
          Enough: after `num_parts` parts.
        """
        if len(self.parts) == self._num_parts:
            raise Enough
        halves, levels = self._halves.of(bijector_fn, params), np.zeros(z.shape)
        for turn in _turns(bijector_fn(params), z):
            halving = Halving(halves, tf.constant(levels, z.dtype), at, self._num_bins)
            while halving.size > 1:
                frequencies = _rows(halving.frequencies()[turn])
                is_upper = np.zeros(z.shape, bool)
                part = np.stack([self._decoder.read(column) for column in frequencies.T], axis=1)
                is_upper[turn] = part.reshape(is_upper[turn].shape)
                halving.take(is_upper)
            levels[turn] = halving.first.numpy()[turn]
        self.parts.append(levels)
        return tf.constant(levels, z.dtype)


def _turns(f: Any, z: tf.Tensor) -> list[Any]:
    """The entries that are decoded at once, as indices: all of them, or a channel after the other."""
    turns = bins.num_turns(f, z)
    return [(..., slice(None))] if turns == 1 else [(..., channel) for channel in range(turns)]


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape([len(array), -1])
