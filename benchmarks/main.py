"""Measures this package against its peers: ratios within one run, medians of interleaved repetitions.

  python -m benchmarks.main                                     everything, in about 45 minutes on two cores
  python -m benchmarks.main --only=step,memory                  some parts
  python -m benchmarks.main --data_dir=DIR                      a folder with TFDS's CIFAR-10, for pipeline and quality

On a machine that has no bfloat16 instructions and emulates them, the contestants in bfloat16 are left out.

The program writes results.json, with every repetition, and table.md into --out. requirements-bench.txt lists the peers.
"""

import dataclasses
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import time

from absl import app, flags

from benchmarks import (
    continuous,
    first_answer,
    first_step,
    memory,
    peers,
    pipeline,
    quality,
    report,
    steps,
    vectors,
    workers,
)

PARTS = {
    "step": steps.training,
    "throughput": steps.throughput,
    "vectors": vectors.measure_vectors,
    "pipeline": pipeline.measure_pipeline,
    "first_step": first_step.measure_first_step,
    "first_answer": first_answer.measure_first_answer,
    "memory": memory.measure_memory,
    "quality": quality.measure_quality,
    "continuous": continuous.measure_continuous,
}
WITH_PEERS = ("step", "throughput", "vectors", "quality")

_ONLY = flags.DEFINE_list("only", list(PARTS), f"Parts to run, of {', '.join(PARTS)}.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TFDS's data sets; default: TFDS's own.")
_OUT = flags.DEFINE_string("out", "benchmarks/results", "Folder of results.json and table.md.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Of steps, log-probabilities and samples.", lower_bound=1)
_SECONDS = flags.DEFINE_integer("seconds", 90, "Of each training for time to quality.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "That each contestant computes with.", lower_bound=1)
flags.register_validator(
    "only", lambda names: names and not set(names) - set(PARTS), f"--only must name some of {', '.join(PARTS)}"
)


@dataclasses.dataclass(frozen=True)
class Run:
    """The settings of all parts.

    Attributes:
      pool: `workers.Pool` of the contestants that several parts share.
      precisions: the keys of `peers.OF_PRECISION` that the machine supports, float32 first.
      repetitions, seconds, data_dir: see the flags.
      report: function that prints a line of progress.
    """

    pool: workers.Pool
    precisions: tuple
    repetitions: int
    seconds: int
    data_dir: str | None
    report: callable


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --only=step")
    missing = [name for name in peers.PACKAGES if importlib.util.find_spec(name) is None]
    if missing and set(_ONLY.value) & set(WITH_PEERS):
        raise SystemExit(
            f"error: {', '.join(WITH_PEERS)} need {', '.join(missing)}, the peers of requirements-bench.txt: "
            "`make benchmark` installs them"
        )
    workers.set_environment(_THREADS.value)
    start = time.perf_counter()
    progress = lambda line: print(f"{time.perf_counter() - start:6.0f} s  {line}", flush=True)
    with workers.Worker(peers.Maker("peers.ours:Precision")) as worker:
        is_emulated = worker.call("is_emulated")
    precisions = ("float32",) if is_emulated else ("float32", "bfloat16")
    progress(f"precisions that the machine has: {', '.join(precisions)}")
    pool, parts = workers.Pool(progress), {}
    run = Run(pool, precisions, _REPETITIONS.value, _SECONDS.value, _DATA_DIR.value, progress)
    for name in _ONLY.value:
        progress(f"part {name}")
        parts[name] = PARTS[name](run)
        report.write(pathlib.Path(_OUT.value), header(precisions), parts)  # Now, in case a later part fails.
    pool.close()
    progress(f"wrote {_OUT.value}/results.json and table.md")
    print("\n".join(report.table([ratio.row() for ratios, _ in parts.values() for ratio in ratios])))


def header(precisions):
    """The machine and the versions that the results depend on."""
    packages = ("tensorflow", "tensorflow-probability", "keras", "tf-keras", *peers.PACKAGES)
    versions = {name: _version(name) for name in packages}
    return {
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, {platform.system()}",
        "threads": str(_THREADS.value),
        "precisions": ", ".join(precisions),
        "versions": {"python": platform.python_version(), **versions},
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    app.run(main)
