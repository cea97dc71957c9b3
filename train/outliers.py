"""How well a trained MRCNF tells another data set from its own, by the log-likelihood of each scale."""

import os
import pathlib
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


def compare_outliers(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None,
    model_file: str,
    outliers: str | None,
    split: str | None = None,
) -> dict[str, Any]:
    """Compares the bits/dim of the config's test split with those of another data set, for each scale and in total.

    It writes outliers.json, and figures/outliers.png with the histograms. AUROC is the probability that an outlier has
    more bits/dim than an image of the run's own data: at 0.5 they cannot be told apart, and below 0.5 the outliers are
    the more likely images.

    ```none
    {"datasets": ["cifar10", "svhn_cropped"], "splits": ["test", "test"], "num_examples": [10000, 26032],
     "bits_per_dim": [{"scale_0": 0.36, ..., "total": 3.5}, {...}], "auroc": {"scale_0": 0.3, ..., "total": 0.1}}
    ```

    Args:
      config, workdir, data_dir, model_file: as for `evaluate.evaluate_model`. The bits/dim are means over
        `config.evaluation.num_draws` draws of the noise.
      outliers: the name of the other data set, as `config.dataset`. Its images are fitted by `fitted_images`.
      split: its split; None for `config.test_split`.

    Returns:
      The dictionary of outliers.json.

    Raises:
      ValueError: if the workdir holds no `MRCNF`, or a conditional one, if the data are missing or do not fit the
        model, or without `outliers`.
    """
    config = checks.check_config(config)
    if not outliers:
        raise ValueError(f"outliers must be the name of a data set for mode=outliers; got {outliers!r}")
    if config.conditional:
        raise ValueError("conditional must be False for mode=outliers, which is of an unconditional flow; got True")
    model, examples = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir)
    if not isinstance(model, rnvp.MRCNF):
        raise ValueError(f"model must be an MRCNF for mode=outliers; {model_file} holds a {type(model).__name__}")
    other = config.copy_and_resolve_references()
    other.dataset, splits = outliers, [config.test_split, split or config.test_split]
    every = [examples, fitted_images(data.load(other, splits[1], data_dir), model)]
    bits = [bits_by_scale(model, examples, config) for examples in every]
    is_outlier = np.repeat([False, True], [len(part) for part in bits])
    columns = np.concatenate(bits).T
    names = [*(f"scale_{scale}" for scale in range(len(columns) - 1)), "total"]
    result = {
        "datasets": [config.dataset, outliers],
        "splits": splits,
        "num_examples": [len(part) for part in bits],
        "bits_per_dim": [dict(zip(names, part.mean(axis=0).tolist(), strict=True)) for part in bits],
        "auroc": {
            name: float(sklearn.metrics.roc_auc_score(is_outlier, column))
            for name, column in zip(names, columns, strict=True)
        },
        "num_draws": config.evaluation.num_draws,
        "seed": model.seed,
        "model": model_file,
    }
    write_json(workdir / "outliers.json", result)
    path = workdir / "figures" / "outliers.png"
    save_png(histograms(bits, result), path)
    for name in names:
        ours, theirs = (means[name] for means in result["bits_per_dim"])
        print(f"{name}: {ours:.4f} and {theirs:.4f} bits/dim, AUROC {result['auroc'][name]:.4f}")
    print(f"wrote {workdir / 'outliers.json'} and {path}")
    return result


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
        raise ValueError(f"outliers must have {model.num_bins} pixel levels; got {examples.num_bins}")
    if shape[0] > height or shape[1] > width or shape[2] not in (1, channels):
        raise ValueError(
            f"outliers must have images of at most the model's shape, {model.event_shape}, with as many channels or "
            f"one; got {shape}"
        )
    margins = [(height - shape[0]) // 2, (width - shape[1]) // 2]

    def fit(image: tf.Tensor) -> tf.Tensor:
        image = tf.broadcast_to(image, [*shape[:2], channels])
        return tf.image.pad_to_bounding_box(image, *margins, height, width)

    cropped = data.evaluation_batches(examples, 1).unbatch()
    return data.Examples(cropped.map(fit, tf.data.AUTOTUNE), model.event_shape, examples.num_bins, examples.size)


def bits_by_scale(model: rnvp.MRCNF, examples: data.Examples, config: ml_collections.ConfigDict) -> np.ndarray:
    """The bits/dim of each image by scale, the coarsest first, and their sum: a float array [N, num_scales + 1]."""
    batch_size, draws = config.evaluation.batch_size, range(config.evaluation.num_draws)
    parts = [
        np.mean([model.bits_per_dim_by_scale(images, draw=draw, batch_size=batch_size) for draw in draws], axis=0)
        for images in data.evaluation_batches(examples, batch_size).as_numpy_iterator()
    ]
    by_scale = np.concatenate(parts)
    return np.concatenate([by_scale, by_scale.sum(axis=1, keepdims=True)], axis=1)


def histograms(bits: list[np.ndarray], result: dict[str, Any]) -> np.ndarray:
    """The histograms of the bits/dim of both data sets, one pair for each scale and one for the total.

    Args:
      bits: two arrays as of `bits_by_scale`.
      result: as of `compare_outliers`.

    Returns:
      uint8 array [height, width, 3].
    """
    number = bits[0].shape[1]
    figure = Figure((4 * number, 3.6), DPI, layout="constrained")
    axes = figure.subplots(1, number, squeeze=False)[0]
    for column, (axis, name) in enumerate(zip(axes, result["auroc"], strict=True)):
        values = [part[:, column] for part in bits]
        low, high = np.quantile(np.concatenate(values), [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1, 51)
        for part, dataset in zip(values, result["datasets"], strict=True):
            axis.hist(part, edges, density=True, alpha=0.6, label=dataset)
        title = name.replace("_", " ")
        axis.set(title=f"{title}: AUROC {result['auroc'][name]:.3f}", xlabel="bits/dim", yticks=[])
    axes[0].legend()
    return render(figure)
