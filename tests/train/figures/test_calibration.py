"""The figure of ranks and coverage."""

import numpy as np
import pytest

import tfp_realnvp as rnvp
from train.figures.calibration import calibration


@pytest.fixture(scope="module")
def ranks():
    rng = np.random.default_rng(0)
    return rnvp.calibration.Ranks(rng.integers(100, size=[200, 2]), rng.integers(100, size=200), 99)


def test_there_is_a_panel_for_each_entry_and_one_for_the_coverage(ranks):
    picture = calibration(ranks, ["growth", "predation"])
    assert picture.shape == (280, 840, 3) and picture.dtype == np.uint8
    panels = np.split(picture, 3, axis=1)
    assert all((panel < 200).any() for panel in panels)


def test_wrong_names_and_bins_are_refused(ranks):
    with pytest.raises(ValueError, match="names must be None or 2 strings; got 1"):
        calibration(ranks, ["growth"])
    with pytest.raises(ValueError, match="num_bins must be a divisor of num_draws . 1 = 100; got 3"):
        calibration(ranks, num_bins=3)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
