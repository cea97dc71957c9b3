"""Pictures of what a flow has learned."""

import contextlib
import dataclasses
import math
import textwrap

import numpy as np
from absl import logging
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
WIDTH, HEIGHT = 1300, 1100  # pixels that the images of an `ImageFigure` may take, without its text
LINE = 26  # pixels from one line of text to the next
MARGIN = 300  # pixels of paper that labels may take on each side, before it is trimmed


def image_grid(images, num_bins, zoom=None, columns=None, line=0):
    """Lays images out in a grid, as square as it gets.

    Args:
      images: integer array [N, height, width, 1 or 3], levels below `num_bins`.
      num_bins: number of pixel levels; level num_bins − 1 is white.
      zoom: int, size of a pixel; by default such that the grid is at least 512 pixels wide.
      columns: int, number of images in a row; by default the square's.
      line: gray from 0 to 255 of the line between images, which is one pixel of theirs wide.

    Returns:
      uint8 array [height, width, 3].
    """
    number, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    grid = np.full([rows * columns, height + 1, width + 1, channels], float(line))
    grid[:number, :height, :width] = images * (255 / max(num_bins - 1, 1))
    grid = grid.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    zoom = zoom or max(1, math.ceil(512 / grid.shape[1]))
    grid = np.repeat(np.repeat(grid, zoom, 0), zoom, 1)
    return np.broadcast_to(np.round(grid), (*grid.shape[:2], 3)).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Panel:
    """Rows of images with labels: a part of an `ImageFigure`.

    Attributes:
      title: str, above the panel.
      images: integer array [rows, columns, height, width, 1 or 3] of pixel levels.
      row_labels: strings, left of each row; empty for none.
      titles: lists of strings, one list a row from the first on: what stands above each of its images.
    """

    title: str
    images: np.ndarray
    row_labels: tuple = ()
    titles: tuple = ()


