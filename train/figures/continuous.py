"""The figures of continuous flows: samples at each resolution of MRCNF, and the path of a density in the plane."""

import fractions
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import tfp_realnvp as rnvp
from tfp_realnvp.representation import layers_of

from ..models import num_levels
from .panels import DPI, ImageFigure, Panel, render, save_figures

TIMES = tuple(fractions.Fraction(quarters, 4) for quarters in range(5))


def pyramid(model: rnvp.MRCNF, seed: int = 0, num_samples: int = 8) -> ImageFigure:
    """Samples of each number of scales, the coarsest in the first row, all drawn at the size of the finest.

    Args:
      model: `MRCNF`.
      seed: of the samples.
      num_samples: number of samples in a row.

    Returns:
      `ImageFigure` with one row per scale.

    Example: `pyramid(model).draw()`
    """
    rows, sizes = [], []
    for num_scales in range(1, len(model.networks_by_scale()) + 1):
        images = model.sample(num_samples, seed=seed, num_scales=num_scales)
        factor = model.event_shape[0] // images.shape[1]
        rows.append(images.repeat(factor, axis=1).repeat(factor, axis=2))
        sizes.append(f"{images.shape[1]}×{images.shape[2]}")
    caption = (
        "Samples of the coarsest images, of the next finer ones, and so on, at temperature 1. Rows are independent."
    )
    return ImageFigure([Panel("Samples by resolution", np.stack(rows), sizes)], num_levels(model), caption)


def write_path(
    model: rnvp.FFJORD, folder: pathlib.Path, tensorboard_dir: pathlib.Path, step: int, seed: int = 0
) -> list[pathlib.Path]:
    """Writes the picture of `path_of_density` as path.png, and for TensorBoard.

    Args:
      model, seed: as for `path_of_density`.
      folder: folder of the PNG file, made if it is missing.
      tensorboard_dir: folder of the event file.
      step: of the summary.

    Returns:
      The path of the file, in a list.

    Example: `write_path(model, workdir / "figures", workdir / "tensorboard/figures", step=1000)`
    """
    return save_figures({"path": path_of_density(model, seed)}, step, folder, tensorboard_dir)


def path_of_density(model: rnvp.FFJORD, seed: int = 0, num_samples: int = 50_000) -> np.ndarray:
    """The density of samples on their way from the latents, t = 0, to the data, t = 1: a strip of histograms.

    Args:
      model: `FFJORD` over points in the plane, unconditional.
      seed: of the latents.
      num_samples: number of samples.

    Returns:
      uint8 array [height, width, 3].

    Example: `save_png(path_of_density(model), path)`
    """
    z = model.base_distribution.sample(num_samples, seed=tf.constant([seed, 0])).numpy()
    states = states_at(model, z, TIMES)
    low, high = np.quantile(np.concatenate(states), [0.001, 0.999], axis=0)
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    figure = Figure((4 * len(TIMES), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, len(TIMES), sharey=True)
    for axis, time, points in zip(axes, TIMES, states, strict=True):
        density, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=100, range=list(zip(low, high, strict=True)))
        # A histogram's first axis is x, and an image's is y.
        axis.imshow(density.T, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
        axis.set_title(f"t = {float(time):g}")
    return render(figure)


def states_at(model: rnvp.FFJORD, z: np.ndarray, times: Sequence[fractions.Fraction]) -> list[np.ndarray]:
    """Where the flow moves latents on their way to the data, in the coordinates of the data.

    Each block takes an equal part of the time. The standardization of the data is undone at all times.

    Args:
      model: `FFJORD` over vectors, unconditional.
      z: float array [N, size], the latents.
      times: increasing fractions from 0, for the latents, to 1, for the data.

    Returns:
      For each time an array [N, size].

    Example: `*_, points = states_at(model, z, [fractions.Fraction(1)])` are `model.decode(z)`.
    """
    layers = layers_of(model.bijector.bijector)  # from the data to the latents
    blocks = [layer for layer in reversed(layers) if isinstance(layer, rnvp.bijectors.ContinuousFlow)]
    standardization, number = layers[0], len(blocks)
    ends = {fractions.Fraction(block, number) for block in range(number + 1)}
    states = {fractions.Fraction(0): tf.convert_to_tensor(z)}
    for start, stop in itertools.pairwise(sorted({*times, *ends})):
        index = int(start * number)
        # A block's own time is 1 at its latents, and 0 at its data.
        own = [float(1 + index - time * number) for time in (start, stop)]
        states[stop] = blocks[index].moved(states[start], *own)
    return [standardization.inverse(states[time]).numpy() for time in times]
