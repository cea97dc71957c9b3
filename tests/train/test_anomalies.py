"""The comparison of a run's images with others, by the scores of a tiny flow."""

import json

import ml_collections
import numpy as np
import pytest
import sklearn.metrics
import tensorflow_datasets as tfds
from PIL import Image

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import anomalies, data

pytestmark = pytest.mark.usefixtures("module_eagerly")
OPTIONS = dict(hidden_units=[4], alpha=0.05)


@pytest.fixture
def config():
    config = tiny(architecture="NICE", test_split="test[:100]", evaluation=dict(batch_size=50))
    config.model = ml_collections.ConfigDict(OPTIONS)
    return config


@pytest.fixture
def workdir(tmp_path):
    rnvp.NICE((8, 8, 1), num_bins=17, seed=0, **OPTIONS).save(tmp_path / "model.keras")
    return tmp_path


def images_of(examples):
    return np.stack(list(examples.dataset.as_numpy_iterator()))


def test_every_score_is_compared_and_a_detector_is_left(config, workdir, capsys):
    names = ["noise", "constants", "flips", "digits"]
    result = anomalies.compare_anomalies(config, workdir, None, "model.keras", names, "train[:30]")
    digits = images_of(data.load(config, "test[:100]"))
    held_out, tested = digits[::2], digits[1::2]
    model = rnvp.load_model(workdir / "model.keras")
    bits = lambda images: -model.predict(images, verbose=0) / (64 * np.log(2))
    noise = anomalies.MADE["noise"](tested, 17, np.random.default_rng(0))
    others = {"noise": noise, "flips": tested[:, ::-1], "digits": images_of(data.load(config, "train[:30]"))}
    for name, images in others.items():
        is_other = np.repeat([0, 1], [50, len(images)])
        auroc = sklearn.metrics.roc_auc_score(is_other, np.concatenate([bits(tested), bits(images)]))
        assert result["auroc"]["likelihood"][name] == pytest.approx(auroc, abs=1e-3)
        assert result["mean"]["likelihood"][name] == pytest.approx(bits(images).mean(), rel=1e-4)
    names = ["likelihood", "typicality", "complexity", "statistics", "statistics without complexity"]
    assert [*result["auroc"]] == names
    assert result["num_held_out"] == 50 and result["num_examples"]["test"] == 50
    assert json.loads((workdir / "anomalies.json").read_text()) == result
    detector = rnvp.anomaly.Detector(model)
    detector.calibrate(held_out)
    saved = rnvp.anomaly.Detector.load(workdir / "detector.npz", model)
    np.testing.assert_allclose(saved.p_values(tested), detector.p_values(tested), atol=1 / 26 + 1e-9)
    false_alarms = np.mean(saved.p_values(tested) <= 0.01)
    assert result["false_alarms"]["statistics"] == false_alarms == 0  # 25 held-out images cannot give 1%.
    with Image.open(workdir / "figures/anomalies.png") as picture:
        assert picture.size == (1600, 600)
    assert f"statistics{result['auroc']['statistics']['noise']:34.3f}" in capsys.readouterr().out


def test_the_scores_of_a_flow_follow_from_its_scales_and_the_number_of_images():
    model = rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=1, filters=2, num_bins=17, seed=0)
    names = ["likelihood", "likelihood of scale 0", "likelihood of scale 1", "typicality", "typicality of 5"]
    names += ["complexity", "statistics", "statistics without complexity"]
    assert [*anomalies.scores_of(model, 200)] == names
    names.remove("typicality of 5")
    assert [*anomalies.scores_of(model, 199)] == names


def test_made_anomalies_are_of_the_model_levels():
    images = np.arange(2 * 4 * 4 * 3).reshape([2, 4, 4, 3]).astype("uint8") % 17
    made = {name: make(images, 17, np.random.default_rng(0)) for name, make in anomalies.MADE.items()}
    assert all(part.shape == images.shape and part.dtype == np.uint8 and part.max() < 17 for part in made.values())
    np.testing.assert_array_equal(made["constants"], np.broadcast_to(made["constants"][:, :1, :1], images.shape))
    assert len(np.unique(made["constants"][:, 0, 0])) > 1 and len(np.unique(made["noise"])) > 10
    np.testing.assert_array_equal(made["flips"][:, 0], images[:, 3])


def test_smaller_gray_images_are_fitted():
    model = rnvp.NICE((32, 32, 3), hidden_units=[2], seed=0)
    config = tiny(dataset="mnist")
    with tfds.testing.mock_data(num_examples=3):
        digits = images_of(data.load(config, "test"))
        fitted = images_of(anomalies.fitted_images(data.load(config, "test"), model))
    expected = np.zeros([3, 32, 32, 3], np.uint8)
    expected[:, 2:30, 2:30] = digits
    np.testing.assert_array_equal(fitted, expected)


@pytest.mark.parametrize(
    ("fields", "others", "message"),
    [
        ({}, [], "anomalies must be names of data sets, or of .*'constants', 'flips', 'noise'.*; got none"),
        ({"conditional": True}, ["noise"], "conditional must be False for mode=anomalies, .*; got True"),
        ({"evaluation": {"num_draws": 2}}, ["noise"], "evaluation.num_draws must be 1 for mode=anomalies; got 2"),
        ({}, ["noise", "mnist"], "anomalies must have 17 pixel levels; got 256"),
        ({"test_split": "test[:70]"}, ["noise"], "test_split must have at least 80 images for mode=anomalies; got 70"),
    ],
)
def test_data_that_cannot_be_compared_are_refused(config, workdir, fields, others, message):
    config.update(fields)
    with tfds.testing.mock_data(num_examples=4), pytest.raises(ValueError, match=message):
        anomalies.compare_anomalies(config, workdir, None, "model.keras", others)
    assert [path.name for path in workdir.iterdir()] == ["model.keras"]


def test_larger_images_are_refused(config):
    model = rnvp.NICE((32, 32, 3), hidden_units=[2], seed=0)
    with tfds.testing.mock_data(num_examples=4):
        eurosat = data.load(tiny(dataset="eurosat"), "train")
    with pytest.raises(
        ValueError, match=r"at most the model's shape, \(32, 32, 3\), with as many channels or one; got"
    ):
        anomalies.fitted_images(eurosat, model)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
