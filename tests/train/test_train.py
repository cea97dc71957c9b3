"""Runs end to end, on flows that are traced in seconds: what they leave, how they resume, what they refuse."""

import dataclasses
import importlib
import io
import json
import pathlib
import shutil
import zipfile

import h5py
import keras
import ml_collections
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import tfp_realnvp as rnvp
from tfp_realnvp import architectures
from train import callbacks, data, train
from train.configs import default

OFFICIAL = pathlib.Path(__file__).parents[1] / "data/official_small/model.ckpt"


def tiny(**fields):
    """A flow of one scale over the digits, two epochs of two steps, and splits that the batches do not divide."""
    config = default.get_config()
    config.update(dataset="digits", validation_split="validation[:30]", test_split="test[:50]", samples_every=1)
    config.update(epochs=2, steps_per_epoch=2, batch_size=8, shift=0.5)
    config.evaluation.batch_size = 20
    config.checkpoint.steps = 1
    config.update(learning_rate=0.01, final_learning_rate=0.0)
    config.model.update(num_scales=1, filters=4, num_blocks=1)
    config.update(fields)
    return config


@dataclasses.dataclass
class Run:
    workdir: pathlib.Path
    result: dict
    crashed: pathlib.Path


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("images_per_s") > 0  # the only one that differs from run to run
    return lines


def saved(path):
    """Every array in a .keras file, the optimizer's among them, by its place in the model."""
    arrays = {}
    keep = lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {})
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(keep)
    return arrays


def last(workdir):
    """The last checkpoint."""
    return max((workdir / "checkpoints").glob("step_*.keras"))


def facts(result):
    """What a result says of how it was got."""
    return {name: result[name] for name in ("split", "num_examples", "step", "num_draws", "model")}


def assert_same(arrays, others):
    assert len(arrays) > 50 and {*arrays} == {*others}
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def run_to_the_end(config, folder):
    """A finished run: its workdir (not to be changed), what it returned, and its workdir as a crash would leave it."""
    workdir, crashed = folder / "not" / "there", folder / "crashed"
    save_picture = callbacks.SamplePictures.on_epoch_end

    def crash(self, epoch, logs=None):
        if epoch == 1:  # the worst moment: the metrics of the second epoch are written, but not its checkpoint
            shutil.copytree(workdir, crashed)
        save_picture(self, epoch, logs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.SamplePictures, "on_epoch_end", crash)
        result = train.train_and_evaluate(config, workdir)
    return Run(workdir, result, crashed)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_to_the_end(tiny(), tmp_path_factory.mktemp("runs"))


# What a run leaves.


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
    assert_same(saved(run.workdir / "model.keras"), saved(run.workdir / "checkpoints/best.keras"))
    model = keras.saving.load_model(run.workdir / "model.keras")
    assert int(model.optimizer.iterations) == run.result["step"]
    assert model.sample(3, seed=0).shape == (3, 8, 8, 1)


# Given again.


def assert_resumes(run, config):
    """The crashed run, given again, ends with the same metrics and weights."""
    assert len(metrics(run.crashed)) == 2 and not (run.crashed / "model.keras").exists()
    assert saved(last(run.crashed))["optimizer/vars/0"] == 3  # steps, the last in the middle of an epoch
    assert train.train_and_evaluate(config, run.crashed) == run.result
    assert metrics(run.crashed) == metrics(run.workdir)
    for name in ("checkpoints/step_0000000004.keras", "checkpoints/best.keras", "model.keras"):
        assert_same(saved(run.crashed / name), saved(run.workdir / name))


def test_an_interrupted_run_resumes_and_ends_with_the_same_metrics_and_weights(run):
    assert_resumes(run, tiny())


