"""The layers of the conditioners against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import laws
from tfp_realnvp import networks
from tfp_realnvp.common import spawn_seeds
from tfp_realnvp.networks.kernels import convolve
from tfp_realnvp.networks.scales import BoundedScale
from tfp_realnvp.precision import check_computable

X = np.random.default_rng(0).normal(1.0, 2.0, size=(16, 5, 7, 3)).astype(np.float32)


def test_moments_are_the_batchs_in_training_and_the_moving_ones_otherwise():
    moments = networks.Moments(momentum=0.75)
    mean, variance = moments(X, training=True)
    np.testing.assert_allclose(mean, X.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(variance, X.var((0, 1, 2)), rtol=1e-4)
    mean, variance = moments(X)
    np.testing.assert_allclose(mean, 0.25 * X.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * X.var((0, 1, 2)), rtol=1e-4)


def test_moments_of_any_rank_and_in_the_dtype_of_the_weights_under_a_mixed_policy():
    moments = networks.Moments(dtype="mixed_bfloat16")
    mean, _ = moments(tf.cast(X[0, 0], tf.bfloat16), training=True)
    assert mean.dtype == tf.float32 and mean.shape == (3,)


def test_gradients_flow_through_the_batchs_moments():
    moments = networks.Moments()
    x = tf.Variable(X)
    with tf.GradientTape() as tape:
        _, variance = moments(x, training=True)
        total = tf.reduce_sum(variance)
    expected = 2 * (X - X.mean((0, 1, 2))) / X[..., 0].size
    np.testing.assert_allclose(tape.gradient(total, x), expected, atol=1e-6)


def running_moments(batches, momentum):
    """Real NVP's equations 22 to 24 with the weights that the batches have by then."""
    weights = np.array([momentum**age for age in reversed(range(len(batches)))])
    weights /= weights.sum()
    return [
        sum(weight * f(batch, axis=(0, 1, 2)) for weight, batch in zip(weights, batches, strict=True))
        for f in (np.mean, np.var)
    ]


def test_running_moments_are_the_papers_debiased_averages_in_training_and_otherwise():
    moments = networks.Moments(momentum=0.75, running=True)
    for end in (1, 2, 3):
        batches = [X[4 * i : 4 * i + 4] * (i + 1) for i in range(end)]
        for answers in (moments(batches[-1], training=True), moments(X)):
            for answer, expected in zip(answers, running_moments(batches, 0.75), strict=True):
                np.testing.assert_allclose(answer, expected, rtol=1e-4)


def test_gradients_flow_through_the_batchs_share_of_running_moments():
    moments = networks.Moments(momentum=0.75, running=True)
    moments(3 * X, training=True)
    x = tf.Variable(X)
    with tf.GradientTape() as tape:
        _, variance = moments(x, training=True)
        total = tf.reduce_sum(variance)
    share = 0.25 / (1 - 0.75**2)
    expected = share * 2 * (X - X.mean((0, 1, 2))) / X[..., 0].size
    np.testing.assert_allclose(tape.gradient(total, x), expected, atol=1e-6)


