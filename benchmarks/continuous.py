"""Part 8: a training step of a continuous flow, over TFP's and over its network alone; its memory by steps."""

import statistics

from benchmarks import report, timing, workers
from benchmarks.peers import Maker

OURS, TFP, BARE = "ours, RNODE block", "TFP's FFJORD", "its evaluations in a bare loop"
PLAIN = "its evaluations in TensorFlow's operations"
NUM_STEPS = (10, 20, 40)  # Of RK4, for the memory.
GRADIENTS = {False: "repeated steps", True: "adjoint"}
FIRST_STEPS = 3  # The number of fresh processes for each.

# The targets.
OF_TFP, OF_BARE, OF_FIRST_STEP, OF_MEMORY = 1 / 2.5, 1.15, 1.5, 1.2


def measure_continuous(run):
    """The step without an optimizer, over the same at the same tolerance by TFP, and over as many evaluations alone."""
    run.pool.close()
    run.report(f"evaluations of {OURS}")
    with workers.Worker(Maker("peers.continuous:Ours")) as ours:
        counts = ours.call("counts")
    results = [_steps(run, counts), _first_steps(run, counts), _memory(run)]
    return [ratio for ratios, _ in results for ratio in ratios], [row for _, rows in results for row in rows]


def _steps(run, counts):
    """The seconds of a step in processes that live on, in turn."""
    makers = {
        OURS: Maker("peers.continuous:Ours"),
        TFP: Maker("peers.continuous:Tfp"),
        BARE: Maker("peers.continuous:Bare", counts),
    }
    living = {name: workers.Worker(maker) for name, maker in makers.items()}
    for name, worker in living.items():
        run.report(f"warming up {name}")
        for _ in range(2):
            worker.call("train_step")
    calls = {name: lambda worker=worker: worker.seconds("train_step") for name, worker in living.items()}
    medians, rows = _medians("train_step", timing.interleaved(calls, run.repetitions), counts)
    for worker in living.values():
        worker.close()
    ratios = [
        report.Ratio(f"train_step: {OURS} / {name}", medians[OURS] / medians[name], at_most=target)
        for name, target in ((TFP, OF_TFP), (BARE, OF_BARE))
    ]
    return ratios, rows


def _first_steps(run, counts):
    """The seconds of the first step in fresh processes, with the network and the graph, without the imports."""
    makers = {
        OURS: Maker("peers.continuous:Ours"),
        PLAIN: Maker("peers.continuous:Bare", {**counts, "is_plain": True}),
    }

    def seconds(name):
        run.report(f"first step of {name}")
        with workers.Worker(makers[name]) as worker:
            return worker.first_seconds("train_step")

    found = timing.interleaved({name: lambda name=name: seconds(name) for name in makers}, FIRST_STEPS)
    medians, rows = _medians("first step", found, counts)
    return [report.Ratio(f"first step: {OURS} / {PLAIN}", medians[OURS] / medians[PLAIN], OF_FIRST_STEP)], rows


def _memory(run):
    """The memory of the first whole batch over two images, as in the part of the memory."""
    needed, rows = {}, []
    for adjoint, gradients in GRADIENTS.items():
        for num_steps in NUM_STEPS:
            run.report(f"memory of {num_steps} steps, {gradients}")
            with workers.Worker(Maker("peers.continuous:Ours", dict(num_steps=num_steps, adjoint=adjoint))) as worker:
                worker.call("train_step", 2)
                before, needed[adjoint, num_steps] = worker.megabytes("train_step")
            rows.append(
                {
                    "contestant": f"{OURS}, {gradients}",
                    "measurement": f"memory of {num_steps} steps of RK4",
                    "MB of a step": needed[adjoint, num_steps],
                    "MB of the process before": before,
                }
            )
    few, *_, many = NUM_STEPS
    ratios = [
        report.Ratio(f"memory of {gradients}: {many} / {few} steps", needed[key, many] / needed[key, few], OF_MEMORY)
        for key, gradients in GRADIENTS.items()
    ]
    return ratios, rows


def _medians(measurement, found, counts):
    """The medians of the seconds of each contestant, and the rows of the table."""
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    rows = [
        {
            "contestant": name,
            "measurement": measurement,
            "seconds": medians[name],
            "fastest": min(seconds),
            "slowest": max(seconds),
            "evaluations": None if name == TFP else counts["evaluations"],
            "repeated with gradients": None if name == TFP else counts["repeated"],
            "repetitions": seconds,
        }
        for name, seconds in found.items()
    ]
    return medians, rows
