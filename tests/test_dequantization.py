"""Dequantization: noise that is uniform, or learned with its density, and a function of seed and image alone."""

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
from tfp_realnvp import dequantization, evaluation
from tfp_realnvp.dequantization import UniformDequantization, VariationalDequantization
from tfp_realnvp.precision import check_computable

tfd = tfp.distributions


def noise(images, num_bins=256, seed=(0, 0)):
    return dequantization.uniform(tf.constant(images), num_bins, tf.constant(seed, tf.int64)).numpy() - images


def random_images(number, num_bins=256, shape=(8, 8, 3)):
    return np.random.default_rng(0).integers(num_bins, size=(number, *shape)).astype(np.uint8)


@pytest.mark.parametrize("num_bins", [2, 17, 256])
def test_each_value_stays_in_the_bin_of_its_pixel(num_bins):
    images = random_images(2000, num_bins)
    x = dequantization.uniform(tf.constant(images), num_bins, tf.constant([0, 0], tf.int64)).numpy()
    np.testing.assert_array_equal(np.floor(x), images)


def test_noise_is_uniform_and_independent_over_pixels_and_images():
    u = noise(random_images(500))
    assert scipy.stats.kstest(u.ravel()[::7], "uniform").pvalue > 0.01
    flat = u.reshape(500, -1)
    correlation = np.corrcoef(flat[:, :40], rowvar=False) - np.eye(40)  # of pixels, over images
    assert np.abs(correlation).max() < 0.2
    correlation = np.corrcoef(flat[:60]) - np.eye(60)  # of images, over pixels
    assert np.abs(correlation).max() < 0.35


def test_noise_depends_on_the_image_but_not_on_its_batch():
    images = random_images(10)
    together = noise(images)
    np.testing.assert_array_equal(noise(images[3:5]), together[3:5])
    almost = images[:1].copy()
    almost[0, 0, 0, 0] ^= 1
    assert np.abs(noise(almost) - together[:1]).mean() > 0.2


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_noise_is_the_same_bit_for_bit_under_xla(dtype):
    images = tf.constant(random_images(3).astype(dtype))
    for seed in ((0, 0), (2**62, -1)):
        draw = lambda seed: dequantization.uniform(images, 256, seed)
        seed = tf.constant(seed, tf.int64)
        np.testing.assert_array_equal(tf.function(draw, jit_compile=True)(seed), draw(seed))


def test_each_seed_draws_other_noise():
    images = random_images(1)
    draws = [noise(images, seed=seed) for seed in ((0, 0), (0, 1), (1, 0), (0, -1))]
    for i, draw in enumerate(draws):
        for other in draws[:i]:
            assert np.abs(draw - other).mean() > 0.2


def test_images_of_any_integer_or_float_dtype_get_the_same_noise():
    images = random_images(3)
    for dtype in (np.int32, np.int64, np.float32):
        np.testing.assert_array_equal(noise(images.astype(dtype)), noise(images))


# The layers.


def variational(shape, randomized=True, **options):
    layer = VariationalDequantization(**{**dict(filters=4, num_blocks=1, seed=0), **options})
    layer.build((None, *shape))
    check_computable([layer])
    if randomized:
        laws.randomize_weights(layer.weights)
    return layer


LAYERS = {
    "uniform": lambda shape: UniformDequantization(),
    "variational": variational,
    "variational, new": lambda shape: variational(shape, randomized=False),
    "variational, float64": lambda shape: variational(shape, dtype="float64"),
    "variational, bfloat16": lambda shape: variational(shape, dtype="mixed_bfloat16"),
}
NAMES = [pytest.param(n, marks=[pytest.mark.dtype("mixed_bfloat16")] if "bfloat16" in n else []) for n in LAYERS]


