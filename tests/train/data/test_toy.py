"""The embedded and the sampled data sets, and a posterior that is known exactly."""

import numpy as np
import pytest
import scipy.stats

from train import data, models
from train.configs import gaussian_linear
from train.data import toy
from train.optimizers import make_optimizer


def test_the_exact_posterior_is_that_of_the_drawn_data():
    theta, y = toy.gaussian_linear().splits["train"]
    mean, covariance = toy.gaussian_linear_posterior(y)
    residual = theta - mean
    np.testing.assert_allclose(np.cov(residual.T), covariance, atol=0.01)
    assert np.abs(np.corrcoef(residual.T, y.T)[:3, 3:]).max() < 0.02


def test_a_conditional_flow_learns_the_posterior():
    config = gaussian_linear.get_config()
    config.update(epochs=4, batch_size=500, learning_rate=5e-3)
    config.model.update(num_couplings=4, hidden_units=(32,))
    examples = data.load(config, "train")
    model = models.new_flow(config, examples)
    batches = data.evaluation_batches(examples, 500)
    model.adapt(batches)
    model.compile(make_optimizer(config, steps_per_epoch=100))
    model.fit(batches, epochs=config.epochs, verbose=0)
    theta, y = toy.gaussian_linear().splits["test"]
    mean, covariance = toy.gaussian_linear_posterior(y)
    exact = scipy.stats.multivariate_normal(np.zeros(3), covariance).logpdf(theta - mean)
    divergence = np.mean(exact - model.predict(theta, context=y, batch_size=1000, verbose=0))  # KL(exact ‖ flow), nats
    assert -0.01 < divergence < 0.05


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
