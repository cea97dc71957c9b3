"""Part 4: time to the first step, in fresh processes: build, trace, optimize, run."""

import statistics

from benchmarks import report, timing, workers
from benchmarks.peers import BARE, CONTESTANTS, OURS

REPETITIONS = 3


def measure_first_step(run):
    """Our flow against its networks in Keras's own layers, both by Keras's `fit`. Imports are not timed."""
    run.pool.close()

    def seconds(name):
        run.report(f"first step of {name}")
        with workers.Worker(CONTESTANTS[name]) as worker:
            return worker.first_seconds("fit_a_step")

    found = timing.interleaved({name: lambda name=name: seconds(name) for name in (OURS, BARE)}, REPETITIONS)
    medians = {name: statistics.median(repetitions) for name, repetitions in found.items()}
    rows = [{"contestant": name, "seconds": medians[name], "repetitions": found[name]} for name in found]
    return [report.Ratio(f"first step: {OURS} / {BARE}", medians[OURS] / medians[BARE], at_most=1.3)], rows
