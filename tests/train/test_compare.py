"""Runs side by side: the table, the curves and the samples, and the folders that are refused."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from tests.train.pages import Parser, assert_self_contained
from tests.train.tiny_runs import metrics
from train import compare
from train.reporting import comparison
from train.reporting.chart import Chart
from train.reporting.parts import number_text

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.fixture(scope="module")
def other(run, tmp_path_factory):
    """A run like the first that is still in its second epoch: it has no model and no result."""
    folder = tmp_path_factory.mktemp("other <run>")
    config = json.loads((run.workdir / "config.json").read_text())
    config |= {"batch_size": 16, "validation_split": ""}
    del config["max_skipped"]  # as a run of before this field existed
    config["model"]["filters"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    line = {"epoch": 1, "step": 3, "bits_per_dim": 2.5, "images_per_s": 8.0}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.fixture(scope="module")
def compared(run, other, tmp_path_factory):
    """The text of the page, and that of the terminal."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(compare, "print", lines.append, raising=False)
        path = compare.compare_runs([run.workdir, other], folder)
    assert path == folder / "compare.html" and lines[-1] == f"wrote {path}"
    return path.read_text(), lines[0]


def rows(text):
    return {first: rest for first, *rest in (re.split(r"  +", line) for line in text.splitlines()[1:])}


def test_the_table_has_the_figures_of_both_runs(run, compared):
    text, result, lines = compared[1], json.loads((run.workdir / "result.json").read_text()), metrics(run.workdir)
    validation = [line["val_bits_per_dim"] for line in lines]
    figures = rows(text)
    assert figures["family"] == ["RealNVP", "RealNVP"] and figures["steps"] == ["4", "3"]
    assert figures["parameters"][1] == "–" and int(figures["parameters"][0].replace(",", "")) > 1000
    assert figures["seconds"][1] == "6" and figures["ms/step"][1] == "2000"  # 3 steps of 16 at 8 images a second
    assert figures["training bits/dim, last"] == [number_text(lines[-1]["bits_per_dim"]), "2.5"]
    assert figures["validation bits/dim, best"] == [number_text(min(validation)), "–"]
    assert figures["validation bits/dim, last"] == [number_text(validation[-1]), "–"]
    assert figures["test bits/dim"] == [number_text(result["bits_per_dim"]), "–"]
    assert figures["test split"] == ["test[:50]", "–"]


def test_the_table_has_the_fields_that_differ_alone(compared):
    fields = {name: values for name, values in rows(compared[1]).items() if name.startswith("config.")}
    assert fields.pop("config.validation_split") == ["validation[:30]"]  # The other one is empty.
    assert fields == {"config.batch_size": ["8", "16"], "config.model.filters": ["4", "5"]}


def test_the_page_has_the_curves_and_samples(run, other, compared):
    parsed = assert_self_contained(compared[0])
    assert [title for title in parsed.elements if title] == ["Figures", "Curves", "Samples"]
    assert [picture["alt"] for picture in parsed.of("img", "Samples")] == [str(run.workdir)]
    assert f"There are none of {other}" in parsed.texts["Samples"] and "<run>" not in compared[0]
    charts = parsed.of("figure", "Curves")
    shown = {*metrics(run.workdir)[0], "images_per_s"} - {"epoch", "step"}
    titles = [name for name in re.findall(r"<text[^>]*>(\w+)</text>", compared[0]) if name in shown]
    assert len(charts) == len(titles) == len(shown) and titles[-1] == "learning_rate"
    points = json.loads(charts[titles.index("bits_per_dim")]["data-points"])
    first, last = (number_text(line["bits_per_dim"]) for line in metrics(run.workdir))
    assert [point["text"] for point in points] == [
        f"step 2: {run.workdir} {first}",
        f"step 3: {other} 2.5",
        f"step 4: {run.workdir} {last}",
    ]


def test_a_curve_joins_its_points_across_those_of_others():
    text = Chart("loss", [1, 2, 3], {"a": [3.0, np.nan, 1.0], "b": [np.nan, 2.0, np.nan]}, unit="step").html()
    assert sum(path.get("d", "").count("L") == 1 and "clip-path" in path for path in Parser(text).of("path")) >= 1
    texts = [point["text"] for point in json.loads(Parser(text).of("figure")[0]["data-points"])]
    assert texts == ["step 1: a 3", "step 2: b 2", "step 3: a 1"]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_run_alone_is_refused(number, run, tmp_path):
    workdirs = [run.workdir / "." for _ in range(number)]
    with pytest.raises(ValueError, match="mode=compare must be given at least two different workdirs; got"):
        compare.compare_runs(workdirs, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_folder_that_is_no_run_is_named(run, other, tmp_path):
    with pytest.raises(ValueError, match=f"workdir must hold a run; there is no {tmp_path}/config.json"):
        compare.compare_runs([other, tmp_path], tmp_path)
    shutil.copy(run.workdir / "config.json", tmp_path)
    with pytest.raises(ValueError, match=f"workdir {tmp_path} has no metrics.jsonl; a training writes it"):
        compare.compare_runs([other, tmp_path], tmp_path)


def test_a_run_without_a_picture_of_samples_is_named(run):
    shown = comparison.ComparedRun({}, [], {}, None)
    section = comparison.samples({"a": shown, "b": shown}, seed=0)
    assert not section.parts and section.text.endswith(
        "There are none of a, b: no model yet, or one without a picture."
    )


@pytest.mark.parametrize(("flags", "folder"), [([], "."), (["--workdir=here"], "here")])
def test_the_workdirs_are_arguments(flags, folder, command_line, monkeypatch):
    calls = []
    monkeypatch.setattr(compare, "compare_runs", lambda *arguments: calls.append(arguments))
    command_line("--mode=compare", "runs/a", "runs/b", "--seed=3", "--model=best.keras", *flags)
    assert calls == [([pathlib.Path("runs/a"), pathlib.Path("runs/b")], pathlib.Path(folder), "best.keras", 3)]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
