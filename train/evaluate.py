"""The evaluation of a model, written to result.json, and the recalibration of its batch norms."""

import importlib.metadata
import json
import math
import os
import pathlib
import platform
from typing import Any

import ml_collections
import numpy as np
from absl import logging

import tfp_realnvp as rnvp

from . import checks, data, models
from .runs.checkpoints import step_of
from .runs.workdir import read_json, write_json

LARGER_TOLERANCE = 1e-3  # of the solvers, for the comparison of two tolerances
EVALUATED = (  # the fields that describe the evaluation, not the training of the model
    "dataset",
    "conditional",
    "test_split",
    "image_size",
    "grayscale",
    "central_crop",
    "shorter_side",
    "antialias",
    "crop",
    "evaluation",
)


def evaluate_model(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
) -> dict[str, Any]:
    """Evaluates the workdir's model on every example of `config.test_split` and writes `result.json`.

    Args:
      config, workdir, data_dir: as for `train.train_and_evaluate`. With `config.init_from_official` the checkpoint's
        model is evaluated instead, without any training.
      model_file: name of the model's file in the workdir.

    Returns:
      The dictionary of `result.json`, see `write_result`.

    Raises:
      ValueError: if the workdir holds no model, or if the data are missing or do not fit the model.
    """
    config = checks.check_config(config)
    model, test = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir, compile=True)
    result = write_result(model, test, config, workdir, model_file)
    print(json.dumps(result, indent=2))
    return result


def recalibrate_model(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
) -> pathlib.Path:
    """Estimates the model's moving moments anew over the training split, and saves it as model_recalibrated.keras.

    Returns:
      The path of the new file; the old one is unchanged.

    Raises:
      ValueError: if the workdir holds no model, or if the data are missing or do not fit the model.
    """
    config = checks.check_config(config)
    model, training = models.load_model_and_examples(
        config, workdir, model_file, config.train_split, data_dir, compile=True
    )
    training = data.hide_labels(training, config)
    rnvp.evaluation.recalibrate(model, data.evaluation_batches(training, config.evaluation.batch_size))
    path = workdir / "model_recalibrated.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    print(f"wrote {path}; --mode=evaluate --model={path.name} evaluates it")
    return path


