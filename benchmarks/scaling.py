"""Throughput of several workers with one thread each, over that of one worker with one thread.

  python -m benchmarks.scaling [--workers=2] [--batch_size=128] [--steps=2] [--repetitions=3]

It compares two flows on random images, with the same global batch for all. One has batch norm (config A of the other
benchmarks), and each norm waits for all workers. The other has none (12 of Glow's steps, of the paper's width). Each
worker is a process on 127.0.0.1 that may run on one core only, also the worker that trains alone. All are traced first.
Then one worker and several workers take turns. Run it on an idle machine; it takes about eight minutes on two cores.
"""

import os
import statistics

from absl import app, flags

from benchmarks import timing, workers
from benchmarks.peers import CONFIG_A

FLOWS = {
    "RealNVP": CONFIG_A,
    "Glow": dict(event_shape=(32, 32, 3), num_scales=3, steps_per_scale=4, filters=512),
}

_WORKERS = flags.DEFINE_integer("workers", 2, "How many workers are compared with one.", lower_bound=2)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per step, of all workers together.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 2, "Steps per repetition.", lower_bound=1)
_REPETITIONS = flags.DEFINE_integer("repetitions", 3, "Repetitions; their median counts.", lower_bound=1)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}; every setting is a flag, such as --workers=4")
    cores = sorted(os.sched_getaffinity(0))[: _WORKERS.value]
    if len(cores) < _WORKERS.value:
        raise SystemExit(f"error: --workers must be at most {len(cores)}, the number of cores; got {_WORKERS.value}")
    if _BATCH_SIZE.value % _WORKERS.value:
        raise SystemExit(f"error: --batch_size must be a multiple of --workers; got {_BATCH_SIZE.value}")
    workers.set_environment(threads=1)
    for family, config in FLOWS.items():
        compare(family, config, cores)


def compare(family, config, cores):
    """Prints the throughputs of one and of several workers, and their ratio."""
    with (
        workers.Team(family, config, _BATCH_SIZE.value, cores[:1]) as alone,
        workers.Team(family, config, _BATCH_SIZE.value, cores) as together,
    ):
        teams = {f"{family}, 1 worker": alone, f"{family}, {_WORKERS.value} workers": together}
        for name, team in teams.items():
            print(f"tracing {name}", flush=True)
            team.seconds(1)
        calls = {name: lambda team=team: team.seconds(_STEPS.value) for name, team in teams.items()}
        seconds = timing.interleaved(calls, _REPETITIONS.value)
    rates = {name: [_BATCH_SIZE.value * _STEPS.value / each for each in found] for name, found in seconds.items()}
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):.2f} images/s, of {', '.join(f'{rate:.2f}' for rate in found)}")
    one, many = map(statistics.median, rates.values())
    print(f"{' / '.join(reversed(rates))}: {many / one:.2f}")


if __name__ == "__main__":
    app.run(main)
