"""The command line, end to end: training, evaluation and errors in new processes, the other modes in this one."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfp_realnvp as rnvp
from train import evaluate, train

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
MODES = (
    "train|evaluate|recalibrate|sample|figures|report|compare|score|anomalies|complete|compress|decompress|probe|doctor"
)
TINY = [
    "--config.epochs=1",
    "--config.steps_per_epoch=2",
    "--config.batch_size=4",
    "--config.validation_split=",
    "--config.test_split=test[:30]",
    "--config.model.num_scales=1",
    "--config.model.filters=2",
    "--config.model.num_blocks=1",
    "--config.optimizer=Muon",
]


def start(*arguments):
    command = [sys.executable, "-m", "train.main", *map(str, arguments)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def run(*arguments):
    return finish(start(*arguments))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that is trained, then evaluated, and a run that fails late. At most two processes run at a time."""
    folder = tmp_path_factory.mktemp("runs")
    workdir = f"--workdir={folder / 'digits'}"
    done, training = {}, start(*TINY, workdir)
    done["untrained"] = run("--mode=evaluate", f"--workdir={folder / 'empty'}")
    done["train"] = finish(training)
    done["evaluate"] = run(
        "--mode=evaluate", "--config.test_split=test[:7]", "--config.evaluation.num_draws=3", workdir
    )
    return folder, done


