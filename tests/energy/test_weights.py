"""Weights, evidence and what they say of a flow that misses something."""

import warnings

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfp_realnvp as rnvp
from tests.energy import gaussians
from tfp_realnvp.energy.pareto import tail_shape

WIDE = dict(mean=np.zeros(2, np.float32), cholesky=2 * np.eye(2, dtype=np.float32))


@pytest.fixture(scope="module")
def of_exact_flow():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return rnvp.energy.weigh(gaussians.affine(), gaussians.log_prob, 1000, seed=0, batch_size=300)


@pytest.fixture(scope="module")
def of_wide_flow():
    return rnvp.energy.weigh(gaussians.affine(**WIDE), gaussians.log_prob, 4000, seed=0, num_chains=0)


def test_where_the_flow_is_the_target_all_weights_are_equal(of_exact_flow):
    weighted = of_exact_flow
    np.testing.assert_allclose(weighted.log_weights, -np.log(1000), atol=1e-5)
    np.testing.assert_allclose([weighted.log_z, weighted.ess], [gaussians.LOG_Z, 1000], rtol=1e-5)
    assert weighted.log_z_error < 1e-5
    assert weighted.forward_ess == pytest.approx(1000, rel=1e-4)
    assert len(np.unique(weighted.samples, axis=0)) == 1000  # The batches differ.


def test_log_z_of_a_gaussian_is_within_three_standard_errors(of_wide_flow):
    assert 0.001 < of_wide_flow.log_z_error < 0.1
    assert abs(of_wide_flow.log_z - gaussians.LOG_Z) < 3 * of_wide_flow.log_z_error
    assert of_wide_flow.forward_ess is None


def test_weights_and_their_statistics_follow_their_formulas(of_wide_flow):
    x = of_wide_flow.samples
    log_q = scipy.stats.norm(scale=2).logpdf(x).sum(axis=1)
    w = np.exp(scipy.stats.multivariate_normal(gaussians.MEAN, gaussians.COVARIANCE).logpdf(x) - log_q)
    np.testing.assert_allclose(np.exp(of_wide_flow.log_weights), w / w.sum(), rtol=1e-3)
    assert of_wide_flow.ess == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-4)
    assert of_wide_flow.log_z_error == pytest.approx(scipy.stats.sem(w) / w.mean(), rel=1e-3)


def test_weighted_and_resampled_means_are_the_target_s(of_wide_flow):
    error = np.sqrt(np.diag(gaussians.COVARIANCE) / of_wide_flow.ess)
    assert (abs(np.exp(of_wide_flow.log_weights) @ of_wide_flow.samples - gaussians.MEAN) < 3 * error).all()
    resampled = of_wide_flow.resample(4000, seed=1)
    assert (abs(resampled.mean(axis=0) - gaussians.MEAN) < 4 * error).all()
    np.testing.assert_array_equal(resampled, of_wide_flow.resample(4000, seed=1))
    with pytest.raises(ValueError, match="num_samples must be a positive int; got 0"):
        of_wide_flow.resample(0)


