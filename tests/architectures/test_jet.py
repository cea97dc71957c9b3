"""Jet against its authors' own code (data/jet_small), its beginning, couplings, sizes and whitening; errors."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tfp_realnvp.architectures import official_jet
from train.configs import jet_imagenet64

pytestmark = pytest.mark.usefixtures("module_eagerly")

ORACLE = np.load(pathlib.Path(__file__).parents[1] / "data" / "jet_small" / "jet_small.npz")
WEIGHTS = {name.removeprefix("weights/"): ORACLE[name] for name in ORACLE.files if name.startswith("weights/")}
SIZE = 8 * 8 * 3
IMAGES = np.random.default_rng(0).integers(256, size=(8, 4, 4, 2)).astype("uint8")
SMALL = dict(event_shape=(4, 4, 2), patch_size=2, num_couplings=2, num_blocks=1, width=4, num_heads=2, seed=0)


def official(**options):
    arguments = dict(event_shape=(8, 8, 3), patch_size=2, num_heads=2, scale_factor=2.0, seed=0)
    return rnvp.Jet.from_official_weights(WEIGHTS, **{**arguments, **options})


@pytest.fixture(scope="module")
def model():
    return official()


def authors_pixels(x):
    return 2 * np.asarray(x) / 255 - 1


def assert_close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_the_sizes_are_read_from_the_weights(model):
    expected = dict(num_couplings=8, num_blocks=2, width=16, kinds=(["channels"] + ["spatial"] * 3) * 2)
    assert {name: model.get_config()[name] for name in expected} == expected


def test_latents_log_dets_densities_and_their_gradients_are_those_of_the_authors(model):
    x = tf.constant(ORACLE["images"] + ORACLE["noise"])
    with tf.GradientTape() as tape:
        z, log_det = model.bijector.inverse(x), model.bijector.inverse_log_det_jacobian(x, 3)
        log_prob = model.distribution.log_prob(x)  # It finds the pass of z.
        bits = -tf.reduce_mean(log_prob) / (SIZE * np.log(2))
    assert_close(log_prob, ORACLE["log_prob_pixels"], 2e-6)
    assert_close(bits, ORACLE["mean_bits_per_dim"], 2e-6)
    assert_close(z, ORACLE["latents"], 2e-5)
    assert_close(log_det + SIZE * np.log(127.5), ORACLE["log_det"], 2e-5)
    pairs = official_jet.values_of_networks(
        model, {name: ORACLE[f"gradients/{name}"] for name in WEIGHTS if "masks" not in name}
    )
    assert {id(weight) for weight, _ in pairs} == {id(weight) for weight in model.trainable_weights}
    gradients = tape.gradient(bits, [weight.value for weight, _ in pairs])
    for gradient, (weight, expected) in zip(gradients, pairs, strict=True):
        error = np.linalg.norm(gradient - expected)
        assert error <= 1e-4 * np.linalg.norm(expected), weight.path


def test_each_coupling_is_that_of_the_authors(model):
    patches, *layers, inverse = model.bijector.bijector.bijectors[::-1][2:]  # After the two of the pixels.
    x, log_det = patches.forward(tf.constant(ORACLE["x"])), 0.0
    for number in range(8):
        for layer in layers[3 * number : 3 * number + 3]:
            x, log_det = layer.forward(x), log_det + layer.forward_log_det_jacobian(x, 3)
        assert_close(inverse.forward(x), ORACLE["after_couplings"][number], 2e-5)
        assert_close(log_det, ORACLE["log_det_after_couplings"][number], 2e-5)


def test_samples_and_reconstructions_are_those_of_the_authors(model):
    latents = tf.constant(np.concatenate([ORACLE["prior"], ORACLE["latents"]]))
    samples, reconstructions = np.split(authors_pixels(model.bijector.forward(latents)), 2)
    assert_close(samples, ORACLE["samples"], 5e-5)
    assert_close(reconstructions, ORACLE["x"], 5e-5)
    log_det = model.bijector.forward_log_det_jacobian(latents, 3)[:4] - SIZE * np.log(127.5)
    assert_close(log_det, ORACLE["samples_inverse_log_det"], 2e-5)


def test_weights_that_do_not_fit_are_listed():
    first = {name: array[:1] for name, array in WEIGHTS.items()}  # One coupling is enough, and quickly built.
    read = lambda weights, num_heads=2: rnvp.Jet.from_official_weights(weights, (8, 8, 3), 2, num_heads)
    weights, bias, norm = dict(first), "couplings/dnn/init_proj/bias", "couplings/dnn/vit/encoder_norm/scale"
    del weights[bias]
    weights.update({"couplings/more": np.zeros(3), norm: np.ones([1, 5])})
    message = (
        rf"{bias} is missing; couplings/more is unknown; {norm} has the shape \(1, 5\) where the model has \(1, 16\)"
    )
    with pytest.raises(ValueError, match=message):
        read(weights)
    with pytest.raises(
        ValueError, match=r"query/kernel has the shape \(1, 16, 2, 8\) where the model has \(1, 16, 4, 4\)"
    ):
        read(first, num_heads=4)
    with pytest.raises(ValueError, match="weights must have permutations in channel_coupling_masks"):
        read({**first, "channel_coupling_masks": np.ones([1, 12, 12])})
    with pytest.raises(
        ValueError, match="weights must have channel_coupling_masks of 3 axes and .*; got couplings/more"
    ):
        read({"couplings/more": np.zeros(3)})


# The flow itself.


def test_the_flow_begins_as_the_identity():
    model = rnvp.Jet(**SMALL, kinds=("channels", "spatial"))
    z = model.encode(IMAGES[:2])
    np.testing.assert_allclose(z, authors_pixels(IMAGES[:2] + 0.5), atol=1e-6)


def kept_patches(model):
    """For each coupling, the patches with entries that it keeps."""
    rows, columns, channels = model.tokens_shape
    orders = [layer.permutation.numpy() for layer in model.networks if isinstance(layer, rnvp.networks.FixedOrder)]
    kept = [order.reshape(-1, channels)[:, : channels // 2].ravel() // channels for order in orders]
    return [np.isin(np.arange(rows * columns), patches).reshape(rows, columns).astype(int).tolist() for patches in kept]


def test_spatial_couplings_keep_checkerboards_columns_rows_and_the_others_in_turn():
    model = rnvp.Jet(**{**SMALL, "num_couplings": 7}, kinds=["spatial"])
    expected = [
        [[1, 0], [0, 1]],
        [[0, 1], [1, 0]],
        [[1, 0], [1, 0]],
        [[0, 1], [0, 1]],
        [[1, 1], [0, 0]],
        [[0, 0], [1, 1]],
    ]
    assert kept_patches(model) == [*expected, expected[0]]


def test_channel_couplings_keep_random_entries_of_every_patch():
    model = rnvp.Jet(**SMALL)
    one, other = (layer.permutation.numpy().reshape(4, 8) for layer in model.networks[::2])
    for order in (one, other):
        np.testing.assert_array_equal(order - 8 * np.arange(4)[:, np.newaxis], np.tile(order[0], [4, 1]))
        np.testing.assert_array_equal(np.sort(order[0]), np.arange(8))
    assert not np.array_equal(one, other)


def test_a_saved_flow_keeps_its_orders(tmp_path):
    model = rnvp.Jet(**SMALL)
    order = model.networks[0].permutation
    order.assign(order.numpy()[::-1])
    model.save(tmp_path / "jet.keras")
    again = keras.saving.load_model(tmp_path / "jet.keras")
    np.testing.assert_array_equal(again.networks[0].permutation, order)


def test_the_scales_have_the_bound_of_the_scale_factor():
    model = rnvp.Jet(**SMALL, scale_factor=3.0, num_bins=None, kinds=("channels", "spatial"))
    np.testing.assert_allclose(model.bijector.inverse_log_det_jacobian(tf.zeros([1, 4, 4, 2]), 3), 32 * np.log(1.5))


def test_the_whitening_is_that_of_the_first_batch_and_training_keeps_it():
    model, images = rnvp.Jet(**SMALL, whitening=True), np.repeat(IMAGES, 8, axis=0)
    model.initialize(images)
    rows = tf.reshape(rnvp.bijectors.Patches(2).forward(model.encode(images)), [-1, 8])  # The couplings do nothing yet.
    np.testing.assert_allclose(np.mean(rows, axis=0), np.zeros(8), atol=0.05)
    np.testing.assert_allclose(np.cov(rows, rowvar=False), np.eye(8), atol=0.1)
    before = [weight.numpy() for weight in model.non_trainable_weights]
    model.compile(rnvp.optimizers.Adam(0.01))
    model.fit(IMAGES, batch_size=8, verbose=0)
    for weight, value in zip(model.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_config_of_the_authors_has_their_number_of_parameters():
    config = jet_imagenet64.get_config()
    options = config.model
    network = rnvp.networks.VisionTransformer(48, options.width, options.num_blocks, options.num_heads)
    network.build((None, 16, 16, 24))
    assert options.num_couplings * network.count_params() == 207_177_216
    np.testing.assert_allclose(config.learning_rate * config.weight_decay, 1e-5)
    assert (config.batch_size, config.epochs, config.beta_2, options.patch_size) == (1024, 200, 0.95, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(event_shape=(3,)), r"event_shape must be \(height, width, channels\); got \(3,\)"),
        (dict(patch_size=3), "event_shape must have a height and width divisible by patch_size = 3"),
        (dict(event_shape=(4, 4, 1), patch_size=1), "patch_size must be even for images of 1 channels"),
        (dict(kinds=("channels", "rows")), "kinds must hold channels or spatial; got"),
        (dict(kinds=()), "kinds must hold channels or spatial; got"),
        (dict(kinds=["spatial"], event_shape=(2, 4, 2)), "even number of rows and columns of patches"),
        (dict(scale_factor=0.0), "scale_factor must be positive; got 0.0"),
        (dict(num_heads=3), "num_heads must divide width = 4; got 3"),
        (dict(num_couplings=0), "num_couplings must be a positive int; got 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rnvp.Jet(**{**SMALL, **options})


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
