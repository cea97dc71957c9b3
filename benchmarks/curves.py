"""Draws the training curves of runs: bits/dim of each epoch over the steps, for training and for held-out data.

python -m benchmarks.curves docs/figures/cifar10_fast.png runs/cifar10_fast [other workdirs]
"""

import json
import pathlib

import matplotlib
from absl import app

matplotlib.use("Agg")
from matplotlib import pyplot


def main(argv):
    path, *workdirs = [pathlib.Path(argument) for argument in argv[1:]] or [pathlib.Path()]
    if path.suffix != ".png":
        raise app.UsageError(f"the first argument must be the .png file to write; got {str(path)!r}")
    missing = [str(workdir) for workdir in workdirs if not (workdir / "metrics.jsonl").exists()]
    if missing or not workdirs:
        raise app.UsageError(f"the others must be workdirs that hold a metrics.jsonl; got {missing or 'none'}")
    draw({workdir.name: read(workdir) for workdir in workdirs}, path)


def read(workdir):
    """The lines of a workdir's metrics.jsonl, each a dictionary."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def draw(runs, path):
    """Draws the curves of each run, labelled by its name, into a PNG file."""
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, lines in runs.items():
        steps = [line["step"] for line in lines]
        for key, label in (("bits_per_dim", "training"), ("val_bits_per_dim", "held out")):
            if key in lines[0]:
                axes.plot(steps, [line[key] for line in lines], marker=".", label=f"{name}, {label}")
    axes.set(xlabel="steps", ylabel="bits/dim (of training: mean of the epoch)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    app.run(main)
