"""The bits/dim of events: their histogram by split, and the images at its ends."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .panels import DPI, ImageFigure, Panel, render


def histogram(bits_per_dim: Mapping[str, np.ndarray], num_bins: int = 40) -> np.ndarray:
    """The histogram of bits/dim of each split, normalized, with its mean in the legend.

    Args:
      bits_per_dim: split ↦ float array [N].
      num_bins: number of bins over the range of all values.

    Returns:
      uint8 array [height, width, 3].

    Example: `histogram({"training": run.bits_per_dim(run.training), "test": run.bits_per_dim(run.test)})`
    """
    edges: Any = np.histogram_bin_edges(np.concatenate([*bits_per_dim.values()]), num_bins)
    figure = Figure((7, 3.5), DPI, layout="constrained")
    axis = figure.subplots()
    for name, values in bits_per_dim.items():
        axis.hist(values, edges, density=True, alpha=0.5, label=f"{name}, mean {values.mean():.4f}")
    axis.set(xlabel="bits/dim", ylabel="density")
    axis.legend()
    return render(figure)


def best_and_worst(
    images: Mapping[str, np.ndarray], bits_per_dim: Mapping[str, np.ndarray], num_bins: int, number: int = 8
) -> ImageFigure:
    """The images with the fewest and with the most bits/dim of each split, and their bits/dim.

    Args:
      images: split ↦ integer array [N, height, width, channels] of pixel levels, at least `number`.
      bits_per_dim: split ↦ float array [N].
      num_bins: number of pixel levels.
      number: number of images in a row.

    Returns:
      `ImageFigure` with two rows per split.

    Example: `best_and_worst({"test": images}, {"test": bits}, model.num_bins).draw()`
    """
    rows, labels, titles = [], [], []
    for name, values in bits_per_dim.items():
        order = np.argsort(values)
        for end, indices in (("best", order[:number]), ("worst", order[: -number - 1 : -1])):
            rows.append(images[name][indices])
            labels.append(f"{name}, {end}")
            titles.append([f"{value:.2f}" for value in values[indices]])
    panel = Panel("Bits/dim", np.stack(rows), labels, titles)
    return ImageFigure(
        [panel], num_bins, "The images with the fewest and with the most bits/dim, which stand above them."
    )
