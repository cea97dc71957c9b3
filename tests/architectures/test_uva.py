"""The UvA tutorial's flows: its numbers of parameters, and its formulas written out."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws

pytestmark = pytest.mark.usefixtures("module_eagerly")


def small(event_shape=(4, 8, 1), **options):
    model = rnvp.UvA(event_shape, **{**dict(filters=2, num_blocks=1, seed=0), **options})
    laws.randomize_weights(model.weights)
    return model


@pytest.mark.parametrize(
    "options, parameters",
    [
        (dict(), 556_312),
        (dict(dequantization="variational"), 628_388),
        (dict(multi_scale=True, dequantization="variational"), 1_711_818),
    ],
)
def test_the_number_of_parameters_is_that_of_the_tutorial(options, parameters):
    model = rnvp.UvA((28, 28, 1), **options)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == parameters


# The tutorial's formulas, over images as PyTorch lays them out: [batch, channels, height, width].


def checkerboard_mask(height, width, invert):
    mask = np.fmod(np.add.outer(np.arange(height), np.arange(width)), 2).reshape(1, 1, height, width)
    return 1 - mask if invert else mask


def channel_mask(channels, invert):
    mask = np.concatenate([np.ones(channels // 2), np.zeros(channels - channels // 2)]).reshape(1, channels, 1, 1)
    return 1 - mask if invert else mask


def coupling(z, ldj, mask, bounded):
    """`CouplingLayer.forward`."""
    output = bounded.network(tf.constant((z * mask).transpose(0, 2, 3, 1))).numpy().transpose(0, 3, 1, 2)
    t, s = np.split(output, 2, axis=1)
    s_fac = np.exp(bounded.f.numpy()).reshape(1, -1, 1, 1)
    s = np.tanh(s / s_fac) * s_fac
    s, t = s * (1 - mask), t * (1 - mask)
    return (z + t) * np.exp(s), ldj + s.sum((1, 2, 3))


def squeeze(z):
    """`SqueezeFlow.forward`."""
    batch, channels, height, width = z.shape
    z = z.reshape(batch, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    return z.reshape(batch, 4 * channels, height // 2, width // 2)


def preprocess(x):
    """`Dequantization.forward` of images whose noise is in them already."""
    size = x[0].size
    z, ldj = x / 256, -np.log(256) * size
    z = z * (1 - 1e-5) + 0.5 * 1e-5
    ldj = ldj + np.log(1 - 1e-5) * size + (-np.log(z) - np.log(1 - z)).sum((1, 2, 3))
    return np.log(z) - np.log(1 - z), ldj


def simple(x, networks):
    z, ldj = preprocess(x)
    for i, network in enumerate(networks):
        z, ldj = coupling(z, ldj, checkerboard_mask(*z.shape[2:], invert=i % 2 == 1), network)
    return [z], ldj


def multi_scale(x, networks):
    z, ldj = preprocess(x)
    for i in range(2):
        z, ldj = coupling(z, ldj, checkerboard_mask(*z.shape[2:], invert=i % 2 == 1), networks[i])
    z = squeeze(z)
    for i in range(2):
        z, ldj = coupling(z, ldj, channel_mask(z.shape[1], invert=i % 2 == 1), networks[2 + i])
    z, z_split = np.split(z, 2, axis=1)
    z = squeeze(z)
    for i in range(4):
        z, ldj = coupling(z, ldj, channel_mask(z.shape[1], invert=i % 2 == 1), networks[4 + i])
    return [z_split, z], ldj


@pytest.mark.parametrize("tutorial, channels", [(simple, 1), (multi_scale, 1), (multi_scale, 2)])
def test_the_flow_is_the_tutorials_formulas(tutorial, channels):
    model = small((4, 8, channels), multi_scale=tutorial is multi_scale, dtype="float64")
    x = np.random.default_rng(0).uniform(1, 255, [3, 4, 8, channels])
    latents, ldj = tutorial(x.transpose(0, 3, 1, 2), model.networks)
    *finer, coarsest = (z.transpose(0, 3, 1, 2) for z in model.latents_by_scale(model.bijector.inverse(x)))
    actual = [*finer, squeeze(coarsest) if finer else coarsest]
    for z, expected in zip(actual, latents, strict=True):
        np.testing.assert_allclose(z, expected, rtol=1e-8, atol=1e-10)
    log_p = sum(scipy.stats.norm.logpdf(z).sum((1, 2, 3)) for z in latents) + ldj
    np.testing.assert_allclose(model.distribution.log_prob(x), log_p, rtol=1e-9)


def test_the_networks_widen_where_the_flow_narrows():
    widths = [network.network.filters for network in small(multi_scale=True, filters=4).networks]
    assert widths == [4, 4, 6, 6, 8, 8, 8, 8]
    assert [network.network.filters for network in small().networks] == [2] * 8
    assert [len(networks) for networks in small(multi_scale=True).networks_by_scale()] == [4, 4]


def test_a_new_flow_is_the_logit():
    x = np.random.default_rng(0).uniform(1, 255, [2, 4, 8, 1]).astype(np.float32)
    for options in (dict(), dict(multi_scale=True)):
        model = rnvp.UvA((4, 8, 1), filters=2, num_blocks=1, **options)
        np.testing.assert_allclose(model.bijector.inverse(x), preprocess(x)[0], rtol=1e-4, atol=1e-4)


def test_the_simple_flow_takes_images_of_odd_sizes():
    model = small((3, 5, 2))
    images = np.random.default_rng(0).integers(256, size=(2, 3, 5, 2)).astype(np.uint8)
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(event_shape=(8,)), r"event_shape must be \(height, width, channels\); got \(8,\)"),
        (dict(event_shape=(6, 8, 1), multi_scale=True), r"divisible by 2\^\(number of scales\) = 4; got \(6, 8, 1\)"),
        (dict(event_shape=(8, 6, 1), multi_scale=True), r"divisible by 2\^\(number of scales\) = 4; got \(8, 6, 1\)"),
        (dict(filters=0), "filters must be a positive int; got 0"),
        (dict(num_blocks=-1), "num_blocks must be a positive int; got -1"),
        (dict(alpha=-0.1), r"alpha must be in \[0, 0.5\); got -0.1"),
        (dict(dequantization="gaussian"), 'dequantization must be "uniform", "variational", "exact" or a Keras layer'),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnvp.UvA(**{"event_shape": (4, 4, 1), "filters": 2, "num_blocks": 1, **arguments})


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
