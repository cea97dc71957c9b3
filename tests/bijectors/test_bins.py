"""The probabilities of pixel levels: they add up, they are those of the bins, and samples follow them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

import tfp_realnvp as rnvp
from tfp_realnvp.bijectors import Coupling, Logit, ResidualMixture, Squeeze, bins
from tfp_realnvp.bijectors.masks import ChangeAll

pytestmark = pytest.mark.usefixtures("module_eagerly")


def random_flow(dtype="float32", channels=1, **options):
    """A flow of 2×2 images of 4 levels with random weights, whose probabilities are far from equal."""
    options = dict(num_bins=4, num_scales=1, filters=4, num_blocks=1, dequantization="exact", seed=0) | options
    model = rnvp.SubpixelFlow((2, 2, channels), dtype=dtype, **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
    return model


def every_image(levels, channels=1):
    return np.array(list(itertools.product(range(levels), repeat=4 * channels)), "uint8").reshape([-1, 2, 2, channels])


def latents_of_bins(model, images):
    """The latents at both ends of the images' bins."""
    levels = tf.cast(images, model.events.dtype)
    of_levels = bins.Bins.of(levels, tf.identity, (levels, levels + 1))
    low, high = bins.forward(model.distribution.bijector.bijector, of_levels).edges
    return low.numpy(), high.numpy()


