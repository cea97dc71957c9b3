"""Logit: the formula, its log-det and its inverse, to the ends of the range."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from tfp_realnvp.bijectors import Logit

tfd = tfp.distributions


def softplus(y):
    return np.logaddexp(0, y)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 65536), st.floats(0, 0.45), st.floats(0.01, 0.99))
def test_the_value_and_log_det_are_the_formulas(num_bins, alpha, fraction):
    logit = Logit(num_bins, alpha)
    x = np.array([fraction * num_bins])
    p = alpha + (1 - 2 * alpha) * x / num_bins
    y = np.log(p) - np.log(1 - p)
    np.testing.assert_allclose(logit.forward(x), y, rtol=1e-9, atol=1e-9)
    log_det = softplus(y) + softplus(-y) + np.log((1 - 2 * alpha) / num_bins)
    np.testing.assert_allclose(logit.forward_log_det_jacobian(x, 0), log_det, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(logit.inverse_log_det_jacobian(y, 0), -log_det, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(logit.inverse(y), x, rtol=1e-9)


def test_the_example_of_the_documentation():
    np.testing.assert_allclose(Logit().forward([0.0, 128.0, 256.0]), [-2.944, 0, 2.944], atol=1e-3)


@pytest.mark.parametrize("num_bins, alpha", [(256, 0.05), (256, 1e-6), (2, 0.25), (65536, 0.05)])
def test_the_inverse_undoes_the_squeezing_by_alpha(num_bins, alpha):
    logit = Logit(num_bins, alpha)
    x = np.linspace(0, num_bins, 101)
    np.testing.assert_allclose(logit.inverse(tf.identity(logit.forward(x))), x, atol=1e-9 * num_bins)
    ends = np.log([alpha / (1 - alpha), (1 - alpha) / alpha])
    np.testing.assert_allclose(logit.inverse(ends), [0, num_bins], atol=1e-9 * num_bins)


def test_every_pixel_level_comes_back_in_float32():
    levels = np.arange(256, dtype="float32")
    for offset in (0.0, 0.5, 0.99):
        back = Logit().inverse(tf.identity(Logit().forward(levels + np.float32(offset))))
        assert back.dtype == tf.float32
        np.testing.assert_allclose(back, levels + offset, atol=1e-3)


def test_values_beyond_the_ends_are_finite_and_bounded():
    x = Logit().inverse([-1e4, -30.0, 30.0, 1e4])
    beyond = 256 * 0.05 / 0.9
    np.testing.assert_allclose(x, [-beyond, -beyond, 256 + beyond, 256 + beyond], rtol=1e-5)
    assert np.all(np.isfinite(Logit().inverse_log_det_jacobian([-1e4, 0.0, 1e4], 0)))


def test_without_alpha_only_the_ends_are_infinite():
    logit = Logit(4, alpha=0.0)
    y = logit.forward([0.0, 1.0, 2.0, 4.0]).numpy()
    np.testing.assert_allclose(y, [-np.inf, np.log(1 / 3), 0.0, np.inf], atol=1e-6)


def test_the_log_det_of_an_image_is_the_sum_over_its_pixels():
    x = np.random.default_rng(0).uniform(0, 256, [2, 4, 4, 3])
    one_by_one = Logit().forward_log_det_jacobian(x, 0)
    assert one_by_one.shape == x.shape
    np.testing.assert_allclose(Logit().forward_log_det_jacobian(x, 3), np.sum(one_by_one, axis=(1, 2, 3)), rtol=1e-12)


def test_a_logistic_base_makes_pixels_uniform_but_for_the_tails():
    base = tfd.Logistic(tf.constant(0.0, tf.float64), 1.0)
    flow = tfd.TransformedDistribution(base, tfp.bijectors.Invert(Logit(16, alpha=0.0)))
    np.testing.assert_allclose(flow.log_prob(np.linspace(0.1, 15.9, 7)), [-np.log(16)] * 7, rtol=1e-9)
    np.testing.assert_allclose(flow.cdf(np.array([4.0, 8.0])), [0.25, 0.5], rtol=1e-9)  # it knows that it increases


@pytest.mark.parametrize("num_bins", [0, -1])
def test_less_than_one_bin_is_refused(num_bins):
    with pytest.raises(ValueError, match=f"num_bins must be at least 1; got {num_bins}"):
        Logit(num_bins)


@pytest.mark.parametrize("alpha", [-0.1, 0.5, 1.0, float("nan"), "x", None])
def test_an_alpha_outside_of_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 0.5\); got"):
        Logit(alpha=alpha)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
