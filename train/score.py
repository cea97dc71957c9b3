"""The log-likelihood of each picture of a folder."""

import json
import math
import os
import pathlib

import numpy as np
from absl import logging

import tfp_realnvp as rnvp
from train import checks, data, models


def score(config, workdir, data_dir, model_file="model.keras"):
    """Writes the log-likelihood of each picture of a folder by the workdir's model: a line of scores.jsonl each.

    ```none
    {"file": "a/0001.png", "nats": -5917.2, "bits_per_dim": 2.779}
    {"file": "a/0002.png", "error": "the picture must have shape (32, 32, 3); got (8, 8, 3)"}
    ```

    The pictures are taken as they are. One that cannot be scored gets a line that says why, and holds up no other.

    Args:
      config, workdir, model_file: as for `evaluate.evaluate`; with `config.evaluation.num_draws` the
        importance-weighted bound.
      data_dir: the folder; all pictures anywhere below it, by their paths from there, in order.

    Returns:
      The path of scores.jsonl, which is replaced as a whole.

    Raises:
      ValueError: where the workdir holds no model, or one that is not of images alone, or the folder no picture that it
        can score. An older scores.jsonl then stays.
    """
    config, paths = checks.check(config), data.pictures(data_dir)
    if config.init_from_official and config.dataset != "folder":  # the folder would be taken for TFDS's
        raise ValueError(f"dataset must be folder for mode=score of init_from_official; got {config.dataset!r}")
    model, _ = models.load(config, workdir, model_file, None, data_dir)
    if model.num_bins is None or model.context_size:
        raise ValueError(f"model must be one of images without a context for mode=score; {model_file} is another")
    path, scored, refused = workdir / "scores.jsonl", [], []
    draft = path.with_name(path.name + ".tmp")
    workdir.mkdir(parents=True, exist_ok=True)
    with draft.open("w") as file:
        for line in score_lines(model, paths, data_dir, config.evaluation.batch_size, config.evaluation.num_draws):
            file.write(json.dumps(line) + "\n")
            (refused if "error" in line else scored).append(line)
    if not scored:
        draft.unlink()
        first = refused[0]
        raise ValueError(f"data_dir must hold pictures that fit the model; of {first['file']} {first['error']}")
    os.replace(draft, path)
    mean = sum(line["bits_per_dim"] for line in scored) / len(scored)
    print(f"{len(scored)} pictures with {mean:.4f} bits/dim on average in {path}")
    if refused:
        logging.warning(f"{len(refused)} pictures could not be scored: their lines in {path} say why")
    return path


def score_lines(model, paths, folder, batch_size, num_draws):
    """Yields the lines of `score`: dictionaries of file, nats and bits_per_dim, or of file and error."""
    for start in range(0, len(paths), batch_size):
        lines, images = [], []
        for path in paths[start : start + batch_size]:
            lines.append({"file": pathlib.Path(path).relative_to(folder).as_posix()})
            try:
                images.append(data.picture(path, model.event_shape, model.num_bins))
            except ValueError as error:
                lines[-1]["error"] = str(error)
        nats = rnvp.evaluation.log_likelihood(model, np.stack(images), num_draws) if images else []
        for line, value in zip((line for line in lines if "error" not in line), nats, strict=True):
            line.update(nats=float(value), bits_per_dim=float(-value / (math.prod(model.event_shape) * math.log(2))))
        yield from lines
