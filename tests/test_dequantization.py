"""Uniform dequantization: noise that is uniform, and a function of seed and image alone."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tfp_realnvp import dequantization


def noise(images, num_bins=256, seed=(0, 0)):
    return dequantization.uniform(tf.constant(images), num_bins, tf.constant(seed, tf.int64)).numpy() - images


def random_images(number, num_bins=256, shape=(8, 8, 3)):
    return np.random.default_rng(0).integers(num_bins, size=(number, *shape)).astype(np.uint8)


@pytest.mark.parametrize("num_bins", [2, 17, 256])
def test_each_value_stays_in_the_bin_of_its_pixel(num_bins):
    images = random_images(2000, num_bins)
    x = dequantization.uniform(tf.constant(images), num_bins, tf.constant([0, 0], tf.int64)).numpy()
    np.testing.assert_array_equal(np.floor(x), images)


def test_noise_is_uniform_and_independent_over_pixels_and_images():
    u = noise(random_images(500))
    assert scipy.stats.kstest(u.ravel()[::7], "uniform").pvalue > 0.01
    flat = u.reshape(500, -1)
    correlation = np.corrcoef(flat[:, :40], rowvar=False) - np.eye(40)  # of pixels, over images
    assert np.abs(correlation).max() < 0.2
    correlation = np.corrcoef(flat[:60]) - np.eye(60)  # of images, over pixels
    assert np.abs(correlation).max() < 0.35


def test_noise_depends_on_the_image_but_not_on_its_batch():
    images = random_images(10)
    together = noise(images)
    np.testing.assert_array_equal(noise(images[3:5]), together[3:5])
    almost = images[:1].copy()
    almost[0, 0, 0, 0] ^= 1
    assert np.abs(noise(almost) - together[:1]).mean() > 0.2


def test_each_seed_draws_other_noise():
    images = random_images(1)
    draws = [noise(images, seed=seed) for seed in ((0, 0), (0, 1), (1, 0), (0, -1))]
    for i, draw in enumerate(draws):
        for other in draws[:i]:
            assert np.abs(draw - other).mean() > 0.2


def test_images_of_any_integer_or_float_dtype_get_the_same_noise():
    images = random_images(3)
    for dtype in (np.int32, np.int64, np.float32):
        np.testing.assert_array_equal(noise(images.astype(dtype)), noise(images))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
