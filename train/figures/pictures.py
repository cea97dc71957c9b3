"""Pictures of a flow's samples: grids of images, and densities in the plane."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from absl import logging
from matplotlib.figure import Figure

import tfp_realnvp as rnvp

from ..models import num_levels
from .panels import DPI, image_grid, render, save_png


def plane_density(
    log_prob: Callable[[np.ndarray], np.ndarray], samples: np.ndarray, data: np.ndarray | None = None
) -> np.ndarray:
    """A density in the plane beside samples from it.

    Args:
      log_prob: callable, float32 points [N, 2] ↦ nats [N].
      samples: array [N, 2].
      data: array [N, 2] for a third panel, or None.

    Returns:
      uint8 array [height, width, 3].
    """
    points = samples if data is None else data
    low, high = points.min(0) - 0.3, points.max(0) + 0.3
    x, y = (np.linspace(low[i], high[i], 200, dtype=np.float32) for i in (0, 1))
    mesh = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    density = np.exp(log_prob(mesh)).reshape(200, 200)
    scatters = [("samples", samples)] + ([] if data is None else [("data", data)])
    figure = Figure((5 * (1 + len(scatters)), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, 1 + len(scatters))
    axes[0].imshow(density, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    axes[0].set_title("density")
    for axis, (title, scatter) in zip(axes[1:], scatters, strict=True):
        axis.scatter(scatter[:, 0], scatter[:, 1], s=2, alpha=0.5)
        axis.set(title=title, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return render(figure)


def of_samples(
    model: rnvp.FlowModel, num_samples: int = 64, temperature: float = 1.0, seed: int = 0
) -> np.ndarray | None:
    """The picture of samples that fits the model: a grid of images, or a density in the plane.

    Returns:
      uint8 array [height, width, 3], or None for vectors of another size than 2, and for a model that is conditioned
      on vectors.
    """
    if model.context_size and not model.num_classes:
        return None
    if len(model.event_shape) == 3:
        return image_grid(model.sample(num_samples, temperature, seed), num_levels(model))
    if model.event_shape == (2,):
        samples = model.sample(2048, temperature, seed)  # Whole batches of 256: TensorFlow traces once.
        return plane_density(lambda x: mean_log_prob(model, x), samples)
    return None


def of_classes(
    model: rnvp.FlowModel, num_samples: int = 10, temperature: float = 1.0, seed: int = 0
) -> np.ndarray | None:
    """The picture of a class-conditional model of images: a row of `num_samples` samples for each class.

    Returns:
      uint8 array [height, width, 3], or None for a model without classes or of vectors.
    """
    if not model.num_classes or len(model.event_shape) != 3:
        return None
    labels = np.repeat(np.arange(model.num_classes), num_samples)
    images = model.sample(len(labels), temperature, seed, labels=labels)
    return image_grid(images, num_levels(model), columns=num_samples)


def write_samples(
    model: rnvp.FlowModel,
    folder: pathlib.Path,
    name: str,
    num_samples: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[pathlib.Path]:
    """Writes the pictures of samples that fit the model: one of all classes mixed, and one with a row per class.

    Args:
      model: `FlowModel`.
      folder: folder of the PNG files, made if it is missing.
      name: name of the first file; the second is classes.png.
      num_samples, temperature, seed: as for `of_samples`.

    Returns:
      The paths, none for a model of vectors without a picture.
    """
    pictures = {
        name: of_samples(model, num_samples, temperature, seed),
        "classes": of_classes(model, temperature=temperature, seed=seed),
    }
    paths = {folder / f"{name}.png": pixels for name, pixels in pictures.items() if pixels is not None}
    for path, pixels in paths.items():
        save_png(pixels, path)
    return list(paths)


@contextlib.contextmanager
def warn_if_not_drawn() -> Iterator[None]:
    """Warns if a flow overflows at its own samples, so that a training run goes on without the picture."""
    try:
        yield
    except ValueError as error:
        logging.warning(f"there is no picture of samples: {error}")


def mean_log_prob(model: rnvp.FlowModel, points: np.ndarray) -> np.ndarray:
    """Nats of points; for a model that is conditioned on labels those of their mean density over the labels.

    Args:
      model: `FlowModel` of vectors.
      points: float array [N, size].

    Returns:
      float array [N].
    """
    classes = range(model.num_classes) if model.num_classes else [None]
    columns = [None if label is None else np.full(len(points), label) for label in classes]
    nats = [model.predict(points, len(points), verbose=0, labels=labels) for labels in columns]
    return np.logaddexp.reduce(nats, axis=0) - math.log(len(nats))
