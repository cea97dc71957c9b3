"""The network that predicts pixels from their neighbours against its formulas in numpy."""

import keras
import numpy as np
import pytest

from tests import laws
from tests.networks.test_gated import convolution
from tfp_realnvp.bijectors import Squeeze
from tfp_realnvp.networks import InterpolatingResNet
from tfp_realnvp.precision import check_computable

IMAGES = np.random.default_rng(0).standard_normal([3, 8, 10, 2])


def built(num_known, context=0, **kwargs):
    options = {**dict(channels=2, out_channels=7, filters=4, num_blocks=2, seed=0, dtype="float64"), **kwargs}
    network = InterpolatingResNet(num_known=num_known, **options)
    network.build((None, None, None, num_known * options["channels"] + context))
    return network


def known(images, number):
    """The first places of each 2×2 block, and the one that follows them."""
    squeezed = Squeeze(diagonal_first=True).forward(images).numpy()
    channels = images.shape[-1]
    return squeezed[..., : number * channels], squeezed[..., number * channels : (number + 1) * channels]


def nearest_mean(images, number):
    """By hand, of the pixels inside of the images: the four known neighbours, on a corner or on a side."""
    row, column = ((0, 0), (1, 1), (0, 1), (1, 0))[number]
    steps = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if number == 1 else [(-1, 0), (1, 0), (0, -1), (0, 1)]
    rows, columns = np.arange(2 + row, 6, 2), np.arange(2 + column, 8, 2)
    return np.mean([images[:, rows + i][:, :, columns + j] for i, j in steps], axis=0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_begins_as_the_mean_of_the_nearest_known_pixels(number):
    given, _ = known(IMAGES, number)
    output = built(number)(given)
    np.testing.assert_allclose(output[:, 1:3, 1:4, :2], nearest_mean(IMAGES, number), rtol=1e-9)
    np.testing.assert_array_equal(output[..., 2:], np.zeros([3, 4, 5, 5]))


def test_known_pixels_beyond_the_limit_count_as_the_limit():
    plain, limited = built(2, context=1), built(2, context=1, limit=1.5)
    for network in (plain, limited):
        laws.randomize_weights(network.weights)
    given = 3 * np.random.default_rng(2).standard_normal([3, 4, 5, 5])  # The last channel is a context.
    clipped = np.concatenate([np.clip(given[..., :4], -1.5, 1.5), given[..., 4:]], axis=-1)
    np.testing.assert_array_equal(limited(given), plain(clipped))
    np.testing.assert_array_equal(limited(clipped), plain(clipped))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_is_a_residual_network_of_the_differences_from_the_mean(number):
    network = built(number, context=1, unit=0.3)
    context = np.random.default_rng(1).standard_normal([3, 4, 5, 1])
    given, _ = known(IMAGES, number)
    mean = network(np.concatenate([given, context], axis=-1)).numpy()[..., :2]
    laws.randomize_weights(network.weights)
    values = {weight.path.split("/", 1)[1]: weight.numpy() for weight in network.weights}
    layer = lambda x, name: convolution(x, values[f"{name}/kernel"], values.get(f"{name}/bias", 0))

    differences = (given - np.tile(mean, number)) / 1.2
    h = layer(np.concatenate([differences, mean, context], axis=-1), "conv_in")
    for block in ("block_0", "block_1"):
        h = h + layer(np.maximum(layer(np.maximum(h, 0), f"{block}_conv_0"), 0), f"{block}_conv_1")
    output = layer(np.maximum(h, 0), "conv_out")
    output[..., :2] = mean + 0.3 * (output[..., :2] + convolution(differences, values["filter"], 0))
    actual = network(np.concatenate([given, context], axis=-1))
    np.testing.assert_allclose(actual, output, rtol=1e-9, atol=1e-12)


def test_a_brighter_image_is_predicted_brighter():
    network = built(2)
    network.filter.assign(np.random.default_rng(0).standard_normal([3, 3, 4, 2]))
    given, _ = known(IMAGES, 2)
    inside = np.s_[:, 2, 2, :2]  # what it sees is itself away from the borders
    np.testing.assert_allclose(network(given + 5)[inside], network(given)[inside] + 5, rtol=1e-9)


@pytest.mark.dtype("mixed_bfloat16")
def test_under_a_mixed_policy_the_interpolation_is_exact():
    network = built(1, channels=1, out_channels=4, dtype="mixed_bfloat16")
    check_computable([network])
    given, _ = known(IMAGES[..., :1].astype("float32"), 1)
    output = network(given)
    assert output.dtype == "float32"
    np.testing.assert_allclose(output[:, 1:3, 1:4, :1], nearest_mean(IMAGES[..., :1], 1), rtol=1e-5, atol=1e-6)


def test_its_config_makes_it_anew():
    network = built(3, unit=0.2)
    copied = InterpolatingResNet.from_config(network.get_config())
    copied.build((None, None, None, 6))
    for weight, other in zip(network.weights, copied.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), keras.ops.convert_to_numpy(other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_known=4), "num_known must be 1, 2 or 3; got 4"),
        (dict(num_known=1, unit=0.0), "unit must be positive; got 0.0"),
        (dict(num_known=1, limit=-1.0), "limit must be None or positive; got -1.0"),
        (dict(num_known=1, filters=0), "filters must be a positive int; got 0"),
        (dict(num_known=1, channels=3, out_channels=2), "out_channels must be at least channels = 3; got 2"),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        InterpolatingResNet(**{"channels": 1, "out_channels": 4, **options})


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
