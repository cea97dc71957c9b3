"""Posteriors whose answers are known: of Gaussian flows, of their levels, and of a flow of few levels."""

import itertools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.completion import gaussian
from tfp_realnvp.bijectors import bins
from tfp_realnvp.bijectors.masks import ChangeAll

tfb, tfd = tfp.bijectors, tfp.distributions


def given_class(flow):
    """A `FlowModel` of two classes: the flow's events, and these moved by a vector."""
    moved = np.array([[0, 0, 0, 0], [1, -1, 2, 0.5]], "float32")

    def distribution(context):
        shift = tfb.Shift(tf.matmul(context, moved))
        base = tfd.BatchBroadcast(flow.base_distribution, tf.shape(context)[:1])
        return tfd.TransformedDistribution(base, tfb.Chain([shift, flow.bijector]))

    return rnvp.FlowModel(distribution, num_classes=2, networks=flow.networks, seed=0), moved


def assert_moments(draws, ess, mean, variance):
    """Draws [S, ...] have this mean and variance within three standard errors."""
    assert np.all(ess > 100)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 3 * np.sqrt(variance / ess))
    assert np.all(np.abs(draws.var(axis=0) / variance - 1) < 3 * np.sqrt(2 / ess))


def test_missing_entries_of_a_gaussian_given_its_class():
    flow = gaussian.flow(4, slope=0.3)
    model, moved = given_class(flow)
    mean, covariance = gaussian.moments(flow)
    rows, mask = flow.sample(3, seed=0), np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]])
    labels = np.array([0, 1, 1])
    rows[mask == 0] = np.nan
    posterior = rnvp.completion.sample(
        model, rows, mask, 400, burn_in=100, labels=labels, batch_size=2, seed=0, verbose=0
    )
    assert posterior.samples.shape == (1600, 3, 4) and posterior.samples.dtype == np.float32
    assert np.all(posterior.r_hat[mask == 0] < 1.03) and np.all(
        (0.6 < posterior.acceptance) & (posterior.acceptance < 1)
    )
    for event, known in enumerate(mask == 1):
        of_unknown = gaussian.conditional(mean + moved[labels[event]], covariance, known, rows[event, known])
        draws = posterior.values[:, event]
        np.testing.assert_array_equal(draws[:, known], np.broadcast_to(rows[event, known], draws[:, known].shape))
        assert_moments(draws[:, ~known], posterior.ess[event, ~known], of_unknown[0], np.diag(of_unknown[1]))
        correlation = np.corrcoef(draws[:, ~known].T) - of_unknown[1] / np.sqrt(
            np.outer(np.diag(of_unknown[1]), np.diag(of_unknown[1]))
        )
        assert np.all(np.abs(correlation) < 3 / np.sqrt(posterior.ess[event, ~known].min()))
        assert np.isnan(posterior.r_hat[event, known]).all() and np.isnan(posterior.ess[event, known]).all()


# Levels. The true values are draws of the model, so their ranks among the posterior's draws are uniform.

NUM_EVENTS = 250


@pytest.fixture(scope="module")
def levels():
    """A Gaussian flow over values in [0, 17), draws [N, 2], and the second one's posterior."""
    flow = gaussian.flow(2, shift=3.0, scale=0.35, slope=1.5, num_bins=17)
    x = flow.distribution.sample(NUM_EVENTS, seed=[0, 1]).numpy()
    assert 0 < x.min() and x.max() < 17
    with pytest.warns(UserWarning, match="R-hat must be at most 1.05 in all entries; got up to"):
        posterior = rnvp.completion.sample(
            flow, np.floor(x), [1, 0], 80, 2, 60, 6, seed=0, batch_size=NUM_EVENTS, verbose=0
        )
    return flow, x, posterior


def moments_given_level(flow, level):
    """The mean and the variance of the second value, where the first one lies between a level and the next."""
    mean, covariance = gaussian.moments(flow)
    slope = covariance[0, 1] / covariance[0, 0]
    grid = level + (np.arange(200) + 0.5)[:, np.newaxis] / 200
    weights = scipy.stats.norm.pdf(grid, mean[0], np.sqrt(covariance[0, 0]))
    first = (weights * grid).sum(0) / weights.sum(0)
    spread = (weights * (grid - first) ** 2).sum(0) / weights.sum(0)
    return mean[1] + slope * (first - mean[0]), covariance[1, 1] - slope * covariance[0, 1] + slope**2 * spread


def test_missing_levels_have_the_moments_over_the_noise_of_the_known_ones(levels):
    flow, x, posterior = levels
    mean, variance = moments_given_level(flow, np.floor(x[:, 0]))
    errors = (posterior.values[..., 1] - mean) / np.sqrt(variance)
    of_events = np.sqrt(np.sum(1 / posterior.ess[:, 1])) / NUM_EVENTS
    assert abs(errors.mean()) < 3 * of_events
    assert abs((errors**2).mean() - 1) < 3 * np.sqrt(2) * of_events


