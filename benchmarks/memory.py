"""Part 5: the memory and time of a training step by depth, plain and rematerialized."""

import statistics

from benchmarks import report, timing, workers
from benchmarks.peers import Maker

COPIES = (1, 2, 4)  # Numbers of copies of config A's couplings, with one block each, one after the other.
REPETITIONS = 3


def measure_memory(run):
    """Each flow in two fresh processes, one plain and one rematerialized; their steps are timed in turn.

    The first step is traced for any number of images and gets two. It allocates the weights, the optimizer's slots and
    the graph. The memory of a step is the largest growth of the process in the next step, the first with the whole
    batch: its activations and gradients. TensorFlow keeps this memory for later steps. The times are of steps alone,
    without the rest of `fit`.
    """
    run.pool.close()
    rows, before, needed, seconds = [], {}, {}, {}
    for copies in COPIES:
        makers = {
            rematerialize: Maker("peers.ours:deep", dict(copies=copies, rematerialize=rematerialize))
            for rematerialize in (False, True)
        }
        with workers.Worker(makers[False]) as plain, workers.Worker(makers[True]) as rematerialized:
            pair = {False: plain, True: rematerialized}
            for rematerialize, worker in pair.items():
                run.report(f"memory of couplings ×{copies}{', rematerialized' * rematerialize}")
                worker.call("fit_first", 2)
                before[copies, rematerialize], needed[copies, rematerialize] = worker.megabytes("fit_first")
                worker.call("train_step")  # It is traced again, for this batch size.
            calls = {key: lambda worker=worker: worker.seconds("train_step") for key, worker in pair.items()}
            for rematerialize, found in timing.interleaved(calls, REPETITIONS).items():
                seconds[copies, rematerialize] = statistics.median(found)
                rows.append(
                    {
                        "couplings": f"×{copies}",
                        "rematerialized": "yes" if rematerialize else "no",
                        "MB of a step": needed[copies, rematerialize],
                        "MB of the process before": before[copies, rematerialize],
                        "seconds of a step": seconds[copies, rematerialize],
                        "repetitions": found,
                    }
                )
    ratios = []
    for quantity, values, at_most in (("memory", needed, 0.40), ("time", seconds, 1.35)):
        ratios += [
            report.Ratio(
                f"{quantity} of couplings ×{n}: rematerialized / plain", values[n, True] / values[n, False], at_most
            )
            for n in COPIES
        ]
    growth = {key: needed[COPIES[-1], key] - needed[COPIES[0], key] for key in (False, True)}
    name = f"growth of memory from ×{COPIES[0]} to ×{COPIES[-1]}: rematerialized / plain"
    return [*ratios, report.Ratio(name, growth[True] / growth[False], at_most=0.25)], rows