def write_result(
    model: rnvp.FlowModel,
    examples: data.Examples,
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    model_file: str,
) -> dict[str, Any]:
    """Measures bits/dim over all examples and writes it to `result.json`, with all settings needed to repeat it.

    Returns:
      The dictionary, with the keys

      - bits_per_dim with its standard_error, and loss in nats
      - exact, with config.evaluation.exact: the same, for the exact probabilities of the levels
      - batch_moments, for models with batch norm: the same, with the moments of batches of config.evaluation.batch_size
      - tolerance, for continuous flows: the solvers', that of the figures above
      - larger_tolerance, for continuous flows: the same figures by solvers of tolerance 1e-3, and this tolerance
      - accuracy of the classification, for models that are conditioned on labels
      - split, num_examples, step, num_draws, seed of the noise, model (the file), config, versions.
    """
    described = evaluated_config(config, workdir)  # An error of its file comes before the work.
    check_evaluation(model, config)
    batches = data.evaluation_batches(examples, config.evaluation.batch_size)
    num_draws = config.evaluation.num_draws

    def measure(model: rnvp.FlowModel, batch_moments: bool = False) -> dict[str, Any]:
        return figures(rnvp.evaluation.log_likelihood(model, batches, num_draws, batch_moments))

    def figures(nats: np.ndarray) -> dict[str, Any]:
        mean, standard_error = rnvp.evaluation.bits_per_dim(model, nats)
        error = {} if math.isnan(standard_error) else {"standard_error": standard_error}
        return {"bits_per_dim": mean, **error, "loss": float(-nats.mean())}

    result = measure(model)
    if config.evaluation.exact:
        result["exact"] = figures(rnvp.evaluation.exact(model, batches))
    if rnvp.evaluation.has_moments(model):
        result["batch_moments"] = measure(model, batch_moments=True)
        difference = result["bits_per_dim"] - result["batch_moments"]["bits_per_dim"]
        if abs(difference) > 0.05:
            logging.warning(
                f"bits/dim with moving moments ({result['bits_per_dim']:.4f}) and with the moments of batches "
                f"({result['batch_moments']['bits_per_dim']:.4f}) differ by {difference:.4f}, more than 0.05: "
                "--mode=recalibrate estimates the moving ones anew"
            )
    if (tolerance := evaluation_tolerance(model)) is not None:
        larger = measure(with_evaluation_tolerance(model, LARGER_TOLERANCE))
        result.update(tolerance=tolerance, larger_tolerance={"tolerance": LARGER_TOLERANCE, **larger})
        difference = larger["bits_per_dim"] - result["bits_per_dim"]
        if not abs(difference) <= 0.01:
            logging.warning(
                f"bits/dim at the tolerances {tolerance:g} ({result['bits_per_dim']:.4f}) and {LARGER_TOLERANCE:g} "
                f"({larger['bits_per_dim']:.4f}) differ by {difference:.4f}, more than 0.01: they hold "
                "the error of the solvers"
            )
    if examples.num_classes is not None:
        hits = [model.classify(events, num_draws=num_draws) == labels for events, labels in batches.as_numpy_iterator()]
        result["accuracy"] = float(np.concatenate(hits).mean())
    result.update(
        split=config.test_split,
        num_examples=examples.size,
        step=step_of(model) if model.compiled else 0,
        num_draws=num_draws,
        seed=model.seed,
        model=config.init_from_official or model_file,
        config=described,
        versions=installed_versions(),
    )
    write_json(workdir / "result.json", result)
    return result


def check_evaluation(model: rnvp.FlowModel, config: ml_collections.ConfigDict) -> None:
    """Raises a ValueError if `config.evaluation` does not fit the model."""
    rnvp.evaluation.check_num_draws(model, config.evaluation.num_draws)
    if config.evaluation.exact:
        try:
            rnvp.evaluation.check_exact(model)
        except ValueError as error:
            raise ValueError(f"evaluation.exact must be False for this flow: {error}") from None


def evaluation_tolerance(model: rnvp.FlowModel) -> float | None:
    """The tolerance of the solvers that evaluate a continuous flow; None for any other flow."""
    return model.get_config().get("evaluation_tolerance")


def with_evaluation_tolerance(model: rnvp.FlowModel, tolerance: float) -> rnvp.FlowModel:
    """A copy of a continuous flow, with the same noise and probes, whose solvers evaluate at another tolerance."""
    other = type(model).from_config({**model.get_config(), "evaluation_tolerance": tolerance})
    other.set_weights(model.get_weights())
    return other


def bits_per_dim_text(result: dict[str, Any]) -> str:
    """The bits/dim of a result in words, with its exact ones; for a continuous flow at both tolerances."""
    text = f"{result['bits_per_dim']:.4f} bits/dim"
    if exact := result.get("exact"):
        text += f" ({exact['bits_per_dim']:.4f} exactly)"
    if larger := result.get("larger_tolerance"):
        text += f" ({larger['bits_per_dim']:.4f} at tolerance {larger['tolerance']:g})"
    return text


def evaluated_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> dict[str, Any]:
    """The config of the workdir's training, with the evaluation fields of this config."""
    here, path = json.loads(config.to_json_best_effort()), workdir / "config.json"
    if config.init_from_official or not path.exists():
        return here
    return {**read_json(path), **{name: here[name] for name in EVALUATED}}


def installed_versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    packages = ("tensorflow", "tensorflow-probability", "keras", "tensorflow-datasets", "numpy")
    installed = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), "tfp_realnvp": rnvp.__version__, **installed}