def test_training_leaves_a_model_a_result_and_pictures(runs):
    folder, done = runs
    code, out, err = done["train"]
    assert code == 0, err
    assert "bits/dim over 30 examples" in out
    files = {str(path.relative_to(folder / "digits")) for path in (folder / "digits").rglob("*") if path.is_file()}
    assert {
        "config.json",
        "metrics.jsonl",
        "model.keras",
        "result.json",
        "checkpoints/step_0000000002.keras",
        "samples/epoch_0001.png",
        "samples/final.png",
        "report.html",
    } <= files
    assert json.loads((folder / "digits/config.json").read_text())["model"]["filters"] == 2
    (line,) = (folder / "digits/metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == 2


def test_evaluating_writes_and_prints_the_result(runs):
    folder, done = runs
    code, out, err = done["evaluate"]
    assert code == 0, err
    result = json.loads((folder / "digits/result.json").read_text())
    assert json.loads(out[out.index("{") :]) == result
    facts = dict(split="test[:7]", num_examples=7, step=2, num_draws=3, seed=0, model="model.keras")
    assert {name: result[name] for name in facts} == facts
    assert result["config"]["dataset"] == "digits" and "tensorflow" in result["versions"]
    assert 0 < result["bits_per_dim"] < 20


# The other modes of the same run, in this process: it has already imported TensorFlow.


def test_sampling_writes_an_array_and_a_picture(runs, command_line, capsys, eagerly):
    folder, _ = runs
    command_line("--mode=sample", "--num_samples=5", "--temperature=0.8", "--seed=3", f"--workdir={folder / 'digits'}")
    out = capsys.readouterr().out
    samples = np.load(folder / "digits/samples/samples.npy")
    assert (samples.shape, samples.dtype) == ((5, 8, 8, 1), np.uint8)
    assert samples.max() < 17
    with Image.open(folder / "digits/samples/samples.png") as picture:
        pixels = np.asarray(picture)
    zoom = pixels.shape[1] // (3 * 9 - 1)  # a grid of 3 by 2
    first = pixels[: 8 * zoom : zoom, : 8 * zoom : zoom, 0]
    np.testing.assert_array_equal(first, np.round(samples[0, ..., 0] * (255 / 16)))
    assert "samples.npy" in out and "samples.png" in out


def test_recalibrating_writes_another_model(runs, command_line, capsys, eagerly):
    folder, _ = runs
    command_line("--mode=recalibrate", "--config.train_split=train[:50]", f"--workdir={folder / 'digits'}")
    out = capsys.readouterr().out
    assert "model_recalibrated.keras; --mode=evaluate --model=model_recalibrated.keras evaluates it" in out
    assert (folder / "digits/model_recalibrated.keras").exists()


def test_figures_are_written_and_named(runs, command_line, capsys, eagerly):
    folder, _ = runs
    command_line("--mode=figures", f"--workdir={folder / 'digits'}")
    out = capsys.readouterr().out
    names = {path.name for path in (folder / "digits/figures").iterdir()}
    assert {"samples.png", "manifold.png", "hierarchy.png", "samples_10x.png", "nearest.png"} <= names
    assert all(name in out for name in names)


def test_an_interrupted_mode_ends_in_one_line(command_line, capsys, monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate_model", interrupt)
    with pytest.raises(SystemExit) as stopped:
        command_line("--mode=evaluate", f"--workdir={tmp_path}")
    assert stopped.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["--mode=evaluate", "--config.test_split=test[:7]"], "result.json"),
        (["--mode=sample", "--num_samples=64"], "samples/samples.png"),
        (["--mode=figures"], "figures/samples.png"),
        (["--mode=recalibrate", "--config.train_split=train[:9]"], "model_recalibrated.keras"),
        (["--mode=score", "--data_dir={data}"], "scores.jsonl"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_file_that_does_not_fit_on_the_disk_is_named(
    arguments, file, runs, command_line, small_disk, tmp_path, eagerly
):
    workdir, data = tmp_path / "run", tmp_path / "pictures"
    data.mkdir()
    workdir.mkdir()
    shutil.copy(runs[0] / "digits/model.keras", workdir)
    for number in range(9):
        Image.new("L", (8, 8), number).save(data / f"{number}.png")
    with pytest.raises(SystemExit) as stopped, small_disk(200):
        command_line(*(argument.format(data=data) for argument in arguments), f"--workdir={workdir}")
    assert str(stopped.value).startswith("error: ") and "File too large" in str(stopped.value)
    assert f"{workdir}/{file}" in str(stopped.value) and "\n" not in str(stopped.value)


@pytest.mark.parametrize(("number", "set_to"), [(0, []), (3, [3])])
def test_threads_of_operations_are_set_before_the_training(number, set_to, command_line, monkeypatch, tmp_path):
    numbers = []
    monkeypatch.setattr(train, "train_and_evaluate", lambda *_: None)
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", numbers.append)
    command_line(f"--workdir={tmp_path}", f"--config.threads_per_operation={number}")
    assert numbers == set_to


def test_threads_of_operations_that_have_begun_are_refused(command_line, tmp_path):
    tf.zeros([])
    with pytest.raises(SystemExit, match="threads_per_operation must be 0 .* has used TensorFlow; got 2"):
        command_line(f"--workdir={tmp_path}", "--config.threads_per_operation=2")


def test_events_that_do_not_fit_on_the_disk_are_named(command_line, small_disk, tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(train, "write_json", lambda path, value: None)  # of the config: it would be the first
    with pytest.raises(SystemExit, match=f"error: {tmp_path}/tensorboard.*events.*; File too large$"), small_disk(10):
        command_line(*TINY, f"--workdir={tmp_path}")


def test_a_damaged_config_is_named_before_the_work(runs, command_line, monkeypatch, tmp_path):
    shutil.copy(runs[0] / "digits/model.keras", tmp_path)
    (tmp_path / "config.json").write_text("{")
    monkeypatch.setattr(rnvp.evaluation, "log_likelihood", None)
    for mode in ("train", "evaluate"):
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints/step_1.keras").touch()
        with pytest.raises(SystemExit, match=f"error: {tmp_path}/config.json is damaged"):
            command_line(f"--mode={mode}", f"--workdir={tmp_path}")


def test_evaluating_without_a_model_names_what_is_missing(runs):
    folder, done = runs
    code, _, err = done["untrained"]
    assert code == 1 and "Traceback" not in err
    assert err.splitlines()[-1] == (
        f"error: workdir must hold a trained model; there is no {folder / 'empty' / 'model.keras'}. "
        "Train one with --mode=train"
    )
    assert not (folder / "empty").exists()


def test_help_says_what_there_is():
    code, out, _ = run("--help")
    assert code in (0, 1)  # absl's exit code has changed over its versions
    for word in (
        "--config",
        "--workdir",
        "--mode",
        "--data_dir",
        "--strategy",
        "--num_samples",
        "--model",
    ):
        assert word in out
    assert f"--mode:<{MODES}>" in "".join(out.split())  # absl breaks the lines.
    assert "train/configs/cifar10.py" in out and "--config.batch_size" in out
    assert "--config: Config file, one of train/configs/*.py or your own like them." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--mode=foo"],
            f"--mode=foo: value should be one of <{MODES}>",
        ),
        (["--strategy=foo"], "--strategy=foo: value should be one of <auto|none|mirrored|multi_worker|tpu>"),
        (["--num_samples=0"], "--num_samples=0"),
        (["--temperature=-1"], "--temperature=-1"),
        (["--nope=1"], "Unknown command line flag 'nope'"),
        (["--config.nope=1"], "error: --config has no field 'nope'"),
        (["--config.model.bocks=1"], "error: --config has no field 'bocks'"),
        (["--config=train/configs/moons.py", "--config.batch_sizes=1"], 'Did you mean "batch_size"'),
        (["--config.batch_size=many"], "--config.batch_size=many"),
        (["--config=no/such/file.py"], "error: --config: [Errno 2] No such file or directory: 'no/such/file.py'"),
        (
            ["--config=cifar"],
            "of train/configs: breast_cancer.py, breast_cancer_ffjord.py, celeb_a.py, checkerboard.py, ",
        ),
    ],
    ids=str,
)
def test_wrong_flags_are_named_before_any_work_is_done(arguments, message, tmp_path):
    code, out, err = run(*arguments, f"--workdir={tmp_path / 'run'}")
    assert code == 1 and message in out + err
    assert "Traceback" not in err and "TensorFlow" not in err and len(err.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_arguments_that_are_no_flags_are_named_after_the_usage():
    code, _, err = run("evaluate")
    assert code == 1
    assert err.splitlines()[-1] == "unexpected arguments ['evaluate']; every setting is a flag, such as --mode=evaluate"


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