@pytest.mark.parametrize("layer", [networks.Moments(), networks.Moments(running=True), networks.BatchNormalization()])
def test_a_frozen_layer_uses_its_averages_and_learns_nothing(layer):
    layer(X, training=True)
    before = layer.get_weights()
    expected = keras.tree.map_structure(np.asarray, layer(X))
    layer.trainable = False
    for answer, value in zip(keras.tree.flatten(layer(X, training=True)), keras.tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(answer, value)
    for weight, value in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_a_batch_norm_of_running_averages_is_its_formula():
    norm = networks.BatchNormalization(momentum=0.75, epsilon=1e-2, running=True)
    norm(3 * X[:8], training=True)
    mean, variance = running_moments([3 * X[:8], X], 0.75)
    expected = (X - mean) / np.sqrt(variance + 1e-2)
    np.testing.assert_allclose(norm(X, training=True), expected, atol=1e-4)
    np.testing.assert_allclose(norm(X), expected, atol=1e-4)


@pytest.mark.parametrize(
    "stack",
    [
        networks.Moments(copies=2),
        networks.BatchNormalization(copies=2),
        networks.WeightNormConv2D(3, 1, copies=2),
    ],
    ids=lambda stack: type(stack).__name__,
)
def test_a_stack_is_not_called_itself(stack):
    with pytest.raises(ValueError, match="copies must be None for a layer that is called; got 2"):
        stack(X)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_wrong_momentum_is_refused(momentum):
    with pytest.raises(ValueError, match=rf"momentum must be in \[0, 1\); got {momentum}"):
        networks.Moments(momentum)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", pytest.param("mixed_bfloat16", marks=pytest.mark.dtype("mixed_bfloat16"))]
)
def test_batch_norm_is_its_formula_in_every_precision(dtype):
    norm = networks.BatchNormalization(momentum=0.9, epsilon=1e-2, dtype=dtype)
    check_computable([norm])
    norm.build(X.shape)
    norm.beta.assign([1.0, 2.0, 3.0])
    mean, variance = X.mean((0, 1, 2)), X.var((0, 1, 2))
    tolerance = 0.03 if dtype == "mixed_bfloat16" else 1e-4
    y = keras.ops.convert_to_numpy(keras.ops.cast(norm(X, training=True), "float32"))
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(variance + 1e-2) + [1, 2, 3], atol=tolerance)
    moving_mean, moving_variance = 0.1 * mean, 0.9 + 0.1 * variance
    np.testing.assert_allclose(norm.moments.mean, moving_mean, rtol=tolerance)
    np.testing.assert_allclose(norm.moments.variance, moving_variance, rtol=tolerance)
    y = keras.ops.convert_to_numpy(keras.ops.cast(norm(X), "float32"))
    expected = (X - moving_mean) / np.sqrt(moving_variance + 1e-2) + [1, 2, 3]
    np.testing.assert_allclose(y, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("running", [False, True])
def test_the_fused_batch_norm_has_the_gradient_of_the_formula(running):
    gradients = []
    for dtype in ("float32", "float64"):  # fused, and not
        norm = networks.BatchNormalization(momentum=0.5, running=running, dtype=dtype)
        norm(3 * X + 1, training=True)

        @tf.function(autograph=False)
        def gradient(x, norm=norm):
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.sin(norm(x, training=True)))
            return tape.gradient(loss, [x, norm.beta.value])

        gradients.append(np.concatenate([g.numpy().ravel() for g in gradient(tf.constant(X.astype(dtype)))]))
    np.testing.assert_allclose(*gradients, atol=1e-4, rtol=1e-3)


def test_the_kernel_of_a_weight_normalized_convolution_has_the_norm_of_its_magnitude():
    conv = networks.WeightNormConv2D(4, 3, use_bias=False)
    conv.build(X.shape)
    conv.magnitude.assign([1.0, 2.0, 3.0, 4.0])
    impulse = np.zeros([3, 5, 5, 3], np.float32)
    for channel in range(3):
        impulse[channel, 2, 2, channel] = 1
    kernel = keras.ops.convert_to_numpy(conv(impulse))[:, 1:4, 1:4]
    np.testing.assert_allclose(np.sqrt((kernel**2).sum((0, 1, 2))), [1, 2, 3, 4], rtol=1e-5)
    unit = networks.WeightNormConv2D(4, 3, use_magnitude=False, use_bias=False)
    kernel = keras.ops.convert_to_numpy(unit(impulse))[:, 1:4, 1:4]
    np.testing.assert_allclose(np.sqrt((kernel**2).sum((0, 1, 2))), np.ones(4), rtol=1e-5)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("use_magnitude", [False, True])
def test_convolutions_take_up_the_norms_behind_them(use_magnitude, use_bias):
    conv = networks.WeightNormConv2D(4, 3, use_magnitude, use_bias, copies=2, seed=0, dtype="float64")
    norm = networks.BatchNormalization(copies=2, dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 4))
    for layer in (conv, norm):
        layer.build(x.shape)
        laws.randomize_weights(layer.weights)
    for plain, taken_up, of_norm in zip(conv.unstacked(), conv.unstacked(norm.affine()), norm.unstacked(), strict=True):
        y = convolve(x, *plain)
        expected, _ = norm.normalization(y, training=False)(y, *of_norm)
        np.testing.assert_allclose(convolve(x, *taken_up), expected, rtol=1e-10, atol=1e-10)


