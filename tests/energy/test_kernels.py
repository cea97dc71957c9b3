"""Kernels that sample a normal distribution by flows that only come near it."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.energy import gaussians

WIDE = dict(mean=np.array([0.5, -1.5], np.float32), cholesky=1.5 * np.eye(2, dtype=np.float32))


def sampled(model, kind, num_steps, trace=lambda _, results: results.is_accepted, **options):
    kernel = rnvp.energy.kernel(model, gaussians.log_prob, kind, **options)
    start = tf.constant(np.random.default_rng(0).normal(gaussians.MEAN, 1.0, [64, 2]), tf.float32)
    run = lambda: tfp.mcmc.sample_chain(
        num_steps, start, kernel=kernel, num_burnin_steps=30, trace_fn=trace, seed=[0, 1]
    )
    states, traced = tf.function(run, autograph=False)()
    return states.numpy(), traced.numpy()


def assert_within_three_errors(of_chains, expected):
    """The mean over chains, which are independent of each other, is within three standard errors."""
    error = of_chains.std(axis=0, ddof=1) / np.sqrt(len(of_chains))
    assert (abs(of_chains.mean(axis=0) - expected) < 3 * error).all()
    assert (error < 0.2).all()


@pytest.mark.parametrize(
    ("kind", "trace"),
    [
        ("neutra", lambda _, results: results.inner_results.is_accepted),
        ("independence", lambda _, results: results.is_accepted),
    ],
)
def test_means_and_variances_are_the_target_s(kind, trace):
    states, accepted = sampled(gaussians.affine(**WIDE), kind, 150, trace)
    assert 0.2 < accepted.mean() < 0.99  # The flow is not the target.
    assert_within_three_errors(states.mean(axis=0), gaussians.MEAN)
    centred = states - gaussians.MEAN
    moments = np.einsum("scd, sce -> cde", centred, centred) / len(states)
    assert_within_three_errors(moments.reshape(64, 4), gaussians.COVARIANCE.ravel())


def test_proposals_of_an_exact_flow_are_all_accepted_and_new():
    states, accepted = sampled(gaussians.affine(), "independence", 5)
    assert accepted.all()
    assert len(np.unique(states.reshape(-1, 2), axis=0)) == 5 * 64


def test_an_inner_kernel_moves_the_latents():
    model, targets = gaussians.affine(), []

    def inner(log_prob):
        targets.append(log_prob)
        return tfp.mcmc.HamiltonianMonteCarlo(log_prob, 0.5, 2)

    kernel = rnvp.energy.kernel(model, gaussians.log_prob, "neutra", inner=inner)
    results = kernel.bootstrap_results(tf.constant(model.decode(np.ones([3, 2], np.float32))))
    np.testing.assert_allclose(results.transformed_state, np.ones([3, 2]), rtol=1e-5)
    standard_normal = -1.0 - np.log(2 * np.pi)
    np.testing.assert_allclose(results.inner_results.accepted_results.target_log_prob, standard_normal + 3, rtol=1e-5)
    assert len(targets) == 1


def test_wrong_kernels_are_refused():
    with pytest.raises(ValueError, match=r"kind must be one of \['neutra', 'independence'\]; got 'nuts'"):
        rnvp.energy.kernel(gaussians.affine(), gaussians.log_prob, kind="nuts")
    for kind in ("neutra", "independence"):
        with pytest.raises(ValueError, match="log_prob must return a number for each event"):
            rnvp.energy.kernel(gaussians.affine(), lambda x: x, kind)
        with pytest.raises(ValueError, match="model must be a flow without a context"):
            rnvp.energy.kernel(rnvp.VectorRealNVP((2,), num_classes=2), gaussians.log_prob, kind)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
