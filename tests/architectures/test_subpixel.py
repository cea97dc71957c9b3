"""SubpixelFlow: which pixels know of which, the density by hand, samples, errors."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import mixture

tfb = tfp.bijectors
tfd = tfp.distributions

pytestmark = pytest.mark.usefixtures("module_eagerly")


def small(event_shape=(4, 4, 2), **options):
    model = rnvp.SubpixelFlow(
        event_shape, **{**dict(num_scales=2, filters=3, num_blocks=1, num_components=2, seed=0), **options}
    )
    laws.randomize_weights(model.weights)
    return model


def test_each_pixel_knows_those_before_it_and_no_others():
    model = small((4, 4, 1), num_bins=None, dtype="float64")
    # The scale and the place in its block that a pixel belongs to, the earlier the smaller.
    order = np.array([[0, 5, 2, 5], [6, 4, 6, 4], [3, 5, 1, 5], [6, 4, 6, 4]]).ravel()
    x = tf.constant(np.random.default_rng(0).standard_normal([1, 4, 4, 1]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = model.bijector.inverse(x)
    jacobian = tape.jacobian(z, x).numpy().reshape(16, 16)
    # The coarser image is z's at its own pixels.
    assert not jacobian[order[:, None] < order[None, :]].any()
    same = (order[:, None] == order[None, :]) & ~np.eye(16, dtype=bool)
    assert not jacobian[same].any()
    assert (np.diag(jacobian) > 0).all()
    finest = jacobian[order == 6]
    assert (finest[:, order < 4] != 0).any() and (finest[:, order == 5] != 0).any()


def test_the_coarsest_pixels_know_those_of_the_groups_before():
    model = small((6, 6, 1), num_scales=1, coarse_units=4, num_bins=None, dtype="float64")
    order = np.array([[0, 5, 2], [6, 4, 6], [3, 5, 1]]).ravel()  # Of the coarsest image.
    x = np.random.default_rng(0).standard_normal([1, 6, 6, 1])
    before = model.bijector.inverse(x)[0, ::2, ::2, 0].numpy().ravel()
    for place in range(9):
        changed = x.copy()
        changed[0, 2 * (place // 3), 2 * (place % 3)] += 0.1
        moved = model.bijector.inverse(changed)[0, ::2, ::2, 0].numpy().ravel() != before
        # Within a group each entry is a linear predictor of those behind it.
        assert moved[order > order[place]].all() and not moved[order < order[place]].any()
        assert moved[order == order[place]].tolist() == [at >= place for at in np.flatnonzero(order == order[place])]


def test_a_new_flow_is_a_mixture_around_the_neighbours_mean():
    model = rnvp.SubpixelFlow((2, 2, 1), num_scales=1, filters=2, num_blocks=1, num_components=3, num_bins=None, seed=0)
    x = np.random.default_rng(0).uniform(-0.5, 0.5, [5, 2, 2, 1]).astype(np.float32)
    top_left, top_right, bottom_left, bottom_right = x.reshape(5, 4).T

    def log_density(pixel, mean, unit):
        mixture = tfd.MixtureSameFamily(
            tfd.Categorical(np.zeros(3, np.float32)),
            tfd.Logistic(mean[:, None] + unit * np.array([-1, 0, 1], np.float32), np.float32(unit)),
        )
        return mixture.log_prob(pixel).numpy()

    # Outside of the image there are zeros.
    expected = log_density(top_left, np.zeros(5, np.float32), 0.02)
    expected += log_density(bottom_right, top_left / 4, 0.01)
    expected += log_density(top_right, (top_left + bottom_right) / 4, 0.01)
    expected += log_density(bottom_left, (top_left + bottom_right) / 4, 0.01)
    np.testing.assert_allclose(model.distribution.log_prob(x), expected, rtol=1e-4)


def test_the_latents_of_a_scale_are_those_of_its_three_places():
    model = small((8, 4, 2))
    z = np.random.default_rng(0).logistic(size=[3, 8, 4, 2]).astype(np.float32)
    latents = model.latents_by_scale(z)
    assert [each.shape for each in latents] == [(3, 4, 2, 6), (3, 2, 1, 6), (3, 2, 1, 2)]
    np.testing.assert_array_equal(model.join_latents(latents), z)


def test_the_latents_of_a_refined_flow_are_those_of_its_glow():
    model = small((8, 4, 2), refining_steps=1, refining_scales=2)
    z = np.random.default_rng(0).logistic(size=[3, 8, 4, 2]).astype(np.float32)
    latents = model.latents_by_scale(z)
    assert [each.shape for each in latents] == [(3, 4, 2, 4), (3, 4, 2, 4)]
    np.testing.assert_array_equal(model.join_latents(latents), z)


def test_images_of_one_channel_are_decoded_in_batches_of_any_size():
    model = small((4, 4, 1), num_scales=1)
    tf.config.run_functions_eagerly(False)
    assert [len(model.sample(number, seed=0)) for number in (4, 3, 2)] == [4, 3, 2]


def test_a_network_runs_once_a_place_and_pass():
    model = small((8, 8, 3), num_scales=3)
    assert len(model.networks) == 3 * 3 + 1
    with_convolutions = tf.function(lambda x: model.distribution.log_prob(x))
    tf.config.run_functions_eagerly(False)
    graph = with_convolutions.get_concrete_function(tf.TensorSpec([2, 8, 8, 3])).graph
    assert sum(operation.type == "Conv2D" for operation in graph.get_operations()) == 9 * (1 + 2 + 1 + 2)


@pytest.mark.parametrize("dequantization", ["uniform", "exact"])
def test_components_of_any_width_have_finite_probabilities_and_gradients(dequantization):
    model = small((4, 4, 1), num_bins=256, dequantization=dequantization)
    for weight in model.trainable_weights:
        if "conv_out" in weight.path:
            weight.assign(1000 * weight)  # As log-scales they are far beyond those of float32.
    images = np.random.default_rng(0).integers(0, 256, [8, 4, 4, 1])
    with tf.GradientTape() as tape:
        nats = model(images)
    gradients = tape.gradient(nats, [weight.value for weight in model.trainable_weights])
    assert np.isfinite(nats).all() and all(np.isfinite(gradient).all() for gradient in gradients)


def test_samples_at_temperature_nothing_are_one_image():
    model = small((4, 4, 3))
    samples = model.sample(3, temperature=0.0, seed=0)
    assert samples.shape == (3, 4, 4, 3) and samples.dtype == np.uint8
    np.testing.assert_array_equal(samples[1:], samples[:-1])
    assert np.any(model.sample(3, seed=0) != model.sample(3, seed=1))


def test_a_few_steps_learn_the_texture_of_an_image():
    model = rnvp.SubpixelFlow((8, 8, 1), num_scales=2, filters=4, num_blocks=1, seed=0)
    ramps = (np.arange(8)[:, None] * 9 + np.arange(8) * 7)[None, :, :, None] + np.arange(64)[:, None, None, None]
    model.compile(rnvp.optimizers.Adam(1e-2))
    before = model.evaluate(ramps.astype(np.uint8), verbose=0, return_dict=True)["bits_per_dim"]
    model.fit(ramps.astype(np.uint8), batch_size=32, epochs=10, verbose=0)
    after = model.evaluate(ramps.astype(np.uint8), verbose=0, return_dict=True)["bits_per_dim"]
    assert after < before - 0.5 and after < 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(event_shape=(3,)), r"event_shape must be \(height, width, channels\); got \(3,\)"),
        (dict(event_shape=(4, 6, 1)), r"divisible by 2\^num_scales = 4; got \(4, 6, 1\)"),
        (dict(num_components=0), "num_components must be a positive int; got 0"),
        (dict(refining_steps=1, refining_scales=3), r"divisible by 2\^refining_scales = 8; got \(4, 4, 2\)"),
        (dict(refining_steps=1, refining_filters=0), "refining_filters must be a positive int; got 0"),
        (dict(coarse_units=-1), "coarse_units must be a positive int; got -1"),
        (dict(unit=0.0), "unit must be positive; got 0.0"),
        (dict(num_scales=0), "num_scales must be a positive int; got 0"),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize("alpha", [None, 0.05])
def test_samples_far_outside_of_the_data_are_finite_and_images_keep_their_density(alpha, monkeypatch):
    model = small((4, 4, 1), num_scales=1, filters=8, coarse_units=8, num_bins=256, alpha=alpha)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(0.1 * rng.standard_normal(weight.shape))
    levels = rng.integers(256, size=(4, 4, 4, 1)).astype("float32") + 0.5
    levels[0], levels[1] = 0.001, 255.999
    z = 300 * rng.standard_normal([4, 4, 4, 1]).astype("float32")
    limited = model.distribution.log_prob(levels)
    assert np.isfinite(model.bijector.forward(z)).all()
    for layer in model.networks:
        if hasattr(layer, "limit"):
            layer.limit = None
    monkeypatch.setattr(mixture, "LARGEST_LOG_SCALE", np.inf)  # The other bound that keeps them finite.
    np.testing.assert_array_equal(model.distribution.log_prob(tf.constant(levels)), limited)
    assert not np.isfinite(model.bijector.forward(tf.constant(z))).all(axis=(1, 2, 3)).any()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
