"""The vision transformer: functions against formulas, attention against Keras's, its beginning, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.networks import TransformerBlock, VisionTransformer
from tfp_realnvp.networks.kernels import gelu, standardize

RNG = np.random.default_rng(0)
X = tf.constant(RNG.normal(1.0, 3.0, size=(2, 5, 8)))


def gelu_by_tanh(x):
    """The formula of the paper; TensorFlow's has a constant in single precision."""
    return 0.5 * x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def value_and_gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return y, tape.gradient(y, x, tf.sin(y + x))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (gelu, gelu_by_tanh),
        (lambda x: standardize(x, 1e-3), keras.layers.LayerNormalization(dtype="float64")),
    ],
    ids=["gelu", "standardize"],
)
def test_values_and_gradients_are_those_of_their_formulas(function, expected):
    for actual, desired in zip(value_and_gradient(function, X), value_and_gradient(expected, X), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=1e-9, atol=1e-12)


def test_second_derivatives_are_those_of_the_formula():
    gradient = lambda function: lambda x: value_and_gradient(function, x)[1]
    for actual, desired in zip(
        value_and_gradient(gradient(gelu), X),
        value_and_gradient(gradient(gelu_by_tanh), X),
        strict=True,
    ):
        np.testing.assert_allclose(actual, desired, rtol=1e-9, atol=1e-12)


def test_attention_is_that_of_keras():
    block = TransformerBlock(width=8, num_heads=2, seed=0, dtype="float64")
    block.build((None, 5, 8))
    for weight in block.weights:
        weight.assign_add(0.1 * RNG.standard_normal(weight.shape))
    stock = keras.layers.MultiHeadAttention(2, 4, dtype="float64")
    stock.build((None, 5, 8), (None, 5, 8))
    kernels, biases = (np.split(np.array(weight), 3, axis=-1) for weight in block.attention_in.weights)
    pairs = [array for kernel, bias in zip(kernels, biases, strict=True) for array in (kernel, bias)]
    pairs += map(np.array, block.attention_out.weights)
    stock.set_weights([np.reshape(value, weight.shape) for value, weight in zip(pairs, stock.weights, strict=True)])
    h = X + stock(block.attention_norm(X), block.attention_norm(X))
    expected = h + block.mlp_out(gelu_by_tanh(block.mlp_in(block.mlp_norm(h))))
    np.testing.assert_allclose(block(X), expected, rtol=1e-9)


def test_a_network_begins_at_zero_and_tells_its_shape():
    network = VisionTransformer(6, width=4, num_blocks=1, num_heads=2, seed=0)
    y = network(tf.ones([3, 2, 4, 5]))
    np.testing.assert_array_equal(y, np.zeros([3, 2, 4, 6]))
    assert network.compute_output_shape((None, 2, 4, 5)) == (None, 2, 4, 6)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(network))
    assert again.get_config() == network.get_config()


def test_places_are_told_apart_and_see_each_other():
    network = VisionTransformer(1, width=4, num_blocks=1, num_heads=1, seed=0, dtype="float64")
    network.build((None, 1, 3, 1))
    network.dense_out.kernel.assign(RNG.standard_normal([4, 1]))
    y = network(tf.ones([1, 1, 3, 1], tf.float64)).numpy().ravel()
    other = network(tf.constant([1.0, 1.0, 2.0], tf.float64)[tf.newaxis, tf.newaxis, :, tf.newaxis]).numpy().ravel()
    assert len({*y.round(6)}) == 3 and np.all(np.abs(y - other) > 1e-6)


@pytest.mark.dtype("mixed_bfloat16")
def test_the_network_computes_in_the_dtype_of_its_policy():
    network = VisionTransformer(6, width=4, num_blocks=1, num_heads=2, seed=0, dtype="mixed_bfloat16")
    assert network(tf.ones([3, 2, 2, 5])).dtype == tf.bfloat16
    assert {weight.dtype for weight in network.weights} == {"float32"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_heads=3), "num_heads must divide width = 4; got 3"),
        (dict(num_blocks=0), "num_blocks must be a positive int; got 0"),
    ],
)
def test_wrong_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        VisionTransformer(6, **{"width": 4, "num_heads": 2, **options})


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
