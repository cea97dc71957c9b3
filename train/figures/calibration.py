"""The figure of a posterior's calibration: histograms of its ranks, and its expected coverage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

import tfp_realnvp as rnvp
from tfp_realnvp.common import check_positive

from .panels import DPI, render

PANEL = 280  # pixels


def calibration(ranks: rnvp.calibration.Ranks, names: Sequence[str] | None = None, num_bins: int = 20) -> np.ndarray:
    """A histogram of the ranks for each entry, and the coverage of the flow's regions by their level.

    Gray bands hold 99% of the counts of a calibrated posterior. A histogram like ∪ belongs to an overconfident
    posterior, ∩ to one that is too wide, and a slope to a shifted one.

    Args:
      ranks: `calibration.Ranks`.
      names: the names of the entries; None for θ[0], θ[1] and so on.
      num_bins: number of bins of equal size for the ranks, a divisor of `ranks.num_draws` + 1.

    Returns:
      uint8 array [height, width, 3].

    Raises:
      ValueError: for another number of names or bins.

    Example: `save_png(calibration(rnvp.calibration.rank(posterior, (parameters, observations))), path)`
    """
    number, size = ranks.by_entry.shape
    names = [f"θ[{entry}]" for entry in range(size)] if names is None else names
    check_positive(num_bins=num_bins)
    if len(names) != size:
        raise ValueError(f"names must be None or {size} strings; got {len(names)}")
    if (ranks.num_draws + 1) % num_bins:
        raise ValueError(f"num_bins must be a divisor of num_draws + 1 = {ranks.num_draws + 1}; got {num_bins}")
    figure = Figure((PANEL * (size + 1) / DPI, PANEL / DPI), DPI, layout="constrained")
    *histograms, last = figure.subplots(1, size + 1, squeeze=False)[0]
    expected = number / num_bins
    band = 2.576 * np.sqrt(expected * (1 - 1 / num_bins))
    for axis, name, column in zip(histograms, names, ranks.by_entry.T, strict=True):
        axis.axhspan(expected - band, expected + band, color="0.85")
        axis.hist(column, bins=num_bins, range=(0, ranks.num_draws + 1))
        axis.set(title=name, xlabel="rank", yticks=[])
    levels = np.linspace(0, 1, 101)
    band = 2.576 * np.sqrt(levels * (1 - levels) / number)
    last.fill_between(levels, levels - band, levels + band, color="0.85")
    last.plot(levels, ranks.coverage(levels))
    last.set(title="expected coverage", xlabel="level", aspect="equal")
    return render(figure)
