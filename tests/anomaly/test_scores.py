"""The scores of flows whose answers are known."""

import functools
import io

import numpy as np
import PIL.Image
import pytest
import scipy.integrate
import scipy.stats
import sklearn.metrics
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.laws import randomize_weights
from tfp_realnvp.anomaly import Complexity, Likelihood, Ratio, Statistics, Typicality, measuring
from tfp_realnvp.anomaly.quantities import Quantities

pytestmark = pytest.mark.usefixtures("module_eagerly")

tfb, tfd = tfp.bijectors, tfp.distributions
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(17, size=[6, 8, 8, 1]).astype("uint8")
SMALL = dict(filters=2, num_bins=17, seed=0)


def gaussian(shift=0.0):
    """A flow of two linear additive couplings and a scale: a Gaussian of four correlated entries."""
    couplings = []
    for number, mask in enumerate(([1, 1, 0, 0], [0, 0, 1, 1])):
        network = rnvp.networks.MLP(2, (), seed=number)
        network.build((None, 2))
        randomize_weights(network.trainable_weights, seed=number)
        couplings.append(rnvp.bijectors.Coupling(rnvp.bijectors.masks.Split(mask), network, rnvp.bijectors.additive))
    flow = tfb.Chain([*couplings, tfb.Scale(0.5), tfb.Shift(-shift)])
    return rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 4), tfb.Invert(flow)), seed=0)


MODELS = {
    "exact": lambda: rnvp.SubpixelFlow((8, 8, 1), num_scales=2, num_blocks=1, dequantization="exact", **SMALL),
    "refined": lambda: rnvp.SubpixelFlow((8, 8, 1), num_scales=2, num_blocks=1, refining_steps=1, **SMALL),
    "glow": lambda: rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=1, **SMALL),
    "nice": lambda: rnvp.NICE((8, 8, 1), hidden_units=[4], num_bins=17, seed=0),
}


@functools.cache
def model_of(name):
    model = MODELS[name]()
    randomize_weights(model.trainable_weights)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_the_scales_add_up_to_the_log_likelihood(name):
    model = model_of(name)
    x = tf.constant(IMAGES, tf.float32)
    batch = Quantities(model, x)
    density = tf.reduce_sum(batch.log_probs_of_latents, axis=1) + tf.reduce_sum(batch.log_dets, axis=1)
    np.testing.assert_allclose(density, model.distribution.log_prob(x + 0.5), rtol=1e-4)
    assert len(batch.log_probs_of_latents[0]) == len(model.latents_by_scale(model.encode(IMAGES)))
    if name != "refined":
        total = tf.reduce_sum(batch.log_probs_of_scales, axis=1)
        np.testing.assert_allclose(total, batch.log_prob if model.is_exact else density, rtol=1e-4)


def test_the_finest_pixels_change_the_finest_scale_alone():
    scales = lambda images: Quantities(model_of("exact"), tf.constant(images, tf.float32)).log_probs_of_scales.numpy()
    changed = IMAGES.copy()
    changed[:, 1, 1] = (changed[:, 1, 1] + 5) % 17  # The top-left pixels of 2×2 blocks are the coarser image.
    before, after = scales(IMAGES), scales(changed)
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], rtol=1e-5)
    assert np.all(abs(after[:, 0] - before[:, 0]) > 1e-3)


@pytest.mark.parametrize("name", ["exact", "glow"])
def test_the_norm_of_the_gradient_is_that_of_differences(name):
    model = model_of(name)
    x = tf.constant(IMAGES, tf.float32) + 0.5
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = model.distribution.log_prob(x)
    direction = tf.math.l2_normalize(tape.gradient(log_prob, x), axis=[1, 2, 3])
    slope = (model.distribution.log_prob(x + 0.01 * direction) - log_prob) / 0.01
    norm = tf.exp(Quantities(model, x - 0.5).log_gradient)
    np.testing.assert_allclose(norm, slope, rtol=0.1)


def test_the_files_of_images_are_lossless_png_files():
    noise = RANDOM.integers(256, size=[2, 8, 8, 3]).astype("uint8")
    images = np.concatenate([noise, np.full([1, 8, 8, 3], 7, np.uint8)])
    bits = Quantities(rnvp.NICE((8, 8, 3), hidden_units=[2], seed=0), tf.constant(images, tf.float32)).bits_of_png
    files = tf.io.encode_png(images, compression=9).numpy()
    np.testing.assert_array_equal(bits, [8 * len(file) for file in files])
    for file, image in zip(files, images, strict=True):
        np.testing.assert_array_equal(PIL.Image.open(io.BytesIO(file)), image)
    assert bits[2] < 0.5 * min(bits[:2])


