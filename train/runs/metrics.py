"""The metrics of a run by epoch, from its metrics.jsonl."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The metrics of each epoch, by their names, in the order of the epochs.

    Args:
      workdir: the folder of the run.

    Raises:
      ValueError: if metrics.jsonl is missing, damaged or without an epoch.

    Example: `read_metrics(workdir)[-1]["bits_per_dim"]`
    """
    path = workdir / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"workdir {workdir} has no metrics.jsonl; a training writes it")
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines.sort(key=lambda line: line["epoch"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r})") from error
    if not lines:
        raise ValueError(f"{path} has no epoch yet")
    return lines


def training_seconds(lines: Sequence[dict[str, Any]], batch_size: int) -> float:
    """The seconds of all training steps, without validations, evaluations and pauses.

    Args:
      lines: of `read_metrics`.
      batch_size: the config's.

    Example: `training_seconds(read_metrics(workdir), config.batch_size)`
    """
    steps = [line["step"] for line in lines]
    return sum(
        (step - before) * batch_size / line["images_per_s"]
        for before, step, line in zip([0, *steps], steps, lines, strict=False)
    )
