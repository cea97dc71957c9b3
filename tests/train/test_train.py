"""Runs end to end with small flows: their files, their resuming, and their errors."""

import contextlib
import dataclasses
import json
import shutil

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import tfp_realnvp as rnvp
from tests.train.files import arrays_of
from tests.train.tiny_runs import (
    OFFICIAL,
    Plain,
    assert_same,
    contents,
    facts,
    last,
    metrics,
    official,
    run_to_the_end,
    tiny,
)
from train import data, draw, evaluate, train
from train.runs import checkpoints

pytestmark = pytest.mark.long

# The files of a run.


def test_a_run_leaves_its_config(run):
    workdir = run.workdir
    assert json.loads((workdir / "config.json").read_text()) == json.loads(tiny().to_json_best_effort())


def test_a_run_leaves_a_line_of_metrics_an_epoch(run):
    workdir = run.workdir
    lines = metrics(workdir)
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 2), (2, 4)]
    for line in lines:
        assert {*line} == {
            "epoch",
            "step",
            "learning_rate",
            "loss",
            "bits_per_dim",
            "val_loss",
            "val_bits_per_dim",
            "skipped",
        }
        assert np.isfinite(list(line.values())).all()
    np.testing.assert_allclose([line["learning_rate"] for line in lines], [0.005, 0.0], atol=1e-8)  # half a cosine


def test_a_run_leaves_events_for_tensorboard(run):
    workdir = run.workdir
    tags = set()
    for name in ("train", "validation", "samples"):
        (path,) = (workdir / "tensorboard" / name).glob("events.out.tfevents.*")
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags.update(f"{name}/{value.tag}" for value in event.summary.value)
    assert {"train/epoch_bits_per_dim", "validation/epoch_bits_per_dim", "samples/samples"} <= tags


def test_a_run_leaves_pictures_of_samples(run):
    workdir = run.workdir
    pictures = sorted((workdir / "samples").glob("*.png"))
    assert [path.name for path in pictures] == ["epoch_0001.png", "epoch_0002.png", "final.png"]
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert picture.mode == "RGB" and picture.width >= 512


def test_the_result_is_that_of_the_best_epoch(run):
    workdir, result = run.workdir, run.result
    best = min(metrics(workdir), key=lambda line: line["val_bits_per_dim"])
    assert json.loads((workdir / "result.json").read_text()) == result
    assert facts(result) == dict(
        split="test[:50]", num_examples=50, step=best["step"], num_draws=1, model="model.keras"
    )
    assert result["config"] == json.loads(tiny().to_json_best_effort()) and result["seed"] == 0
    assert result["versions"]["keras"] == keras.__version__ and result["versions"]["tensorflow"] == tf.__version__
    for measured in (result, result["batch_moments"]):
        np.testing.assert_allclose(measured["bits_per_dim"], measured["loss"] / (64 * np.log(2)))
        assert 0 < measured["standard_error"] < measured["bits_per_dim"]
    assert result["batch_moments"]["bits_per_dim"] != result["bits_per_dim"]


def test_the_model_is_the_best_checkpoint_and_can_be_loaded(run, eagerly):
    assert_same(arrays_of(run.workdir / "model.keras"), arrays_of(run.workdir / "checkpoints/best.keras"))
    model = keras.saving.load_model(run.workdir / "model.keras")
    assert int(model.optimizer.iterations) == run.result["step"]
    assert model.sample(3, seed=0).shape == (3, 8, 8, 1)


def test_without_validation_the_last_epoch_counts(tmp_path, eagerly):
    config = tiny(dataset="moons", validation_split="", test_split="test[:5]", shift=0.0, epochs=1)
    result = train.train_and_evaluate(config, tmp_path)
    assert (result["num_examples"], result["step"]) == (5, 2)
    assert_same(arrays_of(tmp_path / "model.keras"), arrays_of(last(tmp_path)))
    assert ["val_loss" in line for line in metrics(tmp_path)] == [False]
    assert (tmp_path / "samples/final.png").exists()


