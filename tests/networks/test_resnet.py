"""The authors' residual network."""

import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.networks import ResNet

X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)


def test_its_weights_are_those_of_the_authors_code():
    network = ResNet(out_channels=6, filters=8, num_blocks=2, checkerboard=1)
    network.build((None, 6, 6, 3))
    shapes = {w.path.split("/", 1)[-1]: tuple(w.shape) for w in network.weights}
    assert shapes["conv_in/v"] == (3, 3, 7, 8)  # h, −h and the mask
    assert "conv_in/magnitude" not in shapes and shapes["conv_in/bias"] == (8,)
    assert shapes["block_1/conv_0/v"] == (3, 3, 8, 8)
    assert not {"block_1/conv_0/magnitude", "block_1/conv_0/bias"} & set(shapes)
    assert shapes["block_1/conv_1/magnitude"] == shapes["block_1/conv_1/bias"] == (8,)
    assert shapes["skip_2/v"] == (1, 1, 8, 8) and shapes["skip_2/magnitude"] == (8,)
    assert shapes["conv_out/v"] == (1, 1, 8, 6) and shapes["conv_out/magnitude"] == (6,)
    assert ResNet(12, 8, 2).compute_output_shape((None, 3, 3, 6)) == (None, 3, 3, 12)


def test_the_weights_of_its_options_are_those_of_the_authors_code():
    network = ResNet(out_channels=6, filters=8, num_blocks=2, skip=False, bottleneck=True)
    network.build((None, 6, 6, 3))
    shapes = {w.path.split("/", 1)[-1]: tuple(w.shape) for w in network.weights}
    assert [shapes[f"block_0/conv_{i}/v"] for i in range(3)] == [(1, 1, 8, 8), (3, 3, 8, 8), (1, 1, 8, 8)]
    assert {name for name in shapes if name.startswith("block_0/") and "norm" not in name} == {
        "block_0/conv_0/v",
        "block_0/conv_1/v",
        "block_0/conv_2/v",
        "block_0/conv_2/magnitude",
        "block_0/conv_2/bias",
    }
    assert not any("skip" in name for name in shapes)
    network = ResNet(out_channels=6, filters=8, num_blocks=1, use_batch_norm=False)
    network.build((None, 6, 6, 3))
    shapes = {w.path.split("/", 1)[-1]: tuple(w.shape) for w in network.weights}
    assert shapes["block_0/conv_0/bias"] == (8,) and not any("norm" in name for name in shapes)


def test_without_norm_nothing_is_doubled():
    network = ResNet(2, 4, 1, checkerboard=1, use_batch_norm=False, seed=0)
    network.build(X.shape)
    mask = np.indices((6, 6)).sum(0)[None, ..., None] % 2 == 0
    h = np.concatenate([X, -X, np.broadcast_to(mask, (*X.shape[:3], 1))], axis=-1)
    h = network.conv_in(np.maximum(h, 0).astype(np.float32))
    block = network.blocks[0]
    g = h + block.convs[1](tf.nn.relu(block.convs[0](tf.nn.relu(h))))
    expected = network.conv_out(tf.nn.relu(network.skips[0](h) + network.skips[1](g)))
    np.testing.assert_allclose(network(X), expected, rtol=1e-4, atol=1e-5)


def test_without_skips_the_output_is_that_of_the_last_block():
    network = ResNet(2, 4, 2, skip=False, seed=0)
    network(X, training=True)
    h = network.conv_in(tf.nn.relu(tf.concat([network.norm_in(X), -network.norm_in(X)], axis=-1)))
    for block in network.blocks:
        h = block(h)
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
