"""Features for other learners: latents, and the activations inside of the couplings."""

import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tests.families import FAMILIES
from tfp_realnvp.features import mean_of_quadrants

pytestmark = pytest.mark.usefixtures("module_eagerly")

POINTS = np.random.default_rng(0).normal(size=[6, 3]).astype("float32")
IMAGES = np.random.default_rng(1).integers(17, size=[6, 4, 4, 1]).astype("uint8")


@pytest.fixture(scope="module")
def glow(module_eagerly):
    model = rnvp.Glow((4, 4, 1), num_scales=2, steps_per_scale=2, filters=3, num_bins=17, seed=0)
    laws.randomize_weights(model.weights)
    return model


def test_latents_are_those_of_encode_by_scale(glow):
    by_scale = glow.latents_by_scale(glow.encode(IMAGES))
    flat = [part.reshape(6, -1) for part in by_scale]
    for scale, expected in enumerate(flat):
        np.testing.assert_array_equal(glow.features(IMAGES, "latents", scale), expected)
    np.testing.assert_array_equal(glow.features(IMAGES, "latents"), np.concatenate(flat, axis=1))
    z = glow.encode(IMAGES, batch_size=4)  # A batch of another size may round otherwise.
    in_batches = [part.reshape(6, -1) for part in glow.latents_by_scale(z)]
    np.testing.assert_array_equal(glow.features(IMAGES, "latents", batch_size=4), np.concatenate(in_batches, axis=1))


def test_activations_are_the_last_hidden_layers_of_the_networks():
    model = rnvp.VectorRealNVP((3,), num_couplings=2, hidden_units=[5], norm=None, seed=0)
    laws.randomize_weights(model.weights)
    seen, call = [], rnvp.networks.MLP.call
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rnvp.networks.MLP, "call", lambda self, x: (seen.append(self.dense[0](x)), call(self, x))[1])
        model.encode(POINTS)
    assert len(seen) == 2
    np.testing.assert_allclose(model.features(POINTS), np.concatenate(seen, axis=1), rtol=1e-5)
    np.testing.assert_allclose(model.features(POINTS, scale=0, batch_size=4), model.features(POINTS), rtol=1e-5)


def test_activations_come_by_scale(glow):
    parts = [glow.features(IMAGES, scale=scale) for scale in range(2)]
    assert [part.shape for part in parts] == [(6, 2 * 4 * 3)] * 2  # steps, quadrants, filters
    np.testing.assert_array_equal(glow.features(IMAGES), np.concatenate(parts, axis=1))
    assert all(part.std(axis=0).max() > 0 and part.min() >= 0 for part in parts)


def test_a_graph_records_them_too(glow, in_graphs):
    expected = [glow.features(IMAGES, scale=scale) for scale in range(2)]
    twin = rnvp.Glow.from_config({**glow.get_config(), "rematerialize": True})
    twin.set_weights(glow.get_weights())
    for scale in range(2):
        np.testing.assert_allclose(twin.features(IMAGES, scale=scale), expected[scale], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "side, parts", [(4, (slice(2), slice(2, 4))), (3, (slice(2), slice(1, 3))), (1, (slice(1),) * 2)]
)
def test_images_are_averaged_by_quadrant(side, parts):
    hidden = np.random.default_rng(0).normal(size=[2, side, side, 3]).astype("float32")
    expected = [hidden[:, rows, columns].mean((1, 2)) for rows in parts for columns in parts]
    np.testing.assert_allclose(mean_of_quadrants(tf.constant(hidden)), np.concatenate(expected, axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if not family.is_continuous], ids=lambda family: family.cls.__name__
)
def test_the_networks_of_every_family_record_their_activations(family):
    model = family.cls(**family.small, seed=0)
    x = IMAGES[:2] if len(model.event_shape) == 3 else POINTS[:2]
    features = model.features(x)
    assert features.shape[0] == 2 and features.shape[1] > 0 and np.isfinite(features).all()


def test_a_mixture_needs_no_labels():
    model = rnvp.VectorRealNVP((3,), num_couplings=2, hidden_units=[5], num_classes=2, mixture_base=True, seed=0)
    np.testing.assert_array_equal(model.features(POINTS, "latents"), model.encode(POINTS, np.ones(6, int)))
    assert model.features(POINTS).shape == (6, 10)


@pytest.mark.parametrize(
    "options, arguments, message",
    [
        ({}, dict(kind="logits"), "kind must be one of ['activations', 'latents']; got 'logits'"),
        ({}, dict(scale=1), "scale must be None or an int from 0 to 0; got 1"),
        ({}, dict(scale=-1, kind="latents"), "scale must be None or an int from 0 to 0; got -1"),
        ({}, dict(scale="all"), "scale must be None or an int from 0 to 0; got 'all'"),
        (dict(num_classes=2), {}, "features need a flow that sees no context"),
        (dict(context_size=2), dict(kind="latents"), "features need a flow that sees no context"),
    ],
)
def test_what_has_no_such_features_is_refused(options, arguments, message):
    model = rnvp.VectorRealNVP((3,), num_couplings=2, hidden_units=[5], seed=0, **options)
    with pytest.raises(ValueError) as error:
        model.features(POINTS, **arguments)
    assert message in str(error.value)


def test_networks_without_recorded_activations_are_refused():
    model = rnvp.FFJORD((3,), hidden_units=[4], seed=0)
    with pytest.raises(ValueError, match="kind must be 'latents' for this flow: its networks record no activations"):
        model.features(POINTS)
    assert model.features(POINTS, "latents").shape == (6, 3)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
