"""Surrogate posteriors of joint distributions, where the posterior and the evidence are known."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

import tfp_realnvp as rnvp

tfb, tfd = tfp.bijectors, tfp.distributions
COUNTS = np.array([3.0, 1.0, 4.0], np.float32)


@pytest.fixture(scope="module")
def pinned():
    """Counts with a rate and, apart from it, two normal numbers: the posterior is a gamma and a normal distribution."""
    joint = tfd.JointDistributionNamed(
        dict(
            rate=tfd.Gamma(2.0, 1.0),
            shifts=tfd.Sample(tfd.Normal(0.0, 1.0), 2),
            counts=lambda rate: tfd.Sample(tfd.Poisson(rate), 3),
        )
    )
    return joint.experimental_pin(counts=COUNTS)


@pytest.fixture(scope="module")
def posterior(pinned):
    model = rnvp.VectorRealNVP((3,), 2, hidden_units=[4], seed=0)
    return rnvp.energy.surrogate(pinned, model)


def log_evidence():
    """log ∫ Gamma(λ; 2, 1) Π Poisson(yᵢ; λ) dλ."""
    total = COUNTS.sum()
    return scipy.special.gammaln(2 + total) - (2 + total) * np.log(4) - scipy.special.gammaln(COUNTS + 1).sum()


def test_the_variables_are_in_their_supports(posterior):
    samples = posterior.distribution.sample(50, seed=[0, 0])
    assert samples["rate"].shape == [50] and samples["shifts"].shape == [50, 2]
    assert np.all(samples["rate"] > 0) and np.any(samples["shifts"] < 0)


def test_the_target_is_the_joint_density_with_the_jacobian(pinned, posterior):
    theta = tf.constant([[0.3, -0.5, 1.2], [2.0, 0.1, -0.4]])
    x = posterior.bijector.forward(theta)
    jacobian = tf.math.log_sigmoid(tfb.Softplus().inverse(x["rate"]))  # d softplus = σ
    np.testing.assert_allclose(posterior.log_prob(theta), pinned.unnormalized_log_prob(x) + jacobian, rtol=1e-5)
    density = posterior.distribution.log_prob(x) + jacobian
    np.testing.assert_allclose(density, posterior.model.distribution.log_prob(theta), rtol=1e-5)


def test_the_evidence_is_within_three_standard_errors(posterior):
    weighted = rnvp.energy.weigh(posterior.model, posterior.log_prob, 20_000, seed=0, num_chains=0)
    assert weighted.log_z_error < 0.1
    assert abs(weighted.log_z - log_evidence()) < 3 * weighted.log_z_error
    rates = posterior.bijector.forward(weighted.samples)["rate"].numpy()
    mean, variance = 10 / 4, 10 / 16  # of the posterior, Gamma(2 + Σ y, 1 + 3)
    assert abs(np.exp(weighted.log_weights) @ rates - mean) < 3 * np.sqrt(variance / weighted.ess)


def test_tfp_trains_the_flow_s_weights(pinned, posterior):
    weights = posterior.model.trainable_weights
    assert {id(v) for v in posterior.distribution.trainable_variables} == {id(w.value) for w in weights}
    before = [weight.numpy() for weight in weights]
    losses = tfp.vi.fit_surrogate_posterior(
        pinned.unnormalized_log_prob, posterior.distribution, tf_keras.optimizers.Adam(0.01), num_steps=2, seed=[0, 0]
    )
    assert np.isfinite(losses).all()
    assert all(np.any(weight.numpy() != value) for weight, value in zip(weights, before, strict=True))


def test_joint_distributions_without_a_flow_are_refused(pinned):
    discrete = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Bernoulli(0.5)])
    mixed = tfd.JointDistributionSequential([tfd.Normal(0.0, 1.0), tfd.Normal(np.float64(0.0), 1.0)])
    for joint, names in ((discrete, "float32.*int32"), (mixed, "float32.*float64")):
        with pytest.raises(ValueError, match=f"joint_distribution must have continuous variables.*{names}"):
            rnvp.energy.surrogate(joint)
    with pytest.raises(ValueError, match=r"model must be a flow over vectors of shape \(3,\) in float32; got \(2,\)"):
        rnvp.energy.surrogate(pinned, rnvp.VectorRealNVP((2,)))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
