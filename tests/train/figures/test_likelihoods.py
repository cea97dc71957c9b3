"""The histogram of bits/dim, and the images at its ends."""

import numpy as np
import pytest

from train.figures import likelihoods

IMAGES = np.random.default_rng(0).integers(0, 17, [4, 8, 8, 1]).astype("uint8")


def test_the_best_and_the_worst_images_are_in_order():
    bits = np.array([3.0, 1.0, 4.0, 2.0])
    (panel,) = likelihoods.best_and_worst({"test": IMAGES}, {"test": bits}, 17, number=2).panels
    np.testing.assert_array_equal(panel.images, IMAGES[[[1, 3], [2, 0]]])
    assert panel.row_labels == ["test, best", "test, worst"] and panel.titles == [["1.00", "2.00"], ["4.00", "3.00"]]


def test_a_split_whose_values_are_all_equal_has_a_histogram():
    assert np.ptp(likelihoods.histogram({"training": np.full(5, 2.0), "test": np.full(3, 2.0)})) > 0


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
