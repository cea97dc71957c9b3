"""P-values: their formula, their rate of false alarms, and the halves of the held-out events."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from tfp_realnvp.anomaly import Calibration, Likelihood, Statistics, Typicality

RANDOM = np.random.default_rng(0)


def columns(values):
    return np.asarray(values, np.float64)[:, np.newaxis]


def test_p_values_count_the_held_out_events_that_are_at_least_as_odd():
    held_out = RANDOM.permutation([*range(19), 18.0])
    calibration = Calibration.of(Likelihood(), columns(held_out))
    events = columns([-1.0, 0.0, 0.5, 17.0, 17.5, 18.0, 18.5, np.inf, np.nan])
    expected = np.array([21, 21, 20, 4, 3, 3, 1, 1, 1]) / 21
    np.testing.assert_allclose(calibration.p_values(events), expected, rtol=1e-12)


@pytest.mark.parametrize("score", [Likelihood(), Typicality(), Typicality(2), Statistics(complexity=False)])
def test_the_rate_of_false_alarms_holds_for_few_held_out_events(score):
    """For n held-out events P(p ≤ α) is the number of steps of 1/(n + 1) below α, times 1/(n + 1), exactly."""
    p_values = []
    for _ in range(200):
        features = RANDOM.standard_normal([50 * score.group_size, 1])
        calibration = Calibration.of(score, features[: 40 * score.group_size])
        p_values.append(calibration.p_values(features[40 * score.group_size :]))
    steps = 41 if isinstance(score, Likelihood) else 21
    for rate in (0.05, 0.2, 0.5):
        expected = np.floor(rate * steps) / steps
        is_alarm = np.mean(np.array(p_values) <= rate, axis=1)
        assert abs(is_alarm.mean() - expected) < 4 * is_alarm.std() / np.sqrt(len(is_alarm))


def test_a_fitted_score_is_calibrated_by_other_groups_than_it_is_fitted_to():
    features = columns(RANDOM.standard_normal(80))
    calibration = Calibration.of(Typicality(2), features)
    pairs = features.reshape([40, 2])
    entropy = pairs[::2].mean()
    np.testing.assert_allclose(calibration.parameters["entropy"], entropy, rtol=1e-12)
    expected = np.sort(abs(pairs[1::2].mean(axis=1) - entropy))
    np.testing.assert_allclose(calibration.oddness, expected, rtol=1e-12)


@pytest.mark.parametrize("group_size", [1, 8])
def test_typicality_finds_wider_gaussians_as_often_as_the_integral_says(group_size):
    """Code lengths of a group are sums of squares: χ² of all D · M entries, and s² χ² for a normal of deviation s."""
    size, deviation, number = 4, 0.6, 4000
    sums = lambda scale: (scale * RANDOM.standard_normal([number * group_size, size])) ** 2 @ np.ones(size) / 2
    oddness = [Typicality(group_size).oddness(columns(sums(s)), entropy=size / 2).numpy() for s in (1.0, deviation)]
    chi2 = scipy.stats.chi2(size * group_size)
    distance = lambda quantiles: abs(quantiles / (2 * group_size) - size / 2)
    ordinary = np.sort(distance(chi2.ppf((np.arange(20000) + 0.5) / 20000)))
    others = distance(deviation**2 * chi2.ppf((np.arange(20000) + 0.5) / 20000))
    exact = np.mean(np.searchsorted(ordinary, others)) / 20000
    auroc = sklearn.metrics.roc_auc_score(np.repeat([0, 1], number), np.concatenate(oddness))
    assert abs(auroc - exact) < 0.02 and exact > (0.5 if group_size == 1 else 0.9)


def test_statistics_are_distances_by_the_covariance():
    covariance = np.array([[4.0, 1.2, 0.0], [1.2, 1.0, 0.0], [0.0, 0.0, 1e-4]])
    features = RANDOM.multivariate_normal([1.0, -2.0, 50.0], covariance, size=20000)
    score = Statistics()
    oddness = score.oddness(features, **score.fit(features))
    expected = np.einsum("ni,ij,nj->n", features - [1.0, -2.0, 50.0], np.linalg.inv(covariance), features - [1, -2, 50])
    np.testing.assert_allclose(oddness, expected, rtol=0.1, atol=0.1)
    assert scipy.stats.kstest(oddness, scipy.stats.chi2(3).cdf).pvalue > 0.001


def test_statistics_that_are_constant_or_alike_do_not_break_the_score():
    one = RANDOM.standard_normal(40)
    features = np.stack([one, one, np.full(40, 3.0)], axis=1)
    calibration = Calibration.of(Statistics(), features)
    assert calibration.p_values(features[:1] + [[0.0, 0.0, 1.0]])[0] == 1 / 21
    assert calibration.p_values(np.array([[1.0, -1.0, 3.0]]))[0] == 1 / 21


@pytest.mark.parametrize(
    "score, number, message",
    [
        (Likelihood(), 19, "held_out must have at least 20 events; got 19"),
        (Typicality(), 39, "held_out must have at least 40 events, half of them to fit the score; got 39"),
        (Typicality(3), 117, "held_out must have at least 120 events, half of them to fit the score; got 117"),
        (Typicality(3), 121, "held_out must have a multiple of group_size = 3 events; got 121"),
    ],
)
def test_too_few_held_out_events_are_refused(score, number, message):
    with pytest.raises(ValueError, match=message):
        Calibration.of(score, np.zeros([number, 1]))


def test_held_out_events_without_a_score_are_refused():
    with pytest.raises(ValueError, match="held_out must have a finite score for Likelihood.*; got NaN or infinity"):
        Calibration.of(Likelihood(), columns([np.nan, *range(30)]))
    with pytest.raises(ValueError, match="group_size must be a positive int; got 0"):
        Typicality(0)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