def test_averaged_weights_are_evaluated_and_kept_and_training_goes_on_from_the_others(tmp_path, eagerly):
    config = tiny(dataset="breast_cancer", architecture="VectorRealNVP", adapt=True, ema_momentum=0.7)
    config.update(shift=0.0, learning_rate=0.1)
    config.model = ml_collections.ConfigDict({"num_couplings": 3, "hidden_units": (4,), "norm": "batch"})
    run = run_to_the_end(config, tmp_path)
    best, latest = (
        keras.saving.load_model(run.crashed / f"checkpoints/{name}.keras") for name in ("best", "step_0000000002")
    )
    averages = latest.optimizer.variables[1 : 1 + len(latest.trainable_variables)]  # behind the number of steps
    for kept, average in zip(best.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(kept, average, rtol=1e-5, atol=1e-6)
    assert any(np.abs(w - a).max() > 1e-3 for w, a in zip(latest.trainable_variables, averages, strict=True))
    validation = data.evaluation_batches(data.load(config, config.validation_split), 20)
    nats = best.evaluate(validation, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(metrics(run.crashed)[0]["val_loss"], nats, rtol=1e-5)
    assert_resumes(run, config)
    assert_same(saved(run.workdir / "model.keras"), saved(run.workdir / "checkpoints/best.keras"))
    before, after = (
        keras.saving.load_model(path) for path in (run.workdir / "model.keras", train.recalibrate(config, run.workdir))
    )
    for weight, expected in zip(after.trainable_variables, before.trainable_variables, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_steps_that_are_not_finite_end_the_run_with_the_last_good_checkpoint(tmp_path, eagerly):
    message = (
        "loss or its gradient is not finite at 3 steps in a row, the last of them step 4.*Try a smaller learning_rate"
    )
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(tiny(learning_rate=1e30, steps_per_epoch=5, max_skipped=3), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_0000000001.keras"]


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
    assert "'filters': 4" in message and "'filters': 8" in message and "epochs" not in message
    assert contents(workdir) == before


def test_epochs_without_a_number_are_never_the_best_so_far(tmp_path):
    assert train.best_so_far(tmp_path, "bits_per_dim", 3) == np.inf  # nor is the first of a new run
    lines = [json.dumps({"bits_per_dim": value}) for value in (np.nan, 4.0, 3.0)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert [train.best_so_far(tmp_path, "bits_per_dim", epoch) for epoch in (1, 2, 3)] == [np.inf, 4.0, 3.0]


# Evaluation and samples.


def test_evaluation_covers_every_example(run, tmp_path, eagerly):
    for name in ("model.keras", "config.json"):
        shutil.copy(run.workdir / name, tmp_path)
    config = tiny(test_split="test[:33]", evaluation=dict(batch_size=16), batch_size=16)
    result = train.evaluate(config, tmp_path)
    trained_with = json.loads((tmp_path / "config.json").read_text())
    assert result["config"] == {**trained_with, "test_split": "test[:33]", "evaluation": config.evaluation.to_dict()}
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert (result["num_examples"], result["split"]) == (33, "test[:33]")
    images = np.stack(list(data.load(tiny(), "test[:33]").dataset.as_numpy_iterator()))
    logs = keras.saving.load_model(tmp_path / "model.keras").evaluate(
        images, batch_size=33, return_dict=True, verbose=0
    )
    np.testing.assert_allclose(result["bits_per_dim"], logs["bits_per_dim"], rtol=1e-5)
    np.testing.assert_allclose(result["loss"], logs["loss"], rtol=1e-5)


def test_several_draws_are_recorded_and_tighten_the_bound(run, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    results = [
        train.evaluate(tiny(evaluation=dict(num_draws=num_draws, batch_size=50)), tmp_path)["bits_per_dim"]
        for num_draws in (1, 4)
    ]
    assert results[1] < results[0]
    assert json.loads((tmp_path / "result.json").read_text())["num_draws"] == 4


def test_moments_that_disagree_are_warned_of_and_recalibration_brings_them_together(run, tmp_path, caplog, eagerly):
    model = keras.saving.load_model(run.workdir / "model.keras")
    for weight in model.non_trainable_weights:
        weight.assign(weight + 1)
    model.save(tmp_path / "model.keras")
    before = contents(tmp_path)[tmp_path / "model.keras"]
    config = tiny(test_split="train[:60]", train_split="train[:60]", evaluation=dict(batch_size=60))
    result = train.evaluate(config, tmp_path)
    assert abs(result["bits_per_dim"] - result["batch_moments"]["bits_per_dim"]) > 0.05
    assert "differ by" in caplog.text and "more than 0.05" in caplog.text and "--mode=recalibrate" in caplog.text
    caplog.clear()
    path = train.recalibrate(config, tmp_path)
    assert path.name == "model_recalibrated.keras" and contents(tmp_path)[tmp_path / "model.keras"] == before
    result = train.evaluate(config, tmp_path, model_file=path.name)
    np.testing.assert_allclose(result["bits_per_dim"], result["batch_moments"]["bits_per_dim"], rtol=1e-4)
    assert result["model"] == path.name and not caplog.text
    assert train.sample(config, tmp_path, model_file=path.name) is None and (tmp_path / "samples/samples.png").exists()


def test_a_model_in_bfloat16_is_left_in_float32(tmp_path, eagerly):
    config = tiny(epochs=1, validation_split="", test_split="test[:5]")
    config.model.dtype = "mixed_bfloat16"
    train.train_and_evaluate(config, tmp_path)
    latest, final = map(keras.saving.load_model, (last(tmp_path), tmp_path / "model.keras"))
    assert (latest.dtype_policy.name, final.dtype_policy.name) == ("mixed_bfloat16", "float32")
    assert int(final.optimizer.iterations) == 2
    images = np.stack(list(data.load(tiny(), "test[:20]").dataset.as_numpy_iterator()))
    np.testing.assert_array_equal(final.decode(final.encode(images)), images)


def test_the_data_of_another_model_are_refused(run, tmp_path):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    config = tiny(dataset="moons", test_split="test[:5]")
    with pytest.raises(
        ValueError, match=r"\(8, 8, 1\), 'num_bins': 17.*; dataset 'moons' with .* \(2,\), 'num_bins': None"
    ):
        train.evaluate(config, tmp_path)
    message = r"'num_classes': None.*; dataset 'digits' with conditional=True has .*'num_classes': 10"
    with pytest.raises(ValueError, match=message):
        train.evaluate(tiny(conditional=True), tmp_path)


# Scores of a folder.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three digits in levels from 0 to 16, one of them below a folder; a text file; and four bad pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    digits = np.stack(list(data.load(tiny(), "test[:3]").dataset.as_numpy_iterator()))
    (folder / "b").mkdir()
    for name, digit in zip(("a.png", "b/c.png", "d.PNG"), digits, strict=True):
        Image.fromarray(digit[..., 0]).save(folder / name)
    Image.fromarray(digits[0, ..., 0] * 15).save(folder / "bright.png")
    Image.fromarray(digits[0, :4, :, 0]).save(folder / "small.png")
    (folder / "text.png").write_text("no picture")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:-30])
    (folder / "notes.txt").write_text("no picture either")
    return folder, digits


def scores(workdir):
    return [json.loads(line) for line in (workdir / "scores.jsonl").read_text().splitlines()]


def test_every_picture_of_a_folder_has_a_line(run, folder, tmp_path, capsys, caplog, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    assert train.score(tiny(evaluation=dict(batch_size=4)), tmp_path, str(folder[0])) == tmp_path / "scores.jsonl"
    lines = {line.pop("file"): line for line in scores(tmp_path)}
    assert [*lines] == ["a.png", "b/c.png", "bright.png", "d.PNG", "small.png", "text.png", "torn.png"]
    nats = keras.saving.load_model(tmp_path / "model.keras").predict(folder[1], verbose=0)
    for name, expected in zip(("a.png", "b/c.png", "d.PNG"), nats, strict=True):
        bits_per_dim = -expected / (64 * np.log(2))
        assert lines[name] == {
            "nats": pytest.approx(expected, rel=1e-5),
            "bits_per_dim": pytest.approx(bits_per_dim, rel=1e-5),
        }
    for name, message in {
        "bright.png": "the picture must have levels from 0 to 16; got 2",
        "small.png": "the picture must have shape (8, 8, 1); got (4, 8, 1)",
        "text.png": "the picture cannot be read: Unknown image file format",
        "torn.png": "the picture cannot be read: ",
    }.items():
        assert [*lines[name]] == ["error"] and lines[name]["error"].startswith(message)
    assert "3 pictures with" in capsys.readouterr().out and "4 pictures could not be scored" in caplog.text


def test_scores_may_be_over_several_draws_of_the_noise(run, folder, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    train.score(tiny(evaluation=dict(num_draws=3)), tmp_path, folder[0])
    nats = [line["nats"] for line in scores(tmp_path) if "nats" in line]
    model = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(nats, rnvp.evaluation.log_likelihood(model, folder[1], num_draws=3), rtol=1e-5)


def test_a_folder_without_a_picture_that_fits_leaves_the_older_scores(run, folder, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    (tmp_path / "scores.jsonl").write_text("older")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="data_dir must be the folder of the pictures; got 'no/such'"):
        train.score(tiny(), tmp_path, "no/such")
    with pytest.raises(ValueError, match="data_dir must hold pictures .*; there is none in '.*pictures'"):
        train.score(tiny(), tmp_path, tmp_path / "pictures")
    shutil.copy(folder[0] / "small.png", tmp_path / "pictures")
    with pytest.raises(ValueError, match="that fit the model; of small.png the picture must have shape"):
        train.score(tiny(), tmp_path, tmp_path / "pictures")
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "scores.jsonl", "pictures"}
    assert (tmp_path / "scores.jsonl").read_text() == "older"


def test_only_flows_of_images_alone_score_pictures(folder, tmp_path):
    small = dict(num_couplings=2, hidden_units=[2])
    for model in (
        rnvp.VectorRealNVP((2,), **small),
        rnvp.NICE((8, 8, 1), num_bins=17, num_classes=3, hidden_units=[2]),
    ):
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="model must be one of images without a context for mode=score"):
            train.score(tiny(), tmp_path, folder[0])
    with pytest.raises(ValueError, match="dataset must be folder for mode=score of init_from_official; got 'digits'"):
        train.score(tiny(init_from_official=str(OFFICIAL)), tmp_path, folder[0])


# Other flows, and what they are conditioned on.


@keras.saving.register_keras_serializable(package="tests")
class Plain(architectures.RealNVP):
    """A flow of other arguments, without a context, that learns from the data what to standardize."""

    def __init__(self, event_shape, width=2, num_bins="auto", seed=None, dtype=None, name="plain"):
        super().__init__(
            event_shape, num_scales=1, filters=width, num_blocks=1, num_bins=num_bins, seed=seed, dtype=dtype, name=name
        )

    def adapt(self, batches):
        raise NotImplementedError


@pytest.fixture
def plain(monkeypatch):
    """The config of a run of `Plain`."""
    monkeypatch.setattr(architectures, "Plain", Plain, raising=False)
    monkeypatch.setattr(architectures, "__all__", [*architectures.__all__, "Plain"])
    config = tiny(architecture="Plain")
    config.model = ml_collections.ConfigDict({"width": 3})
    return config


def test_the_architecture_is_the_configs(plain):
    model = train.new_model(plain, data.load(plain, "test"))
    assert isinstance(model, Plain) and (model.event_shape, model.num_bins, model.seed) == ((8, 8, 1), 17, 0)


def test_what_an_architecture_does_not_have_is_refused(plain, tmp_path):
    for fields, message in [
        ({"model": {"filters": 3}}, "no field 'filters'; there are .*'width'.* of architecture Plain"),
        ({"model": {"num_bins": 3}}, r"no field 'num_bins'; there are \['dtype', 'name', 'width'\]"),
        ({"conditional": True}, "architecture must be one that takes num_classes .* dataset=digits; got Plain"),
        ({"init_from_official": str(OFFICIAL)}, "architecture must be RealNVP for init_from_official; got Plain"),
    ]:
        config = plain.copy_and_resolve_references()
        with config.unlocked():
            config.update(fields)
        with pytest.raises(ValueError, match=message):
            train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


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


def test_a_flow_of_classes_is_trained_and_measured_by_its_guesses(tmp_path, capsys, eagerly):
    config = tiny(conditional=True, epochs=1, validation_split="validation[:5]", test_split="test[:7]")
    config.model.filters = 2
    result = train.train_and_evaluate(config, tmp_path)
    images, labels = next(data.evaluation_batches(data.load(config, "test[:7]"), 7).as_numpy_iterator())
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.num_classes == 10
    np.testing.assert_allclose(result["loss"], -model.predict(images, labels, verbose=0).mean(), rtol=1e-5)
    assert result["accuracy"] == np.mean(model.classify(images) == labels)
    assert f"accuracy {result['accuracy']:.4f}" in capsys.readouterr().out
    with Image.open(tmp_path / "samples/classes.png") as picture:
        assert picture.size == (6 * 89, 6 * 89)  # of 10 by 10 images and the lines between
    (tmp_path / "samples/classes.png").unlink()
    train.sample(config, tmp_path)
    assert {"samples.png", "classes.png", "final.png"} <= {path.name for path in (tmp_path / "samples").iterdir()}
    with pytest.raises(ValueError, match="conditional must be False for the figures.*; got True"):
        train.draw_figures(config, tmp_path)
    with pytest.raises(ValueError, match=r"'num_classes': 10.*conditional=False has .*'num_classes': None"):
        train.evaluate(tiny(), tmp_path)


def test_a_flow_of_a_context_is_trained(tmp_path, eagerly):
    config = tiny(dataset="gaussian_linear", conditional=True, epochs=1, validation_split="", test_split="test[:7]")
    config.update(architecture="VectorRealNVP", adapt=True, shift=0.0)
    config.model = ml_collections.ConfigDict({"num_couplings": 2, "hidden_units": (4,)})
    result = train.train_and_evaluate(config, tmp_path)
    assert np.isfinite(result["loss"]) and "accuracy" not in result
    assert not (tmp_path / "samples").exists()
    model = keras.saving.load_model(tmp_path / "model.keras")
    theta, y = next(data.evaluation_batches(data.load(config, "train"), 50_000).as_numpy_iterator())
    np.testing.assert_allclose(model.networks[0].mean, theta.mean(0), atol=1e-5)
    theta, y = next(data.evaluation_batches(data.load(config, "test[:7]"), 7).as_numpy_iterator())
    np.testing.assert_allclose(result["loss"], -model.predict(theta, y, verbose=0).mean(), rtol=1e-5)


def test_the_first_images_are_without_their_labels():
    plain, conditional = (data.load(tiny(conditional=conditional), "test") for conditional in (False, True))
    np.testing.assert_array_equal(train.first_images(conditional, 5), train.first_images(plain, 5))


# The authors' checkpoints.


def official(**fields):
    """A config over images of the checkpoint's size."""
    config = tiny(dataset="cifar10", validation_split="", test_split="test", crop=16, shift=0.0, epochs=1, **fields)
    config.update(init_from_official=str(OFFICIAL), steps_per_epoch=1)
    return config


@pytest.fixture(scope="module")
def official_model():
    return rnvp.RealNVP.from_official_checkpoint(OFFICIAL, seed=0)


def test_a_run_begins_with_an_official_checkpoint(official_model, tmp_path, eagerly):
    config = official(learning_rate=1e-9, final_learning_rate=1e-9)
    with tfds.testing.mock_data(num_examples=6):
        result = train.train_and_evaluate(config, tmp_path)
    there = json.loads((tmp_path / "config.json").read_text())
    assert (there["model"]["num_scales"], there["model"]["filters"], there["model"]["num_blocks"]) == (3, 8, 2)
    assert there["init_from_official"] == str(OFFICIAL) and result["step"] == 1
    model = keras.saving.load_model(tmp_path / "model.keras")
    for weight, value in zip(model.trainable_weights, official_model.trainable_weights, strict=True):
        np.testing.assert_allclose(weight, value, atol=1e-6)


def test_an_official_checkpoint_is_evaluated_as_it_is(official_model, tmp_path, eagerly):
    with tfds.testing.mock_data(num_examples=6):
        result = train.evaluate(official(), tmp_path)
        images = np.stack([image[8:24, 8:24] for image in data.load(official(), "test").dataset.as_numpy_iterator()])
    np.testing.assert_allclose(result["loss"], -official_model.predict(images, verbose=0).mean(), rtol=1e-4)
    assert facts(result) == dict(split="test", num_examples=6, step=0, num_draws=1, model=str(OFFICIAL))


# Figures.


def test_figures_are_drawn_from_a_run(run, tmp_path, monkeypatch):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    seen = {}
    monkeypatch.setattr(
        train.figures, "write", lambda *arguments: seen.update(enumerate(arguments)) or [tmp_path / "a.png"]
    )
    assert train.draw_figures(tiny(test_split="test[:50]", train_split="train[:300]"), tmp_path, seed=3) == [
        tmp_path / "a.png"
    ]
    model, training, test, folder, tensorboard, seed = seen.values()
    assert isinstance(model, rnvp.RealNVP) and training.shape == (300, 8, 8, 1) and test.shape == (50, 8, 8, 1)
    assert (folder, tensorboard, seed) == (tmp_path / "figures", tmp_path / "tensorboard/figures", 3)


@pytest.mark.parametrize("function", [train.evaluate, train.recalibrate, train.draw_figures, train.sample])
def test_a_workdir_without_a_model_is_named(tmp_path, function):
    with pytest.raises(ValueError, match="workdir must hold a trained model.*--mode=train") as caught:
        function(tiny(), tmp_path)
    assert str(tmp_path / "model.keras") in str(caught.value)
    assert not contents(tmp_path)


# Configs.


def test_without_validation_the_last_epoch_counts(tmp_path, eagerly):
    config = tiny(dataset="moons", validation_split="", test_split="test[:5]", shift=0.0, epochs=1)
    result = train.train_and_evaluate(config, tmp_path)
    assert (result["num_examples"], result["step"]) == (5, 2)
    assert_same(saved(tmp_path / "model.keras"), saved(last(tmp_path)))
    assert ["val_loss" in line for line in metrics(tmp_path)] == [False]
    assert (tmp_path / "samples/final.png").exists()


def test_a_resumed_run_of_another_length_is_another_config(run):
    workdir = run.workdir  # the schedule of the learning rate depends on the number of epochs
    with pytest.raises(ValueError, match="epochs = 2 there, 3 here"):
        train.train_and_evaluate(tiny(epochs=3), workdir)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    config = tiny(warmup_steps=10, epochs=11, learning_rate=0.5, final_learning_rate=0.1)
    schedule = train.optimizer(config, steps_per_epoch=10)._learning_rate
    rates = [float(schedule(step)) for step in (0, 5, 10, 60, 110, 1000)]
    np.testing.assert_allclose(rates, [0.0, 0.25, 0.5, 0.3, 0.1, 0.1], atol=1e-6)


@pytest.mark.parametrize("name", ["default", "digits", "cifar10_small"])
def test_the_schedule_is_kerass_cosine(name):
    config = importlib.import_module(f"train.configs.{name}").get_config()
    steps = 4 * config.epochs
    if config.warmup_steps:
        config.warmup_steps = 7
    there = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
        decay_steps=steps - config.warmup_steps,
        alpha=config.final_learning_rate / config.learning_rate,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    here = train.optimizer(config, steps_per_epoch=4)._learning_rate
    for step in range(steps + 2):
        assert float(here(step)) == float(there(step))


@pytest.mark.parametrize(
    ("fields", "rates"),
    [
        ({"decay_start": 0.05}, {0: 0.0, 5: 0.25, 10: 0.5, 55: 0.3, 100: 0.1}),
        ({"decay_start": 0.5}, {0: 0.0, 5: 0.25, 10: 0.5, 50: 0.5, 75: 0.3, 100: 0.1, 200: 0.1}),
        ({"decay": "linear"}, {5: 0.25, 10: 0.5, 55: 0.3, 100: 0.1}),
        ({"decay": "linear", "decay_start": 0.5}, {5: 0.25, 50: 0.5, 60: 0.42, 100: 0.1, 200: 0.1}),
        ({"decay": "exponential", "decay_rate": 0.5}, {5: 0.25, 10: 0.5, 19: 0.5, 20: 0.25, 39: 0.125}),
        ({"decay": "exponential", "decay_rate": 0.5, "decay_start": 0.5}, {40: 0.5, 59: 0.5, 60: 0.25, 70: 0.125}),
        ({"decay": "exponential"}, {5: 0.25, 10: 0.5, 100: 0.5}),
    ],
    ids=str,
)
def test_the_learning_rate_is_held_and_decays(fields, rates):
    config = tiny(warmup_steps=10, epochs=10, learning_rate=0.5, final_learning_rate=0.1, **fields)
    schedule = train.optimizer(config, steps_per_epoch=10)._learning_rate
    np.testing.assert_allclose([float(schedule(step)) for step in rates], [*rates.values()], atol=1e-6)


@pytest.mark.parametrize("decay", train.DECAYS)
def test_the_optimizer_is_saved_without_anything_of_the_program(decay):
    optimizer = train.optimizer(tiny(decay=decay, decay_rate=0.9, warmup_steps=1, beta_2=0.99), steps_per_epoch=2)
    there = keras.saving.serialize_keras_object(optimizer)
    modules = [part.split('"')[0] for part in json.dumps(there).split('"module": "')[1:]]
    assert len(modules) == 3 and not any(module.startswith("train") for module in modules)
    again = keras.saving.deserialize_keras_object(there)
    assert (type(again), again.beta_2) == (rnvp.optimizers.Adam, 0.99)
    for step in range(5):
        assert float(again._learning_rate(step)) == float(optimizer._learning_rate(step))


@pytest.mark.parametrize(("warmup_steps", "start"), [(-1, 0), (3, 2)])
def test_a_schedule_cannot_begin_within_its_warm_up(warmup_steps, start):
    with pytest.raises(ValueError, match=f"from 0 to start; got warmup_steps={warmup_steps} and start={start}"):
        rnvp.optimizers.WarmUp(keras.optimizers.schedules.CosineDecay(1.0, 10), warmup_steps, start)


def test_equal_learning_rates_stay_constant():
    schedule = train.optimizer(tiny(learning_rate=0.5, final_learning_rate=0.5), steps_per_epoch=10)._learning_rate
    assert [float(schedule(step)) for step in (0, 7, 20)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"evaluation": {"batch_size": -1}}, "evaluation.batch_size must be at least 1; got -1"),
        ({"evaluation": {"num_draws": 0}}, "evaluation.num_draws must be at least 1; got 0"),
        ({"init_from_official": "no/such"}, "prefix must be the path of a TensorFlow checkpoint.*no/such"),
        ({"init_from_official": str(OFFICIAL)}, r"bn_in/beta \(3,\) where the model has \(1,\)"),
        ({"samples_every": 0}, "samples_every must be at least 1; got 0"),
        ({"max_skipped": 0}, "max_skipped must be at least 1; got 0"),
        ({"checkpoint": {"keep": 0}}, "checkpoint.keep must be at least 1; got 0"),
        ({"checkpoint": {"steps": -1}}, "checkpoint.steps must not be negative; got -1"),
        ({"checkpoint": {"minutes": -0.5}}, "checkpoint.minutes must not be negative; got -0.5"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must not be negative; got -1"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative; got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive; got 0.0"),
        ({"final_learning_rate": -0.1}, "final_learning_rate must not be negative; got -0.1"),
        ({"decay_rate": 0.0}, "decay_rate must be positive; got 0.0"),
        ({"decay_start": 1.0}, r"decay_start must be in \[0, 1\); got 1.0"),
        ({"beta_2": 1.0}, r"beta_2 must be in \[0, 1\); got 1.0"),
        ({"ema_momentum": 1.0}, r"ema_momentum must be in \[0, 1\); got 1.0"),
        ({"decay": "nope"}, r"decay must be one of \['cosine', 'exponential', 'linear'\]; got 'nope'"),
        ({"architecture": "nope"}, r"architecture must be one of \[.*'RealNVP'.*\].* got 'nope'"),
        ({"adapt": True}, r"adapt must be False for architecture RealNVP, which has no adapt\(\); got True"),
        ({"dataset": "nope"}, "dataset must be digits, .* folder or .* got 'nope'"),
        ({"train_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        ({"validation_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        ({"test_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        (
            {"dataset": "moons", "validation_split": ""},
            "flip and shift must be off for vectors; got False and 0.5",
        ),
        ({"model": {"filters": 0}}, "filters must be a positive int; got 0"),
        ({"model": {"num_scales": 5}}, r"2\^\(num_scales - 1\) = 16; got \(8, 8, 1\)"),
    ],
    ids=str,
)
def test_wrong_values_are_named_and_nothing_is_written(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(tiny(**fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fields_that_no_config_has_are_named(tmp_path):
    config = tiny()
    config.bach_size = 3
    with pytest.raises(ValueError, match=r"config has no field 'bach_size'; there are \['adapt', .*'batch_size'"):
        train.train_and_evaluate(config, tmp_path)
    config = tiny()
    config.model.width = 3
    with pytest.raises(ValueError, match=r"config.model has no field 'width'; there are \['alpha'.*'filters'"):
        train.train_and_evaluate(config, tmp_path)


def test_fields_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match="config must have the field 'adapt'"):
        train.train_and_evaluate(ml_collections.ConfigDict({"dataset": "digits", "model": {}}), tmp_path)
    config = tiny()
    del config.evaluation.num_draws
    with pytest.raises(ValueError, match="config.evaluation must have the field 'num_draws'"):
        train.train_and_evaluate(config, tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
