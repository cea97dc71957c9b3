"""Random data for all timings, since the times do not depend on the values."""

import numpy as np

from benchmarks.peers import VECTOR_SIZE


def batch(kind, number, size=VECTOR_SIZE):
    """`number` events of a kind: uint8 "images" [number, 32, 32, 3], or float32 "vectors" [number, size]."""
    random = np.random.default_rng(0)
    if kind == "images":
        return random.integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)
    return random.normal(size=(number, size)).astype(np.float32)
