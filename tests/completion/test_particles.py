"""Completions by flows of few levels: their posteriors are counted."""

import itertools
import logging

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.completion import gaussian
from tfp_realnvp import completion
from tfp_realnvp.bijectors import Coupling, FactorOut
from tfp_realnvp.bijectors.masks import ChangeAll

tfb, tfd = tfp.bijectors, tfp.distributions


def tiny(event_shape, **options):
    """A `SubpixelFlow` of exact probabilities with three levels, whose entries depend on one another."""
    options = dict(num_scales=1, filters=2, num_blocks=1, num_components=2, coarse_units=2, num_bins=3) | options
    model = rnvp.SubpixelFlow(event_shape, dequantization="exact", seed=0, **options)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + 0.7 * rng.standard_normal(weight.shape))
    return model


def assert_posterior(draws, image, mask, probabilities):
    """Independent draws [S] + event_shape have the probabilities [num_bins, ...] of all events, given known entries."""
    given = tuple(level if known else slice(None) for level, known in zip(image.flat, mask.flat, strict=True))
    expected = (probabilities[given] / probabilities[given].sum()).ravel() * len(draws)
    assert np.all(draws[:, mask] == image[mask])
    numbers = np.ravel_multi_index(draws[:, ~mask].T, probabilities[given].shape)
    counts = np.bincount(numbers, minlength=len(expected))
    rare = expected < 5
    counts, expected = (np.append(array[~rare], array[rare].sum() + 1e-9) for array in (counts, expected))
    assert len(expected) > 2
    assert scipy.stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3


COARSE = [[[1, 1], [0, 0]], [[0, 0], [0, 0]]]
FINE = [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]
SECOND_CHANNEL = [[[0, 1], [0, 1]], [[0, 1], [0, 1]]]
BOTH_CHANNELS = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
COLUMN = [[1, 0, 0, 0], [1, 0, 0, 0]]
LAST_PIXELS = [[0, 0, 0, 0], [0, 1, 1, 1]]
EVERY_OTHER = [[0, 1, 0, 1], [1, 0, 1, 0]]


@pytest.mark.parametrize(
    ("event_shape", "masks", "labels"),
    [
        ((2, 2, 2), [COARSE, FINE, SECOND_CHANNEL, BOTH_CHANNELS], [0, 1, 1, 0]),
        ((2, 4, 1), [COLUMN, LAST_PIXELS, EVERY_OTHER], None),
    ],
    ids=["two_channels_and_classes", "one_channel"],
)
def test_completions_have_their_posterior(event_shape, masks, labels):
    model = tiny(event_shape, num_classes=labels and 2)
    every = np.array(list(itertools.product(range(3), repeat=8)), "uint8").reshape([-1, *event_shape])
    of_classes = [(np.full(len(every), label),) for label in (0, 1)] if labels else [()]
    probabilities = [np.exp(model(every, *given).numpy().astype("float64")) for given in of_classes]
    masks = np.array(masks, bool).reshape([-1, *event_shape])
    of_events = [probabilities[label] for label in labels or [0] * len(masks)]
    rng = np.random.default_rng(0)
    images = np.stack([every[rng.choice(len(every), p=each / each.sum())] for each in of_events])
    options = dict(num_samples=4, num_chains=1000, burn_in=40, num_particles=3, batch_size=2, seed=0, verbose=0)
    with pytest.warns(UserWarning, match="have not mixed"):  # Four draws of a chain are too few to tell.
        posterior = completion.sample(model, np.where(masks, images, 255), masks, labels=labels, **options)
    assert posterior.samples.shape == (4000, len(masks), *event_shape) and posterior.samples.dtype == np.uint8
    for event, mask in enumerate(masks):
        assert_posterior(posterior.samples[-1000:, event], images[event], mask, of_events[event].reshape([3] * 8))


