"""The authors' residual network."""

import numpy as np
import pytest
import tensorflow as tf

from tests import laws
from tfp_realnvp.networks import ResidualBlocks, ResNet
from tfp_realnvp.networks.kernels import convolve

X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)


def shapes_of(network):
    return {weight.path.split("/", 1)[-1]: tuple(weight.shape) for weight in network.weights}


def test_its_weights_are_those_of_the_authors_code():
    network = ResNet(out_channels=6, filters=8, num_blocks=2, checkerboard=1)
    network.build((None, 6, 6, 3))
    shapes = shapes_of(network)
    assert shapes["conv_in/v"] == (3, 3, 7, 8)  # h, −h and the mask
    assert "conv_in/magnitude" not in shapes and shapes["conv_in/bias"] == (8,)
    assert shapes["blocks/conv_0/v"] == (2, 3, 3, 8, 8)
    assert not {"blocks/conv_0/magnitude", "blocks/conv_0/bias"} & set(shapes)
    assert shapes["blocks/conv_1/magnitude"] == shapes["blocks/conv_1/bias"] == (2, 8)
    assert shapes["blocks/norm_0/moments/mean"] == shapes["blocks/norm_1/beta"] == (2, 8)
    assert shapes["skips/v"] == (3, 1, 1, 8, 8) and shapes["skips/magnitude"] == (3, 8)
    assert shapes["conv_out/v"] == (1, 1, 8, 6) and shapes["conv_out/magnitude"] == (6,)
    assert ResNet(12, 8, 2).compute_output_shape((None, 3, 3, 6)) == (None, 3, 3, 12)


def test_the_weights_of_its_options_are_those_of_the_authors_code():
    network = ResNet(out_channels=6, filters=8, num_blocks=2, skip=False, bottleneck=True)
    network.build((None, 6, 6, 3))
    shapes = shapes_of(network)
    sizes = [(2, 1, 1, 8, 8), (2, 3, 3, 8, 8), (2, 1, 1, 8, 8)]
    assert [shapes[f"blocks/conv_{i}/v"] for i in range(3)] == sizes
    assert {name for name in shapes if name.startswith("blocks/") and "norm" not in name} == {
        "blocks/conv_0/v",
        "blocks/conv_1/v",
        "blocks/conv_2/v",
        "blocks/conv_2/magnitude",
        "blocks/conv_2/bias",
    }
    assert not any("skip" in name for name in shapes)
    network = ResNet(out_channels=6, filters=8, num_blocks=1, use_batch_norm=False)
    network.build((None, 6, 6, 3))
    shapes = shapes_of(network)
    assert shapes["blocks/conv_0/bias"] == (1, 8) and not any("norm" in name for name in shapes)


def test_more_blocks_are_no_more_variables():
    few, many = ResNet(6, 4, num_blocks=1), ResNet(6, 4, num_blocks=7)
    for network in (few, many):
        network.build((None, 4, 4, 3))
    assert len(few.weights) == len(many.weights)


def test_every_block_begins_with_weights_of_its_own():
    blocks = ResidualBlocks(3, 4, seed=0)
    blocks.build((None, 4, 4, 4))
    first, second, third = blocks.convs[0].v.numpy()
    assert not np.any(first == second) and not np.any(second == third)


