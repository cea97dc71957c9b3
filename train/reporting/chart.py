"""A metric by epoch or by step as a drawing whose values a pointer reads."""

import dataclasses
import html
import io
import json
import math
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
    """Curves of a metric by epoch or by step.

    matplotlib draws them as SVG. The page's script shows the values of the epoch nearest to the pointer.

    Attributes:
      title: the name of the metric.
      positions: the epochs or steps.
      curves: name ↦ the values, one for each position; NaN where a curve has none.
      unit: the name of a position.

    Example: `Chart("bits_per_dim", [1, 2], {"training": [3.0, 2.5], "validation": [3.1, 2.7]}).html()`
    """

    title: str
    positions: Sequence[int]
    curves: Mapping[str, Sequence[float]]
    unit: str = "epoch"

    def html(self) -> str:
        """A figure element with an SVG element and the values at its positions."""
        figure = Figure((5.6, 3.2), POINTS_PER_INCH, layout="constrained")
        axis = figure.subplots()
        for name, values in self.curves.items():
            drawn = [point for point in zip(self.positions, values, strict=True) if not math.isnan(point[1])]
            axis.plot(*zip(*drawn, strict=True), label=name, marker="." if len(drawn) == 1 else "")
        axis.set(title=self.title, xlabel=self.unit)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(self.curves) > 1:
            axis.legend()
        svg = _svg(figure, self.title)
        points = [
            {"x": round(float(axis.transData.transform((position, 0))[0]), 2), "text": self.text_of(index)}
            for index, position in enumerate(self.positions)
        ]
        data = html.escape(json.dumps(points))
        return f'<figure class="chart" data-points="{data}">{svg}<output>{HINT}</output></figure>'

    def text_of(self, index: int) -> str:
        """The values of an epoch or step in words.

        Args:
          index: its place in `positions`.

        Example: `chart.text_of(0)` is "epoch 1: training 3, validation 3.1".
        """
        here = {name: values[index] for name, values in self.curves.items() if not math.isnan(values[index])}
        texts = (f"{name} {number_text(value)}" for name, value in here.items())
        return f"{self.unit} {self.positions[index]:,}: {', '.join(texts)}"


def _svg(figure: Figure, salt: str) -> str:
    """The SVG element of a figure, its text as text."""
    file = io.StringIO()
    # The salt keeps the identifiers of two drawings on a page apart.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", text[text.index("<svg") :])  # HTML knows the namespaces.