def test_likelihood_finds_a_shifted_gaussian_as_often_as_the_integral_says():
    """−log p is χ²/2 plus a constant, and noncentral χ²/2 for a shift: P(χ²(λ) > χ²) is the AUROC."""
    model, number = gaussian(), 4000
    ordinary = model.sample(number, seed=0)
    shift = np.array([3.5, -2.0, 2.5, 0.0], np.float32)
    others = model.sample(number, seed=1) + shift
    (features,) = measuring(model, [Likelihood()])(np.concatenate([ordinary, others]), batch_size=8000)
    latent_shift = model.encode(shift[np.newaxis]) - model.encode(np.zeros([1, 4], np.float32))
    central, shifted = scipy.stats.chi2(4), scipy.stats.ncx2(4, np.sum(latent_shift**2))
    exact, _ = scipy.integrate.quad(lambda t: central.cdf(t) * shifted.pdf(t), 0, 200)
    auroc = sklearn.metrics.roc_auc_score(np.repeat([0, 1], number), Likelihood().oddness(features))
    assert 0.6 < exact < 0.95 and abs(auroc - exact) < 0.015
    squares = np.sum(model.encode(ordinary) ** 2, axis=1)
    constant = features[:number, 0] * 4 * np.log(2) - squares / 2
    np.testing.assert_allclose(constant, constant[0], rtol=1e-4)


def test_the_ratio_of_two_gaussians_is_their_discriminant():
    model, general = gaussian(), gaussian(shift=1.0)
    x = model.sample(50, seed=0)
    (features,) = measuring(model, [Ratio(general)])(x)
    expected = general.distribution.log_prob(x) - model.distribution.log_prob(x)
    np.testing.assert_allclose(features[:, 0], expected, rtol=1e-4, atol=1e-4)
    (same,) = measuring(model, [Ratio(gaussian())])(x)
    np.testing.assert_allclose(same, 0.0, atol=1e-4)


def test_several_scores_are_measured_in_one_pass_and_any_batch_size():
    model = model_of("exact")
    scores = [Likelihood(), Likelihood(scale=2), Typicality(), Complexity(), Statistics(), Statistics(complexity=False)]
    together = measuring(model, scores)(IMAGES, batch_size=4)
    assert [features.shape for features in together] == [(6, 1)] * 4 + [(6, 8), (6, 7)]
    (alone,) = measuring(model, [scores[4]])(IMAGES)
    np.testing.assert_allclose(alone, together[4], rtol=1e-4)
    np.testing.assert_array_equal(together[5], together[4][:, :-1])
    np.testing.assert_allclose(together[1][:, 0], -together[4][:, 2] / (64 * np.log(2)), rtol=1e-5)
    nats, png = model.predict(IMAGES, verbose=0), together[4][:, -1]
    np.testing.assert_allclose(together[0][:, 0], -nats / (64 * np.log(2)), rtol=1e-5)
    np.testing.assert_allclose(together[2][:, 0], -nats, rtol=1e-5)
    np.testing.assert_allclose(together[3][:, 0], -nats / np.log(2) - png, atol=1e-2)


def test_conditional_flows_score_events_given_their_contexts():
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], num_classes=3, seed=0)
    randomize_weights(model.trainable_weights)
    x, labels = RANDOM.normal(size=[5, 2]).astype("float32"), np.array([0, 2, 1, 1, 0])
    of_likelihood, of_statistics = measuring(model, [Likelihood(), Statistics(complexity=False)])((x, labels))
    expected = model.given(labels).log_prob(x)
    np.testing.assert_allclose(of_likelihood[:, 0], -expected / (2 * np.log(2)), rtol=1e-4)
    np.testing.assert_allclose(of_statistics[:, 0], expected, rtol=1e-4)


VECTORS = functools.partial(rnvp.VectorRealNVP, (2,), num_couplings=2, hidden_units=[2], seed=0)


@pytest.mark.parametrize(
    "score, make, message",
    [
        (Complexity(), VECTORS, r"1 to 4 channels, which PNG takes, for Complexity\(\); got events of shape \(2,\)"),
        (Statistics(), VECTORS, r"1 to 4 channels, .* for Statistics\(complexity=True\); got events of shape \(2,\)"),
        (Statistics(False), gaussian, "model must be an Architecture, whose latents have scales, .*; got a FlowModel"),
        (Likelihood(1), gaussian, "model must be an Architecture, whose latents have scales, .*; got a FlowModel"),
        (Likelihood(3), lambda: model_of("exact"), "scale must be None or an int from 0 to 2 for this flow; got 3"),
        (
            Likelihood(0),
            lambda: model_of("refined"),
            "scale must be None for this flow, whose layers have other scales",
        ),
        (Ratio(gaussian()), VECTORS, r"general_model must have the event_shape of the model, \(2,\); got \(4,\)"),
    ],
)
def test_scores_that_do_not_fit_the_flow_are_refused(score, make, message):
    with pytest.raises(ValueError, match=message):
        measuring(make(), [Likelihood(), score])


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
