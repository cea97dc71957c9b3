"""Flows that are Gaussian: affine couplings whose shifts are linear and whose scales are constant."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp

tfb, tfd = tfp.bijectors, tfp.distributions


def flow(size, shift=0.0, scale=1.0, slope=0.6, seed=0, **options):
    """A Gaussian `FlowModel` of vectors, with a correlation between all neighbours.

    Args:
      size: number of entries.
      shift, scale: x = shift + scale · y for the events y of the couplings.
      slope: the size of the conditioners' weights.
      seed: of the weights.
      **options: of `FlowModel`.
    """
    rng, layers = np.random.default_rng(seed), []
    for parity in (0, 1, 0):
        mask = (np.arange(size) + parity) % 2
        network = keras.layers.Dense(2 * size)
        network.build([None, size])
        shifts = slope * rng.uniform(0.5, 1.5, size=[size, size]) * rng.choice([-1, 1], size=[size, size])
        log_scales = rng.uniform(-0.3, 0.3, size=size)
        network.set_weights(
            [np.concatenate([shifts, 0 * shifts], 1), np.concatenate([rng.normal(size=size), log_scales])]
        )
        layers.append(rnvp.bijectors.Coupling(mask, network))
    from_data = tfb.Chain([*layers, tfb.Scale(tf.constant(1 / scale)), tfb.Shift(tf.constant(-shift))])
    base = tfd.Sample(tfd.Normal(0.0, 1.0), size)
    return rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Invert(from_data)), seed=0, **options)


def moments(model):
    """The mean and the covariance of a Gaussian flow."""
    (size,) = model.event_shape
    images = model.bijector.forward(np.eye(size + 1, size, dtype="float32")).numpy().astype("float64")
    slopes = (images[:size] - images[size]).T
    return images[size], slopes @ slopes.T


def conditional(mean, covariance, known, values):
    """The mean and the covariance of the unknown entries, given the values of the known ones."""
    across = covariance[~known][:, known] @ np.linalg.inv(covariance[known][:, known])
    of_unknown = covariance[~known][:, ~known] - across @ covariance[known][:, ~known]
    return mean[~known] + across @ (values - mean[known]), of_unknown