def test_the_true_values_have_uniform_ranks(levels):
    _, x, posterior = levels
    draws = posterior.values[::8, :, 1]
    ranks = np.sum(draws < x[:, 1], axis=0)
    counts = np.bincount(ranks * 10 // (len(draws) + 1), minlength=10)
    numbers = np.bincount(np.arange(len(draws) + 1) * 10 // (len(draws) + 1), minlength=10)
    expected = NUM_EVENTS * numbers / (len(draws) + 1)
    assert scipy.stats.chisquare(counts, expected).pvalue > 0.01


def test_intervals_hold_the_true_values_as_often_as_they_say(levels):
    _, x, posterior = levels
    for level in (0.5, 0.9):
        low, high = posterior.interval(level)
        inside = np.mean((low[:, 1] <= x[:, 1]) & (x[:, 1] <= high[:, 1]))
        assert abs(inside - level) < 3 * np.sqrt(level * (1 - level) / NUM_EVENTS)


def test_known_levels_stay_and_all_levels_are_data(levels):
    flow, x, posterior = levels
    assert posterior.samples.dtype == np.uint8 and posterior.samples.max() < 17
    np.testing.assert_array_equal(posterior.samples[..., 0], np.broadcast_to(np.floor(x[:, 0]), (160, NUM_EVENTS)))
    np.testing.assert_array_equal(posterior.mean()[:, 0], np.floor(x[:, 0]))
    np.testing.assert_allclose(posterior.mean()[:, 1], np.floor(posterior.values[..., 1]).mean(axis=0))
    with pytest.raises(ValueError, match="level must be between 0 and 1; got 90"):
        posterior.interval(90)


def test_levels_of_exact_probabilities_are_drawn_by_these():
    params = tf.constant(0.3 * np.random.default_rng(0).normal(size=[3 + 3 + 3 * 3 * 2]), tf.float32)
    mixture = rnvp.bijectors.ResidualMixture(channels=3, num_components=2, unit=0.08)
    coupling = rnvp.bijectors.Coupling(ChangeAll(1), lambda kept: params, mixture)
    flow = tfb.Chain([coupling, tfb.Shift(-0.5), tfb.Scale(1 / 6)])
    base = tfd.Sample(tfd.Logistic(0.0, 1.0), 3)
    model = rnvp.FlowModel(
        tfd.TransformedDistribution(base, tfb.Invert(flow)), num_bins=6, dequantization="exact", seed=0
    )
    every = np.array(list(itertools.product(range(6), repeat=3)))
    probabilities = np.exp(model.predict(every, verbose=0)).astype("float64")
    log_prob = lambda levels: bins.log_prob(model.distribution, levels, 6)
    slopes = tfp.math.value_and_gradient(log_prob, tf.constant(every, tf.float32))[1].numpy()[:, 1:2].astype("float64")
    places = (np.arange(200) + 0.5) / 200 - 0.5  # in the bin of the second channel, which is observed as 2 ± 0.3
    density = np.exp(slopes * places) * slopes / 2 / np.sinh(slopes / 2)
    likelihood = np.exp(-0.5 * ((every[:, 1:2] + places - 2) / 0.3) ** 2)
    expected = (probabilities * (density * likelihood).mean(axis=1)).reshape([6, 6, 6]).sum(axis=1)
    expected /= expected.sum()
    second = rnvp.completion.Measurements([[0.0, 1.0, 0.0]])
    posterior = rnvp.completion.restore(model, [[2.0]], second, 0.3, 400, burn_in=100, seed=0, verbose=0)
    first, _, last = posterior.samples[:, 0].T
    actual = np.histogram2d(first, last, bins=[np.arange(-0.5, 6)] * 2)[0] / len(first)
    ess = np.nanmin(posterior.ess)
    assert ess > 100 and np.all(np.abs(actual - expected) < 3.5 * np.sqrt(expected * (1 - expected) / ess) + 1e-3)


# Noisy observations.


@pytest.mark.parametrize("has_latents", [True, False])
def test_noisy_measurements_of_a_gaussian(has_latents):
    flow = gaussian.flow(3, slope=0.3)
    mean, covariance = gaussian.moments(flow)
    model = flow
    if not has_latents:
        tril = np.linalg.cholesky(covariance).astype("float32")
        model = rnvp.FlowModel(tfd.MultivariateNormalTriL(mean.astype("float32"), tril), seed=0)
    matrix, noise = np.array([[1.0, -1.0, 0.5], [0.0, 1.0, 1.0]]), np.array([0.5, 1.0])
    y = flow.sample(2, seed=1) @ matrix.T + noise * np.random.default_rng(0).normal(size=[2, 2])
    posterior = rnvp.completion.restore(
        model, y, rnvp.completion.Measurements(matrix), noise, 400, burn_in=100, seed=0, verbose=0
    )
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + np.diag(noise**2))
    variance = np.diag(covariance - gain @ matrix @ covariance)
    for event in range(2):
        expected = mean + gain @ (y[event] - matrix @ mean)
        assert_moments(posterior.values[:, event], posterior.ess[event], expected, variance)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