@pytest.mark.parametrize("num_bins", [2, 17, 256])
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_keeps_each_value_in_the_bin_of_its_pixel(name, num_bins):
    images = random_images(20, num_bins, shape=(8, 6, 2))
    x, log_q = LAYERS[name](images.shape[1:])(
        tf.constant(images), num_bins=num_bins, seed=tf.constant([0, 0], tf.int64)
    )
    assert x.dtype == tf.float32 and x.shape == images.shape and log_q.shape == (20,)
    np.testing.assert_array_equal(np.floor(x), images)
    assert np.all(np.isfinite(log_q)) and np.ptp(x - images) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_every_layers_noise_is_a_function_of_the_image_and_the_seed(name):
    images, layer = random_images(4), LAYERS[name]((8, 8, 3))
    call = lambda images, *seed: layer(tf.constant(images), num_bins=256, seed=tf.constant(seed, tf.int64))
    for answer, expected in zip(call(images[1:3], 0, 0), call(images, 0, 0), strict=True):
        np.testing.assert_allclose(answer, expected[1:3], rtol=1e-2 if "16" in name else 1e-5, atol=1e-4)
    for other in (call(images, 0, 1), call(images, 1, 0)):
        assert np.abs(other[0] - call(images, 0, 0)[0]).mean() > 0.1


def test_uniform_noise_has_the_density_one():
    images = tf.constant(random_images(3))
    x, log_q = UniformDequantization()(images, num_bins=256, seed=tf.constant([0, 5], tf.int64))
    np.testing.assert_array_equal(x, dequantization.uniform(images, 256, tf.constant([0, 5], tf.int64)))
    np.testing.assert_array_equal(log_q, np.zeros(3))


# The learned noise.


def test_new_variational_noise_is_the_uniform_one():
    images, seed = tf.constant(random_images(10)), tf.constant([0, 0], tf.int64)
    x, log_q = variational((8, 8, 3), randomized=False)(images, num_bins=256, seed=seed)
    np.testing.assert_allclose(x, dequantization.uniform(images, 256, seed), atol=1e-4)
    np.testing.assert_allclose(log_q, np.zeros(10), atol=1e-3)


def logistic_noise(monkeypatch, noise):
    """Has the layers draw this noise in [0, 1) instead of the image's own."""
    monkeypatch.setattr(dequantization, "_noise", lambda images, seed: tf.constant(noise, tf.float32))


def test_log_q_is_the_change_of_variables_of_couplings_that_see_the_image(monkeypatch):
    shape, num_bins = (2, 3, 2), 17
    layer = variational(shape, num_couplings=3, dtype="float64")
    images = random_images(1, num_bins, shape)
    noise = np.random.default_rng(0).uniform(0.01, 0.99, [1, *shape]).astype(np.float32)
    logistic_noise(monkeypatch, noise)
    board = (np.indices(shape[:2]).sum(0) % 2)[..., np.newaxis]

    def flow(epsilon):
        pixels = tf.repeat(tf.constant(2 * images / (num_bins - 1) - 1), len(epsilon), axis=0)
        for number, network in enumerate(layer.networks):
            keeps = board if number % 2 == 0 else 1 - board
            shift, log_scale = tf.split(network(tf.concat([keeps * epsilon, pixels], axis=-1)), 2, axis=-1)
            epsilon = tf.where(keeps == 1, epsilon, (epsilon + shift) * tf.exp(log_scale))
        return tf.sigmoid(epsilon)

    epsilon = scipy.special.logit(np.float64(noise))
    x, log_q = layer(tf.constant(images), num_bins=num_bins, seed=tf.constant([0, 0], tf.int64))
    np.testing.assert_allclose(x - images, flow(tf.constant(epsilon)), atol=1e-5)
    expected = scipy.stats.logistic.logpdf(epsilon).sum() - laws.jacobian_log_det(flow, epsilon[0])
    assert abs(expected) > 0.1
    np.testing.assert_allclose(log_q, [expected], rtol=1e-3)