def test_convolutions_start_as_in_the_authors_code():
    conv = networks.WeightNormConv2D(64, 3, seed=0)
    conv.build((None, 8, 8, 8))
    sigma = np.sqrt(2 / 8)
    v = conv.v.numpy()
    assert np.abs(v).max() <= sigma and np.abs(v).max() > 0.99 * sigma
    assert v.std() == pytest.approx(sigma / np.sqrt(3), rel=0.03)
    np.testing.assert_allclose(conv.magnitude, np.full(64, sigma * np.sqrt(8 * 9 / 12)), rtol=1e-6)
    np.testing.assert_array_equal(conv.bias, np.zeros(64))


def test_tanh_scale_bounds_the_second_half_only():
    bounded = networks.TanhScale(networks.MLP(6, [4], seed=0), initial=0.5)
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    shift, log_scale = np.split(bounded(x).numpy(), 2, axis=-1)
    raw_shift, raw = np.split(bounded.network(x).numpy(), 2, axis=-1)
    np.testing.assert_array_equal(shift, raw_shift)
    np.testing.assert_allclose(log_scale, 0.5 * np.tanh(raw), rtol=1e-5)


def test_tanh_scale_with_an_offset_adds_it_to_the_log_scale():
    bounded = networks.TanhScale(networks.MLP(6, [4], seed=0), use_offset=True)
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    without = bounded(x).numpy()  # it begins at 0
    bounded.b.assign(0.7)
    np.testing.assert_allclose(bounded(x), without + [0, 0, 0, 0.7, 0.7, 0.7], atol=1e-6)


@pytest.mark.dtype("mixed_bfloat16")
def test_tanh_scale_leaves_the_lower_precision_to_the_network():
    network = networks.MLP(4, dtype="mixed_bfloat16")
    bounded = networks.TanhScale(network, dtype="mixed_bfloat16")
    check_computable([bounded])
    assert bounded(np.ones([2, 2], np.float32)).dtype == tf.float32
    assert network(np.ones([2, 2], np.float32)).dtype == tf.bfloat16


def bounded_by(bound, x):
    """What a bound of log-scales, whose network emits 2 · 3 channels, makes of x: shift, log-scale, and the raw two."""
    network = keras.layers.Dense(6, kernel_initializer=keras.initializers.RandomNormal(0.0, 3.0, seed=0))
    layer = bound(network)
    layer.build(x.shape)
    for weight in layer.weights:
        weight.assign_add(np.linspace(-1, 1, weight.shape[-1]))
    return layer, *np.split(layer(x).numpy(), 2, axis=-1), *np.split(network(x).numpy(), 2, axis=-1)


def test_channel_tanh_scale_bounds_each_channel_by_its_own_limit():
    layer, shift, log_scale, raw_shift, raw = bounded_by(networks.ChannelTanhScale, X)
    np.testing.assert_array_equal(shift, raw_shift)
    limit = np.exp(np.linspace(-1, 1, 3))
    np.testing.assert_allclose(layer.f, np.log(limit), atol=1e-6)
    np.testing.assert_allclose(log_scale, limit * np.tanh(raw / limit), rtol=1e-4, atol=1e-6)
    assert np.all(np.abs(log_scale).max((0, 1, 2)) > 0.99 * limit)  # what the network emits reaches it


def test_channel_tanh_scale_begins_at_the_limit_one_with_slope_one():
    layer = networks.ChannelTanhScale(keras.layers.Dense(6))
    layer.build(X.shape)
    assert layer.f.trainable and layer.f.shape == (3,)
    s = np.array([[-50.0, 1e-3, 50.0]], np.float32)
    np.testing.assert_allclose(layer.bound(s), [[-1, 1e-3, 1]], rtol=1e-5)


def test_sigmoid_scale_is_below_one_and_begins_at_that_of_two():
    _, shift, log_scale, raw_shift, raw = bounded_by(networks.SigmoidScale, X)
    np.testing.assert_array_equal(shift, raw_shift)
    np.testing.assert_allclose(np.exp(log_scale), 1 / (1 + np.exp(-raw.astype(np.float64) - 2)), rtol=1e-4)
    assert np.all(log_scale <= 0)
    begins = networks.SigmoidScale(keras.layers.Dense(2, kernel_initializer="zeros"))(X)
    np.testing.assert_allclose(np.exp(begins[..., 1:]), np.full([16, 5, 7, 1], 0.8808), rtol=1e-4)


def test_sigmoid_scale_stays_finite_at_the_far_ends():
    layer = networks.SigmoidScale(keras.layers.Dense(2))
    np.testing.assert_allclose(layer.bound(np.array([-200.0, 200.0], np.float32)), [-198, 0], atol=1e-6)


