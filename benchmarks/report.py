"""The results as JSON and as a table: the ratios with their targets, then the measurements."""

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of two measurements of the same run.

    Attributes:
      name: numerator and denominator.
      value: the ratio.
      at_most, at_least: the target, one of the two or neither.
      of_times: the ratio of the times alone, if `value` is a ratio at equal FLOPs.
    """

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None
    of_times: float | None = None

    @property
    def is_met(self):
        """Whether the ratio meets its target; None without a target."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    def row(self):
        """A row of the table."""
        target = "" if self.at_most is None else f"≤ {self.at_most:g}"
        target = target if self.at_least is None else f"≥ {self.at_least:g}"
        met = {True: "yes", False: "no", None: ""}[self.is_met]
        return {"ratio": self.name, "value": self.value, "target": target, "met": met, "of the times": self.of_times}


def over(ours, other, **target):
    """The ratio of the seconds of two `timing.Measurement`s at equal FLOPs."""
    times = ours.median / other.median
    name = f"{ours.method}: {ours.contestant} / {other.contestant}"
    return Ratio(name, times * other.flops / ours.flops, of_times=times, **target)


def over_in_rate(contestant, other, **target):
    """The ratio of the FLOP/s of two `timing.Measurement`s."""
    name = f"FLOP/s: {contestant.method} of {contestant.contestant} / {other.method} {other.contestant}"
    return Ratio(name, contestant.flops_per_second / other.flops_per_second, **target)


def write(folder, header, parts):
    """Writes results.json and table.md.

    Args:
      folder: `pathlib.Path`, created if it is missing.
      header: dictionary of the machine and the versions.
      parts: {title: (list of `Ratio`s, list of the measurements' rows, each a dictionary)}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        **header,
        "parts": {
            title: {"ratios": [{**dataclasses.asdict(r), "is_met": r.is_met} for r in ratios], "measurements": rows}
            for title, (ratios, rows) in parts.items()
        },
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (folder / "table.md").write_text(markdown(header, parts))


def markdown(header, parts):
    """The results as a page of Markdown; arguments as for `write`."""
    lines = ["# Benchmarks", ""]
    lines += [
        f"{name}: {value if isinstance(value, str) else ', '.join(f'{k} {v}' for k, v in value.items())}  "
        for name, value in header.items()
    ]
    ratios = [ratio.row() for ratios, _ in parts.values() for ratio in ratios]
    for title, rows in {"ratios": ratios, **{title: rows for title, (_, rows) in parts.items()}}.items():
        lines += ["", f"## {title.capitalize()}", "", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows):
    """The lines of a Markdown table with one row per dictionary, none without rows; columns with lists are left out.

    Example:
      >>> table([{"name": "a", "seconds": 1.5, "all": [1.0, 2.0]}])
      ['| name | seconds |', '|-|-|', '| a | 1.50 |']
    """
    if not rows:
        return []
    columns = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if not any(isinstance(row.get(name), list) for row in rows)
    ]
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    return [
        f"| {' | '.join(line)} |" if line is not None else f"|{'-|' * len(columns)}" for line in (columns, None, *cells)
    ]


def _cell(value):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{2 if abs(value) >= 1 else 3}f}"
    return str(value)
