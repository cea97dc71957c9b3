"""Glow: the paper's figure 2, parameter for parameter and number for number, and its classes."""

import math

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import ActNorm, Coupling
from tfp_realnvp.bijectors.masks import Channel

tfb = tfp.bijectors
tfd = tfp.distributions

IMAGES = np.random.default_rng(0).integers(256, size=(32, 4, 4, 1)).astype(np.uint8)


pytestmark = pytest.mark.usefixtures("module_eagerly")


def small(event_shape=(4, 4, 1), **options):
    return rnvp.Glow(event_shape, **{**dict(num_scales=2, steps_per_scale=1, filters=4, seed=0), **options})


def network(model, name):
    return next(network for network in model.networks if network.name == name)


# The parameters.


def num_parameters(event_shape, num_scales, steps_per_scale, filters, num_classes=0):
    """Figure 2 and section 3.3 in numbers: C channels after the squeeze, a context of `num_classes` more."""
    *_, channels = event_shape
    total = 0
    for scale in range(num_scales):
        channels *= 4
        height, width = (size // 2 ** (scale + 1) for size in event_shape[:2])
        maps, num_maps = (height * width * num_classes * 8, 8) if num_classes else (0, 0)
        hidden = (9 * (channels // 2 + num_maps) * filters + filters) + (filters**2 + filters) + maps
        step = 2 * channels + channels**2 + hidden + 9 * filters * channels + channels
        is_last = scale == num_scales - 1
        prior = 2 * channels * (height * width * (1 + num_classes) if num_classes else is_last)
        if not is_last:
            prior += 9 * (channels // 2 + num_maps) * channels + channels + maps
        total += steps_per_scale * step + prior
        channels //= 2
    return total


CONFIGURATIONS = [
    dict(event_shape=(32, 32, 3), num_scales=3, steps_per_scale=4, filters=64),
    dict(event_shape=(8, 4, 1), num_scales=2, steps_per_scale=2, filters=3, num_classes=5),
]


@pytest.mark.parametrize("options", CONFIGURATIONS)
@pytest.mark.parametrize("factorized", [True, False])
def test_the_trainable_parameters_are_those_of_the_papers_description(options, factorized):
    model = rnvp.Glow(factorized=factorized, **options)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == num_parameters(**options)


@pytest.mark.parametrize("factorized", [True, False])
def test_permutations_and_signs_are_fixed_and_the_act_norms_know_whether_they_are_initialized(factorized):
    model = small((8, 4, 1), steps_per_scale=2, factorized=factorized)
    names = [weight.name for weight in model.non_trainable_weights]
    fixed = ["permutation", "sign"] if factorized else []
    assert sorted(names) == sorted(["initialized", *fixed] * 4)
    assert sum(math.prod(w.shape) for w in model.non_trainable_weights) == 4 + (2 * (16 + 4 + 64 + 8) if fixed else 0)


def test_additive_couplings_have_no_scales():
    # Their networks end in half as many channels, at scales of 4 and 8.
    difference = sum((9 * 4 + 1) * channels // 2 for channels in (4, 8))
    counts = [sum(math.prod(w.shape) for w in small(use_affine=b).trainable_weights) for b in (True, False)]
    assert counts[0] - counts[1] == difference
    model = small(use_affine=False, num_bins=None)
    laws.randomize_weights([w for w in model.weights if "coupling" in w.path])  # the rest begins at volume 1
    x = np.random.default_rng(0).standard_normal([3, 4, 4, 1]).astype(np.float32)
    np.testing.assert_allclose(model.bijector.inverse_log_det_jacobian(tf.constant(x), 3), np.zeros(3), atol=1e-5)
    assert np.abs(model.encode(x) - small(num_bins=None).encode(x)).max() > 0.1


def test_a_seed_repeats_the_initialization_and_another_changes_it():
    weights = [np.concatenate([w.ravel() for w in small(seed=seed).get_weights()]) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.any(weights[0] != weights[2])
    matrices = [w.numpy().ravel()[:9] for w in small(steps_per_scale=3).weights if w.name == "factors"]
    assert len({tuple(matrix) for matrix in matrices}) == 6


# The flow.


def squeeze(x):
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height // 2, width // 2, 4 * channels)


def normal(z, mean, log_deviation):
    return scipy.stats.norm.logpdf(z, mean, np.exp(log_deviation)).sum((1, 2, 3))


SLOPES = {  # of a coupling, from what its network emits
    "sigmoid": lambda s, _: scipy.special.expit(s + 2),
    "tanh": lambda s, bounded: np.exp(np.exp(bounded.f) * np.tanh(s / np.exp(bounded.f))),
}


def by_hand(model, x):
    """log p(x), with the learned priors as the densities that the paper writes, and the latents normalized by them."""
    options, log_p, latents, see = model.options, 0.0, [], lambda name, h: network(model, name)(tf.constant(h)).numpy()
    for scale in range(options.num_scales):
        x = squeeze(x)
        _, height, width, channels = x.shape
        for step in range(options.steps_per_scale):
            name = f"scale_{scale}_step_{step}"
            norm, matrix = network(model, f"{name}_act_norm"), network(model, f"{name}_convolution")
            x = (x + norm.shift.numpy()) * np.exp(norm.log_scale.numpy())
            kernel = matrix(x)[0].numpy()
            x = x @ kernel
            log_p += height * width * (norm.log_scale.numpy().sum() + np.linalg.slogdet(kernel)[1])
            kept, changed = np.split(x, 2, axis=-1)
            conditioner = network(model, f"{name}_coupling")
            shift, raw = np.split(conditioner.network(tf.constant(kept)).numpy(), 2, axis=-1)
            slope = SLOPES[options.bound](raw, conditioner)
            x = np.concatenate([kept, (changed + shift) * slope], axis=-1)
            log_p += np.log(slope).sum((1, 2, 3))
        if scale < options.num_scales - 1:
            x, left = np.split(x, 2, axis=-1)
            shift, log_scale = np.split(see(f"scale_{scale}_split_prior", x), 2, axis=-1)
            log_p += normal(left, -shift, -log_scale)
            latents.append((left + shift) * np.exp(log_scale))
    shift, log_scale = np.split(network(model, f"scale_{scale}_learned_prior").values.numpy(), 2)
    log_p += normal(x, -shift, -log_scale)
    return log_p, [*latents, (x + shift) * np.exp(log_scale)]


@pytest.mark.parametrize(
    "options",
    [dict(num_scales=3), dict(steps_per_scale=2, factorized=False), dict(bound="tanh")],
    ids=str,
)
def test_the_flow_is_that_of_the_papers_figure_with_its_learned_priors(options):
    model = small((8, 16, 1), num_bins=None, dtype="float64", **options)
    laws.randomize_weights(model.weights)
    x = np.random.default_rng(0).standard_normal([3, 8, 16, 1])
    log_p, latents = by_hand(model, x)
    np.testing.assert_allclose(model.distribution.log_prob(x), log_p, rtol=1e-9)
    *finer, coarsest = model.latents_by_scale(model.encode(x))
    for z, expected in zip([*finer, squeeze(coarsest)], latents, strict=True):
        np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-9)


def test_a_split_prior_is_the_conditional_normal_of_what_leaves():
    model = small(dtype="float64", num_bins=None)
    laws.randomize_weights(model.weights)
    prior = network(model, "scale_0_split_prior")
    h = np.random.default_rng(0).standard_normal([5, 2, 2, 4])
    base = tfd.Sample(tfd.Normal(tf.zeros([], tf.float64), 1.0), (2, 2, 4))
    flow = tfd.TransformedDistribution(base, tfb.Invert(Coupling(Channel(), prior)))
    stays, leaves = np.split(h, 2, axis=-1)
    shift, log_scale = np.split(prior(stays).numpy(), 2, axis=-1)
    assert np.abs(shift).min() > 1e-4 and np.abs(log_scale).min() > 1e-4
    expected = normal(stays, 0, 0) + normal(leaves, -shift, -log_scale)
    np.testing.assert_allclose(flow.log_prob(h), expected, rtol=1e-12)


def test_pixels_are_centred_and_scaled_without_a_logit_or_with_one():
    x = tf.constant(np.random.default_rng(0).uniform(1, 255, size=[3, 4, 4, 1]), tf.float32)
    model, raw, logit = small(), small(num_bins=None), small(alpha=0.05)
    for other in (model, raw, logit):
        laws.randomize_weights(other.weights)
    np.testing.assert_allclose(model.bijector.inverse(x), raw.bijector.inverse(x / 256 - 0.5), rtol=1e-3, atol=1e-4)
    expected = raw.distribution.log_prob(x / 256 - 0.5) - 16 * np.log(256)
    np.testing.assert_allclose(model.distribution.log_prob(x), expected, rtol=1e-5)
    p = 0.05 + 0.9 * x / 256
    expected = raw.bijector.inverse(tf.math.log(p) - tf.math.log1p(-p))
    np.testing.assert_allclose(logit.bijector.inverse(x), expected, rtol=1e-3, atol=1e-4)


def test_it_is_fully_convolutional():
    model = small()
    laws.randomize_weights(model.weights)
    assert model.sample(3, image_size=(8, 12), seed=0).shape == (3, 8, 12, 1)
    larger = np.random.default_rng(0).uniform(1, 255, size=(2, 8, 12, 1)).astype(np.float32)
    z = model.bijector.inverse(larger)
    np.testing.assert_allclose(model.bijector.forward(tf.identity(z)), larger, rtol=1e-3, atol=1e-2)


def test_at_temperature_zero_it_draws_the_image_of_the_means():
    model = small()
    laws.randomize_weights(model.weights)
    images = [model.sample(3, temperature=0, seed=seed) for seed in (0, 1)]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], np.repeat(images[0][:1], 3, axis=0))
    np.testing.assert_array_equal(images[0], model.decode(np.zeros([3, 4, 4, 1])))
    assert np.any(model.sample(3, temperature=0.5, seed=0) != images[0])


# The initialization.


@pytest.mark.parametrize("options", [dict(), dict(num_classes=3), dict(use_affine=False)], ids=str)
def test_initialize_makes_every_act_norm_give_mean_0_and_variance_1(options, monkeypatch):
    model, labels = small(steps_per_scale=2, **options), np.arange(32) % 3 if options.get("num_classes") else None
    laws.randomize_weights([weight for weight in model.weights if "coupling" in weight.path])
    outputs, forward = [], ActNorm._forward_and_log_det

    def recorded(self, x):
        y, log_det = forward(self, x)
        outputs.append(y.numpy())
        return y, log_det

    model.initialize(IMAGES, labels)
    monkeypatch.setattr(ActNorm, "_forward_and_log_det", recorded)
    model(IMAGES, labels)
    assert [y.shape[1:] for y in outputs] == [(2, 2, 4)] * 2 + [(1, 1, 8)] * 2
    for y in outputs:
        np.testing.assert_allclose(y.mean((0, 1, 2)), np.zeros(y.shape[-1]), atol=1e-3)
        np.testing.assert_allclose(y.std((0, 1, 2)), np.ones(y.shape[-1]), rtol=1e-2)


def test_fit_initializes_a_new_flow_and_leaves_one_that_was_read_from_a_file(tmp_path):
    model = small()
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(IMAGES, batch_size=16, verbose=0)
    of_first, *_ = (w.numpy() for w in model.weights if w.name == "log_scale")
    np.testing.assert_allclose(of_first, [-np.log(1 / np.sqrt(12))] * 4, atol=0.2)  # of uniform pixels
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    again.fit(IMAGES // 2, batch_size=16, verbose=0)
    for weight, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


# The classes.

LABELS = np.arange(32) % 2
DARK_AND_BRIGHT = (
    np.random.default_rng(0).normal(np.where(LABELS, 190, 60)[:, None, None, None], 12, size=(32, 4, 4, 1)).round()
).astype(np.uint8)


@pytest.fixture(scope="module")
def classifier():
    """A flow of dark and bright images whose prior has the moments of each class's latents, its other weights new."""
    model = small(num_scales=1, num_classes=2, alpha=0.05)
    model.initialize(DARK_AND_BRIGHT, LABELS)
    z = model.given(LABELS).bijector.inverse(tf.cast(DARK_AND_BRIGHT, tf.float32) + 0.5)
    prior = network(model, "scale_0_learned_prior")
    moments = []
    for label in range(2):
        squeezed = squeeze(z.numpy()[label == LABELS])
        moments.append(np.concatenate([-squeezed.mean((0, 1, 2)), -np.log(squeezed.std((0, 1, 2)))]))
    prior.kernel.assign(np.broadcast_to(moments, prior.kernel.shape))
    return model


def test_the_latents_of_each_class_are_normalized_by_its_own_prior(classifier):
    z = classifier.encode(DARK_AND_BRIGHT, LABELS)
    for label in range(2):
        assert abs(z[label == LABELS].mean()) < 0.01 and z[label == LABELS].std() == pytest.approx(1, abs=0.01)
    assert np.abs(classifier.encode(DARK_AND_BRIGHT, 1 - LABELS)).mean() > 3


def test_classes_that_differ_are_told_apart(classifier):
    predicted = classifier.classify(DARK_AND_BRIGHT, batch_size=12)
    assert predicted.dtype.kind == "i"
    np.testing.assert_array_equal(predicted, LABELS)


@pytest.mark.parametrize("num_draws", [1, 3])
def test_class_probabilities_are_bayes_rule_over_the_mean_log_likelihoods(classifier, num_draws):
    grey = np.linspace(90, 150, 32)[:, None, None, None]
    images = np.random.default_rng(1).normal(grey, 12, size=(32, 4, 4, 1)).round().astype(np.uint8)
    labels = [np.full(32, label) for label in range(2)]
    draws = [[classifier.log_likelihood(images, each, draw) for each in labels] for draw in range(num_draws)]
    nats = np.mean(draws, axis=0).T
    probabilities = classifier.class_probabilities(images, batch_size=12, num_draws=num_draws)
    np.testing.assert_allclose(probabilities.sum(-1), np.ones(32), rtol=1e-5)
    likelihoods = np.exp(np.float64(nats - nats.max(-1, keepdims=True)))
    expected = likelihoods / likelihoods.sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-3)
    assert np.ptp(probabilities[:, 0]) > 0.5 and np.any(np.abs(probabilities[:, 0] - 0.5) < 0.499)


def test_samples_are_of_the_classes_that_are_asked_for(classifier):
    labels = np.arange(20) % 2
    images = classifier.sample(20, labels=labels, seed=0)
    assert images.shape == (20, 4, 4, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(images.mean((1, 2, 3)) > 125, labels)
    for label in range(2):
        assert np.all((classifier.sample(5, labels=label, seed=0).mean((1, 2, 3)) > 125) == label)
    means = classifier.sample(40, seed=0).mean((1, 2, 3)) > 125
    assert 5 < means.sum() < 35  # without labels they are drawn
    cold = classifier.sample(4, labels=[0, 1, 0, 1], temperature=0, seed=0)
    np.testing.assert_array_equal(cold[:2], cold[2:])


def test_every_network_sees_the_class(classifier):
    model = small(num_classes=2, num_bins=None)
    laws.randomize_weights(model.weights)
    x = tf.constant(np.random.default_rng(0).standard_normal([4, 4, 4, 1]), tf.float32)
    with tf.GradientTape() as tape:
        log_prob = model.given([0, 0, 0, 1]).log_prob(x)
    conditioned = [each for each in model.networks if each.name.endswith(("coupling", "split_prior"))]
    kernels = [each.maps for each in conditioned]
    kernels += [network(model, f"scale_{scale}_learned_prior").kernel for scale in range(2)]
    assert len(kernels) == 2 * model.options.steps_per_scale + 3
    for gradient in map(np.asarray, tape.gradient(log_prob, [kernel.value for kernel in kernels])):
        assert np.all(np.abs(gradient).sum((0, 1, 3)) > 0)  # at each class


@pytest.mark.dtype("mixed_bfloat16")
def test_a_copy_in_another_precision_and_one_from_a_file_classify_alike(classifier, tmp_path):
    expected = classifier.class_probabilities(DARK_AND_BRIGHT)
    classifier.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.class_probabilities(DARK_AND_BRIGHT), expected)
    mixed = classifier.with_dtype("mixed_bfloat16")
    assert mixed.dtype_policy.name == "mixed_bfloat16"
    np.testing.assert_array_equal(mixed.classify(DARK_AND_BRIGHT), LABELS)
    exact = mixed.with_dtype("float32")
    np.testing.assert_array_equal(exact.class_probabilities(DARK_AND_BRIGHT), expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(event_shape=(8,)), r"event_shape must be \(height, width, channels\); got \(8,\)"),
        (dict(event_shape=(8, 8)), r"event_shape must be .*got \(8, 8\)"),
        (dict(event_shape=(6, 8, 1)), r"divisible by 2\^num_scales = 4; got \(6, 8, 1\)"),
        (dict(event_shape=(8, 6, 1)), r"divisible by 2\^num_scales = 4; got \(8, 6, 1\)"),
        (dict(num_scales=0), "num_scales must be a positive int; got 0"),
        (dict(steps_per_scale=1.5), "steps_per_scale must be a positive int; got 1.5"),
        (dict(filters=-1), "filters must be a positive int; got -1"),
        (dict(bound="exp"), r"bound must be one of \['sigmoid', 'tanh'\]; got 'exp'"),
        (dict(num_classes=2, context_size=3), "num_classes and context_size exclude each other; got 2 and 3"),
        (dict(num_classes=0), "num_classes must be None or a positive int; got 0"),
        (dict(alpha=0.5), r"alpha must be in \[0, 0.5\); got 0.5"),
        (dict(dequantization="none"), 'dequantization must be "uniform", "variational", "exact" or a Keras layer; got'),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_a_flow_without_classes_and_one_without_draws_classify_nothing(classifier):
    with pytest.raises(ValueError, match="num_classes must be given to a flow for it to classify; got None"):
        small().classify(IMAGES)
    with pytest.raises(ValueError, match="num_draws must be a positive int; got 0"):
        classifier.classify(DARK_AND_BRIGHT, num_draws=0)


@pytest.mark.parametrize("labels", [2, -1, [0, 1, 2], 0.5])
def test_labels_that_are_no_classes_are_refused(classifier, labels):
    with pytest.raises(ValueError, match="labels must hold the labels of a class-conditional flow, ints from 0 to 1"):
        classifier.sample(3, labels=labels)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
