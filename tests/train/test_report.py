"""The report of a run: its sections, numbers and pictures, and the parts that are missing."""

import json
import re
import shlex
import shutil
import subprocess

import ml_collections
import numpy as np
import pytest
import tensorflow as tf

from tests.train.pages import Parser, assert_self_contained
from tests.train.tiny_runs import tiny
from train import data, models, report
from train.reporting import images, parts, vectors
from train.reporting import run as every_run
from train.reporting.page import Section, page

pytestmark = pytest.mark.usefixtures("module_eagerly")
BROWSER = shutil.which("chromium")


def untrained(config, folder):
    """A workdir with the config's new model, and nothing else."""
    model = models.new_flow(config, data.load(config, config.test_split))
    model.save(folder / "model.keras")
    return model


@pytest.fixture(scope="module", autouse=True)
def few_events():
    """Pages of few samples and examples, which are drawn sooner."""
    with pytest.MonkeyPatch.context() as patch:
        for name, number in (("MOST_TRAINING", 100), ("MOST_TEST", 64)):
            patch.setattr(report, name, number)
        for sections in (images, vectors):
            patch.setattr(sections, "TEMPERATURES", (0.5, 1.0))
        yield


@pytest.fixture(scope="module")
def reported(run, tmp_path_factory):
    """A copy of a run's workdir with its report, and the report's text."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("model.keras", "config.json", "metrics.jsonl", "result.json"):
        shutil.copy(run.workdir / name, folder)
    path = report.write_report(tiny(), folder, command="python -m train.main --config='a b.py'")
    assert path == folder / "report.html"
    return folder, path.read_text()


def test_a_run_has_every_section_on_one_page(reported):
    parsed = assert_self_contained(reported[1])
    titles = [*every_run.FIRST, *images.SECTIONS, *every_run.LAST]
    assert [title for title in parsed.elements if title] == titles
    missing = [title for title in titles if "This section is missing" in parsed.texts[title]]
    assert missing == ["Latents by scale"] and "of a single scale" in parsed.texts["Latents by scale"]
    links = [attributes["href"].removeprefix("#") for attributes in parsed.of("a")]
    assert links == [attributes["id"] for attributes in parsed.of("section")]
    assert "python -m train.main --config='a b.py'" in parsed.texts["Repeat"]
    assert "model.filters" in parsed.texts["Repeat"] and tf.__version__ in parsed.texts["Repeat"]


def test_the_tables_and_curves_hold_the_numbers_of_the_files(reported):
    folder, text = reported
    parsed = Parser(text)
    result = json.loads((folder / "result.json").read_text())
    for name in ("bits_per_dim", "standard_error", "loss", "num_examples"):
        assert f"{name}{parts.number_text(result[name])}" in parsed.texts["Result"]
    moments = result["batch_moments"]["bits_per_dim"]
    assert f"batch_moments.bits_per_dim{parts.number_text(moments)}" in parsed.texts["Result"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    charts = parsed.of("figure", "Curves")
    titles = [name for name in re.findall(r"<text[^>]*>(\w+)</text>", text) if name in {*lines[0]} - {"epoch"}]
    assert len(charts) == len(titles) and titles[0] == "bits_per_dim" and titles[-1] == "learning_rate"
    for chart, name in zip(charts, titles, strict=True):
        for line, point in zip(lines, json.loads(chart["data-points"]), strict=True):
            validation = f", validation {parts.number_text(line[f'val_{name}'])}" if f"val_{name}" in line else ""
            training = f"training {parts.number_text(line[name])}"
            assert point["text"] == f"epoch {line['epoch']}: {training}{validation}"
    rows = sum(
        network.count_params() for network in report.models.load_model(tiny(), folder, "model.keras", None).networks
    )
    assert f"{rows:,} parameters" in parsed.texts["Network"]


def test_the_cursor_of_a_chart_stands_at_the_points_of_its_curve():
    text = every_run.Chart("loss", [1, 2, 5], {"training": [3.0, 2.0, 1.0]}).html()
    positions = [point["x"] for point in json.loads(Parser(text).of("figure")[0]["data-points"])]
    assert positions[2] - positions[1] == pytest.approx(3 * (positions[1] - positions[0]), abs=0.05)
    (curve,) = (
        path["d"] for path in Parser(text).of("path") if path.get("d", "").count("L") == 2 and "clip-path" in path
    )
    np.testing.assert_allclose([float(x) for x in re.findall(r"[ML] ([\d.]+)", curve)], positions, atol=0.01)


def test_a_conditional_flow_alone_names_the_files_that_are_missing(tmp_path, capsys):
    config = tiny(architecture="Glow", conditional=True)
    config.model = ml_collections.ConfigDict(dict(num_scales=2, steps_per_scale=1, filters=2))
    untrained(config, tmp_path)
    text = report.write_report(config, tmp_path).read_text()
    parsed = assert_self_contained(text)
    assert "no result.json; --mode=evaluate writes it" in parsed.texts["Result"]
    assert "no metrics.jsonl; a training writes it" in parsed.texts["Curves"]
    assert text.count("This section is missing") == 2 == capsys.readouterr().out.count("lacks the section")
    assert "a row for each class" in parsed.texts["Samples"] and len(parsed.of("input", "Samples")) == 2
    assert "The command of this run is not known" in parsed.texts["Repeat"]


@pytest.mark.parametrize(("dataset", "conditional"), [("moons", False), ("gaussian_linear", True)])
def test_vectors_have_a_density_marginals_and_a_histogram(dataset, conditional, tmp_path):
    config = tiny(dataset=dataset, conditional=conditional, shift=0.0)
    untrained(config, tmp_path)
    parsed = assert_self_contained(report.write_report(config, tmp_path).read_text())
    assert [title for title in parsed.elements if title] == [*every_run.FIRST, *vectors.SECTIONS, *every_run.LAST]
    assert ("This section is missing" in parsed.texts["Density"]) == conditional
    assert len(parsed.of("img", "Samples and marginals")) == len(vectors.TEMPERATURES)
    assert len(parsed.of("img", "Bits per dimension")) == 1


USER = """<script>
const input = document.querySelector("figure.slider input"), svg = document.querySelector("figure.chart svg");
input.value = 0;
input.dispatchEvent(new Event("input"));
svg.dispatchEvent(new PointerEvent("pointermove", {clientX: svg.getBoundingClientRect().right}));
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium, whose --dump-dom shows the page after its script")
def test_a_browser_moves_a_slider_and_reads_a_curve(reported, tmp_path):
    text = reported[1]
    (tmp_path / "used.html").write_text(text.replace("</body>", f"{USER}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    command = [BROWSER, *options, (tmp_path / "used.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    last = json.loads(Parser(text).of("figure", "Curves")[0]["data-points"])[-1]["text"]
    assert f"<output>{last}</output>" in dom and "epoch 2" in last
    shown = [attributes["alt"] for attributes in Parser(dom).of("img", "Samples") if "hidden" not in attributes]
    assert shown == [f"temperature {images.TEMPERATURES[0]}"] and f"<output>{shown[0]}</output>" in dom


@pytest.mark.parametrize("line", ["{", "{}", "3", ""])
def test_damaged_metrics_cost_one_section_alone(line, reported):
    folder, _ = reported
    shown = every_run.Run(None, tiny(), folder, None, None)
    (folder / "metrics.jsonl").write_text(line)
    with pytest.raises(ValueError, match=r"metrics.jsonl (is damaged \(|has no epoch yet)"):
        every_run.curves(shown)


def test_text_is_escaped():
    table, code = parts.Table(["<i>"], [["&<"]], "a<b"), parts.Code("<script>")
    text = page("<b>", {"x & <y>": Section("<p>&", [table, code, parts.Picture(np.zeros([1, 1, 3], np.uint8), '">')])})
    for raw in ("<b>", "<y>", "<i>", "&<", "a<b", '"">'):
        assert raw not in text
    assert text.count("<script>") == 1 and "x &amp; &lt;y&gt;" in text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_split": "test[:7]"}, "test_split must have at least 8 examples for a report; got 7"),
        ({"train_split": "train[:7]"}, "train_split must have at least 8 examples for a report; got 7"),
        ({"batch_size": 9}, r"holds the run of another config \(batch_size = 8 there, 9 here\)"),
    ],
)
def test_runs_without_a_report_are_refused(fields, message, run, tmp_path):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    if "batch_size" in fields:
        shutil.copy(run.workdir / "config.json", tmp_path)
    with pytest.raises(ValueError, match=message):
        report.write_report(tiny(**fields), tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "error",
    [ValueError("too few"), OSError("full disk"), tf.errors.ResourceExhaustedError(None, None, "no memory")],
    ids=["value", "disk", "memory"],
)
def test_a_training_outlives_a_report_that_fails(error, monkeypatch, caplog, tmp_path):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(report.train, "train_and_evaluate", lambda *arguments: {"bits_per_dim": 2.0})
    monkeypatch.setattr(report, "write_report", fail)
    assert report.train_and_report(tiny(), tmp_path) == {"bits_per_dim": 2.0}
    assert re.search("there is no report.html: .*(too few|full disk|no memory)", caplog.text)


