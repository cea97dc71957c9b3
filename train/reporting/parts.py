"""The parts of a report's sections: pictures, pictures behind a slider, tables and text, as HTML."""

import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image


class Part(Protocol):
    """A part of a section."""

    def html(self) -> str:
        """The part's HTML, whose texts are escaped."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, embedded as PNG.

    Attributes:
      pixels: uint8 array [height, width, 3].
      text: the description for readers who do not see it.

    Example: `Picture(paper.samples(model).draw(), "samples").html()`
    """

    pixels: np.ndarray
    text: str

    def html(self) -> str:
        """An img element."""
        return image(self.pixels, self.text)


@dataclasses.dataclass(frozen=True)
class Slider:
    """Pictures of the same kind, of which a slider shows one.

    Attributes:
      pictures: label ↦ uint8 array [height, width, 3], in the slider's order. The label stands beside the slider.
      start: the position of the picture that is shown first.

    Example: `Slider({f"T = {t}": pictures.of_samples(model, temperature=t) for t in (0.5, 1.0)}, start=1)`
    """

    pictures: Mapping[str, np.ndarray]
    start: int = 0

    def html(self) -> str:
        """A figure element with a range input; the page's script shows the chosen picture."""
        shown = list(self.pictures)[self.start]
        images = (image(pixels, label, hidden=label != shown) for label, pixels in self.pictures.items())
        return (
            f'<figure class="slider"><label><input type="range" max="{len(self.pictures) - 1}" value="{self.start}">'
            f" <output>{html.escape(shown)}</output></label>{''.join(images)}</figure>"
        )


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Pictures beside each other, each below its label.

    Attributes:
      pictures: label ↦ uint8 array [height, width, 3].

    Example: `SideBySide({"runs/a": pictures.of_samples(a), "runs/b": pictures.of_samples(b)}).html()`
    """

    pictures: Mapping[str, np.ndarray]

    def html(self) -> str:
        """A div element with a figure element for each picture."""
        figures = (
            f"<figure><figcaption>{html.escape(label)}</figcaption>{image(pixels, label)}</figure>"
            for label, pixels in self.pictures.items()
        )
        return f'<div class="side-by-side">{"".join(figures)}</div>'


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with a row for each entry.

    Attributes:
      header: the titles of the columns.
      rows: sequences of cells; numbers are shown with six digits.
      summary: if it is not empty, the table is folded below this text.

    Example: `Table(["figure", "value"], [["bits_per_dim", 2.0092]]).html()`
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    summary: str = ""

    def html(self) -> str:
        """A table element, in a details element if it is folded."""
        head = "".join(f"<th>{html.escape(title)}</th>" for title in self.header)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows)
        table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        return _folded(table, self.summary)

    def text(self) -> str:
        """The table for a terminal, a line for each row."""
        lines = [[*map(cell_text, row)] for row in (self.header, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
        return "\n".join("  ".join(line).rstrip() for line in padded)


@dataclasses.dataclass(frozen=True)
class Code:
    """Text as it is, such as a command.

    Attributes:
      text: the lines.
      summary: as for `Table`.

    Example: `Code("python -m train.main").html()`
    """

    text: str
    summary: str = ""

    def html(self) -> str:
        """A pre element."""
        return _folded(f"<pre>{html.escape(self.text)}</pre>", self.summary)


def image(pixels: np.ndarray, text: str, hidden: bool = False) -> str:
    """An img element that holds its picture.

    Args:
      pixels: uint8 array [height, width, 3].
      text: the alternative text.
      hidden: whether it is shown only after the page's script has made it visible.

    Example: `image(np.zeros([8, 8, 3], np.uint8), "black")`
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    attribute = " hidden" if hidden else ""
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}"{attribute}>'


def number_text(value: float) -> str:
    """A number with six digits, an integer with all of them.

    Example: `number_text(2.009163505)` is "2.00916".
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def cell_text(value: Any) -> str:
    """The text of a table's cell: a number with six digits, anything else as it is.

    Example: `cell_text(True)` is "True".
    """
    return number_text(value) if _is_number(value) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    attribute = ' class="number"' if _is_number(value) else ""
    return f"<td{attribute}>{html.escape(cell_text(value))}</td>"


def _folded(element: str, summary: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{element}</details>" if summary else element
