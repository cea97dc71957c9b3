"""A metric by epoch as a drawing whose values a pointer reads."""

import dataclasses
import html
import io
import json
import re
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .parts import number_text

POINTS_PER_INCH = 72  # of matplotlib's SVG files
HINT = "Point at a curve to read its values."


@dataclasses.dataclass(frozen=True)
class Chart:
    """Curves of a metric by epoch.

    matplotlib draws them as SVG. The page's script shows the values of the epoch nearest to the pointer.

    Attributes:
      title: the name of the metric.
      epochs: the horizontal positions.
      curves: name ↦ the values, one for each epoch.

    Example: `Chart("bits_per_dim", [1, 2], {"training": [3.0, 2.5], "validation": [3.1, 2.7]}).html()`
    """

    title: str
    epochs: Sequence[int]
    curves: Mapping[str, Sequence[float]]

    def html(self) -> str:
        """A figure element with an SVG element and the values at its epochs."""
        figure = Figure((5.6, 3.2), POINTS_PER_INCH, layout="constrained")
        axis = figure.subplots()
        for name, values in self.curves.items():
            axis.plot(self.epochs, values, label=name, marker="." if len(self.epochs) == 1 else "")
        axis.set(title=self.title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(self.curves) > 1:
            axis.legend()
        svg = _svg(figure, self.title)
        points = [
            {"x": round(float(axis.transData.transform((epoch, 0))[0]), 2), "text": self.text_of(index)}
            for index, epoch in enumerate(self.epochs)
        ]
        data = html.escape(json.dumps(points))
        return f'<figure class="chart" data-points="{data}">{svg}<output>{HINT}</output></figure>'

    def text_of(self, index: int) -> str:
        """The values of an epoch in words.

        Args:
          index: the position of the epoch in `epochs`.

        Example: `chart.text_of(0)` is "epoch 1: training 3, validation 3.1".
        """
        values = (f"{name} {number_text(values[index])}" for name, values in self.curves.items())
        return f"epoch {self.epochs[index]}: {', '.join(values)}"


def _svg(figure: Figure, salt: str) -> str:
    """The SVG element of a figure, its text as text."""
    file = io.StringIO()
    # The salt keeps the identifiers of two drawings on a page apart.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", text[text.index("<svg") :])  # HTML knows the namespaces.