@pytest.mark.dtype("mixed_bfloat16")
def test_a_model_in_bfloat16_is_left_in_float32(tmp_path, eagerly):
    config = tiny(epochs=1, validation_split="", test_split="test[:5]")
    config.model.dtype = "mixed_bfloat16"
    train.train_and_evaluate(config, tmp_path)
    latest, final = map(keras.saving.load_model, (last(tmp_path), tmp_path / "model.keras"))
    assert (latest.dtype_policy.name, final.dtype_policy.name) == ("mixed_bfloat16", "float32")
    assert int(final.optimizer.iterations) == 2
    images = np.stack(list(data.load(tiny(), "test[:20]").dataset.as_numpy_iterator()))
    np.testing.assert_array_equal(final.decode(final.encode(images)), images)


# Repeated runs.


def assert_resumes(run, config, folder):
    """A copy of the crashed run, repeated, ends with the same metrics and weights."""
    crashed = shutil.copytree(run.crashed, folder / "again")
    assert len(metrics(crashed)) == 2 and not (crashed / "model.keras").exists()
    assert (
        arrays_of(last(crashed))["optimizer/vars/0"] == 3
    )  # The number of steps: it crashed in the middle of an epoch.
    assert train.train_and_evaluate(config, crashed) == run.result
    assert metrics(crashed) == metrics(run.workdir)
    for name in ("checkpoints/step_0000000004.keras", "checkpoints/best.keras", "model.keras"):
        assert_same(arrays_of(crashed / name), arrays_of(run.workdir / name))


def test_an_interrupted_run_resumes_and_ends_with_the_same_metrics_and_weights(run, tmp_path):
    assert_resumes(run, tiny(), tmp_path)


def test_a_run_with_a_cut_file_of_metrics_goes_on_to_the_same_end(run, tmp_path, caplog, eagerly):
    crashed = shutil.copytree(run.crashed, tmp_path / "again")
    path = crashed / "metrics.jsonl"
    first, _ = path.read_text().splitlines()
    path.write_text(first[:-5])
    best = checkpoints.best_so_far(crashed / train.BEST)  # of the first epoch, where the run crashed
    assert best == json.loads(first)["val_bits_per_dim"]
    again = train.train_and_evaluate(tiny(), crashed)
    np.testing.assert_allclose(again["bits_per_dim"], run.result["bits_per_dim"], rtol=1e-3)
    assert facts(again) == facts(run.result)
    assert [line["epoch"] for line in metrics(crashed)] == [2]
    assert f"a line of {path} is cut or damaged, and left out" in caplog.text


