"""Time to the first answer of a saved flow, in fresh processes: load the file, then ask once."""

import pathlib
import statistics
import tempfile

from benchmarks import timing, workers
from benchmarks.peers import CONFIG_A, Maker

FLOWS = {
    "digits": dict(event_shape=(8, 8, 1), num_bins=17, num_scales=2, filters=32),  # as train/configs/default.py
    "config A": CONFIG_A,
}
QUESTIONS = ("load", "load_without_optimizer", "predict", "evaluate", "log_likelihood", "sample", "encode", "decode")
REPETITIONS = 5


def measure_first_answer(run):
    """Loads each flow and asks one question, in a process of its own for each. Imports are not timed."""
    run.pool.close()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in FLOWS.items():
            maker = Maker("peers.ours:Saved", dict(options=options, path=str(pathlib.Path(folder) / f"{name}.keras")))
            with workers.Worker(maker) as worker:
                worker.call("write")

            def seconds(question, maker=maker):
                with workers.Worker(maker) as worker:
                    return worker.first_seconds(question)

            run.report(f"first answers of {name}")
            calls = {question: lambda question=question: seconds(question) for question in QUESTIONS}
            for question, found in timing.interleaved(calls, REPETITIONS).items():
                label = question.replace("_", " ") if question.startswith("load") else f"load and {question}"
                rows.append({"flow": name, "asked": label, "seconds": statistics.median(found), "repetitions": found})
    return [], rows