def pixel(channels):
    """A flow of one pixel of 6 levels, in float64, with a random mixture for each channel."""
    params = tf.constant(np.random.default_rng(0).normal(size=[channels + channels // 2 + 9 * channels]))
    mixture = ResidualMixture(channels, num_components=3, unit=0.1)
    flow = [Coupling(ChangeAll(1), lambda kept: params, mixture), tfb.Shift(tf.constant(-0.5, tf.float64))]
    flow += [tfb.Scale(tf.constant(1 / 6, tf.float64))]
    base = tfd.Sample(tfd.Logistic(tf.zeros([], tf.float64), 1.0), channels)
    return tfd.TransformedDistribution(base, tfb.Invert(tfb.Chain(flow)))


@pytest.mark.parametrize("options", [{}, dict(alpha=0.05), dict(alpha=0.0)])
def test_the_probabilities_of_all_images_add_up_to_1(options):
    model = random_flow(**options)
    nats = model.predict(every_image(4), verbose=0)
    assert nats.std() > 1
    assert abs(tf.reduce_logsumexp(nats)) < 1e-6


def test_the_probabilities_of_all_colours_add_up_to_1():
    nats = random_flow("float64", channels=2, num_bins=2).predict(every_image(2, channels=2), verbose=0)
    assert nats.std() > 1
    assert abs(tf.reduce_logsumexp(nats)) < 1e-12


def test_the_probabilities_add_up_to_1_if_the_coarsest_pixels_follow_one_another():
    options = dict(num_bins=2, num_scales=1, filters=4, num_blocks=1, coarse_units=4, dequantization="exact", seed=0)
    model = rnvp.SubpixelFlow((4, 2, 2), dtype="float64", **options)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
    images = np.array(list(itertools.product(range(2), repeat=16)), "uint8").reshape([-1, 4, 2, 2])
    nats = model.predict(images, batch_size=2**13, verbose=0)
    assert abs(tf.reduce_logsumexp(nats)) < 1e-12


def test_a_probability_is_the_integral_of_the_density_over_the_bin():
    """The first and the last bin are open; the density of a channel is given the middles of those before it."""
    points, weights = np.polynomial.legendre.leggauss(40)
    edges = np.linspace(-60.0, 66.0, 127 * 4 - 3)
    x = (edges[:-1, None] + (points + 1) / 8).ravel()  # 40 points in each quarter of a level
    weights = np.tile(weights / 8, len(edges) - 1)
    which = np.clip(np.floor(x), 0, 5).astype(int)

    distribution = pixel(channels=1)
    by_integral = np.bincount(which, np.exp(distribution.log_prob(x[:, None])) * weights)
    probabilities = np.exp(bins.log_prob(distribution, tf.range(6, dtype=tf.float64)[:, tf.newaxis], 6))
    np.testing.assert_allclose(probabilities, by_integral, rtol=1e-9)

    distribution, every = pixel(channels=2), np.array(list(itertools.product(range(6), repeat=2)), float)
    probabilities = np.exp(bins.log_prob(distribution, tf.constant(every), 6)).reshape([6, 6])
    for first in range(6):
        joint = np.exp(distribution.log_prob(np.stack([np.full_like(x, first + 0.5), x], axis=-1))) * weights
        np.testing.assert_allclose(
            probabilities[first] / probabilities[first].sum(), np.bincount(which, joint) / joint.sum(), rtol=1e-9
        )


def test_far_out_levels_keep_probabilities_and_gradients():
    """Levels some hundred scales away from the mixture, in both tails, in float32."""
    locs, log_scales = tf.Variable([0.5]), tf.Variable([-6.0])
    images = tf.constant([[0.0], [1.0], [100.0], [254.0], [255.0]])
    with tf.GradientTape() as tape:
        mixture = rnvp.bijectors.LogisticMixture(tf.zeros([1]), locs, log_scales)
        flow = tfb.Chain([mixture, tfb.Scale(1 / 256)])
        base = tfd.Sample(tfd.Logistic(0.0, 1.0), 1)
        nats = bins.log_prob(tfd.TransformedDistribution(base, tfb.Invert(flow)), images, 256)
    assert np.isfinite(nats).all() and nats[0] < -100 and nats[4] < -100
    for gradient in tape.jacobian(nats, [locs, log_scales]):
        assert np.isfinite(gradient).all() and (np.abs(gradient) > 1).all()


def test_the_gradients_of_narrow_bins_are_those_of_the_logarithm_of_their_width():
    widths = tf.constant([1e-3, 1e-6, 1e-8, 1e-10])
    with tf.GradientTape() as tape:
        tape.watch(widths)
        nats = bins.log_probs(tf.zeros([4]), widths, False, False)
    np.testing.assert_allclose(nats, np.log(widths / 4), rtol=1e-3)
    np.testing.assert_allclose(tape.gradient(nats, widths), 1 / widths, rtol=1e-3)


def test_gradients_are_slopes():
    model = random_flow("float64")
    images, weights = every_image(4)[::51], model.trainable_weights
    with tf.GradientTape() as tape:
        nats = tf.reduce_sum(model(images))
    gradients = tape.gradient(nats, weights)
    rng, step = np.random.default_rng(0), 1e-5
    directions = [rng.standard_normal(weight.shape) for weight in weights]
    values = []
    for sign in (1, -1):
        for weight, direction in zip(weights, directions, strict=True):
            weight.assign_add(sign * step * direction)
        values.append(tf.reduce_sum(model(images)))
        for weight, direction in zip(weights, directions, strict=True):
            weight.assign_add(-sign * step * direction)
    slope = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose((values[0] - values[1]) / (2 * step), slope, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, dict(channels=3), dict(num_bins=6, alpha=0.05), dict(num_bins=6, alpha=0.0)])
def test_the_latent_of_a_sample_is_in_the_bin_of_each_level(options):
    model = random_flow(**options)
    z = np.random.default_rng(0).logistic(size=[500, *model.event_shape]).astype("float32")
    images = model.decode(z)
    assert len(np.unique(images)) > 1
    low, high = latents_of_bins(model, images)
    assert np.all((low <= z + 1e-4) | (images == 0))
    assert np.all((z <= high + 1e-4) | (images == model.num_bins - 1))


def test_samples_have_the_probabilities_of_their_levels():
    model = random_flow(num_bins=2)
    images = model.sample(20_000, seed=0, batch_size=20_000)
    numbers = images.reshape([-1, 4]) @ [8, 4, 2, 1]
    expected = 20_000 * np.exp(model.predict(every_image(2), verbose=0))
    chi_square = np.sum((np.bincount(numbers, minlength=16) - expected) ** 2 / expected)
    assert chi_square < 37.7  # of 15 degrees of freedom: exceeded by chance once in a thousand


def test_decode_gives_back_what_was_encoded():
    model = random_flow(channels=3)
    images = np.random.default_rng(0).integers(4, size=[100, 2, 2, 3]).astype("uint8")
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)


def test_a_model_trained_with_noise_has_exact_probabilities_too():
    model = random_flow()
    images = every_image(4)[::3]
    noisy = rnvp.SubpixelFlow.from_config({**model.get_config(), "dequantization": "uniform"})
    noisy.set_weights(model.get_weights())
    exact = rnvp.evaluation.exact(noisy, images, batch_size=32)
    np.testing.assert_allclose(exact, model.predict(images, verbose=0), rtol=1e-5)
    np.testing.assert_allclose(rnvp.evaluation.exact(model, images), exact, rtol=1e-5)
    assert np.all(exact <= 0)


@pytest.mark.parametrize("condition", [dict(num_classes=3), dict(context_size=2)])
def test_conditional_flows_have_exact_probabilities(condition):
    model = random_flow(num_bins=2, **condition)
    context = np.ones([16], int) if "num_classes" in condition else np.ones([16, 2], "float32")
    nats = model.predict((every_image(2), context), verbose=0)
    assert nats.std() > 0.3 and abs(tf.reduce_logsumexp(nats)) < 1e-5


def test_flows_learn_the_probabilities_and_keep_them_in_files(tmp_path, in_graphs):
    images = np.random.default_rng(0).choice([0, 3], size=[64, 2, 2, 1]).astype("uint8")
    model = random_flow()
    model.compile("adam")
    losses = model.fit(images, epochs=20, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 1
    nats = model.predict(images, verbose=0)
    np.testing.assert_allclose(model.evaluate(images, verbose=0, return_dict=True)["loss"], -nats.mean(), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = rnvp.load_model(tmp_path / "model.keras")
    assert loaded.is_exact
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), nats)
    model.export(tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1")
    np.testing.assert_allclose(served.log_prob(images)["nats"], nats, rtol=1e-5)
    np.testing.assert_array_equal(served.sample(20, 1.0, 3)["images"], model.sample(20, seed=3))


def test_user_flows_in_the_direction_of_tfp_are_exact():
    """The same flow, as a chain of inverses, latent → data."""
    distribution = pixel(channels=2)
    parts = [tfb.Invert(part) for part in reversed(distribution.bijector.bijector.bijectors)]
    turned = tfd.TransformedDistribution(distribution.distribution, tfb.Chain(parts))
    levels = tf.constant([[0.0, 3.0], [5.0, 1.0]], tf.float64)
    np.testing.assert_allclose(bins.log_prob(turned, levels, 6), bins.log_prob(distribution, levels, 6), rtol=1e-12)
    model = rnvp.FlowModel(turned, num_bins=6, dequantization="exact", seed=0)
    assert model.sample(10, seed=0).max() < 6


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: rnvp.RealNVP((4, 4, 1), num_scales=1, filters=2, num_blocks=1, dequantization="exact"), "logistic"),
        (lambda: rnvp.Glow((4, 4, 1), num_scales=1, steps_per_scale=1, filters=2, dequantization="exact"), "logistic"),
        (lambda: rnvp.NICE((4, 4, 1), hidden_units=[4], dequantization="exact"), "pass one map each; a coupling"),
        (
            lambda: rnvp.SubpixelFlow(
                (4, 4, 1), num_scales=1, filters=2, refining_scales=1, refining_steps=1, dequantization="exact"
            ),
            "is no such map",
        ),
        (
            lambda: rnvp.FlowModel(
                tfd.Independent(tfd.Uniform(tf.zeros([2]), 4.0), 1), num_bins=4, dequantization="exact"
            ),
            "logistic latents",
        ),
    ],
)
def test_flows_that_have_only_a_density_are_refused(make, message):
    with pytest.raises(ValueError, match=f'^dequantization must not be "exact" for this flow: .*{message}'):
        make()


