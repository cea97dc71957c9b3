"""Levels as binary decisions: the bins of entries are halved until one level is left.

The encoder knows the levels, and takes all channels of a pixel at once. The decoder finds a channel after the other.
Both compute the probabilities by the same steps on tensors of the same shapes.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors import bins
from tfp_realnvp.compression import ans


class Enough(Exception):
    """All parts that are wanted have been decoded."""


class Halving:
    """The bins of entries, halved until one level is left.

    Args:
      standard: function of a latent that makes it a standard logistic one.
      f, at: the map of the entries and the values in front of it, see `bins.Choice`.
      levels: tensor of the entries' shape.
      num_bins: number of levels.

    Attributes:
      first: the first level of each bin.
      size: number of levels of each bin.

    Example: `Halving(standard, f, at, levels, num_bins=256).frequencies(levels)`
    """

    def __init__(self, standard: Any, f: Any, at: bins.At, levels: tf.Tensor, num_bins: int) -> None:
        self._standard, self._f, self._at, self._num_bins = standard, f, at, num_bins
        self.size = 2 ** (num_bins - 1).bit_length()
        self.first = self._low = self._high = tf.zeros_like(levels)

    def frequencies(self, levels: tf.Tensor) -> np.ndarray:
        """The frequencies of the lower halves, given the levels of the channels before."""
        self.size //= 2
        middle = self.first + self.size
        self._middle = self._standard(*bins.edges_of(self._f, levels, self._at, middle))
        is_last = middle + self.size >= self._num_bins
        lower = bins.log_probs(self._low, self._middle, self.first == 0, False)
        upper = bins.log_probs(self._middle, self._high, False, is_last)
        of_lower = tf.where(middle >= self._num_bins, tf.ones_like(lower), tf.sigmoid(lower - upper))
        return ans.frequency(of_lower.numpy())

    def take(self, is_upper: np.ndarray) -> None:
        """Takes the upper or the lower half of each bin."""
        self.first = tf.where(is_upper, self.first + self.size, self.first)
        self._low = tf.where(is_upper, self._middle, self._low)
        self._high = tf.where(is_upper, self._high, self._middle)


class Writer:
    """Notes the decisions that lead to the levels of the images.

    Args:
      num_bins: number of levels.

    Example: `Writer(num_bins=256)`
    """

    def __init__(self, num_bins: int) -> None:
        self._num_bins = num_bins
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def levels(self, standard: Any, f: Any, levels: tf.Tensor, at: bins.At) -> tf.Tensor:
        """The levels, as they are given; see `bins.Choice.levels`.

        Args:
          standard: function of a latent that makes it a standard logistic one.
          f, levels, at: as of `bins.Choice.levels`, with the levels in place of the latents.
        """
        halving, parts = Halving(standard, f, at, levels, self._num_bins), []
        while halving.size > 1:
            frequencies = halving.frequencies(levels)
            is_upper = (levels >= halving.first + halving.size).numpy()
            halving.take(is_upper)
            parts.append((is_upper, frequencies))
        for turn in _turns(f, levels):
            self._parts += [(_rows(is_upper[turn]), _rows(frequencies[turn])) for is_upper, frequencies in parts]
        return levels

    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        """The decisions and the frequencies, two arrays [images, decisions]."""
        decisions, frequencies = zip(*self._parts, strict=True)
        return np.concatenate(decisions, axis=1), np.concatenate(frequencies, axis=1)


class Reader:
    """Reads the decisions, and finds the levels.

    Args:
      num_bins: number of levels.
      decoder: `ans.Decoder`.
      num_parts: number of parts of the images to read; None for all.

    Attributes:
      parts: list of arrays, the levels so far.

    Example: `Reader(256, ans.Decoder(lanes), num_parts=None)`
    """

    def __init__(self, num_bins: int, decoder: ans.Decoder, num_parts: int | None) -> None:
        self._num_bins, self._decoder, self._num_parts = num_bins, decoder, num_parts
        self.parts: list[np.ndarray] = []

    def levels(self, standard: Any, f: Any, z: tf.Tensor, at: bins.At) -> tf.Tensor:
        """The levels that the decoder reads; see `Writer.levels`.

        Raises:
          Enough: after `num_parts` parts.
        """
        if len(self.parts) == self._num_parts:
            raise Enough
        levels = np.zeros(z.shape)
        for turn in _turns(f, z):
            halving = Halving(standard, f, at, z, self._num_bins)
            while halving.size > 1:
                frequencies = _rows(halving.frequencies(tf.constant(levels, z.dtype))[turn])
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