def test_averaged_weights_are_evaluated_and_kept_and_training_goes_on_from_the_others(tmp_path, eagerly):
    config = tiny(dataset="breast_cancer", architecture="VectorRealNVP", adapt=True, ema_momentum=0.7)
    config.update(shift=0.0, learning_rate=0.1)
    config.evaluation.batch_size = 200
    config.model = ml_collections.ConfigDict({"num_couplings": 3, "hidden_units": (4,), "norm": "batch"})
    run = run_to_the_end(config, tmp_path)
    best, latest = (
        keras.saving.load_model(run.crashed / f"checkpoints/{name}.keras") for name in ("best", "step_0000000002")
    )
    averages = latest.optimizer.variables[1 : 1 + len(latest.trainable_variables)]  # after the number of steps
    for kept, average in zip(best.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(kept, average, rtol=1e-5, atol=1e-6)
    assert any(np.abs(w - a).max() > 1e-3 for w, a in zip(latest.trainable_variables, averages, strict=True))
    validation = data.evaluation_batches(data.load(config, config.validation_split), config.evaluation.batch_size)
    nats = best.evaluate(validation, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(metrics(run.crashed)[0]["val_loss"], nats, rtol=1e-5)
    assert_resumes(run, config, tmp_path)
    assert_same(arrays_of(run.workdir / "model.keras"), arrays_of(run.workdir / "checkpoints/best.keras"))
    before, after = (
        keras.saving.load_model(path)
        for path in (run.workdir / "model.keras", evaluate.recalibrate_model(config, run.workdir))
    )
    for weight, expected in zip(after.trainable_variables, before.trainable_variables, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_a_progressive_run_resumes_in_a_phase_and_between_two(tmp_path, eagerly):
    config = tiny(architecture="MRCNF", adapt=True, progressive=True, test_split="test[:5]")
    config.update(validation_split="validation[:5]", learning_rate=0.05)
    config.model = ml_collections.ConfigDict({"num_scales": 2, "num_blocks": 2, "filters": 2, "solver": "rk4"})
    config.model.update(num_steps=1, evaluation_tolerance=0.1)
    run = run_to_the_end(config, tmp_path)
    between = dataclasses.replace(run, crashed=shutil.copytree(run.crashed, tmp_path / "between"))
    last(between.crashed).unlink()  # The checkpoint that is left is the last one of the first phase.
    assert_resumes(run, config, tmp_path)
    assert train.train_and_evaluate(config, between.crashed) == run.result
    assert metrics(between.crashed) == metrics(run.workdir)
    assert_same(arrays_of(last(between.crashed)), arrays_of(last(run.workdir)))
    first, final = (
        [[layer.get_weights() for layer in layers] for layers in keras.saving.load_model(path).networks_by_scale()]
        for path in (run.workdir / "checkpoints/step_0000000002.keras", last(run.workdir))
    )
    for scale, is_trained in ((0, True), (1, False)):  # The finest first; only the finer one changes in the second.
        pairs = zip(sum(first[scale], []), sum(final[scale], []), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs) != is_trained
    model, latest = (keras.saving.load_model(path) for path in (run.workdir / "model.keras", last(run.workdir)))
    assert len(model.trainable_weights) == 2 * len(latest.trainable_weights)


def test_steps_that_are_not_finite_end_the_run_with_the_last_good_checkpoint(tmp_path, eagerly):
    message = (
        "loss or its gradient is not finite at 3 steps in a row, the last of them step 4.*Try a smaller learning_rate"
    )
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(tiny(learning_rate=1e30, steps_per_epoch=5, max_skipped=3), tmp_path)
    assert not any((tmp_path / "checkpoints").iterdir())  # The first step was not skipped, and left weights of 1e30.


@pytest.mark.parametrize(("validation", "rate"), [("validation", 1e30), ("", 1e4)])
def test_a_run_that_explodes_at_its_end_leaves_the_good_checkpoints(
    validation, rate, tmp_path, monkeypatch, caplog, eagerly
):
    config = tiny(dataset="breast_cancer", architecture="VectorRealNVP", adapt=True, validation_split=validation)
    config.update(shift=0.0, test_split="test")
    config.model = ml_collections.ConfigDict({"num_couplings": 2, "hidden_units": (4,)})
    monkeypatch.setattr(rnvp.optimizers.WarmUp, "__call__", lambda self, step: tf.where(step < 3, 0.01, rate))
    result = train.train_and_evaluate(config, tmp_path)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best.keras", *(f"step_000000000{step}.keras" for step in (1, 2, 3))}
    assert "step 4 is not saved: its loss is not finite, or has exploded. Try a smaller" in caplog.text
    assert np.isfinite(result["bits_per_dim"]) and result["step"] == (2 if validation else 3)
    assert int(keras.saving.load_model(tmp_path / train.BEST).optimizer.iterations) == 2


def test_a_run_without_a_good_step_says_so(tmp_path, eagerly):
    with pytest.raises(ValueError, match="the run leaves no checkpoint: its loss is not finite.*Try a smaller"):
        train.train_and_evaluate(tiny(learning_rate=1e30, epochs=1), tmp_path)
    assert not any((tmp_path / "checkpoints").iterdir())


def test_a_finished_run_given_again_is_only_evaluated(run, tmp_path, monkeypatch, eagerly):
    workdir = shutil.copytree(run.workdir, tmp_path / "copy")
    before = contents(workdir)
    monkeypatch.setattr(rnvp.RealNVP, "fit", None)
    monkeypatch.setattr(rnvp.RealNVP, "initialize", None)
    again = train.train_and_evaluate(tiny(), workdir)
    np.testing.assert_allclose(again["bits_per_dim"], run.result["bits_per_dim"], rtol=1e-5)
    assert facts(again) == facts(run.result)
    for name in ("metrics.jsonl", last(workdir).relative_to(workdir), "checkpoints/best.keras"):
        assert contents(workdir)[workdir / name] == before[workdir / name]


def test_the_workdir_of_another_config_is_refused_and_left_alone(run):
    workdir = run.workdir
    before = contents(workdir)
    other = tiny(batch_size=16)
    other.model.filters = 8
    with pytest.raises(ValueError) as caught:
        train.train_and_evaluate(other, workdir)
    message = str(caught.value)
    assert str(workdir) in message and "batch_size = 8 there, 16 here" in message and "--workdir" in message
    assert "; model.filters = 4 there, 8 here" in message and "epochs" not in message and "{" not in message
    assert contents(workdir) == before


def test_the_config_is_checked_again_in_the_locked_workdir(tmp_path, monkeypatch, eagerly):
    lock = train.only_run_in

    @contextlib.contextmanager
    def after_another_run(folder):
        with lock(folder):
            (folder / "config.json").write_text(tiny(batch_size=16).to_json_best_effort())
            yield

    monkeypatch.setattr(train, "only_run_in", after_another_run)
    with pytest.raises(ValueError, match="another config .*batch_size = 16 there, 8 here"):
        train.train_and_evaluate(tiny(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"lock", "config.json"}
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 16


def test_a_resumed_run_of_another_length_is_another_config(run):
    workdir = run.workdir  # The learning rate depends on the number of epochs.
    with pytest.raises(ValueError, match="epochs = 2 there, 3 here"):
        train.train_and_evaluate(tiny(epochs=3), workdir)


# Other flows: their initialization and their contexts.


@pytest.mark.parametrize("adapt", [False, True])
def test_a_new_flow_is_adapted_and_initialized_before_training(plain, adapt, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def compile(self, optimizer, steps_per_execution):
        raise Stop

    called = {}
    monkeypatch.setattr(Plain, "adapt", lambda self, batches: called.update(adapt=batches))
    monkeypatch.setattr(Plain, "initialize", lambda self, batch: called.update(initialize=batch))
    monkeypatch.setattr(Plain, "needs_initialization", True)
    monkeypatch.setattr(Plain, "compile", compile)
    plain.adapt = adapt
    with pytest.raises(Stop):
        train.train_and_evaluate(plain, tmp_path)
    assert [*called] == ["adapt"] * adapt + ["initialize"]
    examples = data.load(plain, "train")
    first = next(iter(data.training_batches(examples, 8, seed=0, shift=0.5)))
    np.testing.assert_array_equal(called["initialize"], first)
    if adapt:
        assert sum(len(batch) for batch in called["adapt"]) == examples.size


@pytest.mark.parametrize(("most", "size"), [(1397, 1397), (1396, 1392), (3, 8)])
def test_a_part_of_many_images_is_enough_for_a_standardization(most, size, monkeypatch):
    monkeypatch.setattr(train, "MOST_IMAGES", most)
    examples = data.load(tiny(), "train")
    batches = data.training_batches(examples, 8, seed=0)
    adapted = train.adaptation_batches(tiny(), examples, batches)
    assert sum(len(batch) for batch in adapted) == size


def test_all_vectors_count_for_a_standardization(monkeypatch):
    monkeypatch.setattr(train, "MOST_IMAGES", 3)
    config = tiny(dataset="moons")
    examples = data.load(config, "train")
    adapted = train.adaptation_batches(config, examples, data.training_batches(examples, 8, seed=0))
    assert sum(len(batch) for batch in adapted) == 20_000


def test_a_run_begins_with_an_official_checkpoint(tmp_path, monkeypatch, eagerly):
    initial, fit = [], train.fit

    def recorded(model, *args):
        initial.extend(model.get_weights())
        fit(model, *args)

    monkeypatch.setattr(train, "fit", recorded)
    with tfds.testing.mock_data(num_examples=6):
        result = train.train_and_evaluate(official(learning_rate=1e-9, final_learning_rate=1e-9), tmp_path)
    there = json.loads((tmp_path / "config.json").read_text())
    assert (there["model"]["num_scales"], there["model"]["filters"], there["model"]["num_blocks"]) == (3, 8, 2)
    assert there["init_from_official"] == str(OFFICIAL) and result["step"] == 1
    model = keras.saving.load_model(tmp_path / "model.keras")
    expected = rnvp.RealNVP.from_official_checkpoint(OFFICIAL, seed=0)
    for value, other in zip(initial, expected.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    for weight, value in zip(model.trainable_weights, expected.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)


def test_a_flow_of_classes_is_trained_and_measured_by_its_guesses(tmp_path, capsys, eagerly):
    config = tiny(conditional=True, epochs=1, validation_split="validation[:5]", test_split="test[:7]")
    config.update(steps_per_epoch=1)
    config.model.filters = 2
    result = train.train_and_evaluate(config, tmp_path)
    images, labels = next(data.evaluation_batches(data.load(config, "test[:7]"), 7).as_numpy_iterator())
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.num_classes == 10
    np.testing.assert_allclose(result["loss"], -model.predict(images, labels=labels, verbose=0).mean(), rtol=1e-5)
    assert result["accuracy"] == np.mean(model.classify(images) == labels)
    assert f"accuracy {result['accuracy']:.4f}" in capsys.readouterr().out
    with Image.open(tmp_path / "samples/classes.png") as picture:
        assert picture.size == (6 * 89, 6 * 89)  # 10 by 10 images, and the lines between them
    (tmp_path / "samples/classes.png").unlink()
    draw.draw_samples(config, tmp_path)
    assert {"samples.png", "classes.png", "final.png"} <= {path.name for path in (tmp_path / "samples").iterdir()}
    with pytest.raises(ValueError, match="conditional must be False for the figures.*; got True"):
        draw.draw_figures(config, tmp_path)
    with pytest.raises(ValueError, match=r"'num_classes': 10.*conditional=False has .*'num_classes': None"):
        evaluate.evaluate_model(tiny(), tmp_path)


def test_a_flow_of_a_context_is_trained(tmp_path, eagerly):
    config = tiny(dataset="gaussian_linear", conditional=True, epochs=1, validation_split="", test_split="test[:7]")
    config.update(architecture="VectorRealNVP", adapt=True, shift=0.0)
    config.evaluation.batch_size = 5000  # of 50,000 examples
    config.model = ml_collections.ConfigDict({"num_couplings": 2, "hidden_units": (4,)})
    result = train.train_and_evaluate(config, tmp_path)
    assert np.isfinite(result["loss"]) and "accuracy" not in result
    assert not (tmp_path / "samples").exists()
    model = keras.saving.load_model(tmp_path / "model.keras")
    theta, y = next(data.evaluation_batches(data.load(config, "train"), 50_000).as_numpy_iterator())
    np.testing.assert_allclose(model.networks[0].mean, theta.mean(0), atol=1e-5)
    theta, y = next(data.evaluation_batches(data.load(config, "test[:7]"), 7).as_numpy_iterator())
    np.testing.assert_allclose(result["loss"], -model.predict(theta, context=y, verbose=0).mean(), rtol=1e-5)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
