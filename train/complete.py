"""The completion of test images by a run's model, as a picture and as figures beside a baseline's."""

import os
import pathlib
import time
from typing import Any

import ml_collections
import numpy as np

import tfp_realnvp as rnvp

from . import checks, data, gaussian, models
from .draw import first_images
from .figures.panels import ImageFigure, Panel, save_png
from .runs.workdir import write_json

SHOWN = 8
"""Images in the picture."""


def complete_images(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    model_file: str = "model.keras",
    mask: str = "bottom",
    num_images: int | None = None,
    num_samples: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Hides a part of the first test images, and completes it by `rnvp.completion.sample`.

    It writes figures/complete.png, with the masked image, the mean, the width of the 90% interval, four samples and the
    truth of 8 images, and complete.json. There the peak signal-to-noise ratios are of the hidden pixels of all images:

    ```none
    {"psnr": {"mean": 13.1, "sample": 11.8, "conditional_gaussian": 12.9}, "inside_90_percent_interval": 0.85, ...}
    ```

    Args:
      config, workdir, data_dir, model_file: as for `evaluate.evaluate_model`.
      mask: "bottom", the lower half is hidden; "box", the middle of half the height and width; "random", each pixel
        with probability ½.
      num_images: number of images; None for those of the picture.
      num_samples: number of draws that each of 4 chains keeps; None for 200.
      seed: of the chains and the random mask.

    Returns:
      The dictionary of complete.json.

    Raises:
      ValueError: if the workdir holds no model of images, or if the data are missing or do not fit it.
    """
    config = checks.check_config(config)
    model, examples = models.load_model_and_examples(config, workdir, model_file, config.test_split, data_dir)
    num_bins = models.num_levels(model)
    batch = next(data.evaluation_batches(examples, num_images or SHOWN).as_numpy_iterator())
    images, *context = batch if isinstance(batch, tuple) else (batch,)
    known, start = mask_of(mask, model.event_shape, seed), time.process_time()
    given = dict(zip([model.events.contexts.name], context, strict=False))
    posterior = rnvp.completion.sample(model, images, known, num_samples or 200, seed=seed, **given)
    seconds = time.process_time() - start
    training = first_images(data.load(config, config.train_split, data_dir), 60_000)
    estimates = {
        "mean": posterior.mean(),
        "sample": posterior.samples[-1],
        "conditional_gaussian": gaussian.completed(training, images, known),
    }
    hidden = np.broadcast_to(~known, images.shape)
    result = {
        "psnr": {name: psnr(estimate, images, hidden, num_bins) for name, estimate in estimates.items()},
        "inside_90_percent_interval": share_inside(posterior, images, hidden, seed),
        "mean_acceptance": float(posterior.acceptance.mean()),
        "median_r_hat": float(np.nanmedian(posterior.r_hat)),
        "median_ess": float(np.nanmedian(posterior.ess)),
        "num_draws": len(posterior.values),
        "num_images": len(images),
        "mask": mask,
        "split": config.test_split,
        "seed": seed,
        "cpu_seconds": seconds,
        "model": model_file,
    }
    write_json(workdir / "complete.json", result)
    path = workdir / "figures" / "complete.png"
    save_png(picture(posterior, images, known, num_bins).draw(), path)
    print(", ".join(f"{name} {value:.2f} dB" for name, value in result["psnr"].items()))
    print(f"wrote {workdir / 'complete.json'} and {path}")
    return result


def mask_of(name: str, event_shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """The mask of a name, see `complete_images`: a bool array of shape event_shape, True where known.

    Example: `mask_of("bottom", (8, 8, 1))`
    """
    height, width, _ = event_shape
    known = np.ones([height, width, 1], bool)
    if name == "bottom":
        known[height // 2 :] = False
    elif name == "box":
        known[height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2] = False
    elif name == "random":
        known = np.random.default_rng(seed).uniform(size=known.shape) < 0.5
    else:
        raise ValueError(f'mask must be "bottom", "box" or "random"; got {name!r}')
    return np.broadcast_to(known, event_shape)


def psnr(estimates: np.ndarray, images: np.ndarray, hidden: np.ndarray, num_bins: int) -> float:
    """The peak signal-to-noise ratio of hidden pixels in dB, with the largest level as the peak.

    ```none
    10 log10 ((num_bins − 1)² / mean squared error)
    ```

    Args:
      estimates, images: arrays [N] + event_shape of levels.
      hidden: bool array [N] + event_shape.
      num_bins: number of levels.

    Example: `psnr(posterior.mean(), images, hidden, 256)`
    """
    errors = (estimates.astype(np.float64) - images)[hidden]
    return float(10 * np.log10((num_bins - 1) ** 2 / np.mean(errors**2)))


def share_inside(posterior: rnvp.completion.Posterior, images: np.ndarray, hidden: np.ndarray, seed: int) -> float:
    """The share of hidden pixels whose true values lie in the posterior's 90% intervals.

    Args:
      posterior: of the images.
      images: array [N] + event_shape of the true levels; a level lies anywhere in its bin.
      hidden: bool array [N] + event_shape.
      seed: of the places in the bins.

    Example: `share_inside(posterior, images, hidden, seed=0)`
    """
    low, high = posterior.interval(0.9)
    values = images + np.random.default_rng(seed).uniform(size=images.shape)
    return float(np.mean(((low <= values) & (values <= high))[hidden]))


def picture(posterior: rnvp.completion.Posterior, images: np.ndarray, known: np.ndarray, num_bins: int) -> ImageFigure:
    """The completions of the first images: what is known, mean, width of the 90% interval, four samples, truth.

    Args:
      posterior: of the images.
      images: integer array [N, height, width, channels] of levels.
      known: bool array of the shape of an image.
      num_bins: number of levels.
    """
    low, high = posterior.interval(0.9)
    samples = posterior.samples[np.linspace(0, len(posterior.values) - 1, 4).astype(int)]
    columns = [np.where(known, images, num_bins // 2), np.round(posterior.mean()), np.minimum(high - low, num_bins - 1)]
    rows = np.stack([*columns, *samples, images], axis=1)[:SHOWN]
    titles = [["known", "mean", "width", "sample", "sample", "sample", "sample", "truth"]]
    caption = (
        "Test images with a hidden part in gray, the mean of the samples, the width of the 90% interval of each "
        "pixel (white is the whole range), the first, the last and two other samples, and the truth."
    )
    return ImageFigure([Panel("Completion", rows, titles=titles)], num_bins, caption)