def test_sigmoid_scale_may_have_another_offset_and_bound():
    layer = networks.SigmoidScale(keras.layers.Dense(2), offset=0.0, factor=2.0)
    np.testing.assert_allclose(
        layer.bound(np.array([-1.0, 0.0, 40.0], np.float32)), np.log([0.537883, 1, 2]), atol=1e-6
    )
    assert (layer.get_config()["offset"], layer.get_config()["factor"]) == (0.0, 2.0)
    with pytest.raises(ValueError, match="factor must be positive; got 0.0"):
        networks.SigmoidScale(keras.layers.Dense(2), factor=0.0)


@pytest.mark.dtype("mixed_bfloat16")
@pytest.mark.parametrize("bound", [networks.ChannelTanhScale, networks.SigmoidScale])
def test_every_bound_leaves_the_lower_precision_to_the_network(bound):
    bounded = bound(networks.MLP(4, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    check_computable([bounded])
    assert bounded(np.ones([2, 2], np.float32)).dtype == tf.float32


def test_a_new_bound_must_write_its_method():
    with pytest.raises(NotImplementedError, match=r"BoundedScale must define bound\(log_scale\)"):
        BoundedScale(keras.layers.Dense(2))(X)


def test_spawned_seeds_are_repeatable_distinct_and_none_for_none():
    assert spawn_seeds(3, 4) == spawn_seeds(3, 4) != spawn_seeds(4, 4)
    assert len(set(spawn_seeds(3, 100))) == 100
    assert spawn_seeds(None, 2) == [None, None]


LAYERS = {
    "Moments": lambda: networks.Moments(momentum=0.7),
    "Moments, running": lambda: networks.Moments(momentum=0.7, running=True),
    "BatchNormalization, running": lambda: networks.BatchNormalization(momentum=0.7, running=True),
    "BatchNormalization": lambda: networks.BatchNormalization(momentum=0.7, epsilon=1e-3),
    "WeightNormConv2D": lambda: networks.WeightNormConv2D(4, 3, use_magnitude=False, seed=1),
    "TanhScale": lambda: networks.TanhScale(networks.ResNet(6, 4, 1, seed=1), initial=0.3, l2=0.1),
    "TanhScale with offset": lambda: networks.TanhScale(networks.ResNet(6, 4, 1, seed=1), use_offset=True),
    "ChannelTanhScale": lambda: networks.ChannelTanhScale(networks.GatedConvNet(6, 4, 1, seed=1)),
    "SigmoidScale": lambda: networks.SigmoidScale(networks.GlowNet(6, 4, seed=1)),
    "ContextMaps": lambda: networks.ContextMaps(networks.GlowNet(6, 4, seed=1), context_size=2, num_maps=3, seed=2),
    "ResNet": lambda: networks.ResNet(6, filters=4, num_blocks=2, checkerboard=1, l2=0.1, seed=2),
    "ResNet with other options": lambda: networks.ResNet(6, 4, 2, skip=False, bottleneck=True, running_average=0.7),
    "ResNet without norm": lambda: networks.ResNet(6, 4, 2, checkerboard=0, use_batch_norm=False),
    "ResidualBlocks": lambda: networks.ResidualBlocks(2, 3, seed=1),
    "GatedConvNet": lambda: networks.GatedConvNet(2, filters=4, num_blocks=2, seed=1),
    "GatedBlock": lambda: networks.GatedBlock(3, seed=1),
    "GlowNet": lambda: networks.GlowNet(2, filters=4, seed=1),
    "MLP": lambda: networks.MLP(6, hidden_units=[5, 4], activation="elu", seed=3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_rebuilt_from_its_serialized_form(name):
    layer = LAYERS[name]()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    for each in (layer, again):
        each.build(X.shape)
    layer.set_weights([weight + 0.1 for weight in layer.get_weights()])  # some begin at zero
    again.set_weights(layer.get_weights())
    x = X if name != "MLP" else X.reshape(-1, 3)
    for y, expected in zip(keras.tree.flatten(again(x)), keras.tree.flatten(layer(x)), strict=True):
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_knows_the_shape_of_its_output(name):
    layer = LAYERS[name]()
    x = X if name != "MLP" else X.reshape(-1, 3)
    shapes = keras.tree.map_structure(lambda y: tuple(y.shape), layer(x))
    assert [*layer.compute_output_shape(x.shape)] == [*shapes]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
