"""The evaluation of a run's model, and the recalibration of its moments."""

import json
import shutil

import keras
import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds

import tfp_realnvp as rnvp
from tests.train.tiny_runs import OFFICIAL, contents, facts, official, tiny
from train import data, draw, evaluate


def test_evaluation_covers_every_example(run, tmp_path, eagerly):
    for name in ("model.keras", "config.json"):
        shutil.copy(run.workdir / name, tmp_path)
    config = tiny(test_split="test[:33]", evaluation=dict(batch_size=16), batch_size=16)
    result = evaluate.evaluate_model(config, tmp_path)
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
        evaluate.evaluate_model(tiny(evaluation=dict(num_draws=num_draws, batch_size=50)), tmp_path)["bits_per_dim"]
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
    result = evaluate.evaluate_model(config, tmp_path)
    assert abs(result["bits_per_dim"] - result["batch_moments"]["bits_per_dim"]) > 0.05
    assert "differ by" in caplog.text and "more than 0.05" in caplog.text and "--mode=recalibrate" in caplog.text
    caplog.clear()
    path = evaluate.recalibrate_model(config, tmp_path)
    assert path.name == "model_recalibrated.keras" and contents(tmp_path)[tmp_path / "model.keras"] == before
    result = evaluate.evaluate_model(config, tmp_path, model_file=path.name)
    np.testing.assert_allclose(result["bits_per_dim"], result["batch_moments"]["bits_per_dim"], rtol=1e-4)
    assert result["model"] == path.name and not caplog.text
    draw.draw_samples(config, tmp_path, model_file=path.name)
    assert (tmp_path / "samples/samples.png").exists()


def test_an_official_checkpoint_is_evaluated_as_it_is(tmp_path, eagerly):
    with tfds.testing.mock_data(num_examples=6):
        result = evaluate.evaluate_model(official(), tmp_path)
        images = np.stack([image[8:24, 8:24] for image in data.load(official(), "test").dataset.as_numpy_iterator()])
    model = rnvp.RealNVP.from_official_checkpoint(OFFICIAL, seed=0)
    np.testing.assert_allclose(result["loss"], -model.predict(images, verbose=0).mean(), rtol=1e-4)
    assert facts(result) == dict(split="test", num_examples=6, step=0, num_draws=1, model=str(OFFICIAL))


@pytest.fixture
def continuous():
    """The config of a continuous flow over five points, and the flow."""
    config = tiny(dataset="moons", architecture="FFJORD", adapt=True, test_split="test[:5]")
    config.model = ml_collections.ConfigDict({"hidden_units": (3,)})
    model = rnvp.FFJORD((2,), hidden_units=(3,), seed=0)
    model.set_weights([value + 0.1 for value in model.get_weights()])
    return config, model


def test_a_continuous_flow_is_evaluated_at_two_tolerances(continuous, tmp_path, caplog, eagerly):
    config, model = continuous
    model.save(tmp_path / "model.keras")
    result = evaluate.evaluate_model(config, tmp_path)
    larger = result["larger_tolerance"]
    assert (result["tolerance"], larger["tolerance"]) == (1e-5, 1e-3)
    points = np.stack(list(data.load(config, config.test_split).dataset.as_numpy_iterator()))
    for measured, tolerance in ((result, 1e-5), (larger, 1e-3)):
        flow = rnvp.FFJORD((2,), hidden_units=(3,), seed=0, evaluation_tolerance=tolerance)
        flow.set_weights(model.get_weights())
        np.testing.assert_allclose(measured["loss"], -flow.log_likelihood(points).numpy().mean(), rtol=1e-6)
        np.testing.assert_allclose(measured["bits_per_dim"], measured["loss"] / (2 * np.log(2)))
    assert 0 < abs(larger["loss"] - result["loss"]) < 0.01 and not caplog.text
    text = f"{result['bits_per_dim']:.4f} bits/dim ({larger['bits_per_dim']:.4f} at tolerance 0.001)"
    assert evaluate.bits_per_dim_text(result) == text


def test_figures_that_depend_on_the_tolerance_are_warned_of(continuous, tmp_path, caplog, eagerly, monkeypatch):
    config, model = continuous
    model.set_weights([value + 1.0 for value in model.get_weights()])
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(evaluate, "LARGER_TOLERANCE", 100.0)
    result = evaluate.evaluate_model(config, tmp_path)
    difference = result["larger_tolerance"]["bits_per_dim"] - result["bits_per_dim"]
    assert abs(difference) > 0.01
    assert "bits/dim at the tolerances 1e-05" in caplog.text and f"differ by {difference:.4f}" in caplog.text


def test_other_flows_have_no_tolerance(run):
    assert "tolerance" not in run.result and "larger_tolerance" not in run.result
    assert evaluate.bits_per_dim_text(run.result) == f"{run.result['bits_per_dim']:.4f} bits/dim"


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
