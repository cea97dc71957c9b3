"""Pictures of what a flow has learned."""

import math

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot


def image_grid(images, num_bins, zoom=None):
    """Lays images out in a grid, as square as it gets.

    Args:
      images: integer array [N, height, width, 1 or 3], levels below `num_bins`.
      num_bins: number of pixel levels; level num_bins − 1 is white.
      zoom: int, size of a pixel; by default such that the grid is at least 512 pixels wide.

    Returns:
      uint8 array [height, width, 3].
    """
    number, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    grid = np.zeros([rows * columns, height + 1, width + 1, channels])  # one dark pixel between the images
    grid[:number, :height, :width] = images * (255 / max(num_bins - 1, 1))
    grid = grid.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    zoom = zoom or max(1, math.ceil(512 / grid.shape[1]))
    grid = np.repeat(np.repeat(grid, zoom, 0), zoom, 1)
    return np.broadcast_to(np.round(grid), (*grid.shape[:2], 3)).astype(np.uint8)


def plane_density(log_prob, samples, data=None):
    """A density in the plane beside samples from it.

    Args:
      log_prob: callable, float32 points [N, 2] ↦ nats [N].
      samples: array [N, 2].
      data: array [N, 2], shown in a third panel; None leaves that out.

    Returns:
      uint8 array [height, width, 3].
    """
    points = samples if data is None else data
    low, high = points.min(0) - 0.3, points.max(0) + 0.3
    x, y = (np.linspace(low[i], high[i], 200, dtype=np.float32) for i in (0, 1))
    mesh = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    density = np.exp(log_prob(mesh)).reshape(200, 200)
    panels = [("samples", samples)] + ([] if data is None else [("data", data)])
    figure, axes = pyplot.subplots(1, 1 + len(panels), figsize=(5 * (1 + len(panels)), 4.2), layout="constrained")
    axes[0].imshow(density, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    axes[0].set_title("density")
    for axis, (title, scatter) in zip(axes[1:], panels, strict=True):
        axis.scatter(scatter[:, 0], scatter[:, 1], s=2, alpha=0.5)
        axis.set(title=title, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    pyplot.close(figure)
    return pixels


def of_samples(model, num_samples=64, temperature=1.0, seed=0):
    """The picture of samples that fits the model: a grid of images, or a density in the plane.

    Returns:
      uint8 array [height, width, 3], or None for vectors of another size than 2.
    """
    if len(model.event_shape) == 3:
        return image_grid(model.sample(num_samples, temperature, seed), model.num_bins)
    if model.event_shape == (2,):
        samples = model.sample(2000, temperature, seed)
        return plane_density(lambda x: model.predict(x, batch_size=len(x), verbose=0), samples)
    return None


def save(pixels, path):
    """Writes a uint8 array [height, width, 3] as a PNG file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
