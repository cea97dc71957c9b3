"""Equal parts of a flow's networks in a graph: one function, and what each computes is what it computes eagerly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tests.networks.learning import assert_call_and_graph_are_near_float32, learn
from tfp_realnvp.networks import GatedConvNet, GlowNet
from tfp_realnvp.precision import check_computable

X = np.random.default_rng(0).normal(size=[3, 4, 4, 2]).astype("float32")
NETWORKS = {
    "GlowNet": lambda **kwargs: GlowNet(3, filters=4, seed=0, **kwargs),
    "GatedConvNet": lambda **kwargs: GatedConvNet(3, filters=4, num_blocks=3, seed=0, **kwargs),
}


def built(name, **kwargs):
    network = NETWORKS[name](**kwargs)
    network.build(X.shape)
    laws.randomize_weights(network.weights)
    return network


def functions_of(graph):
    return [name for name in graph._functions if b"traced_once" in tf.compat.as_bytes(name)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_computes_what_a_call_does(name, training):
    network = built(name, dtype="float64")
    initial = network.get_weights()
    expected = learn(network, tf.cast(X, tf.float64), training)
    network.set_weights(initial)
    graph = tf.function(lambda x: learn(network, x, training))
    for one, other in zip(graph(tf.cast(X, tf.float64)), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.dtype("mixed_bfloat16")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("name", "roundings", "relus"),
    [
        ("GlowNet", 3 * 3, 2),  # a kernel, a product and a bias per convolution
        ("GatedConvNet", 3 + 3 * 12 + 4, 0),  # an ELU and a convolution twice per block, a gate, a sum and a norm
    ],
)
def test_a_graph_and_a_call_in_bfloat16_are_as_near_to_float32_as_rounding_allows(name, roundings, relus, training):
    network, exact = built(name, dtype="mixed_bfloat16"), built(name)
    check_computable([network])
    assert_call_and_graph_are_near_float32(network, exact, tf.constant(X), training, roundings, relus)


def num_operations(num_blocks):
    network = GatedConvNet(3, filters=4, num_blocks=num_blocks, seed=0)
    network.build(X.shape)
    graph = tf.function(lambda x: learn(network, x, True)).get_concrete_function(X).graph
    return len(graph.get_operations()), len(functions_of(graph))


def test_one_function_serves_all_blocks_forward_and_one_backward():
    (few, functions), (many, again) = num_operations(3), num_operations(9)
    assert functions == again  # the block, the block with what its gradient needs, and its gradient
    assert functions <= 3
    num_weights = len(built("GatedConvNet").blocks[0].weights)
    assert (many - few) / 6 < 8 * num_weights  # what a weight and a gradient of it take


def test_flows_use_it():
    model = rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=3, filters=2, seed=0)
    model.compile()
    step = tf.function(model.train_step, autograph=False)
    functions = functions_of(step.get_concrete_function(tf.zeros([2, 8, 8, 1], tf.uint8)).graph)
    assert 0 < len(functions) <= 3 * 2  # of two scales


def test_xla_compiles_it():
    network = built("GatedConvNet")
    initial = network.get_weights()
    expected = learn(network, X, True)
    network.set_weights(initial)
    for one, other in zip(tf.function(lambda x: learn(network, x, True), jit_compile=True)(X), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_a_graph_for_xla_has_no_function_whose_arguments_it_would_take_for_constants():
    network = built("GatedConvNet")
    for jit_compile in (False, True):
        graph = tf.function(lambda x: learn(network, x, True), jit_compile=jit_compile).get_concrete_function(X).graph
        assert bool(functions_of(graph)) != jit_compile


def test_a_block_of_another_config_has_a_function_of_its_own():
    network = built("GatedConvNet", dtype="float64")
    network.blocks[1].norm.epsilon = 1.0
    initial = network.get_weights()
    expected = learn(network, tf.cast(X, tf.float64), True)
    network.set_weights(initial)
    actual = tf.function(lambda x: learn(network, x, True))(tf.cast(X, tf.float64))
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


class Changed(rnvp.networks.GatedBlock):
    """A block with an argument that its config cannot hold."""

    def __init__(self, filters, change):
        super().__init__(filters, seed=0)
        self.change = change

    def call(self, h):
        return self.change(super().call(h))

    get_config = keras.layers.Layer.get_config


def test_blocks_that_do_not_tell_their_config_are_traced_each():
    blocks = [Changed(2, lambda h, factor=factor: factor * h) for factor in (2.0, 3.0)]
    with pytest.raises(NotImplementedError, match="get_config"):
        blocks[0].get_config()
    expected = [block(X) for block in blocks]
    for one, other in zip(tf.function(lambda x: [block(x) for block in blocks])(X), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.dtype("mixed_bfloat16")
def test_blocks_of_two_precisions_share_a_graph():
    blocks = [rnvp.networks.GatedBlock(2, seed=0, dtype=dtype) for dtype in ("float32", "mixed_bfloat16")]
    check_computable(blocks)
    expected = [block(X) for block in blocks]
    actual = tf.function(lambda x: [block(x) for block in blocks])(X)
    assert [y.dtype for y in actual] == [y.dtype for y in expected] == [tf.float32, tf.bfloat16]
    assert not np.array_equal(actual[0], tf.cast(actual[1], tf.float32))


def test_two_shapes_and_modes_share_a_graph():
    network = built("GatedConvNet", dtype="float64")
    large = np.random.default_rng(1).normal(size=[2, 6, 8, 2])

    def calls(x, large):
        return [network(x, training=False), network(large, training=True), network(x, training=False)]

    initial = network.get_weights()
    expected = calls(X, large)
    network.set_weights(initial)
    for one, other in zip(tf.function(calls)(X, large), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_batches_of_unknown_size_are_taken():
    network = built("GlowNet", dtype="float64")
    graph = tf.function(network, input_signature=[tf.TensorSpec([None, None, None, 2], tf.float64)])
    for size in (1, 3):
        np.testing.assert_allclose(graph(X[:size]), network(X[:size]), rtol=1e-10)


def test_weights_that_are_handed_to_a_call_are_used():
    network = built("GatedConvNet")
    doubled = [2 * variable for variable in network.trainable_variables]
    actual = tf.function(lambda x: network.stateless_call(doubled, [], x)[0])(X)
    assert not np.allclose(actual, network(X))
    network.set_weights([2 * weight for weight in network.get_weights()])
    np.testing.assert_allclose(actual, network(X), rtol=1e-4, atol=1e-4)


class Counting(rnvp.networks.GatedBlock):
    """A block that counts its calls."""

    def build(self, input_shape):
        super().build(input_shape)
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, h):
        self.calls.assign_add(1.0)
        return super().call(h)


def test_blocks_that_change_their_weights_are_traced_each():
    blocks = [Counting(2, seed=0) for _ in range(2)]
    tf.function(lambda x: [block(x) for block in blocks])(X)
    assert [float(block.calls) for block in blocks] == [1, 1]


def test_a_functional_model_holds_the_layers():
    inputs = keras.Input(X.shape[1:])
    block = rnvp.networks.GatedBlock(2, seed=0)
    model = keras.Model(inputs, block(block(inputs)))
    np.testing.assert_allclose(tf.function(model)(X), block(block(X)), rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
