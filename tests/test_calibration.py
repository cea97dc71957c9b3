"""Ranks and coverage of conditional normal distributions, where all is known."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp

tfb, tfd = tfp.bijectors, tfp.distributions
N = 1000
THETA = np.random.default_rng(0).normal(size=[N, 2]).astype("float32")
Y = THETA + np.random.default_rng(1).normal(size=[N, 2]).astype("float32")


def posterior(shift=0.0, scale=1.0):
    """p(θ | y) = N(y / 2, I / 2) of θ ~ N(0, I), y ~ N(θ, I), moved by `shift` and stretched by `scale`."""

    def given(y):
        base = tfd.Sample(tfd.Normal(tf.zeros(tf.shape(y)[:-1]), 1.0), 2)
        return tfd.TransformedDistribution(base, tfb.Chain([tfb.Shift(y / 2 + shift), tfb.Scale(scale * 0.5**0.5)]))

    return rnvp.FlowModel(given, context_size=2, seed=0)


@pytest.fixture(scope="module")
def exact():
    return rnvp.calibration.rank(posterior(), (THETA, Y), seed=0, batch_size=300)


def test_the_ranks_of_the_exact_posterior_are_uniform(exact):
    assert exact.by_entry.shape == (N, 2) and exact.by_density.shape == (N,)
    assert exact.by_entry.min() == 0 and exact.by_entry.max() == 99
    assert (exact.p_values() > 0.01).all()
    levels = np.linspace(0.1, 0.9, 9)
    assert (abs(exact.coverage(levels) - levels) < 3 * np.sqrt(levels * (1 - levels) / N)).all()


def test_the_ranks_of_a_shifted_posterior_are_not():
    ranks = rnvp.calibration.rank(posterior(shift=0.3), (THETA, Y), seed=0)
    assert (ranks.p_values() < 1e-6).all()
    assert (ranks.by_entry.mean(axis=0) < 45).all()  # Draws that are too large are rarely below the truth.


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_the_coverage_of_a_stretched_posterior_is_known(scale):
    ranks = rnvp.calibration.rank(posterior(scale=scale), (THETA, Y), seed=0)
    levels = np.array([0.5, 0.9])
    expected = 1 - (1 - levels) ** (scale**2)  # a disc of radius² −2 s² log(1 − level) / 2
    assert (abs(ranks.coverage(levels) - expected) < 3.5 * np.sqrt(expected * (1 - expected) / N)).all()


def test_ranks_are_reproducible_and_of_any_conditional_vector_flow():
    model = rnvp.VectorRealNVP((2,), 2, hidden_units=[4], context_size=2, seed=0)
    one, other = (rnvp.calibration.rank(model, (THETA[:8], Y[:8]), 4, seed=3, batch_size=4) for _ in range(2))
    np.testing.assert_array_equal(one.by_entry, other.by_entry)
    np.testing.assert_array_equal(one.by_density, other.by_density)
    assert one.by_density.max() <= 4


def test_what_has_no_ranks_is_refused(exact):
    for model, message in [
        (rnvp.VectorRealNVP((2,)), "model must be a conditional flow"),
        (rnvp.NICE((2, 2, 1), num_classes=2, num_bins=3), "model must be a flow over vectors; got events of shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            rnvp.calibration.rank(model, (THETA, Y))
    for options, message in [
        (dict(num_draws=0), "num_draws must be a positive int; got 0"),
        (dict(data=(THETA, Y[:, :1])), r"must have shape \[N\] \+ \(2,\)"),
        (dict(data=(THETA, Y * np.nan)), "must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            rnvp.calibration.rank(**(dict(model=posterior(), data=(THETA, Y)) | options))
    for num_bins in (1, 3, 100 * N):
        with pytest.raises(ValueError, match=f"num_bins must be a divisor of num_draws.*got {num_bins}"):
            exact.p_values(num_bins)
    with pytest.raises(ValueError, match="levels must be from 0 to 1"):
        exact.coverage([1.5])


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
