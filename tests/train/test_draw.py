"""The pictures of a run's model."""

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import data, draw, models


def test_the_first_images_are_without_their_labels():
    plain, conditional = (data.load(tiny(conditional=conditional), "test") for conditional in (False, True))
    np.testing.assert_array_equal(draw.first_images(conditional, 5), draw.first_images(plain, 5))


def test_figures_are_drawn_from_a_run(tmp_path, monkeypatch):
    models.new_flow(tiny(), data.load(tiny(), "test")).save(tmp_path / "model.keras")
    seen = {}
    monkeypatch.setattr(
        draw.paper, "write_figures", lambda *arguments: seen.update(enumerate(arguments)) or [tmp_path / "a.png"]
    )
    assert draw.draw_figures(tiny(test_split="test[:50]", train_split="train[:300]"), tmp_path, seed=3) == [
        tmp_path / "a.png"
    ]
    model, training, test, folder, tensorboard, seed = seen.values()
    assert isinstance(model, rnvp.RealNVP) and training.shape == (300, 8, 8, 1) and test.shape == (50, 8, 8, 1)
    assert (folder, tensorboard, seed) == (tmp_path / "figures", tmp_path / "tensorboard/figures", 3)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
