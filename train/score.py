"""The log-likelihood of each picture of a folder."""

import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np
from absl import logging

import tfp_realnvp as rnvp

from . import checks, models
from .anomalies import DETECTOR
from .data import folder
from .runs.workdir import new_file


def score_folder(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str = "model.keras",
) -> pathlib.Path:
    """Writes the log-likelihood of each picture of a folder by the workdir's model, one line of scores.jsonl each.

    ```none
    {"file": "a/0001.png", "nats": -5917.2, "bits_per_dim": 2.779}
    {"file": "a/0002.png", "error": "the picture must have shape (32, 32, 3); got (8, 8, 3)"}
    ```

    The pictures are neither cut nor resized. The line of a picture without a score says why it has none. With the
    workdir's detector.npz, of --mode=anomalies, each line also has the picture's "p_value".

    Args:
      config, workdir, model_file: as for `evaluate.evaluate_model`; `config.evaluation.num_draws` > 1 gives the
        importance-weighted bound.
      data_dir: the folder. All pictures anywhere below it are scored, in the order of their paths, as far as they are
        files of at most `config.max_pixels` pixels.

    Returns:
      The path of scores.jsonl. The file is replaced as a whole.

    Raises:
      ValueError: if the workdir holds no model, or one that is not of images alone, or a detector of another model, or
        if no picture of the folder can be scored. An older scores.jsonl is then kept.
    """
    config, root = checks.check_config(config), folder.find_folder(data_dir)
    paths = folder.picture_paths(root)
    if config.init_from_official and config.dataset != "folder":  # Other data sets would look for TFDS's files there.
        raise ValueError(f"dataset must be folder for mode=score of init_from_official; got {config.dataset!r}")
    model = models.load_model(config, workdir, model_file, data_dir)
    if model.num_bins is None or model.context_size:
        raise ValueError(f"model must be one of images without a context for mode=score; {model_file} is another")
    path, detector = workdir / "scores.jsonl", None
    if (workdir / DETECTOR).exists():
        detector = rnvp.anomaly.Detector.load(workdir / DETECTOR, model)
    scored: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    with new_file(path) as file:
        for line in score_pictures(model, detector, paths, root, config):
            file.write(json.dumps(line).encode() + b"\n")
            (refused if "error" in line else scored).append(line)
        if not scored:
            first = refused[0]
            raise ValueError(f"data_dir must hold pictures that fit the model; of {first['file']} {first['error']}")
    mean = sum(line["bits_per_dim"] for line in scored) / len(scored)
    print(f"{len(scored)} pictures with {mean:.4f} bits/dim on average in {path}")
    if refused:
        logging.warning(f"{len(refused)} pictures could not be scored: their lines in {path} say why")
    return path


def score_pictures(
    model: rnvp.FlowModel,
    detector: rnvp.anomaly.Detector | None,
    paths: np.ndarray,
    root: pathlib.Path,
    config: ml_collections.ConfigDict,
) -> Iterator[dict[str, Any]]:
    """Yields the lines of `score_folder`, each with a path from `root` and its scores, or its error."""
    batch_size, num_draws = config.evaluation.batch_size, config.evaluation.num_draws
    for start in range(0, len(paths), batch_size):
        lines: list[dict[str, Any]] = []
        images = []
        for path in paths[start : start + batch_size]:
            lines.append({"file": pathlib.Path(path).relative_to(root).as_posix()})
            try:
                images.append(folder.read_picture(path, model.event_shape, models.num_levels(model), config.max_pixels))
            except ValueError as error:
                lines[-1]["error"] = str(error)
        nats: Any = rnvp.evaluation.log_likelihood(model, np.stack(images), num_draws) if images else []
        readable = [line for line in lines if "error" not in line]
        for line, value in zip(readable, nats, strict=True):
            line.update(nats=float(value), bits_per_dim=float(-value / (math.prod(model.event_shape) * math.log(2))))
        if detector and images:
            p_values = detector.p_values(np.stack(images))
            for line, value in zip(readable, p_values, strict=True):
                line["p_value"] = float(value)
        yield from lines
