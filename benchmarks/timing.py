"""Interleaved repetitions and their medians: a disturbance of the machine then affects all contestants alike."""

import dataclasses
import statistics
import time

PAUSE = 0.2  # Seconds, since the threads of OpenMP spin for a while after their work.


def interleaved(calls, repetitions):
    """Times contestants in turn.

    Args:
      calls: {name: function that returns the seconds of one repetition}.
      repetitions: int; each calls all contestants once, every second one in reverse order.

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
    """The repetitions of a contestant's method.

    Attributes:
      contestant, method: the names.
      seconds: list of the seconds per call, one for each repetition.
      flops: FLOPs per call.
      size: number of images or vectors per call.
    """

    contestant: str
    method: str
    seconds: list
    flops: int
    size: int

    @property
    def median(self):
        """The median of the seconds per call."""
        return statistics.median(self.seconds)

    @property
    def flops_per_second(self):
        return self.flops / self.median

    @property
    def per_second(self):
        """Images or vectors per second."""
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
      methods: list of pairs: the names of a contestant and of one of its methods.
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
