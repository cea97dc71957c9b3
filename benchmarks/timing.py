"""Interleaved repetitions, their medians and ratios: what disturbs the machine disturbs all contestants alike."""

import dataclasses
import statistics
import time

PAUSE = 0.2  # seconds; the threads of OpenMP spin for a while after their work is done


def interleaved(calls, repetitions):
    """Times contestants in turn.

    Args:
      calls: {name: function that returns the seconds of one repetition}.
      repetitions: int; each goes once round all contestants, every other one backwards.

    Returns:
      {name: list of seconds}.
    """
    seconds = {name: [] for name in calls}
    for repetition in range(repetitions):
        for name in list(calls)[:: -1 if repetition % 2 else 1]:
            time.sleep(PAUSE)
            seconds[name].append(calls[name]())
    return seconds


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the repetitions of a contestant's method have shown.

    Attributes:
      contestant, method: their names.
      seconds: list, of each repetition.
      flops: FLOPs of one call.
      size: images or vectors of one call.
    """

    contestant: str
    method: str
    seconds: list
    flops: int
    size: int

    @property
    def median(self):
        """Seconds of a call."""
        return statistics.median(self.seconds)

    @property
    def flops_per_second(self):
        return self.flops / self.median

    @property
    def per_second(self):
        """Images or vectors a second."""
        return self.size / self.median

    def row(self):
        """A row of the table."""
        return {
            "contestant": self.contestant,
            "method": self.method,
            "GFLOP": self.flops / 1e9,
            "seconds": self.median,
            "fastest": min(self.seconds),
            "slowest": max(self.seconds),
            "GFLOP/s": self.flops_per_second / 1e9,
            "items/s": self.per_second,
            "repetitions": self.seconds,
        }


def measured(pool, methods, repetitions):
    """Times methods of contestants in turn and counts their FLOPs.

    Args:
      pool: `workers.Pool`.
      methods: list of pairs, the name of a contestant and a method of its.
      repetitions: see `interleaved`.

    Returns:
      {pair: `Measurement`}.
    """
    workers = {pair: pool.get(*pair) for pair in methods}
    calls = {
        (name, method): (lambda worker=worker, method=method: worker.seconds(method))
        for (name, method), worker in workers.items()
    }
    seconds = interleaved(calls, repetitions)
    return {
        pair: Measurement(*pair, seconds[pair], worker.call("flops", pair[1]), worker.call("size", pair[1]))
        for pair, worker in workers.items()
    }
