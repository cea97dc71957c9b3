"""NICE: additive couplings of odd and even entries in turn, a diagonal, logistic latents."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws

X = np.random.default_rng(0).standard_normal([4, 7])


pytestmark = pytest.mark.usefixtures("module_eagerly")


def small(event_shape=(7,), **options):
    model = rnvp.NICE(event_shape, **{**dict(hidden_units=[5, 3], seed=0), **options})
    laws.randomize_weights(model.weights)
    return model


def by_hand(model, x):
    """The latents and log|det| of vectors: sections 3.2, 3.3 and 5.1."""
    *couplings, diagonal = model.networks
    h = np.array(x, np.float64)
    for number, network in enumerate(couplings):
        changed = slice(1, None, 2) if number % 2 == 0 else slice(0, None, 2)  # odd, even, odd, …
        kept = slice(0, None, 2) if number % 2 == 0 else slice(1, None, 2)
        *hidden, kernel, bias = network.get_weights()
        m = h[:, kept]
        for hidden_kernel, hidden_bias in zip(hidden[::2], hidden[1::2], strict=True):
            m = np.maximum(m @ hidden_kernel + hidden_bias, 0)
        h[:, changed] += m @ kernel + bias
    log_scale = 10 * diagonal.values.numpy()
    return h * np.exp(log_scale), log_scale.sum()


@pytest.mark.parametrize("options", [dict(), dict(num_couplings=3), dict(hidden_units=[])], ids=str)
def test_the_flow_is_the_papers_formulas(options):
    model = small(dtype="float64", **options)
    assert len(model.networks) == options.get("num_couplings", 4) + 1
    z, log_det = by_hand(model, X)
    np.testing.assert_allclose(model.encode(X), z, rtol=1e-9)
    assert abs(log_det) > 0.01
    np.testing.assert_allclose(model.bijector.inverse_log_det_jacobian(tf.constant(X), 1), [log_det] * 4, rtol=1e-9)
    expected = scipy.stats.logistic.logpdf(z).sum(-1) + log_det
    np.testing.assert_allclose(model.distribution.log_prob(X), expected, rtol=1e-9)


def test_a_new_flow_is_volume_preserving():
    model = rnvp.NICE((7,), hidden_units=[5], seed=0)
    log_det = model.bijector.inverse_log_det_jacobian(tf.constant(X, tf.float32), 1)
    np.testing.assert_array_equal(log_det, np.zeros(4))


def test_images_are_flattened_in_reading_order():
    image_flow, flow = small((2, 3, 2)), small((12,))
    for weight, other in zip(image_flow.weights, flow.weights, strict=True):
        other.assign(weight)
    images = np.random.default_rng(0).uniform(1, 255, [3, 2, 3, 2]).astype(np.float32)
    unit = images.reshape(3, 12) / 256 - 0.5
    z = image_flow.bijector.inverse(images)
    assert z.shape == (3, 2, 3, 2)
    np.testing.assert_allclose(tf.reshape(z, [3, 12]), flow.bijector.inverse(unit), rtol=1e-4, atol=1e-5)
    expected = flow.distribution.log_prob(unit) - 12 * math.log(256)
    np.testing.assert_allclose(image_flow.distribution.log_prob(images), expected, rtol=1e-5)


def test_the_papers_log_likelihoods_are_those_of_unit_pixels():
    model = small((2, 3, 2), num_bins=17)
    images = np.random.default_rng(0).uniform(1, 16, [3, 2, 3, 2]).astype(np.float32)
    unit = np.log(17) * 12 + model.distribution.log_prob(images).numpy()
    np.testing.assert_allclose(model.nats_of_unit_pixels(model.distribution.log_prob(images)), unit, rtol=1e-6)
    z, log_det = by_hand(model, images.reshape(3, 12) / 17 - 0.5)
    np.testing.assert_allclose(unit, scipy.stats.logistic.logpdf(z).sum(-1) + log_det, rtol=1e-4)


def test_the_temperature_scales_logistic_latents():
    model = small(dtype="float64")
    z = model.encode(model.sample(2000, seed=0))
    assert scipy.stats.kstest(z.ravel(), "logistic").pvalue > 0.01
    half = model.encode(model.sample(2000, temperature=0.5, seed=0))
    np.testing.assert_allclose(half, z / 2, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(model.sample(2, temperature=0), model.decode(np.zeros([2, 7])), atol=1e-6)


def test_a_class_has_its_own_diagonal():
    model = small(num_classes=2, dtype="float64")
    same = np.repeat(X[:1], 2, axis=0)
    log_dets = model.given([0, 1]).bijector.inverse_log_det_jacobian(tf.constant(same), 1)
    diagonal = model.networks[-1]
    np.testing.assert_allclose(log_dets, 10 * (diagonal.kernel + diagonal.bias).numpy().sum(-1), rtol=1e-9)


def num_parameters(size, hidden_units, num_couplings, num_classes=0):
    total = size * (1 + num_classes)
    for number in range(num_couplings):
        kept = (size + 1) // 2 if number % 2 == 0 else size // 2
        sizes = [kept + num_classes, *hidden_units, size - kept]
        total += sum((first + 1) * second for first, second in zip(sizes, sizes[1:], strict=False))
    return total


@pytest.mark.parametrize(
    "event_shape, options",
    [
        ((28, 28, 1), dict(hidden_units=[100] * 5, num_couplings=4)),
        ((7,), dict(hidden_units=[5, 3], num_couplings=3, num_classes=2)),
    ],
)
def test_the_number_of_its_parameters(event_shape, options):
    model = rnvp.NICE(event_shape, **options)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == num_parameters(math.prod(event_shape), **options)
    assert not model.non_trainable_weights


def test_by_default_it_has_the_sizes_of_the_papers_mnist_model():
    options = rnvp.NICE((4,)).options
    assert (options.num_couplings, tuple(options.hidden_units), options.alpha) == (4, (1000,) * 5, None)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(event_shape=(8, 8)), r"event_shape must be .*got \(8, 8\)"),
        (dict(event_shape=(1,)), r"event_shape must have at least two entries; got \(1,\)"),
        (dict(event_shape=(1, 1, 1)), r"event_shape must have at least two entries; got \(1, 1, 1\)"),
        (dict(num_couplings=0), "num_couplings must be a positive int; got 0"),
        (dict(hidden_units=[8, 0]), r"hidden_units must be positive ints; got .*\(8, 0\)"),
        (dict(context_size=-1), "context_size must be None or a positive int; got -1"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnvp.NICE(**{"event_shape": (4,), "hidden_units": [3], **arguments})


def test_training_in_a_graph_in_float32(in_graphs):
    model = rnvp.NICE((4,), hidden_units=(8,), num_bins=None, seed=0)
    model.compile()
    model.fit(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32), epochs=2, verbose=0)
    assert all(np.any(weight) for weight in model.get_weights())


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