@pytest.mark.parametrize("level", [0, 3])
def test_its_density_integrates_to_one(monkeypatch, level):
    # ∫ du = ∫ q(u) / q(u) du, over the logistic noise that u is made of, on a grid.
    layer, epsilon = variational((2, 1, 1), num_couplings=2), np.linspace(-12, 12, 161)
    grid = np.stack(np.meshgrid(epsilon, epsilon), axis=-1).reshape(-1, 2)
    logistic_noise(monkeypatch, scipy.special.expit(grid).reshape(-1, 2, 1, 1))
    images = np.tile(np.array([level, 1], np.uint8).reshape(1, 2, 1, 1), [len(grid), 1, 1, 1])
    x, log_q = layer(tf.constant(images), num_bins=4, seed=tf.constant([0, 0], tf.int64))
    assert np.ptp(log_q.numpy()) > 1
    volumes = np.exp(scipy.stats.logistic.logpdf(grid).sum(-1) - log_q) * (epsilon[1] - epsilon[0]) ** 2
    assert volumes.sum() == pytest.approx(1, abs=0.01)
    first, second = (x.numpy() - images).reshape(-1, 2).T
    assert volumes[(first < 0.3) & (second < 0.6)].sum() == pytest.approx(0.3 * 0.6, abs=0.01)


def test_it_depends_on_the_image(monkeypatch):
    logistic_noise(monkeypatch, np.full([2, 4, 4, 1], 0.5))
    images = tf.constant(random_images(2, 17, (4, 4, 1)))
    x, log_q = variational((4, 4, 1))(images, num_bins=17, seed=tf.constant([0, 0], tf.int64))
    noise = x - tf.cast(images, tf.float32)
    assert np.abs(noise[0] - noise[1]).max() > 0.01 and abs(log_q[0] - log_q[1]) > 1e-3


