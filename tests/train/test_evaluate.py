"""The evaluation of a run's model, and the recalibration of its moments."""

import json
import shutil

import keras
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


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
