"""Flows and targets that are normal distributions, so that every answer is known."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp

tfb, tfd = tfp.bijectors, tfp.distributions

MEAN = np.array([1.0, -2.0], np.float32)
COVARIANCE = np.array([[2.0, 0.8], [0.8, 1.0]], np.float32)
CHOLESKY = np.linalg.cholesky(COVARIANCE)
LOG_Z = 3.0


def log_prob(x):
    """exp(LOG_Z) N(x; MEAN, COVARIANCE)."""
    return tfd.MultivariateNormalTriL(MEAN, CHOLESKY).log_prob(x) + LOG_Z


def modes(x, distance=4.0):
    """Two modes of equal weight, N(x; ±distance, 1), with log Z = 0."""
    of_mode = [tf.reduce_sum(tfd.Normal(at, 1.0).log_prob(x), axis=-1) for at in (-distance, distance)]
    return tf.reduce_logsumexp(of_mode, axis=0) - np.log(2)


def affine(mean=MEAN, cholesky=CHOLESKY):
    """A flow without networks, N(mean, cholesky choleskyᵀ)."""
    bijector = tfb.Chain([tfb.Shift(tf.constant(mean)), tfb.ScaleMatvecTriL(tf.constant(cholesky))])
    return rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), bijector), seed=0)


def trainable():
    """A flow of one shift and scale of each entry, z = (x + shift) · exp(log_scale), to be trained."""
    norm = rnvp.bijectors.ActNorm(rnvp.networks.ChannelAffine(), event_ndims=1)
    return rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(norm)), seed=0)
