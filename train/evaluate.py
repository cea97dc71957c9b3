"""The evaluation of a model, which result.json tells, and the recalibration of its batch norms."""

import importlib.metadata
import json
import math
import platform

import numpy as np
from absl import logging

import tfp_realnvp as rnvp
from train import checkpoints, checks, data, models
from train.workdir import write_json

EVALUATED = (  # the fields that an evaluation is of, whatever the model was trained with
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


def evaluate(config, workdir, data_dir=None, model_file="model.keras"):
    """Evaluates the workdir's model on every example of `config.test_split` and writes `result.json`.

    Args:
      config, workdir, data_dir: as for `train.train_and_evaluate`. With `config.init_from_official` it is the
        checkpoint's model that is evaluated, without any training.
      model_file: name of the model's file in the workdir.

    Returns:
      The dictionary that it writes, see `write_result`.

    Raises:
      ValueError: where the workdir holds no model, or the data are not there or do not fit the model.
    """
    config = checks.check(config)
    model, test = models.load(config, workdir, model_file, config.test_split, data_dir)
    result = write_result(model, test, config, workdir, model_file)
    print(json.dumps(result, indent=2))
    return result


def recalibrate(config, workdir, data_dir=None, model_file="model.keras"):
    """Saves the model with its moving moments estimated anew over the training split, as model_recalibrated.keras.

    Returns:
      The path of the new file; the old one stays as it was.

    Raises:
      ValueError: where the workdir holds no model, or the data are not there or do not fit the model.
    """
    config = checks.check(config)
    model, examples = models.load(config, workdir, model_file, config.train_split, data_dir)
    rnvp.evaluation.recalibrate(model, data.evaluation_batches(examples, config.evaluation.batch_size))
    path = workdir / "model_recalibrated.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    print(f"wrote {path}; --mode=evaluate --model={path.name} evaluates it")
    return path


def write_result(model, examples, config, workdir, model_file):
    """Measures bits/dim of every example and writes it, with all that it takes to repeat it, to `result.json`.

    Returns:
      The dictionary: bits_per_dim with its standard_error, loss (nats), and, where there is batch norm,
      batch_moments: the same with the moments of batches of config.evaluation.batch_size; accuracy (where the flow is
      conditioned on labels, of its guesses of them); split, num_examples, step, num_draws, seed (of the noise), model
      (the file), config, versions.
    """
    batches = data.evaluation_batches(examples, config.evaluation.batch_size)
    num_draws = config.evaluation.num_draws

    def measured(batch_moments):
        nats = rnvp.evaluation.log_likelihood(model, batches, num_draws, batch_moments)
        mean, standard_error = rnvp.evaluation.bits_per_dim(model, nats)
        error = {} if math.isnan(standard_error) else {"standard_error": standard_error}
        return {"bits_per_dim": mean, **error, "loss": float(-nats.mean())}

    result = measured(batch_moments=False)
    if rnvp.evaluation.has_moments(model):
        result["batch_moments"] = measured(batch_moments=True)
        difference = result["bits_per_dim"] - result["batch_moments"]["bits_per_dim"]
        if abs(difference) > 0.05:
            logging.warning(
                f"bits/dim with moving moments ({result['bits_per_dim']:.4f}) and with the moments of batches "
                f"({result['batch_moments']['bits_per_dim']:.4f}) differ by {difference:.4f}, more than 0.05: "
                "--mode=recalibrate estimates the moving ones anew"
            )
    if examples.num_classes is not None:
        hits = [model.classify(events, num_draws=num_draws) == labels for events, labels in batches.as_numpy_iterator()]
        result["accuracy"] = float(np.concatenate(hits).mean())
    result.update(
        split=config.test_split,
        num_examples=examples.size,
        step=checkpoints.step_of(model) if model.compiled else 0,
        num_draws=num_draws,
        seed=model.seed,
        model=config.init_from_official or model_file,
        config=evaluated_config(config, workdir),
        versions=versions(),
    )
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "result.json", result)
    return result


def evaluated_config(config, workdir):
    """The config that the workdir's model was trained with, but for the fields that tell what it is evaluated on."""
    here, path = json.loads(config.to_json_best_effort()), workdir / "config.json"
    if config.init_from_official or not path.exists():
        return here
    return {**json.loads(path.read_text()), **{name: here[name] for name in EVALUATED}}


def versions():
    """The versions of Python and of the packages that a result depends on."""
    packages = ("tensorflow", "tensorflow-probability", "keras", "tensorflow-datasets", "numpy")
    installed = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), "tfp_realnvp": rnvp.__version__, **installed}
