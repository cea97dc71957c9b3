"""Kills a run on the digits at random moments, repeats its command each time, and compares it with an undisturbed run.

  python -m tests.train.kills [--kills=20] [--seed=0] [--folder=DIR]

The run is small and saves a checkpoint every third step, so that kills hit its start, its training, its saving, its
validation, its pictures and its end.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from tests.train.files import arrays_of

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = [
    "--config.epochs=12",
    "--config.steps_per_epoch=20",
    "--config.samples_every=4",
    "--config.model.num_scales=1",
    "--config.model.filters=8",
    "--config.test_split=test[:100]",
    "--config.checkpoint.steps=3",
    "--noreport",
]


def start(workdir, *arguments):
    """A process of the command line, its output in a pipe."""
    command = [sys.executable, "-m", "train.main", f"--workdir={workdir}", *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def finish(process):
    """Waits for the end: exit code and output."""
    out, _ = process.communicate(timeout=900)
    return process.returncode, out


def newest(workdir):
    """The name of the last checkpoint, "" if there is none."""
    return max((path.name for path in (workdir / "checkpoints").glob("step_*.keras")), default="")


def wait_for_a_checkpoint(workdir, process, before):
    """Waits for a checkpoint after the one called `before`, or for the end of the process."""
    while newest(workdir) <= before and process.poll() is None:
        time.sleep(0.01)


def differences(workdir, other):
    """The names of the files that differ between two runs, apart from timings."""
    found = []
    metrics, others = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (workdir, other)
    )
    for line in metrics + others:
        del line["images_per_s"]
    if metrics != others:
        found.append("metrics.jsonl")
    if (workdir / "result.json").read_bytes() != (other / "result.json").read_bytes():
        found.append("result.json")
    for name in ("model.keras", "checkpoints/best.keras", f"checkpoints/{newest(other)}"):
        arrays, expected = arrays_of(workdir / name), arrays_of(other / name)
        if {*arrays} != {*expected} or any(not np.array_equal(arrays[key], expected[key]) for key in arrays):
            found.append(name)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=pathlib.Path, default=None)
    arguments = parser.parse_args()
    folder = arguments.folder or pathlib.Path(tempfile.mkdtemp())
    chance = random.Random(arguments.seed)
    code, out = finish(start(folder / "undisturbed", *DIGITS))
    if code:
        sys.exit(out)
    workdir, kills = folder / "killed", 0
    while kills < arguments.kills:
        before, process = newest(workdir), start(workdir, *DIGITS)
        if chance.random() < 0.4:
            time.sleep(chance.uniform(0, 20))
        else:
            wait_for_a_checkpoint(workdir, process, before)
            time.sleep(chance.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        code, out = finish(process)
        kills += code == -signal.SIGKILL  # Otherwise the run ended first, and is only evaluated again.
        print(f"kill {kills}, exit code {code}: last checkpoint {newest(workdir)}", flush=True)
        if code not in (0, -signal.SIGKILL):
            sys.exit(out)
    code, out = finish(start(workdir, *DIGITS))
    if code:
        sys.exit(out)
    found = differences(workdir, folder / "undisturbed")
    print(
        f"{kills} kills; "
        + (f"different: {', '.join(found)}" if found else "equal to the undisturbed run, bit for bit")
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
