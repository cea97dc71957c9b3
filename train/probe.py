"""How much a flow's features tell of the classes: logistic regression on pixels, latents and activations by scale."""

import os
import pathlib
from typing import Any

import ml_collections
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tfp_realnvp as rnvp

from . import checks, data, models
from .data.few_labels import few_of_each_class
from .runs.workdir import write_json

NUM_LABELS = (100, 1000)


def probe_features(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str,
) -> dict[str, Any]:
    """Fits logistic regressions to few labelled examples, and prints their accuracies on the config's test split.

    The features are the events themselves (pixels or columns), the latents and the activations, each of all scales and
    of each scale alone, and the events with the activations. Each feature is standardized. It writes probe.json.

    ```none
    {"accuracy": {"events": {"100": 0.66, "1000": 0.80}, "latents": {...}, "latents, scale 0": {...}, ...}, ...}
    ```

    Args:
      config, workdir, data_dir, model_file: as for `evaluate.evaluate_model`. The labelled examples are drawn from
        `config.train_split` by `config.seed`, as many of each class.

    Returns:
      The dictionary of probe.json.

    Raises:
      ValueError: if the workdir holds no model, or one without such features, if the data are missing, do not fit the
        model or have no labels, or if a class of the training split has too few examples.
    """
    config = checks.check_config(config)
    model, _ = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir)
    labelled = config.copy_and_resolve_references()
    labelled.conditional = True
    training, test = (data.load(labelled, split, data_dir) for split in (config.train_split, config.test_split))
    if training.num_classes is None:
        raise ValueError(f"dataset must have labels for mode=probe; got {config.dataset}")
    events, labels = arrays_of(training)
    chosen = few_of_each_class(labels, max(NUM_LABELS), training.num_classes, config.seed)
    few_labels = labels[chosen]
    held_out, truth = arrays_of(test)
    of_few, of_held_out = (
        features_of(model, part, config.evaluation.batch_size) for part in (events[chosen], held_out)
    )
    accuracy: dict[str, dict[str, float]] = {name: {} for name in of_few}
    for name, features in of_few.items():
        for number in NUM_LABELS:
            probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            probe.fit(features[:number], few_labels[:number])
            accuracy[name][str(number)] = float(probe.score(of_held_out[name], truth))
        print(f"{name}: {', '.join(f'{value:.3f} of {number} labels' for number, value in accuracy[name].items())}")
    result = {
        "accuracy": accuracy,
        "split": config.test_split,
        "num_examples": len(truth),
        "seed": config.seed,
        "model": model_file,
    }
    write_json(workdir / "probe.json", result)
    return result


def arrays_of(examples: data.Examples) -> tuple[np.ndarray, np.ndarray]:
    """The events and labels of labelled examples, as arrays."""
    events, labels = zip(*data.evaluation_batches(examples, 1000).as_numpy_iterator(), strict=True)
    return np.concatenate(events), np.concatenate(labels)


def features_of(model: rnvp.FlowModel, events: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Name ↦ features of events, float arrays [N, size].

    Args:
      model: `FlowModel`.
      events: images or vectors.
      batch_size: number of events per pass.
    """
    flat = events.reshape(len(events), -1).astype("float32")
    result = {"events": flat}
    for kind in ("latents", "activations"):
        parts = rnvp.features.by_scale(model, events, kind, batch_size)
        result[kind] = np.concatenate(parts, axis=1)
        result.update({f"{kind}, scale {scale}": part for scale, part in enumerate(parts) if part.size})
    result["events and activations"] = np.concatenate([flat, result["activations"]], axis=1)
    return result
