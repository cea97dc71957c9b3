"""Part 6: the speed of the input pipeline alone, against the fastest training step."""

import statistics

from benchmarks import report, timing, workers
from benchmarks.peers import OF_PRECISION, Maker


def measure_pipeline(run):
    """Images per second of the shuffled, mirrored batches, and of the step in the lowest precision, in turn."""
    ours = OF_PRECISION[run.precisions[-1]]
    with workers.Worker(Maker("data:Data", dict(data_dir=run.data_dir))) as data:
        step, name = run.pool.get(ours, "train_step"), data.call("name")
        data.call("batches")  # It fills the shuffle buffer.
        sizes = {"pipeline": data.call("size"), "step": step.call("size", "train_step")}
        calls = {"pipeline": lambda: data.seconds("batches"), "step": lambda: step.seconds("train_step")}
        seconds = timing.interleaved(calls, run.repetitions)
    rates = {key: sizes[key] / statistics.median(seconds[key]) for key in seconds}
    names = {"pipeline": f"pipeline of {name}", "step": f"train_step of {ours}"}
    rows = [{"what": names[key], "images/s": rates[key], "repetitions": seconds[key]} for key in names]
    ratio = report.Ratio(
        f"images a second: {names['pipeline']} / {names['step']}", rates["pipeline"] / rates["step"], at_least=5
    )
    return [ratio], rows