@pytest.fixture(scope="module")
def pixel():
    """A flow over one pixel of three channels, each of which depends on those before it."""
    params = tf.constant(0.3 * np.random.default_rng(0).normal(size=[3 + 3 + 3 * 3 * 2]), tf.float32)
    mixture = rnvp.bijectors.ResidualMixture(channels=3, num_components=2, unit=0.08)
    coupling = Coupling(ChangeAll(1), lambda kept: params, mixture)
    flow = tfb.Chain([coupling, tfb.Shift(-0.5), tfb.Scale(1 / 6)])
    base = tfd.Sample(tfd.Logistic(0.0, 1.0), 3)
    distribution = tfd.TransformedDistribution(base, tfb.Invert(flow))
    return rnvp.FlowModel(distribution, num_bins=6, dequantization="exact", seed=0)


def test_channels_of_a_vector_have_their_posterior(pixel):
    every = np.array(list(itertools.product(range(6), repeat=3)))
    probabilities = np.exp(pixel.predict(every, verbose=0)).reshape([6, 6, 6])
    row, mask = np.array([0, 2, 0]), np.array([False, True, False])
    options = dict(num_samples=20, num_chains=200, burn_in=20, num_particles=8, seed=0, verbose=0)
    posterior = completion.sample(pixel, row[np.newaxis], mask, **options)
    assert_posterior(posterior.samples.reshape([20, 200, 3])[::4].reshape([-1, 3]), row, mask, probabilities)
    np.testing.assert_array_equal(np.floor(posterior.values), posterior.samples)
    np.testing.assert_array_equal(posterior.values[..., 1], 2.5)
    assert np.isnan(posterior.r_hat[0, 1]) and np.all(posterior.r_hat[0, [0, 2]] < 1.05)
    assert 0.5 < posterior.acceptance < 1
    again = completion.sample(pixel, row[np.newaxis], mask, **options)
    np.testing.assert_array_equal(again.values, posterior.values)


# Refused arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(max_leapfrogs=6), "max_leapfrogs must be None for a model with exact probabilities, .* got 6"),
        (dict(num_particles=1), "num_particles must be an int of at least 2; got 1"),
        (dict(num_chains=0), "num_chains must be a positive int; got 0"),
        (dict(burn_in=19), "burn_in must be an int of at least 20; got 19"),
    ],
)
def test_particles_that_make_no_sense_are_refused(pixel, options, message):
    with pytest.raises(ValueError, match=message):
        completion.sample(pixel, [[0, 2, 0]], [0, 1, 0], **options)


def test_particles_of_other_models_are_refused():
    with pytest.raises(
        ValueError, match="num_particles must be None for a model without exact probabilities, .* got 8"
    ):
        completion.sample(gaussian.flow(2), [[0.0, 0.0]], [0, 1], num_particles=8)


def exact(bijectors):
    """A flow of these bijectors over two channels of one pixel."""
    base = tfd.Sample(tfd.Logistic(0.0, 1.0), [1, 1, 2])
    distribution = tfd.TransformedDistribution(base, tfb.Invert(tfb.Chain(bijectors)))
    return rnvp.FlowModel(distribution, num_bins=3, dequantization="exact", seed=0)


def test_parts_that_are_independent_of_parts_before_are_refused():
    own = lambda: FactorOut(Coupling(ChangeAll(3), lambda kept: tf.zeros([1, 1, 1]), tfb.Shift), 1)
    model = exact([own(), tfb.Permute([1, 0]), own()])
    with pytest.raises(ValueError, match="model must find each part of the levels given all parts before it"):
        completion.sample(model, np.zeros([1, 1, 1, 2], int), [[[0, 1]]], verbose=0)


def test_levels_that_are_not_finite_are_refused():
    model = exact([Coupling(ChangeAll(3), lambda kept: tf.fill([1, 1, 2], np.nan), tfb.Shift)])
    with pytest.raises(ValueError, match="model must have finite log-probabilities of levels; got NaN or infinity"):
        completion.sample(model, np.zeros([1, 1, 1, 2], int), [[[0, 1]]], verbose=0)


def test_tensorflow_logs_no_warnings_of_the_diagnostics(eagerly):
    records, handler = [], logging.Handler()
    handler.emit = records.append
    tf.get_logger().addHandler(handler)
    try:
        mask = np.array(LAST_PIXELS)[..., np.newaxis]
        completion.sample(tiny((2, 4, 1)), np.zeros([1, 2, 4, 1]), mask, num_samples=4, burn_in=20, seed=0, verbose=0)
    finally:
        tf.get_logger().removeHandler(handler)
    assert not records


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
