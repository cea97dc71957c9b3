"""The report of a run: report.html in its workdir, at the end of a training and by a mode of its own."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import tensorflow as tf
from absl import logging

from tfp_realnvp.common import reason_of

from . import checks, data, models, train
from .reporting import images, run, vectors
from .reporting.page import Section, page
from .runs import strategies
from .runs.workdir import check_same_config, write_text

REPORT = "report.html"
FEWEST = 8  # examples of a split
MOST_TRAINING = 10_000  # events among which the nearest ones are looked for
MOST_TEST = 2048


def train_and_report(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    strategy: tf.distribute.Strategy | None = None,
    command: str | None = None,
) -> dict[str, Any] | None:
    """Trains as `train.train_and_evaluate` does, and then writes the report.

    The training is complete before the report begins. If the report cannot be written, there is a warning. A run of
    several workers writes none: the other workers have ended by then, and `write_report` needs one process alone.

    Args:
      config, workdir, data_dir, strategy: as for `train.train_and_evaluate`.
      command: as for `write_report`.

    Returns:
      The dictionary of `result.json`; None for a worker that is not the chief.

    Raises:
      The errors of `train.train_and_evaluate`.
    """
    result = train.train_and_evaluate(config, workdir, data_dir, strategy)
    if result is not None and not strategies.has_workers(strategy):
        try:
            write_report(config, workdir, data_dir, command=command)
        except (ValueError, OSError) as error:
            logging.warning(f"there is no {REPORT}: {error}")
        except tf.errors.OpError as error:  # such as too little memory
            logging.warning(f"there is no {REPORT}: {reason_of(error)}")
    return result


def write_report(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
    seed: int = 0,
    command: str | None = None,
) -> pathlib.Path:
    """Writes report.html: one page with the run's figures, curves, samples, networks and config.

    The page needs no other file and no network. A section that cannot be drawn names the reason, such as a file that
    the workdir lacks.

    Args:
      config: the config of the run. Its first training and test examples are shown.
      workdir, data_dir, model_file: as for `evaluate.evaluate_model`.
      seed: of the samples.
      command: the command that repeats the run, or None.

    Returns:
      The path of the page.

    Raises:
      ValueError: if the workdir holds no model or the run of another config, if the data are missing or do not fit the
        model, or if a split has fewer than 8 examples.

    Example: `write_report(config, pathlib.Path("runs/digits"))`
    """
    config = checks.check_config(config)
    check_same_config(config, workdir)
    model, test = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir)
    training = data.load(config, config.train_split, data_dir)
    for field, examples in (("train_split", training), ("test_split", test)):
        if examples.size < FEWEST:
            raise ValueError(f"{field} must have at least {FEWEST} examples for a report; got {examples.size}")
    first = run.Events.first_of(training, MOST_TRAINING), run.Events.first_of(test, MOST_TEST)
    sections = sections_of(run.Run(model, config, workdir, *first, seed, command))
    path = workdir / REPORT
    write_text(path, page(f"{config.architecture} on {config.dataset}, in {workdir}", sections))
    print(f"wrote {path}")
    return path


def sections_of(shown: run.Run) -> Mapping[str, Section]:
    """The sections of a run's page by their titles; the text of one that cannot be drawn is the reason.

    Args:
      shown: `Run`.

    Example: `page("digits", sections_of(shown))`
    """
    of_model = images.SECTIONS if len(shown.model.event_shape) == 3 else vectors.SECTIONS
    sections = {}
    for title, section in {**run.FIRST, **of_model, **run.LAST}.items():
        try:
            sections[title] = section(shown)
        except ValueError as error:
            sections[title] = Section(f"This section is missing: {error}.")
            print(f"{REPORT} lacks the section {title}: {error}")
    return sections