def test_a_collapse_on_one_of_two_modes_is_reported():
    model = gaussians.affine(np.full(2, -4.0, np.float32), np.eye(2, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blind = rnvp.energy.weigh(model, gaussians.modes, 1000, seed=0, num_chains=0)
    assert blind.ess > 990 and blind.log_z == pytest.approx(-np.log(2), abs=1e-3)  # Half of Z, and no sign of it.
    with pytest.warns(UserWarning, match="the flow misses a part of the target.*log_z is too low"):
        reported = rnvp.energy.weigh(model, gaussians.modes, 1000, seed=0)
    assert reported.forward_ess < 1e-6 * reported.ess


def test_chains_reach_both_modes():
    model = gaussians.affine(np.full(2, -4.0, np.float32), np.eye(2, dtype=np.float32))
    states = rnvp.energy.explore(model, gaussians.modes, num_chains=100, num_steps=20, seed=0)
    near = [np.all(abs(states - at) < 5, axis=1).sum() for at in (-4, 4)]
    assert min(near) > 0 and sum(near) > 95


def test_chains_leave_the_steep_walls_of_a_quartic_well():
    """The chains begin where the force is hundreds of times as large as in the well, without a state stuck there."""
    quartic = lambda x: -8.0 * tf.reduce_sum(x**4, axis=-1)
    model = gaussians.affine(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    states = rnvp.energy.explore(model, quartic, num_chains=200, seed=0)
    assert abs(states).max() < 1.2  # P(|x| > 1.2) is 10⁻⁸ for an entry.


def test_both_ess_agree_with_the_integral_of_the_weights():
    model = gaussians.affine(np.zeros(2, np.float32), 1.2 * np.eye(2, dtype=np.float32))
    rng = np.random.default_rng(0)
    log_prob = lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1)
    expected = (2 * 1.2**2 - 1) / 1.2**4  # 1 / ∫ p² / q of N(0, 1)² and N(0, s²)² in the plane: (2 s² − 1) / s⁴
    samples = rng.normal(size=(20_000, 2)).astype("float32")
    assert rnvp.energy.forward_ess(model, log_prob, samples, np.log(2 * np.pi)) == pytest.approx(expected, rel=0.03)
    weighted = rnvp.energy.weigh(model, log_prob, 20_000, seed=0, num_chains=0)
    assert weighted.ess / 20_000 == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_the_shape_of_the_tail_is_that_of_the_weights(shape):
    weights = scipy.stats.genpareto(shape).rvs(size=40_000, random_state=0)
    assert tail_shape(np.log(weights)) == pytest.approx(shape, abs=0.1)


def test_bounded_weights_have_a_light_tail():
    assert tail_shape(np.log(np.random.default_rng(0).uniform(size=4000))) < -0.5
    assert tail_shape(np.zeros(100)) == -np.inf


def test_a_heavy_tail_is_reported():
    narrow = gaussians.affine(cholesky=0.1 * np.eye(2, dtype=np.float32))
    with pytest.warns(UserWarning, match="the weights have a heavy tail.*cannot be trusted"):
        weighted = rnvp.energy.weigh(narrow, gaussians.log_prob, 10_000, seed=0, num_chains=0)
    assert weighted.pareto_k > 0.7


def test_a_target_may_be_zero_at_some_samples():
    positive = lambda x: tf.where(x[:, 0] > 0, -0.5 * tf.reduce_sum(x**2, axis=-1), -np.inf)
    model = gaussians.affine(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))
    weighted = rnvp.energy.weigh(model, positive, 1000, seed=0, num_chains=0)
    assert abs(weighted.log_z - np.log(np.pi)) < 3 * weighted.log_z_error
    np.testing.assert_array_equal(np.isfinite(weighted.log_weights), weighted.samples[:, 0] > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_samples=24), "num_samples must be an int of at least 25; got 24"),
        (dict(num_chains=-1), "num_chains must be a non-negative int; got -1"),
        (dict(batch_size=0), "batch_size must be a positive int; got 0"),
        (dict(log_prob=lambda x: x), "log_prob must return a number for each event"),
        (dict(log_prob=lambda x: tf.where(x[:, 0] > 4.0, np.nan, 0.0)), "log_prob must be a number.*got nan at"),
        (dict(log_prob=lambda x: x[:, 0] * 0 - np.inf), "log_prob must be finite at some sample.*all 1000"),
        (dict(model=rnvp.VectorRealNVP((2,), num_classes=3)), "model must be a flow without a context"),
    ],
)
def test_what_cannot_be_weighed_is_refused(options, message):
    options = dict(model=gaussians.affine(), log_prob=gaussians.log_prob, num_samples=1000, seed=0) | options
    with pytest.raises(ValueError, match=message):
        rnvp.energy.weigh(**options)


def test_samples_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="samples must have shape"):
        rnvp.energy.forward_ess(gaussians.affine(), gaussians.log_prob, np.zeros([5, 3], np.float32), 0.0)
    with pytest.raises(ValueError, match="num_chains must be a positive int; got 0"):
        rnvp.energy.explore(gaussians.affine(), gaussians.log_prob, num_chains=0)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