def test_the_density_of_the_bound_reaches_every_weight():
    layer, images = variational((4, 4, 1)), tf.constant(random_images(3, shape=(4, 4, 1)))
    with tf.GradientTape() as tape:
        x, log_q = layer(images, num_bins=256, seed=tf.constant([0, 0], tf.int64))
        loss = tf.reduce_sum(x) - tf.reduce_sum(log_q)
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.all(np.isfinite(gradient)) and np.any(gradient != 0)


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.dtype("mixed_bfloat16"))]
)
def test_noise_that_its_couplings_throw_far_out_has_finite_gradients(dtype):
    # σ(100) is 1 in float32, and exp(100) is infinite.
    layer, images = variational((4, 4, 1), num_couplings=2, dtype=dtype), tf.constant(random_images(3, shape=(4, 4, 1)))
    for network in layer.networks:
        network.f.assign([2.0])
        network.network.conv_out.bias.assign([0.0, 20.0])  # the log-scale is near its bound of e²
    with tf.GradientTape() as tape:
        x, log_q = layer(images, num_bins=256, seed=tf.constant([0, 0], tf.int64))
        loss = tf.reduce_sum(x) - tf.reduce_sum(log_q)
    assert np.all(np.isfinite(log_q)) and np.max(log_q) > 100
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("options", [dict(), dict(num_couplings=2, filters=3, num_blocks=2, name="noise")], ids=str)
def test_the_layer_is_rebuilt_from_its_serialized_form(options):
    layer = VariationalDequantization(seed=3, **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    layers = layer, again
    for each in layers:
        each.build((None, 4, 4, 1))
    for weight, other in zip(*(each.get_weights() for each in layers), strict=True):
        np.testing.assert_array_equal(weight, other)


# Models.


def normal_pixel(mean, deviation, randomized):
    """A model of one pixel, nothing of which is to be trained but its noise, and an image of level 2."""
    noise = VariationalDequantization(num_couplings=1, filters=4, num_blocks=1, seed=0)
    normal = tfd.Independent(tfd.Normal(tf.fill([1, 1, 1], mean), deviation), 3)
    model = rnvp.FlowModel(normal, num_bins=5, seed=0, dequantization=noise)
    if randomized:
        laws.randomize_weights(model.trainable_weights)
    return model, np.full([1, 1, 1, 1], 2, np.uint8)


def test_the_bound_is_the_density_over_that_of_the_noise():
    noise = VariationalDequantization(num_couplings=2, filters=4, num_blocks=1)
    normal = tfd.Independent(tfd.Normal(tf.fill([4, 4, 1], 8.0), 4.0), 3)
    model = rnvp.FlowModel(normal, num_bins=17, seed=4, dequantization=noise)
    laws.randomize_weights(model.trainable_weights)
    images = random_images(5, 17, (4, 4, 1))
    draws = []
    for draw in range(3):
        x, log_q = model.dequantization(tf.constant(images), num_bins=17, seed=tf.constant([4, -1 - draw], tf.int64))
        assert np.abs(log_q).min() > 0.01
        draws.append(model.distribution.log_prob(x) - log_q)
    np.testing.assert_allclose(model(images), draws[0], rtol=1e-4)
    expected = scipy.special.logsumexp(draws, axis=0) - math.log(3)
    np.testing.assert_allclose(evaluation.log_likelihood(model, images, num_draws=3), expected, rtol=1e-4)


def test_more_draws_of_learned_noise_tighten_the_bound_towards_the_probability():
    model, images = normal_pixel(2.3, 0.5, randomized=True)
    probability = np.diff(scipy.stats.norm.cdf([2, 3], 2.3, 0.5))
    single = [float(model.log_likelihood(images, draw=draw)[0]) for draw in range(300)]
    assert np.mean(single) < math.log(probability[0]) - 0.02
    averaged = scipy.special.logsumexp(single) - math.log(300)
    assert averaged == pytest.approx(math.log(probability[0]), abs=0.1)
    np.testing.assert_allclose(evaluation.log_likelihood(model, images, num_draws=300), [averaged], rtol=1e-4)


def test_training_the_noise_tightens_the_bound():
    model, images = normal_pixel(2.0, 0.2, randomized=False)
    bound = lambda: np.mean([model.log_likelihood(images, draw=draw) for draw in range(40)])
    before = bound()
    model.compile(rnvp.optimizers.Adam(0.1))
    for _ in range(15):
        model.train_on_batch(images)
    assert before + 1 < bound() < math.log(0.5) + 0.1


# By name.


def test_get_knows_names_and_layers():
    assert isinstance(dequantization.get("uniform"), UniformDequantization)
    layer = dequantization.get("variational", seed=3, dtype="mixed_bfloat16")
    assert isinstance(layer, VariationalDequantization) and layer.seed == 3
    assert layer.dtype_policy.name == "mixed_bfloat16"
    assert dequantization.get(layer) is layer


def test_get_knows_layers_in_their_serialized_form():
    form = {"class_name": "tfp_realnvp>VariationalDequantization", "config": {"num_couplings": 2, "seed": 5}}
    layer = dequantization.get(form, seed=3, dtype="mixed_bfloat16")
    assert (layer.num_couplings, layer.seed, layer.dtype_policy.name) == (2, 5, "mixed_bfloat16")
    del form["config"]["seed"]
    flow = rnvp.UvA((8, 8, 1), multi_scale=False, filters=2, num_blocks=1, dequantization=form, seed=3)
    assert flow.dequantization.seed == 3
    again = type(flow).from_config(flow.get_config())
    assert again.get_config() == flow.get_config()
    assert again.dequantization.num_couplings == 2


@pytest.mark.parametrize("identifier", ["gaussian", None, 0, UniformDequantization])
def test_get_refuses_anything_else(identifier):
    with pytest.raises(ValueError, match='dequantization must be "uniform", "variational", "exact" or a Keras layer'):
        dequantization.get(identifier)


def test_a_flow_is_rebuilt_with_a_layer_that_takes_no_seed():
    noise = UniformDequantization()
    flow = rnvp.UvA((8, 8, 1), multi_scale=False, filters=2, num_blocks=1, dequantization=noise, seed=3)
    assert isinstance(type(flow).from_config(flow.get_config()).dequantization, UniformDequantization)


@pytest.mark.parametrize("form", [{}, {"class_name": "tfp_realnvp>VariationalDequantization", "config": {"depth": 2}}])
def test_get_refuses_what_describes_no_layer(form):
    with pytest.raises(ValueError, match=r"dequantization must be a layer in Keras's form; got \{"):
        dequantization.get(form)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_couplings=0), "num_couplings must be a positive int; got 0"),
        (dict(filters=0), "filters must be a positive int; got 0"),
        (dict(num_blocks=1.5), "num_blocks must be a positive int; got 1.5"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        variational((4, 4, 1), **options)


def test_learned_noise_is_for_images():
    with pytest.raises(ValueError, match=r"variational dequantization is for images; got a batch of shape \(None, 4\)"):
        VariationalDequantization().build((None, 4))


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
