"""An entropy coder for binary decisions: range asymmetric numeral systems (rANS), a lane for each image.

```none
push:  x ← ⌊x / f⌋ · 2^24 + start + (x mod f)          f / 2^24 the probability of the decision
pop:   slot = x mod 2^24,  x ← f · ⌊x / 2^24⌋ + slot − start
```

The state x of a lane stays between 2^32 and 2^64, by words of 32 bits that leave or enter it. Decisions are popped in
the reverse order of their pushes. All lanes take a step at once, in NumPy, and each can be decoded without the others.

References: Duda, Asymmetric numeral systems, arXiv 1311.2540.
"""

from collections.abc import Sequence

import numpy as np

BITS = 24  # of a probability
ONE = 1 << BITS
LOWEST = np.uint64(1 << 32)  # state of a lane
_WORD = np.uint64(32)


def frequency(probability: np.ndarray) -> np.ndarray:
    """The frequency of a decision among 2^24, at least 1 and at most 2^24 − 1: a uint32 array.

    Args:
      probability: float64 array in [0, 1].

    Example: `frequency(np.array(0.5))` is 8388608.
    """
    return (1 + np.floor(probability * (ONE - 2))).astype(np.uint32)


def encode(decisions: np.ndarray, frequencies: np.ndarray, seals: np.ndarray) -> list[np.ndarray]:
    """Codes the decisions of each lane.

    Args:
      decisions: bool array [lanes, steps], in the order in which they will be read.
      frequencies: uint32 array [lanes, steps], of the decision False.
      seals: uint32 array [lanes]; each lane begins with it, so that its decoder ends with it.

    Returns:
      A uint32 array for each lane, in the order of reading.

    Example: `encode(np.array([[True]]), frequency(np.array([[0.1]])), np.zeros([1], np.uint32))`
    """
    states = LOWEST + seals.astype(np.uint64)
    starts = np.where(decisions, frequencies, 0).astype(np.uint64)
    sizes = np.where(decisions, ONE - frequencies.astype(np.int64), frequencies).astype(np.uint64)
    words = np.zeros(decisions.shape, np.uint32)
    is_written = np.zeros(decisions.shape, bool)
    for step in reversed(range(decisions.shape[1])):
        start, size = starts[:, step], sizes[:, step]
        is_full = states >> np.uint64(64 - BITS) >= size
        words[:, step], is_written[:, step] = states, is_full  # NumPy's cast keeps the low 32 bits.
        states = np.where(is_full, states >> _WORD, states)
        states = (states // size << np.uint64(BITS)) + start + states % size
    ends = np.stack([states >> _WORD, states], axis=1).astype(np.uint32)
    return [np.concatenate([end, lane[kept]]) for end, lane, kept in zip(ends, words, is_written, strict=True)]


class Decoder:
    """Reads the decisions of each lane.

    Args:
      lanes: uint32 arrays, of `encode`.

    Example: `Decoder(encode(decisions, frequencies, seals)).read(frequencies[:, 0])` is `decisions[:, 0]`.
    """

    def __init__(self, lanes: Sequence[np.ndarray]) -> None:
        self._ends = np.array([len(lane) for lane in lanes])
        self._words = np.zeros([len(lanes), max(self._ends, default=0) + 1], np.uint64)
        for row, lane in zip(self._words, lanes, strict=True):
            row[: len(lane)] = lane
        self._states = self._words[:, 0] << _WORD | self._words[:, 1]
        self._positions = np.full(len(lanes), 2)
        self._numbers = np.arange(len(lanes))

    def read(self, frequencies: np.ndarray) -> np.ndarray:
        """The next decision of each lane, a bool array [lanes].

        Args:
          frequencies: uint32 array [lanes], of the decision False.
        """
        frequencies = frequencies.astype(np.uint64)
        slots = self._states & np.uint64(ONE - 1)
        decisions = slots >= frequencies
        sizes = np.where(decisions, np.uint64(ONE) - frequencies, frequencies)
        states = sizes * (self._states >> np.uint64(BITS)) + slots - np.where(decisions, frequencies, np.uint64(0))
        is_low = states < LOWEST
        # A damaged lane may read beyond its end: it gets zeros, and its seal will be wrong.
        words = self._words[self._numbers, np.minimum(self._positions, self._words.shape[1] - 1)]
        self._states = np.where(is_low, states << _WORD | words, states)
        self._positions += is_low
        return decisions

    def is_sealed(self, seals: np.ndarray) -> np.ndarray:
        """Whether each of the first lanes has been read to its end, and begins with its seal: a bool array [number].

        Args:
          seals: uint32 array [number].
        """
        states, is_at_end = self._states[: len(seals)], (self._positions == self._ends)[: len(seals)]
        return is_at_end & (states == LOWEST + seals.astype(np.uint64))
