"""Images side by side: grids, and figures of labelled panels, as arrays of pixels and as PNG files."""

import dataclasses
import math
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..runs.workdir import new_file

DPI = 100
WIDTH, HEIGHT = 1300, 1100  # pixels for the images of an `ImageFigure`, without its text
LINE = 26  # pixels from one line of text to the next
MARGIN = 300  # pixels of paper for labels on each side, before it is trimmed


def image_grid(
    images: np.ndarray, num_bins: int, zoom: int | None = None, columns: int | None = None, line: int = 0
) -> np.ndarray:
    """Lays images out in a grid, nearly square by default.

    Args:
      images: integer array [N, height, width, 1 or 3], levels below `num_bins`.
      num_bins: number of pixel levels; level num_bins − 1 is white.
      zoom: size of a pixel; by default the smallest that makes the grid at least 512 pixels wide.
      columns: number of images in a row.
      line: gray from 0 to 255 of the line between images, one image pixel wide.

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
      title: above the panel.
      images: integer array [rows, columns, height, width, 1 or 3] of pixel levels.
      row_labels: left of each row; empty for none.
      titles: for the first rows, one list per row: the title above each of its images.
    """

    title: str
    images: np.ndarray
    row_labels: Sequence[str] = ()
    titles: Sequence[Sequence[str]] = ()


@dataclasses.dataclass(frozen=True)
class ImageFigure:
    """Panels of images side by side above a caption, all at the same integer zoom.

    Attributes:
      panels: from left to right.
      num_bins: number of pixel levels; level num_bins − 1 is white.
      caption: wrapped at the width of the panels.

    Example: `ImageFigure([Panel("samples", model.sample(8)[None])], model.num_bins, "8 samples.").draw()`
    """

    panels: Sequence[Panel]
    num_bins: int
    caption: str

    def draw(self) -> np.ndarray:
        """The figure as a uint8 array [height, width, 3], its image pixels sharp and of equal size."""
        total_width = sum(panel.images.shape[1] * panel.images.shape[3] for panel in self.panels)
        every = math.ceil(total_width / WIDTH)  # Above 1, it leaves out pixels of images that are too large.
        grids = [panel.images[:, :, ::every, ::every] for panel in self.panels]
        rows, columns, height, width = np.array([grid.shape[:4] for grid in grids]).T
        widths, heights = columns * (width + 1), rows * (height + 1)
        zoom = int(max(1, min(WIDTH // widths.sum(), HEIGHT // heights.max())))
        paper_width = 2 * MARGIN + zoom * widths.sum() + len(grids) * 2 * LINE
        paper_height = 2 * MARGIN + zoom * heights.max() + rows.max() * LINE
        figure = Figure((paper_width / DPI, paper_height / DPI), DPI)

        def write(x: float, y: float, text: str, **style: Any) -> None:
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
                figure.figimage(strip, left, paper_height - y - len(strip))  # Unlike imshow, it keeps each pixel.
                if panel.row_labels:
                    write(left - 10, y + len(strip) / 2, panel.row_labels[row], ha="right", va="center")
                y += len(strip) + zoom
            bottom = max(bottom, y)
            right = left + strip.shape[1]
            left = right + 2 * LINE
        write(MARGIN, bottom + LINE // 2, textwrap.fill(self.caption, (right - MARGIN) // 8), va="top")
        return _trim(render(figure))


def render(figure: Figure) -> np.ndarray:
    """A matplotlib figure as a uint8 array [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(pixels: np.ndarray, path: pathlib.Path) -> None:
    """Writes a uint8 array [height, width, 3] as a PNG file, and makes its folder."""
    with new_file(path) as file:
        Image.fromarray(pixels).save(file, "PNG")


def save_figures(
    figures: Mapping[str, np.ndarray], step: int, folder: pathlib.Path, tensorboard_dir: pathlib.Path
) -> list[pathlib.Path]:
    """Writes each figure as a PNG file, and as an image summary of the same name for TensorBoard.

    Args:
      figures: name ↦ uint8 array [height, width, 3].
      step: of the summaries.
      folder: folder of the PNG files, made if it is missing.
      tensorboard_dir: folder of the event file.

    Returns:
      The paths of the PNG files.
    """
    paths = []
    with tf.summary.create_file_writer(str(tensorboard_dir)).as_default(step):
        for name, pixels in figures.items():
            paths.append(folder / f"{name}.png")
            save_png(pixels, paths[-1])
            tf.summary.image(name, pixels[None])
    return paths


def _trim(pixels: np.ndarray, border: int = 12) -> np.ndarray:
    """The part of a picture that is not white, and a white border."""
    rows, columns, _ = np.nonzero(pixels < 255)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    return pixels[top - border : bottom + border, left - border : right + border]