def test_a_training_without_a_report_is_a_training_alone(monkeypatch, command_line, tmp_path):
    trained = []
    monkeypatch.setattr(report, "train_and_report", lambda *arguments, command: pytest.fail("there is a report"))
    monkeypatch.setattr(report.train, "train_and_evaluate", lambda *arguments: trained.append(arguments))
    command_line("--noreport", f"--workdir={tmp_path}")
    assert len(trained) == 1


def test_only_the_chief_reports(monkeypatch, tmp_path):
    monkeypatch.setattr(report.train, "train_and_evaluate", lambda *arguments: None)
    monkeypatch.setattr(report, "write_report", None)
    assert report.train_and_report(tiny(), tmp_path) is None


def test_the_command_repeats_the_flags_of_the_training(monkeypatch, command_line, tmp_path):
    commands = []
    monkeypatch.setattr(report, "write_report", lambda *arguments: commands.append(arguments[-1]))
    given = [f"--workdir={tmp_path / 'a b'}", "--config.image_size=(8, 8)", "--config.model.filters=5"]
    command_line("--mode=report", "--seed=3", *given)
    program, module, name, config, *arguments = shlex.split(commands[0])
    assert (program, module, name) == ("python", "-m", "train.main")
    assert config.startswith("--config=") and config.endswith("configs/digits.py")
    assert sorted(arguments) == sorted(given)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
