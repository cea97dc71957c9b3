"""The completion of a run's test images, with figures beside a baseline's."""

import json

import ml_collections
import numpy as np
import pytest
from PIL import Image

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import complete, data, gaussian, models


def test_the_gaussian_completes_by_its_conditional_mean():
    rng = np.random.default_rng(0)
    training = rng.multivariate_normal([5, 3], [[4, 2], [2, 3]], size=1000).reshape([1000, 2, 1, 1])
    mask = np.array([True, False]).reshape([2, 1, 1])
    covariance = np.cov(training.reshape(-1, 2).T)
    slope = covariance[0, 1] / (covariance[0, 0] + gaussian.RIDGE)
    expected = training[:, 1].mean() + slope * (7 - training[:, 0].mean())
    completed = gaussian.completed(training, np.array([7.0, np.nan]).reshape([1, 2, 1, 1]), mask)
    np.testing.assert_allclose(completed.ravel(), [7, expected])


def test_masks_hide_what_they_say():
    assert complete.mask_of("bottom", (4, 4, 2))[:, 0, 1].tolist() == [True, True, False, False]
    box = ~complete.mask_of("box", (8, 8, 1))
    assert box.sum() == 16 and box[2:6, 2:6].all()
    random = complete.mask_of("random", (8, 8, 3), seed=1)
    assert 16 < random[..., 0].sum() < 48 and np.array_equal(random[..., 0], random[..., 2])
    with pytest.raises(ValueError, match='mask must be "bottom", "box" or "random"; got .top.'):
        complete.mask_of("top", (4, 4, 1))


def test_psnr_is_relative_to_the_largest_level():
    images, hidden = np.zeros([1, 2, 1, 1]), np.array([[[[True]], [[False]]]])
    assert complete.psnr(images + 1.6, images, hidden, 17) == pytest.approx(20)


def test_test_images_are_completed_and_drawn(tmp_path, monkeypatch, capsys):
    config = tiny(conditional=True)
    models.new_flow(config, data.load(config, "test")).save(tmp_path / "model.keras")
    seen = {}

    def sample(model, images, mask, num_samples, seed, labels):
        seen.update(num_samples=num_samples, seed=seed, labels=labels, mask=mask)
        values = np.repeat(images[np.newaxis] + 1.5, 4, axis=0).astype("float32")  # A level too high.
        nothing = np.where(mask, np.nan, np.ones(images.shape))
        return rnvp.completion.Posterior(values, nothing, 4 * nothing, np.full(len(images), 0.8), 17)

    monkeypatch.setattr(rnvp.completion, "sample", sample)
    result = complete.complete_images(config, tmp_path, None, "model.keras", "box", num_images=3, num_samples=5, seed=1)
    assert (seen["num_samples"], seen["seed"], len(seen["labels"])) == (5, 1, 3) and not seen["mask"][3, 3, 0]
    assert result["psnr"]["mean"] == result["psnr"]["sample"] == pytest.approx(24.1, abs=2)  # Level 16 stays.
    assert 5 < result["psnr"]["conditional_gaussian"] < 24
    assert (result["mean_acceptance"], result["median_r_hat"], result["median_ess"]) == (pytest.approx(0.8), 1, 4)
    assert json.loads((tmp_path / "complete.json").read_text()) == result
    with Image.open(tmp_path / "figures/complete.png") as picture:
        assert picture.size[0] > 8 * 8
    assert "conditional_gaussian" in capsys.readouterr().out


def test_vectors_have_no_picture(tmp_path):
    config = tiny(dataset="moons", architecture="VectorRealNVP", adapt=True, shift=0.0)
    config.model = ml_collections.ConfigDict(dict(num_couplings=1, hidden_units=[2]))
    models.new_flow(config, data.load(config, "test")).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="model must be one of pixel levels for pictures"):
        complete.complete_images(config, tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
