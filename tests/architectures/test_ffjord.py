"""FFJORD over vectors and images, with contexts and regularizers; errors."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors import ContinuousFlow

pytestmark = pytest.mark.usefixtures("module_eagerly")

POINTS = np.random.default_rng(0).normal([1.0, -2.0], [2.0, 0.3], [200, 2]).astype("float32")
IMAGES = np.random.default_rng(1).integers(17, size=(4, 4, 4, 1)).astype("uint8")


def vectors(size=2, **options):
    model = rnvp.FFJORD((size,), hidden_units=[4], seed=0, **options)
    laws.randomize_weights(model.weights)
    return model


def images(**options):
    model = rnvp.FFJORD((4, 4, 1), num_scales=2, filters=2, num_bins=17, seed=0, **options)
    laws.randomize_weights(model.weights)
    return model


def blocks(model):
    return [module for module in model.bijector.submodules if isinstance(module, ContinuousFlow)]


def test_vectors_begin_with_their_standardization():
    model = rnvp.FFJORD((2,), num_blocks=2, hidden_units=[4], seed=0)
    model.adapt(POINTS)
    (moments,) = [network for network in model.networks if isinstance(network, rnvp.networks.FixedMoments)]
    np.testing.assert_allclose(moments.mean, POINTS.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, POINTS.var(axis=0), rtol=1e-5)
    assert len(blocks(model)) == 2
    with pytest.raises(ValueError, match="x must vary in every column; got constants in columns \\[1\\]"):
        model.adapt(np.stack([POINTS[:, 0], np.ones(200)], axis=1))


def test_images_have_blocks_before_and_after_each_squeeze():
    model = images(num_blocks=2)
    channels = [block.networks[0].channels for block in blocks(model)]
    assert sorted(channels) == [1, 1, 2, 2, 4, 4]
    assert [part.shape for part in model.latents_by_scale(np.zeros([3, 4, 4, 1]))] == [(3, 2, 2, 2), (3, 2, 2, 2)]


def test_pixels_are_standardized_behind_the_logit():
    model = images()
    model.adapt(IMAGES)
    (moments,) = [network for network in model.networks if isinstance(network, rnvp.networks.FixedMoments)]
    noisy = rnvp.dequantization.uniform(IMAGES, 17, [0, -1])
    logits = rnvp.bijectors.Logit(17, 0.05).forward(noisy).numpy()
    np.testing.assert_allclose(moments.mean, logits.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(moments.variance, logits.var(axis=(0, 1, 2)), rtol=1e-4)


def test_the_density_of_the_plane_integrates_to_one():
    model = vectors(evaluation_tolerance=1e-6)
    side = np.linspace(-8, 8, 81, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    total = np.exp(model.log_likelihood(grid)).sum() * (side[1] - side[0]) ** 2
    assert abs(total - 1) < 1e-3


def test_predictions_repeat_and_depend_on_the_draw():
    model = images()
    first = model.log_likelihood(IMAGES, draw=3)
    np.testing.assert_array_equal(model.log_likelihood(IMAGES, draw=3), first)
    assert np.any(model.log_likelihood(IMAGES, draw=4) != first)
    as_floats = model.log_likelihood(IMAGES.astype("float64"), draw=3)
    np.testing.assert_array_equal(as_floats, first)


def test_the_regularizers_join_the_loss_in_bits_per_dimension():
    options = dict(solver="rk4", num_steps=2)
    plain, regular = (vectors(kinetic_energy=weight, jacobian_norm=0.0, **options) for weight in (0.0, 0.5))
    losses = []
    for model in (plain, regular):
        model.compile(keras.optimizers.SGD(0.0))
        model(POINTS, training=True)
        losses.append([float(loss) for loss in model.losses])
    assert not losses[0] or losses[0] == [0.0]
    field = regular.networks[1] if isinstance(regular.networks[0], rnvp.networks.FixedMoments) else regular.networks[0]
    speed = tf.reduce_mean(tf.square(field(tf.constant(0.5), tf.constant(POINTS)))) / 2
    assert 0.3 < losses[1][0] / (0.5 * 2 * np.log(2) * float(speed)) < 3


def test_contexts_condition_vectors_and_images():
    model = vectors(context_size=2)
    contexts = np.random.default_rng(2).standard_normal([200, 2]).astype("float32")
    nats = model.predict((POINTS, contexts), batch_size=200, verbose=0)
    assert np.any(np.abs(nats - model.predict((POINTS, contexts[::-1]), batch_size=200, verbose=0)) > 1e-3)
    np.testing.assert_allclose(model.given(contexts).log_prob(POINTS), nats, rtol=1e-3, atol=1e-3)
    classes = images(num_classes=3)
    nats = [classes.predict(IMAGES, verbose=0, labels=[label] * 4) for label in range(2)]
    assert np.any(np.abs(nats[0] - nats[1]) > 1e-3)
    assert classes.sample(2, labels=[0, 1], seed=0).shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(event_shape=(2,), num_blocks=0), "num_blocks must be a positive int; got 0"),
        (dict(event_shape=(2,), layer="dense"), 'layer must be "concat" or "concatsquash"; got \'dense\''),
        (dict(event_shape=(2,), solver="bosh"), 'solver must be "bosh3", "dopri5" or "rk4"; got \'bosh\''),
        (dict(event_shape=(2,), tolerance=-1), "tolerance must be positive; got -1"),
        (dict(event_shape=(6, 6, 1), num_scales=3), "divisible by 2^(num_scales - 1) = 4; got (6, 6, 1)"),
        (dict(event_shape=(5000,), hidden_units=[1]), 'divergence must be "hutchinson" for events of more than 4096'),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rnvp.FFJORD(**options)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