def single(stack, index):
    """One of the layers of a stack, by itself."""
    layer = type(stack).from_config({**stack.get_config(), "copies": None})
    layer.build((None, None, None, 4))
    for weight, stacked in zip(layer.weights, stack.weights, strict=True):
        weight.assign(stacked.value[index] if len(stacked.shape) else stacked.value)
    return layer


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("options", [{}, dict(bottleneck=True), dict(running_average=0.6)], ids=str)
def test_a_stack_is_its_layers_one_after_the_other(options, dtype, training):
    blocks = ResidualBlocks(3, 4, seed=0, dtype=dtype, **options)
    blocks.build((None, 4, 4, 4))
    laws.randomize_weights(blocks.weights)
    norms, convs = (
        [[single(stack, i) for stack in stacks] for i in range(3)] for stacks in (blocks.norms, blocks.convs)
    )
    x = tf.cast(np.random.default_rng(1).normal(size=(5, 4, 4, 4)), blocks.compute_dtype)
    first, *hidden = blocks(x, training=training)
    tolerance = dict(rtol=0.05, atol=0.05) if dtype == "mixed_bfloat16" else dict(rtol=1e-4, atol=1e-5)
    near = lambda one, other: np.testing.assert_allclose(*(tf.cast(x, tf.float64) for x in (one, other)), **tolerance)
    near(first, x)
    h = x
    for i in range(3):
        residual = h
        for norm, conv in zip(norms[i], convs[i], strict=True):
            residual = conv(tf.nn.relu(norm(residual, training=training)))
        h = h + residual
        near(hidden[i], h)
        for alone, stack in zip(norms[i], blocks.norms, strict=True):
            near(stack.moments.mean.value[i], alone.moments.mean.value)
            near(stack.moments.variance.value[i], alone.moments.variance.value)


def test_without_norm_nothing_is_doubled():
    network = ResNet(2, 4, 1, checkerboard=1, use_batch_norm=False, seed=0)
    network.build(X.shape)
    mask = np.indices((6, 6)).sum(0)[None, ..., None] % 2 == 0
    h = np.concatenate([X, -X, np.broadcast_to(mask, (*X.shape[:3], 1))], axis=-1)
    h = network.conv_in(np.maximum(h, 0).astype(np.float32))
    residual = h
    for conv in network.blocks.convs:
        (row,) = conv.unstacked()
        residual = convolve(tf.nn.relu(residual), *row)
    before, behind = network.skips.unstacked()
    skip = convolve(h, *before) + convolve(h + residual, *behind)
    expected = network.conv_out(tf.nn.relu(skip))
    np.testing.assert_allclose(network(X), expected, rtol=1e-4, atol=1e-5)


def test_without_skips_the_output_is_that_of_the_last_block():
    network = ResNet(2, 4, 2, skip=False, seed=0)
    network(X, training=True)
    h = network.conv_in(tf.nn.relu(tf.concat([network.norm_in(X), -network.norm_in(X)], axis=-1)))
    *_, h = network.blocks(h)
    np.testing.assert_allclose(network(X), network.conv_out(tf.nn.relu(network.norm_out(h))), rtol=1e-4, atol=1e-5)


def test_a_checkerboard_doubles_the_masked_input_and_sees_the_mask():
    plain, masked = (ResNet(2, 4, 1, checkerboard, seed=0) for checkerboard in (None, 1))
    for network in (plain, masked):
        network.build(X.shape)
    v = np.zeros(masked.conv_in.v.shape, np.float32)
    v[:, :, :6] = plain.conv_in.v
    masked.conv_in.v.assign(v)  # blind to the mask, and otherwise equal
    for w, other in zip(plain.weights, masked.weights, strict=True):
        if w.shape == other.shape:
            other.assign(w)
    np.testing.assert_allclose(masked(X), plain(2 * X), rtol=1e-4, atol=1e-5)
    v[:, :, 6] = 1
    masked.conv_in.v.assign(v)
    assert np.abs(masked(X) - plain(2 * X)).max() > 1e-3


