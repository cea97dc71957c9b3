"""The comparison of two data sets by the scales of an MRCNF."""

import json

import ml_collections
import numpy as np
import pytest
import sklearn.metrics
import tensorflow_datasets as tfds
from PIL import Image

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import data, outliers


@pytest.fixture
def config():
    config = tiny(dataset="cifar10", architecture="MRCNF", adapt=True, test_split="test")
    config.model = ml_collections.ConfigDict({"num_scales": 2, "num_blocks": 1, "filters": 2})
    return config


@pytest.fixture
def workdir(tmp_path):
    options = dict(num_scales=2, num_blocks=1, filters=2, evaluation_tolerance=0.1, seed=0)
    rnvp.MRCNF((32, 32, 3), **options).save(tmp_path / "model.keras")
    return tmp_path


def images_of(examples):
    return np.stack(list(examples.dataset.as_numpy_iterator()))


def test_two_data_sets_are_compared_by_scale_and_in_total(config, workdir, capsys, eagerly):
    with tfds.testing.mock_data(num_examples=4):
        result = outliers.compare_outliers(config, workdir, None, "model.keras", "mnist")
        ours = images_of(data.load(config, "test"))
        config.dataset = "mnist"
        digits = images_of(data.load(config, "test"))
    theirs = np.zeros([4, 32, 32, 3], np.uint8)
    theirs[:, 2:30, 2:30] = digits
    model = rnvp.load_model(workdir / "model.keras")
    by_scale = [model.bits_per_dim_by_scale(images) for images in (ours, theirs)]
    for means, bits in zip(result["bits_per_dim"], by_scale, strict=True):
        expected = [*bits.mean(axis=0), bits.sum(axis=1).mean()]
        np.testing.assert_allclose([means["scale_0"], means["scale_1"], means["total"]], expected, rtol=1e-4)
    total = np.concatenate(by_scale).sum(axis=1)
    assert result["auroc"]["total"] == sklearn.metrics.roc_auc_score([0] * 4 + [1] * 4, total)
    assert (result["datasets"], result["splits"]) == (["cifar10", "mnist"], ["test", "test"])
    assert result["num_examples"] == [4, 4] and json.loads((workdir / "outliers.json").read_text()) == result
    with Image.open(workdir / "figures/outliers.png") as picture:
        assert picture.size == (1200, 360)
    assert f"AUROC {result['auroc']['total']:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "other", "message"),
    [
        ({}, None, "outliers must be the name of a data set for mode=outliers; got None"),
        ({"conditional": True}, "mnist", "conditional must be False for mode=outliers, .*; got True"),
        ({}, "digits", "outliers must have 256 pixel levels; got 17"),
        ({}, "eurosat", r"at most the model's shape, \(32, 32, 3\), with as many channels or one; got \(64, 64, 3\)"),
    ],
)
def test_data_that_cannot_be_compared_are_refused(config, workdir, fields, other, message):
    config.update(fields)
    with tfds.testing.mock_data(num_examples=4), pytest.raises(ValueError, match=message):
        outliers.compare_outliers(config, workdir, None, "model.keras", other, "train" if other == "eurosat" else None)
    assert [path.name for path in workdir.iterdir()] == ["model.keras"]


def test_only_mrcnf_has_scales_to_compare(config, workdir):
    rnvp.NICE((32, 32, 3), hidden_units=[2]).save(workdir / "model.keras")
    with tfds.testing.mock_data(num_examples=4), pytest.raises(ValueError, match="must be an MRCNF .* holds a NICE"):
        outliers.compare_outliers(config, workdir, None, "model.keras", "mnist")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