@dataclasses.dataclass(frozen=True)
class ImageFigure:
    """Panels of images side by side above a caption, all at the same whole zoom.

    Attributes:
      panels: list of `Panel`, from left to right.
      num_bins: number of pixel levels; level num_bins − 1 is white.
      caption: str, wrapped at the width of the panels.

    Example: `ImageFigure([Panel("samples", model.sample(8)[None])], model.num_bins, "8 samples.").draw()`
    """

    panels: list
    num_bins: int
    caption: str

    def draw(self):
        """The figure as a uint8 array [height, width, 3], the images' pixels neither blurred nor uneven."""
        width = sum(panel.images.shape[1] * panel.images.shape[3] for panel in self.panels)
        every = math.ceil(width / WIDTH)  # above 1 for images too large to be shown as they are
        grids = [panel.images[:, :, ::every, ::every] for panel in self.panels]
        rows, columns, height, width = np.array([grid.shape[:4] for grid in grids]).T
        widths, heights = columns * (width + 1), rows * (height + 1)
        zoom = int(max(1, min(WIDTH // widths.sum(), HEIGHT // heights.max())))
        paper_width = 2 * MARGIN + zoom * widths.sum() + len(grids) * 2 * LINE
        paper_height = 2 * MARGIN + zoom * heights.max() + rows.max() * LINE
        figure = Figure((paper_width / DPI, paper_height / DPI), DPI)

        def write(x, y, text, **style):
            figure.text(x / paper_width, 1 - y / paper_height, text, size=11, **style)

        left, bottom = MARGIN, 0
        for panel, grid in zip(self.panels, grids, strict=True):
            y = MARGIN
            write(left, y, panel.title, weight="bold")
            y += LINE // 2
            for row, images in enumerate(grid):
                strip = image_grid(images, self.num_bins, zoom, columns=len(images), line=255)
                step = (strip.shape[1] + zoom) / len(images)
                if row < len(panel.titles):
                    y += LINE
                    for column, title in enumerate(panel.titles[row]):
                        write(left + column * step + (step - zoom) / 2, y - 7, title, ha="center")
                figure.figimage(strip, left, paper_height - y - len(strip))  # unlike imshow, pixel for pixel
                if panel.row_labels:
                    write(left - 10, y + len(strip) / 2, panel.row_labels[row], ha="right", va="center")
                y += len(strip) + zoom
            bottom = max(bottom, y)
            right = left + strip.shape[1]
            left = right + 2 * LINE
        write(MARGIN, bottom + LINE // 2, textwrap.fill(self.caption, (right - MARGIN) // 8), va="top")
        return _trimmed(_rendered(figure))


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
    figure = Figure((5 * (1 + len(panels)), 4.2), DPI, layout="constrained")
    axes = figure.subplots(1, 1 + len(panels))
    axes[0].imshow(density, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto")
    axes[0].set_title("density")
    for axis, (title, scatter) in zip(axes[1:], panels, strict=True):
        axis.scatter(scatter[:, 0], scatter[:, 1], s=2, alpha=0.5)
        axis.set(title=title, xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return _rendered(figure)


def of_samples(model, num_samples=64, temperature=1.0, seed=0):
    """The picture of samples that fits the model: a grid of images, or a density in the plane.

    Returns:
      uint8 array [height, width, 3], or None for vectors of another size than 2, and for a model that is conditioned
      on vectors.
    """
    if model.context_size and not model.num_classes:
        return None
    if len(model.event_shape) == 3:
        return image_grid(model.sample(num_samples, temperature, seed), model.num_bins)
    if model.event_shape == (2,):
        samples = model.sample(2000, temperature, seed)
        return plane_density(lambda x: _log_prob(model, x), samples)
    return None


def of_classes(model, num_samples=10, temperature=1.0, seed=0):
    """The picture of samples of a model of images that is conditioned on labels: a row of `num_samples` of each class.

    Returns:
      uint8 array [height, width, 3], or None for a model without classes or of vectors.
    """
    if not model.num_classes or len(model.event_shape) != 3:
        return None
    labels = np.repeat(np.arange(model.num_classes), num_samples)
    return image_grid(model.sample(len(labels), temperature, seed, labels=labels), model.num_bins, columns=num_samples)


def write_samples(model, folder, name, num_samples=64, temperature=1.0, seed=0):
    """Writes the pictures of samples that fit the model: of any, and of each class.

    Args:
      model: `FlowModel`.
      folder: `pathlib.Path`, made if it is not there.
      name: str, of the PNG file of any; that of each class is classes.png.
      num_samples, temperature, seed: as for `of_samples`.

    Returns:
      List of the paths, empty for a model of vectors that are not drawn.
    """
    drawn = {
        name: of_samples(model, num_samples, temperature, seed),
        "classes": of_classes(model, temperature=temperature, seed=seed),
    }
    paths = {folder / f"{name}.png": pixels for name, pixels in drawn.items() if pixels is not None}
    for path, pixels in paths.items():
        save(pixels, path)
    return list(paths)


@contextlib.contextmanager
def dispensable():
    """Warns where a flow overflows at its own samples: a training run goes on without the picture."""
    try:
        yield
    except ValueError as error:
        logging.warning(f"there is no picture of samples: {error}")


def save(pixels, path):
    """Writes a uint8 array [height, width, 3] as a PNG file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _log_prob(model, points):
    """Nats of points; where the model is conditioned on labels, of their mean density over the labels."""
    labels = [(np.full(len(points), label),) for label in range(model.num_classes or 0)] or [()]
    nats = [model.predict(points, *given, batch_size=len(points), verbose=0) for given in labels]
    return np.logaddexp.reduce(nats, axis=0) - math.log(len(nats))


def _rendered(figure):
    """A matplotlib figure as a uint8 array [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _trimmed(pixels, border=12):
    """The part of a picture that is not white, and a white border."""
    inked = (pixels < 255).any(-1)
    rows, columns = (np.flatnonzero(inked.any(axis)) for axis in (1, 0))
    return pixels[rows[0] - border : rows[-1] + border + 1, columns[0] - border : columns[-1] + border + 1]
