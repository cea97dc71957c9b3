"""The corner plot of vectors."""

import numpy as np
import pytest

from train.figures.corner import corner


def test_the_corner_plot_has_a_panel_for_each_pair_of_at_most_five_columns():
    points = np.random.default_rng(0).normal(size=[50, 7]).astype("float32")
    points[:, 1] = 2.0  # a constant column
    assert corner(points, points).shape == (950, 950, 3)
    assert corner(points[:, :2], points[:, :2]).shape == (500, 500, 3)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
