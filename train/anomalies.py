"""How well a run's model tells other images from its own: the AUROC of every score, and a calibrated detector."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections
import numpy as np
import sklearn.metrics
import tensorflow as tf
from matplotlib.figure import Figure

import tfp_realnvp as rnvp

from . import checks, data, models
from .figures.panels import DPI, render, save_png
from .runs.workdir import write_json

DETECTOR = "detector.npz"
FALSE_ALARMS = 0.01
GROUP = 5  # images that one of the scores judges together

Made = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
# name ↦ function of the run's own test images, the number of levels and a generator: as many anomalies
MADE: dict[str, Made] = {
    "noise": lambda images, num_bins, rng: rng.integers(num_bins, size=images.shape).astype(images.dtype),
    "constants": lambda images, num_bins, rng: np.broadcast_to(
        rng.integers(num_bins, size=[len(images), 1, 1, images.shape[-1]]).astype(images.dtype), images.shape
    ),
    "flips": lambda images, num_bins, rng: images[:, ::-1],
}


def compare_anomalies(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str,
    anomalies: Sequence[str],
    split: str | None = None,
) -> dict[str, Any]:
    """Compares the config's test split with other data sets, by every score that the flow has.

    Every other image of the test split calibrates the scores, and the rest is tested. AUROC is the probability that an
    anomaly is odder than a tested image: at 0.5 they cannot be told apart, and below 0.5 the anomalies are the less odd
    ones. The files are anomalies.json, figures/anomalies.png with histograms, and detector.npz: the detector of
    `rnvp.anomaly.Detector(model)`, calibrated, for --mode=score.

    ```none
    {"dataset": "cifar10", "split": "test", "num_held_out": 5000, "num_examples": {"test": 5000, "svhn_cropped": 26032},
     "auroc": {"likelihood": {"svhn_cropped": 0.06}, ...}, "mean": {"likelihood": {"test": 3.5, ...}, ...},
     "false_alarms": {"likelihood": 0.0102, ...}, ...}
    ```

    "mean" is the mean oddness, for likelihoods in bits/dim. "false_alarms" is the share of the tested images, or groups
    of them, whose p-values are at most 0.01.

    Args:
      config, workdir, data_dir, model_file: as for `evaluate.evaluate_model`.
      anomalies: names of data sets, as `config.dataset`, whose images are fitted by `fitted_images`. Three are made:
        "noise" is uniform, "constants" are images of one colour, and "flips" are the tested images upside down.
      split: the split of the data sets; None for `config.test_split`.

    Returns:
      The dictionary of anomalies.json.

    Raises:
      ValueError: if the workdir holds no model of images without a context, if the data are missing or do not fit the
        model, or without `anomalies`.
    """
    config = checks.check_config(config)
    if not anomalies:
        raise ValueError(f"anomalies must be names of data sets, or of {sorted(MADE)}; got none")
    if config.evaluation.num_draws > 1:
        raise ValueError(f"evaluation.num_draws must be 1 for mode=anomalies; got {config.evaluation.num_draws}")
    if config.conditional:
        raise ValueError("conditional must be False for mode=anomalies, which is of an unconditional flow; got True")
    model, examples = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir)
    num_bins = models.num_levels(model)
    other = config.copy_and_resolve_references()
    loaded = {}
    for name in anomalies:
        if name not in MADE:
            other.dataset = name
            loaded[name] = fitted_images(data.load(other, split or config.test_split, data_dir), model)
    own, rng = _arrays(examples), np.random.default_rng(model.seed)
    held_out, tested = own[::2], own[1::2]
    fewest = 2 * rnvp.anomaly.fewest_events(rnvp.anomaly.Statistics())
    if len(own) < fewest:
        raise ValueError(f"test_split must have at least {fewest} images for mode=anomalies; got {len(own)}")
    images = {"test": tested}
    for name in anomalies:
        images[name] = _arrays(loaded[name]) if name in loaded else MADE[name](tested, num_bins, rng)
    scores = scores_of(model, len(held_out))
    measure = rnvp.anomaly.measuring(model, list(scores.values()))
    calibrations = {
        name: rnvp.anomaly.Calibration.of(score, _whole_groups(features, score))
        for (name, score), features in zip(scores.items(), measure(held_out, config.evaluation.batch_size), strict=True)
    }
    oddness: dict[str, dict[str, np.ndarray]] = {name: {} for name in scores}
    false_alarms = {}
    for dataset, part in images.items():
        for (name, calibration), features in zip(
            calibrations.items(), measure(part, config.evaluation.batch_size), strict=True
        ):
            features = _whole_groups(features, calibration.score)
            oddness[name][dataset] = calibration.oddness_of(features).numpy()
            if dataset == "test":
                false_alarms[name] = float(np.mean(calibration.p_values(features) <= FALSE_ALARMS))
    detector = rnvp.anomaly.Detector(model)
    detector.calibration = next(c for c in calibrations.values() if c.score == detector.score)
    detector.save(workdir / DETECTOR)
    result = {
        "dataset": config.dataset,
        "split": config.test_split,
        "anomalies_split": split or config.test_split,
        "num_held_out": len(held_out),
        "num_examples": {name: len(part) for name, part in images.items()},
        "auroc": {name: {other: _auroc(of[other], of["test"]) for other in anomalies} for name, of in oddness.items()},
        "mean": {name: {part: float(of[part].mean()) for part in images} for name, of in oddness.items()},
        "false_alarms": false_alarms,
        "detector": repr(detector.score),
        "seed": model.seed,
        "model": model_file,
    }
    write_json(workdir / "anomalies.json", result)
    path = workdir / "figures" / "anomalies.png"
    save_png(histograms(oddness), path)
    print(f"{'AUROC':30}", *(f"{name:>13.13}" for name in anomalies), "  false alarms at 1%")
    for name, of_score in result["auroc"].items():
        print(f"{name:30}", *(f"{value:13.3f}" for value in of_score.values()), f"{false_alarms[name]:16.2%}")
    print(f"wrote {workdir / 'anomalies.json'}, {path} and {workdir / DETECTOR}")
    return result


def scores_of(model: rnvp.FlowModel, num_held_out: int) -> dict[str, rnvp.anomaly.Score]:
    """The scores that a flow of images has and that as many held-out images can calibrate, by their names.

    Example: `scores_of(model, 5000)["typicality"]`
    """
    every: dict[str, rnvp.anomaly.Score] = {"likelihood": rnvp.anomaly.Likelihood()}
    num_scales = len(model.latents_by_scale(np.zeros([1, *model.latent_shape])))
    for scale in range(num_scales) if num_scales > 1 else ():
        every[f"likelihood of scale {scale}"] = rnvp.anomaly.Likelihood(scale)
    every |= {
        "typicality": rnvp.anomaly.Typicality(),
        f"typicality of {GROUP}": rnvp.anomaly.Typicality(GROUP),
        "complexity": rnvp.anomaly.Complexity(),
        "statistics": rnvp.anomaly.Statistics(),
        "statistics without complexity": rnvp.anomaly.Statistics(complexity=False),
    }
    fitting = {}
    for name, score in every.items():
        with contextlib.suppress(ValueError):
            score.check(model)
            if num_held_out >= rnvp.anomaly.fewest_events(score):
                fitting[name] = score
    return fitting


def fitted_images(examples: data.Examples, model: rnvp.FlowModel) -> data.Examples:
    """The images in the shape of the model's: gray ones get three equal channels, smaller ones a border of zeros.

    Args:
      examples: `Examples`.
      model: `FlowModel` of images.

    Raises:
      ValueError: for larger images, more channels, or another number of pixel levels.

    Example: `fitted_images(data.load(mnist, "test"), model)` are images [32, 32, 3] for a model of CIFAR-10.
    """
    shape, (height, width, channels) = examples.event_shape, model.event_shape
    if examples.num_bins != model.num_bins:
        raise ValueError(f"anomalies must have {model.num_bins} pixel levels; got {examples.num_bins}")
    if shape[0] > height or shape[1] > width or shape[2] not in (1, channels):
        raise ValueError(
            f"anomalies must have images of at most the model's shape, {model.event_shape}, with as many channels or "
            f"one; got {shape}"
        )
    margins = [(height - shape[0]) // 2, (width - shape[1]) // 2]

    def fit(image: tf.Tensor) -> tf.Tensor:
        image = tf.broadcast_to(image, [*shape[:2], channels])
        return tf.image.pad_to_bounding_box(image, *margins, height, width)

    cropped = data.evaluation_batches(examples, 1).unbatch()
    return data.Examples(cropped.map(fit, tf.data.AUTOTUNE), model.event_shape, examples.num_bins, examples.size)


def histograms(oddness: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """The histograms of the oddness of all data sets, a panel for each score.

    The horizontal axis shows three times the range of the tested images. Values beyond it count in the outer bins.

    Args:
      oddness: {score: {data set: array [N]}}, with the tested images as "test".

    Returns:
      uint8 array [height, width, 3].
    """
    columns = min(len(oddness), 4)
    rows = -(-len(oddness) // columns)
    figure = Figure((4 * columns, 3 * rows), DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, of_score) in zip(axes, oddness.items(), strict=False):
        low, high = np.quantile(of_score["test"], [0.001, 0.999])
        edges = np.linspace(2 * low - high, 2 * high - low, 61) if high > low else np.linspace(low - 1, low + 1, 61)
        for dataset, values in of_score.items():
            options = dict(alpha=0.5) if dataset == "test" else dict(histtype="step", linewidth=1.5)
            axis.hist(np.clip(values, edges[0], edges[-1]), edges, density=True, label=dataset, **options)
        axis.set(title=name, yscale="log", yticks=[])
    for axis in axes[len(oddness) :]:
        axis.set_axis_off()
    axes[0].legend()
    return render(figure)


def _arrays(examples: data.Examples) -> np.ndarray:
    return np.concatenate(list(data.evaluation_batches(examples, 1000).as_numpy_iterator()))


def _whole_groups(features: np.ndarray, score: rnvp.anomaly.Score) -> np.ndarray:
    """The features without the events of the last group, if it is not full."""
    return features[: len(features) // score.group_size * score.group_size]


def _auroc(anomalies: np.ndarray, ordinary: np.ndarray) -> float:
    is_anomaly = np.repeat([False, True], [len(ordinary), len(anomalies)])
    finite = np.nan_to_num(np.concatenate([ordinary, anomalies]), posinf=np.finfo(np.float64).max)
    return float(sklearn.metrics.roc_auc_score(is_anomaly, finite))
