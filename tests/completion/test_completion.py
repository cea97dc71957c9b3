"""Operators, most likely events, refinement, and the arguments that are refused."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tests.completion import gaussian
from tfp_realnvp import completion
from tfp_realnvp.completion import operators

pytestmark = pytest.mark.usefixtures("module_eagerly")

IMAGES = np.random.default_rng(0).normal(size=[2, 4, 6, 2]).astype("float32")


# Operators.


def test_the_operators_are_their_formulas():
    mask = np.random.default_rng(1).integers(2, size=[4, 6, 2])
    np.testing.assert_array_equal(completion.Mask(mask)(IMAGES), mask * IMAGES)
    np.testing.assert_array_equal(completion.Identity()(IMAGES), IMAGES)
    means = IMAGES.reshape(2, 2, 2, 3, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(completion.Downsample(2)(tf.constant(IMAGES)), means, rtol=1e-5, atol=1e-6)
    matrix = np.random.default_rng(2).normal(size=[5, 48])
    expected = IMAGES.reshape(2, 48) @ matrix.T
    np.testing.assert_allclose(completion.Measurements(matrix)(tf.constant(IMAGES)), expected, rtol=1e-4, atol=1e-5)
    kernel = np.arange(9.0).reshape(3, 3)
    padded = np.pad(IMAGES, [[0, 0], [1, 1], [1, 1], [0, 0]])
    blurred = sum(kernel[i, j] * padded[:, i : i + 4, j : j + 6] for i in range(3) for j in range(3))
    np.testing.assert_allclose(completion.Blur(kernel)(tf.constant(IMAGES)), blurred, rtol=1e-4, atol=1e-5)


def test_a_pair_of_functions_has_the_gradient_of_its_second_one():
    matrix = np.random.default_rng(0).normal(size=[2, 3]).astype("float32")
    pair = (lambda x: x.numpy() @ matrix.T, lambda y: y.numpy() @ matrix)  # TensorFlow sees no operation of NumPy.
    x, weights = tf.ones([4, 3]), np.random.default_rng(1).normal(size=[4, 2]).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = operators.as_operator(pair)(x)
        total = tf.reduce_sum(weights * y)
    np.testing.assert_allclose(y, x.numpy() @ matrix.T, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(total, x), weights @ matrix, rtol=1e-6)


# Most likely events.


@pytest.fixture(scope="module")
def vectors():
    return gaussian.flow(3)


@pytest.mark.parametrize(("coordinates", "density"), [("latents", r"p(z) N(y; A G(z), noise²)"), ("pixels", "p(x) of")])
def test_the_most_likely_entries_of_a_gaussian_are_their_mean(vectors, coordinates, density):
    mean, covariance = gaussian.moments(vectors)
    rows, mask = vectors.sample(2, seed=0), np.array([[1, 0, 1], [0, 0, 1]])
    mode = completion.most_likely(vectors, np.where(mask, rows, np.nan), mask, coordinates)
    assert density in mode.density
    for event, known in enumerate(mask == 1):
        expected, _ = gaussian.conditional(mean, covariance, known, rows[event, known])
        np.testing.assert_array_equal(mode.images[event, known], rows[event, known])
        np.testing.assert_allclose(mode.images[event, ~known], expected, atol=0.01)
    if coordinates == "pixels":
        np.testing.assert_allclose(mode.log_density, vectors.predict(mode.images, verbose=0), rtol=1e-5)


def test_the_most_likely_vector_of_noisy_observations_is_the_posterior_mean(vectors):
    mean, covariance = gaussian.moments(vectors)
    y, noise = np.array([[1.0, 0.0, -1.0]]), 0.7
    expected = mean + covariance @ np.linalg.inv(covariance + noise**2 * np.eye(3)) @ (y[0] - mean)
    mode = completion.restore_most_likely(vectors, y, completion.Identity(), noise)
    np.testing.assert_allclose(mode.images[0], expected, atol=0.01)


# Refinement.


def tiny(**options):
    options = dict(num_scales=1, filters=2, num_blocks=1, num_components=2, num_bins=2, seed=0) | options
    model = rnvp.SubpixelFlow((2, 2, 1), **options)
    laws.randomize_weights(model.weights)
    return model


@pytest.mark.parametrize("dequantization", ["exact", "uniform"])
def test_fine_images_have_their_probabilities_given_the_coarse_one(dequantization):
    model = tiny(dequantization=dequantization)
    every = np.array(list(itertools.product(range(2), repeat=4)), "uint8").reshape([-1, 2, 2, 1])
    probabilities = np.exp(rnvp.evaluation.exact(model, every)).reshape([2, 8])
    fine = completion.refine(model, np.array([0, 1]).reshape([2, 1, 1, 1]), 500, seed=0)
    assert fine.shape == (2, 500, 2, 2, 1) and fine.dtype == np.uint8
    for level, draws in enumerate(fine):
        assert np.all(draws[:, 0, 0] == level)
        counts = np.bincount(draws.reshape(-1, 4)[:, 1:] @ [4, 2, 1], minlength=8)
        expected = probabilities[level] / probabilities[level].sum()
        assert np.all(np.abs(counts / 500 - expected) < 4 * np.sqrt(expected / 500) + 1e-6)


def test_every_scale_can_be_refined_given_the_class():
    options = dict(num_scales=2, filters=2, num_blocks=1, coarse_units=2, num_bins=5, num_classes=2, seed=0)
    model = rnvp.SubpixelFlow((4, 8, 2), **options)
    laws.randomize_weights(model.weights)
    images = np.random.default_rng(0).integers(5, size=[2, 4, 8, 2])
    for step in (2, 4):
        fine = completion.refine(model, images[:, ::step, ::step], 2, seed=0, labels=[0, 1])
        np.testing.assert_array_equal(fine[:, :, ::step, ::step], np.repeat(images[:, None, ::step, ::step], 2, axis=1))


def test_an_mrcnf_refines_by_its_own_method():
    model = rnvp.MRCNF((4, 4, 1), num_scales=2, num_blocks=1, filters=2, num_bins=17, seed=0)
    coarse = np.random.default_rng(0).integers(17, size=[2, 2, 2, 1])
    expected = model.refine(coarse, 3, seed=1)
    np.testing.assert_array_equal(completion.refine(model, coarse, 3, seed=1), expected)


# Refused arguments.

ROWS = np.zeros([2, 3], "float32")


@pytest.mark.parametrize(
    ("rows", "mask", "options", "message"),
    [
        (ROWS[:, :2], [1, 0, 1], {}, r"images must have shape \[N\] \+ \(3,\); got \(2, 2\)"),
        (ROWS, [1, 0], {}, r"mask must have shape \(3,\) or \(2, 3\); got \(2,\)"),
        (ROWS, [1, 0, 2], {}, "mask must hold 1 where an entry is known and 0 elsewhere; got values such as 2"),
        (ROWS, ["a", "b", "c"], {}, "mask must hold 1 where an entry is known and 0 elsewhere; got entries of <U1"),
        (ROWS, [[1, 0, 1], [0, 0, 0]], {}, "mask must have a known entry in each event; it has none in event 1"),
        (ROWS, [[1, 0, 1], [1, 1, 1]], {}, "mask must have an unknown entry in each event; it has none in event 1"),
        (ROWS + np.nan, [1, 0, 1], {}, "images must be finite; got NaN or infinity"),
        (ROWS, [1, 0, 1], dict(num_samples=3), "num_samples must be an int of at least 4; got 3"),
        (ROWS, [1, 0, 1], dict(burn_in=1.5), "burn_in must be an int of at least 20; got 1.5"),
        (ROWS, [1, 0, 1], dict(num_chains=0), "num_chains must be a positive int; got 0"),
        (ROWS, [1, 0, 1], dict(labels=[0, 0]), "labels and context must be None for this flow"),
    ],
)
def test_completions_that_make_no_sense_are_refused(vectors, rows, mask, options, message):
    with pytest.raises(ValueError, match=message):
        completion.sample(vectors, rows, mask, **options)


def test_levels_out_of_range_are_refused():
    images = np.full([1, 2, 2, 1], 2)
    with pytest.raises(ValueError, match="images must hold integers from 0 to 1; got values from 0 to 2"):
        completion.sample(tiny(), images, np.array([[1, 0], [0, 1]])[..., np.newaxis])


@pytest.mark.parametrize(
    ("y", "operator", "noise", "message"),
    [
        (ROWS, completion.Identity(), 0.0, "noise must be the positive standard deviations of y; got 0.0"),
        (ROWS, completion.Identity(), [1.0, 1.0], r"noise must be a number or broadcast with y, \(2, 3\); got shape"),
        (ROWS + np.inf, completion.Identity(), 1.0, "y must hold finite numbers"),
        (ROWS[:, :2], completion.Identity(), 1.0, r"y must have shape \[N\] \+ \(3,\), as the operator's results; got"),
        (ROWS, completion.Downsample(2), 1.0, r"factor must divide the height and width of images, .*; got 2"),
        (ROWS, completion.Measurements(np.ones([2, 4])), 1.0, "matrix must have 3 columns, one for each entry; got 4"),
        (ROWS, "blur", 1.0, r"operator must be a function of batches, or a pair \(A, Aᵀ\) of them; got 'blur'"),
    ],
)
def test_observations_that_do_not_fit_are_refused(vectors, y, operator, noise, message):
    for restore in (completion.restore, completion.restore_most_likely):
        with pytest.raises(ValueError, match=message):
            restore(vectors, y, operator, noise)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: completion.Mask([0.5]), "mask must hold 1 where an entry is known .* got values such as 0.5"),
        (lambda: completion.Blur([1.0]), r"kernel must be a matrix of numbers; got float64 of shape \(1,\)"),
        (lambda: completion.Blur([[np.nan]]), "kernel must be finite; got NaN or infinity"),
        (lambda: completion.Downsample(0), "factor must be a positive int; got 0"),
        (lambda: completion.Measurements([]), r"matrix must be a matrix of numbers; got float64 of shape \(0,\)"),
    ],
)
def test_operators_of_other_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_coordinates_are_refused(vectors):
    with pytest.raises(ValueError, match='coordinates must be "latents" or "pixels"; got .logits.'):
        completion.most_likely(vectors, ROWS, [1, 0, 1], "logits")
    mask = np.array([[1, 0], [0, 1]])[..., np.newaxis]
    with pytest.raises(ValueError, match='coordinates must be "latents" for a model with exact probabilities'):
        completion.most_likely(tiny(dequantization="exact"), np.zeros([1, 2, 2, 1]), mask, "pixels")


def test_images_that_cannot_be_refined_are_refused(vectors):
    with pytest.raises(ValueError, match="model must be an MRCNF or a SubpixelFlow, which has scales; got a FlowModel"):
        completion.refine(vectors, ROWS)
    with pytest.raises(ValueError, match="model must have exact probabilities of its levels"):
        completion.refine(tiny(refining_steps=1, refining_scales=1), np.zeros([1, 1, 1, 1], int))
    with pytest.raises(ValueError, match=r"images must have shape \[N\] \+ \(1, 1, 1\); got \(1, 2, 2, 1\)"):
        completion.refine(tiny(), np.zeros([1, 2, 2, 1], int))
    with pytest.raises(ValueError, match="images must hold integers from 0 to 1; got others"):
        completion.refine(tiny(), np.full([1, 1, 1, 1], 0.5))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
