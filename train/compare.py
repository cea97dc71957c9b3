"""Runs side by side: a table on the terminal, and compare.html with their curves and samples."""

import pathlib
from collections.abc import Sequence

from .reporting import comparison
from .reporting.page import Section, page
from .runs.workdir import write_text

PAGE = "compare.html"


def compare_runs(
    workdirs: Sequence[pathlib.Path], folder: pathlib.Path, model_file: str = "model.keras", seed: int = 0
) -> pathlib.Path:
    """Prints a table of runs and writes compare.html: one page with the table, the curves and samples of all runs.

    The page needs no other file and no network. A run may still be in training: it has no model and no result yet.

    Args:
      workdirs: the folders of at least two runs.
      folder: of the page.
      model_file: name of the model's file in each workdir.
      seed: of the samples.

    Returns:
      The path of the page.

    Raises:
      ValueError: for fewer than two workdirs, the same one twice, or a folder that holds no run.

    Example: `compare_runs([pathlib.Path("runs/a"), pathlib.Path("runs/b")], pathlib.Path())`
    """
    names = [str(workdir) for workdir in workdirs]
    if len({workdir.resolve() for workdir in workdirs}) < max(2, len(workdirs)):
        raise ValueError(f"mode=compare must be given at least two different workdirs; got {names}")
    runs = {name: comparison.ComparedRun.of(workdir, model_file) for name, workdir in zip(names, workdirs, strict=True)}
    table = comparison.table(runs)
    print(table.text())
    sections = {
        "Figures": Section("The runs, and the fields in which their configs differ.", [table]),
        "Curves": comparison.curves(runs),
        "Samples": comparison.samples(runs, seed),
    }
    path = folder / PAGE
    write_text(path, page("Runs side by side", sections))
    print(f"wrote {path}")
    return path