def test_flows_with_a_density_alone_have_no_exact_evaluation():
    with pytest.raises(ValueError, match="num_bins must be a number of pixel levels for exact probabilities; got None"):
        rnvp.evaluation.exact(rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], seed=0), np.zeros([4, 2]))
    with pytest.raises(ValueError, match='num_draws must be 1 for dequantization="exact", which has no noise; got 2'):
        rnvp.evaluation.log_likelihood(random_flow(), every_image(4), num_draws=2)


def test_maps_that_differ_between_entries_are_maps():
    """A scale for each entry in front of a coupling would make its middles wrong."""

    def is_mapped(bijector, shape):
        return bins.forward(bijector, bins.Bins.of(tf.zeros([1, *shape]), tf.identity, ())).is_mapped

    assert is_mapped(tfb.Scale(tf.constant([1.0, 2.0])), [2]).all()
    assert not is_mapped(tfb.Chain([Logit(4), Squeeze()]), [2, 2, 1]).any()


def test_latents_that_are_no_numbers_give_no_levels():
    levels = bins.levels_at(tfb.Scale, tf.constant([np.nan, 2.0]), tf.constant([[7.0, 7.0]]), tf.identity, 17)
    np.testing.assert_array_equal(levels, [[np.nan, 3.0]])
    np.testing.assert_array_equal(
        bins.levels_at(tfb.Scale, 1.0, tf.constant([[-5.0, 0.5, 1e9]]), tf.identity, 17), [[0, 0, 16]]
    )
    np.testing.assert_array_equal(bins.levels_at(tfb.Scale, 1.0, tf.constant([[3.0]]), tf.identity, 1), [[0]])
    every = tf.range(0.5, 1000.0)[tf.newaxis]
    np.testing.assert_array_equal(bins.levels_at(tfb.Scale, 1.0, every, tf.identity, 1000), every - 0.5)
    # The logit of a sixth of five levels is NaN.
    np.testing.assert_array_equal(
        bins.levels_at(tfb.Scale, 1.0, tf.constant([[9.0]]), Logit(5, 0.05).forward, 5), [[4]]
    )
