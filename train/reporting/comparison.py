"""Runs side by side: their figures, the fields in which their configs differ, their curves and their samples."""

import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Mapping
from typing import Any

import tfp_realnvp as rnvp

from .. import models
from ..configs import default
from ..figures import pictures
from ..runs.metrics import read_metrics, training_seconds
from ..runs.workdir import read_json
from .chart import Chart
from .page import Section
from .parts import SideBySide, Table
from .run import flat

NONE = "–"


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """The files of a run.

    Attributes:
      config: the dictionary of config.json; fields that the run did not know yet have their defaults.
      metrics: of `read_metrics`.
      result: the dictionary of result.json; empty before the evaluation.
      model: the trained flow; None before the end of the training.
    """

    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    result: dict[str, Any]
    model: rnvp.FlowModel | None

    @classmethod
    def of(cls, workdir: pathlib.Path, model_file: str) -> "ComparedRun":
        """The run of a workdir.

        Args:
          workdir: the folder of the run.
          model_file: name of the model's file in the workdir.

        Raises:
          ValueError: if the folder holds no run, or a damaged one.

        Example: `ComparedRun.of(pathlib.Path("runs/digits"), "model.keras")`
        """
        path = workdir / "config.json"
        if not path.exists():
            raise ValueError(f"workdir must hold a run; there is no {path}")
        before = json.loads(default.get_config().to_json_best_effort())
        result = workdir / "result.json"
        return cls(
            {**before, **read_json(path)},
            read_metrics(workdir),
            read_json(result) if result.exists() else {},
            models.load_trained(workdir / model_file) if (workdir / model_file).exists() else None,
        )

    def values(self, metric: str) -> list[float]:
        """The values of a metric in the epochs that have it."""
        return [line[metric] for line in self.metrics if metric in line]

    def figures(self) -> dict[str, Any]:
        """The figures of the run by their names."""
        batch_size, validation = self.config["batch_size"], self.values("val_bits_per_dim")
        return {
            "family": self.config["architecture"],
            "parameters": self.model.count_params() if self.model else NONE,
            "steps": self.metrics[-1]["step"],
            "seconds": round(training_seconds(self.metrics, batch_size)),
            "ms/step": round(1000 * statistics.median(batch_size / rate for rate in self.values("images_per_s")), 1),
            "training bits/dim, last": self.metrics[-1].get("bits_per_dim", NONE),
            "validation bits/dim, best": min(validation, default=NONE),
            "validation bits/dim, last": validation[-1] if validation else NONE,
            "test bits/dim": self.result.get("bits_per_dim", NONE),
            "standard error": self.result.get("standard_error", NONE),
            "test split": self.result.get("split", NONE),
        }


def table(runs: Mapping[str, ComparedRun]) -> Table:
    """The figures of the runs, and the fields in which their configs differ, a column for each run.

    Args:
      runs: name ↦ `ComparedRun`.

    Example: `print(table(runs).text())`
    """
    figures = [run.figures() for run in runs.values()]
    configs = [dict(flat(run.config)) for run in runs.values()]
    fields = {name: [config.get(name, NONE) for config in configs] for config in configs for name in config}
    rows = [[name, *(each[name] for each in figures)] for name in figures[0]]
    rows += [
        [f"config.{name}", *values]
        for name, values in fields.items()
        if name != "architecture" and any(value != values[0] for value in values)
    ]
    return Table(["", *runs], rows)


def curves(runs: Mapping[str, ComparedRun]) -> Section:
    """A chart for each metric, with a curve for each run that has it."""
    names = dict.fromkeys(name for run in runs.values() for line in run.metrics for name in line)
    charts = []
    for metric in sorted(names, key=lambda name: name == "learning_rate"):  # as the last
        if metric in ("epoch", "step"):
            continue
        values = {
            name: {line["step"]: line[metric] for line in run.metrics if metric in line} for name, run in runs.items()
        }
        steps = sorted({step for of_run in values.values() for step in of_run})
        curves = {name: [of_run.get(step, math.nan) for step in steps] for name, of_run in values.items() if of_run}
        charts.append(Chart(metric, steps, curves, unit="step"))
    return Section("The metrics of each epoch by step; val_ stands for the validation.", charts)


def samples(runs: Mapping[str, ComparedRun], seed: int) -> Section:
    """Samples of each model that has a picture of them."""
    drawn = {
        name: pictures.of_samples(run.model, seed=seed) if run.model is not None else None for name, run in runs.items()
    }
    shown = {name: pixels for name, pixels in drawn.items() if pixels is not None}
    missing = [name for name in runs if name not in shown]
    text = f" There are none of {', '.join(missing)}: no model yet, or one without a picture." if missing else ""
    return Section(f"Samples at temperature 1, with the same seed.{text}", [SideBySide(shown)] if shown else [])
