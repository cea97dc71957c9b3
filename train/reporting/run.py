"""A run with its model and a part of its data, and the sections of its page that every run has."""

import dataclasses
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np

import tfp_realnvp as rnvp

from .. import data
from ..evaluate import installed_versions
from ..figures import paper
from ..runs.metrics import read_metrics
from ..runs.workdir import read_json
from .chart import Chart
from .page import Section
from .parts import Code, Table

TIMED = 64  # events in a measurement of the speed


@dataclasses.dataclass(frozen=True)
class Events:
    """The first events of a split.

    Attributes:
      values: array [N] + event_shape.
      context: the labels [N] or contexts [N, size] of a conditional flow, otherwise None.
    """

    values: np.ndarray
    context: np.ndarray | None

    @classmethod
    def first_of(cls, examples: data.Examples, number: int) -> "Events":
        """The first `number` events of a split, or all of a smaller one.

        Args:
          examples: the split.
          number: a positive int.

        Example: `Events.first_of(data.load(config, "test"), 64)`
        """
        batch = next(data.evaluation_batches(examples, number).as_numpy_iterator())
        return cls(*batch) if isinstance(batch, tuple) else cls(batch, None)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, part: slice) -> "Events":
        return Events(self.values[part], None if self.context is None else self.context[part])


@dataclasses.dataclass(frozen=True)
class Run:
    """All that the sections show.

    Attributes:
      model: the trained flow.
      config: its config.
      workdir: the folder of metrics.jsonl and result.json.
      training, test: `Events`.
      seed: of the samples.
      command: the command that repeats the run, or None.
    """

    model: rnvp.FlowModel
    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    training: Events
    test: Events
    seed: int = 0
    command: str | None = None

    def sample(self, number: int, temperature: float = 1.0) -> np.ndarray:
        """Samples; those of a conditional flow are given the contexts of the first test events.

        Args:
          number: of the samples, at most that of the test events.
          temperature: as for `FlowModel.sample`.

        Example: `run.sample(64, temperature=0.7)`
        """
        given = paper.first_contexts(self.model, self.test.context, number)
        return self.model.sample(number, temperature, self.seed, **given)

    def bits_per_dim(self, events: Events) -> np.ndarray:
        """The bits/dim of each event, a float array [N].

        Args:
          events: `Events`.

        Example: `run.bits_per_dim(run.test)`
        """
        inputs = events.values if events.context is None else (events.values, events.context)
        nats = rnvp.evaluation.log_likelihood(self.model, inputs, batch_size=self.config.evaluation.batch_size)
        return -nats / (np.log(2) * events.values[0].size)


def result(run: Run) -> Section:
    """The figures of result.json."""
    path = run.workdir / "result.json"
    if not path.is_file():
        raise ValueError(f"workdir {run.workdir} has no result.json; --mode=evaluate writes it")
    values = read_json(path)
    described = {name: value for name, value in values.items() if name not in ("config", "versions")}
    return Section(
        "The evaluation of the whole test split, from result.json. The loss is in nats per event.",
        [Table(["figure", "value"], [*flat(described)])],
    )


def curves(run: Run) -> Section:
    """Every metric of metrics.jsonl by epoch, with that of the validation."""
    lines = read_metrics(run.workdir)
    metrics = {name: [line.get(name, np.nan) for line in lines] for line in lines for name in line}
    epochs = metrics.pop("epoch")
    charts = [
        Chart(name, epochs, {"training": values, **_if_present("validation", metrics.get(f"val_{name}"))})
        for name, values in sorted(metrics.items(), key=lambda metric: metric[0] == "learning_rate")  # as the last
        if not name.startswith("val_") and name != "step"
    ]
    return Section("The metrics of each epoch, from metrics.jsonl.", charts)


def speed(run: Run) -> Section:
    """The rates of training, of sampling and of the log-likelihood."""
    number = min(TIMED, len(run.test))
    batch = run.test[:number]
    rows = [
        (f"samples, {number} at a time", number / _seconds(lambda: run.sample(number))),
        (f"log-likelihoods, {number} at a time", number / _seconds(lambda: run.bits_per_dim(batch))),
    ]
    text = "Events per second on this machine, after TensorFlow has traced the flow."
    if (run.workdir / "metrics.jsonl").is_file():
        rates = [line["images_per_s"] for line in read_metrics(run.workdir) if "images_per_s" in line]
        rows.append(("training, the median over the epochs", statistics.median(rates)))
    return Section(text, [Table(["work", "events per second"], [(work, f"{rate:,.1f}") for work, rate in rows])])


def network(run: Run) -> Section:
    """The networks with their numbers of parameters, and the layers of the flow."""
    rows = [(network.name, type(network).__name__, network.count_params()) for network in run.model.networks]
    total = run.model.count_params()
    return Section(
        f"{type(run.model).__name__} has {total:,} parameters, moving moments and the like included.",
        [
            Table(["network", "class", "parameters"], rows, f"{len(rows)} networks"),
            Code(repr(run.model), "The layers, from the data to the latents"),
        ],
    )


def repetition(run: Run) -> Section:
    """The command, the config and the versions."""
    config = Table(["field", "value"], [*flat(json.loads(run.config.to_json_best_effort()))], "The config")
    path = run.workdir / "result.json"
    versions = read_json(path).get("versions") if path.is_file() else None
    table = Table(["package", "version"], [*(versions or installed_versions()).items()])
    if run.command is None:
        return Section(
            "The command of this run is not known. Its config, and the versions of the evaluation.", [config, table]
        )
    return Section(
        "The command that trains this run, its config, and the versions of the evaluation.",
        [Code(run.command), config, table],
    )


FIRST: Mapping[str, Callable[[Run], Section]] = {"Result": result, "Curves": curves}
LAST: Mapping[str, Callable[[Run], Section]] = {"Speed": speed, "Network": network, "Repeat": repetition}


def _if_present(name: str, values: list[float] | None) -> dict[str, list[float]]:
    return {} if values is None else {name: values}


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of every entry, those of inner dictionaries with a dot in their names.

    Args:
      values: dictionary of dictionaries and other values.
      prefix: of the names.

    Example: `dict(flat({"a": {"b": 1}}))` is `{"a.b": 1}`.
    """
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _seconds(function: Callable[[], Any]) -> float:
    """The seconds of a call, after one that traces."""
    function()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
