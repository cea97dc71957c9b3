"""The corner plot of vectors: samples beside data, by column and by pair of columns."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .panels import DPI, render

MOST_COLUMNS = 5


def corner(data: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The marginals of samples over those of the data: a histogram for each column, points for each pair.

    The axes show the central 99.8% of the data, and a margin.

    Args:
      data, samples: float arrays [N, size]; the first 5 columns are shown.

    Returns:
      uint8 array [height, width, 3].

    Example: `corner(test, model.sample(len(test)))`
    """
    data, samples = data[:, :MOST_COLUMNS], samples[:, :MOST_COLUMNS]
    size = data.shape[1]
    low, high = np.quantile(data, [0.001, 0.999], axis=0)
    margin = 0.1 * (high - low) + 1e-6  # A column may be constant.
    limits = np.stack([low - margin, high + margin], axis=1)
    side = max(1.9 * size, 5)
    figure = Figure((side, side), DPI, layout="constrained")
    axes = figure.subplots(size, size, squeeze=False)
    for row in range(size):
        for column in range(size):
            axis = axes[row, column]
            if column > row:
                axis.set_axis_off()
                continue
            if column == row:
                edges: Any = np.linspace(limits[column, 0], limits[column, 1], 41)
                axis.hist(data[:, column], edges, density=True, color="0.75", label="data")
                axis.hist(samples[:, column], edges, density=True, histtype="step", label="samples")
                axis.set(yticks=[])
            else:
                axis.scatter(data[:, column], data[:, row], s=3, color="0.75", linewidths=0)
                axis.scatter(samples[:, column], samples[:, row], s=3, alpha=0.5, linewidths=0)
                axis.set(ylim=limits[row])
            axis.set(xlim=limits[column])
            if row == size - 1:
                axis.set(xlabel=f"x[{column}]")
            if column == 0 and row > 0:
                axis.set(ylabel=f"x[{row}]")
    axes[0, 0].legend()
    return render(figure)