def test_it_takes_images_of_any_size_also_where_the_size_is_not_known():
    network = ResNet(2, 4, 1, checkerboard=0, seed=0)
    network.build((None, 6, 6, 3))
    dynamic = tf.function(network.__call__, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for shape in ((2, 4, 8, 3), (1, 5, 3, 3)):
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        np.testing.assert_allclose(dynamic(x), network(x), rtol=1e-4, atol=1e-5)


def test_averages_move_at_each_turn_of_a_loop_of_a_graph():
    network, looped = (ResNet(2, 4, 2, seed=0, dtype="float64") for _ in range(2))
    for each in (network, looped):
        each.build(X.shape)
    for _ in range(3):
        network(X, training=True)

    @tf.function
    def turns(x):
        for _ in tf.range(3):
            looped(x, training=True)

    turns(tf.cast(X, tf.float64))
    for weight, other in zip(looped.weights, network.weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-10, atol=1e-10)


OPTIONS = [{}, dict(running_average=0.5), dict(bottleneck=True, l2=0.1)]


def built(**options):
    network = ResNet(3, filters=4, num_blocks=3, checkerboard=1, seed=0, **options)
    network.build(X.shape)
    laws.randomize_weights(network.weights)
    return network


def learn(network, x, training):
    """The output, the gradients and what the call makes of the weights."""
    with tf.GradientTape() as tape:
        y = network(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    return [y, *gradients, *(tf.identity(weight.value) for weight in network.weights)]


def assert_graph_computes_what_a_call_does(network, training=True, jit_compile=False, **tolerance):
    x, initial = tf.cast(X, network.variable_dtype), network.get_weights()
    expected = learn(network, x, training)
    network.set_weights(initial)
    actual = tf.function(lambda x: learn(network, x, training), jit_compile=jit_compile)(x)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(tf.cast(one, tf.float64), tf.cast(other, tf.float64), **tolerance)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_graph_computes_what_a_call_does(options, dtype, training):
    tolerance = dict(rtol=1e-10, atol=1e-10) if dtype == "float64" else dict(rtol=0.05, atol=0.5)
    assert_graph_computes_what_a_call_does(built(dtype=dtype, **options), training, **tolerance)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_xla_computes_what_a_call_does(options):
    assert_graph_computes_what_a_call_does(built(**options), jit_compile=True, rtol=1e-3, atol=1e-3)


def test_a_frozen_stack_uses_its_averages_and_the_others_learn():
    network = built(dtype="float64")
    frozen, learning = (norm.moments for norm in network.blocks.norms)
    frozen.trainable, learning.momentum = False, 0.5
    before = [moments.mean.numpy() for moments in (frozen, learning)]
    assert_graph_computes_what_a_call_does(network, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(frozen.mean, before[0])
    assert np.all(learning.mean.numpy() != before[1])


def test_two_shapes_and_modes_share_a_graph():
    network = built(dtype="float64")
    large = np.random.default_rng(1).normal(size=[2, 6, 8, 3])

    def calls(x, large):
        return [network(x, training=False), network(large, training=True), network(x, training=False)]

    initial = network.get_weights()
    expected = calls(X, large)
    network.set_weights(initial)
    for one, other in zip(tf.function(calls)(X, large), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_weights_that_are_handed_to_a_call_are_used():
    network = built()
    weights = [[2 * v for v in group] for group in (network.trainable_variables, network.non_trainable_variables)]
    actual = tf.function(lambda x: network.stateless_call(*weights, x)[0])(X)
    assert not np.allclose(actual, network(X))
    network.set_weights([2 * weight for weight in network.get_weights()])
    np.testing.assert_allclose(actual, network(X), rtol=1e-4, atol=1e-4)


def test_training_reaches_the_norms_inside():
    network = ResNet(2, 4, 1, seed=0)
    before = {w.path: w.numpy() for w in network.non_trainable_weights}
    network(X, training=True)
    after = network.non_trainable_weights
    assert len(after) == 8 and all(np.any(w.numpy() != before.get(w.path, 0)) for w in after)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(out_channels=0), "out_channels must be a positive int; got 0"),
        (dict(out_channels=2, filters=0), "filters must be a positive int; got 0"),
        (dict(out_channels=2, num_blocks=-1), "num_blocks must be a positive int; got -1"),
        (dict(out_channels=2, checkerboard=2), "checkerboard must be None, 0 or 1; got 2"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
