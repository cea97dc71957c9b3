"""The invertible matrix: a rotation in the beginning, and at any weights the log-det of what it says it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.networks.matrix import InvertibleMatrix

X = np.zeros([2, 4, 4, 5], np.float32)
DECOMPOSITIONS = {"Lu", "MatrixInverse", "MatrixDeterminant", "LogMatrixDeterminant", "Qr", "Svd"}
both_forms = pytest.mark.parametrize("factorized", [True, False])


def matrix(factorized=True, size=5, seed=0, dtype="float64", noise=0.0):
    """A built matrix whose trainable weights are `noise` away from where they begin."""
    layer = InvertibleMatrix(size, factorized, seed, dtype=dtype)
    layer.build()
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign_add(noise * rng.standard_normal(weight.shape))
    return layer


def kernel_of(layer):
    return layer(X)[0].numpy()


@both_forms
@pytest.mark.parametrize("size", [1, 2, 5, 48])
def test_it_begins_at_a_rotation(factorized, size):
    kernel, log_abs_det = matrix(factorized, size)(X)
    np.testing.assert_allclose(kernel @ tf.transpose(kernel), np.eye(size), atol=1e-12)
    np.testing.assert_allclose(log_abs_det, 0, atol=1e-12)


def test_it_begins_far_from_the_identity_and_from_any_permutation():
    assert np.abs(kernel_of(matrix(size=48))).max() < 0.8


def test_both_forms_of_one_seed_begin_at_the_same_matrix():
    np.testing.assert_allclose(kernel_of(matrix(True)), kernel_of(matrix(False)), atol=1e-14)


def test_the_seed_decides_where_it_begins():
    np.testing.assert_array_equal(kernel_of(matrix(seed=3)), kernel_of(matrix(seed=3)))
    assert np.abs(kernel_of(matrix(seed=3)) - kernel_of(matrix(seed=4))).max() > 0.1
    assert np.abs(kernel_of(matrix(seed=None)) - kernel_of(matrix(seed=None))).max() > 0.1


def test_without_a_seed_that_of_keras_decides():
    keras.utils.set_random_seed(7)
    expected = kernel_of(matrix(seed=None))
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(kernel_of(matrix(seed=None)), expected)


def test_the_factors_are_those_of_the_paper():
    layer = matrix(noise=0.3)
    permutation, sign, factors = (np.asarray(w) for w in (layer.permutation, layer.sign, layer.factors))
    lower = np.tril(factors, -1) + np.eye(5)
    s = sign * np.exp(np.diag(factors))
    np.testing.assert_allclose(kernel_of(layer), permutation @ lower @ (np.triu(factors, 1) + np.diag(s)), atol=1e-14)
    assert np.array_equal(permutation.sum(0), np.ones(5)) and np.array_equal(permutation.sum(1), np.ones(5))
    assert set(permutation.ravel()) == {0, 1} and set(np.abs(sign)) == {1}


def test_the_permutation_and_the_signs_are_not_trained():
    layer = matrix()
    assert [weight.name for weight in layer.trainable_weights] == ["factors"]
    assert [weight.name for weight in layer.non_trainable_weights] == ["permutation", "sign"]


@both_forms
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_log_det_is_that_of_the_matrix(factorized, dtype):
    kernel, log_abs_det = matrix(factorized, size=12, dtype=dtype, noise=0.2)(X)
    assert kernel.dtype == log_abs_det.dtype == dtype and log_abs_det.shape == ()
    expected = np.linalg.slogdet(kernel.numpy().astype("float64"))[1]
    assert abs(expected) > 0.1
    np.testing.assert_allclose(log_abs_det, expected, rtol=1e-12 if dtype == "float64" else 1e-5)


@both_forms
def test_only_the_free_form_decomposes_its_matrix(factorized):
    graph = tf.function(matrix(factorized)).get_concrete_function(X).graph
    assert bool(DECOMPOSITIONS & {operation.type for operation in graph.get_operations()}) == (not factorized)


@both_forms
def test_the_gradient_reaches_every_entry_of_every_trainable_weight(factorized):
    layer = matrix(factorized, noise=0.2)
    with tf.GradientTape() as tape:
        kernel, log_abs_det = layer(X)
        loss = tf.reduce_sum(tf.sin(kernel)) + log_abs_det
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.all(np.abs(gradient) > 1e-6)


@both_forms
def test_it_is_rebuilt_from_its_serialized_form_and_its_weights(factorized):
    layer = matrix(factorized, seed=None, noise=0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    again(X)
    again.set_weights(layer.get_weights())
    for answer, expected in zip(again(X), layer(X), strict=True):
        np.testing.assert_array_equal(answer, expected)


@both_forms
def test_it_may_be_built_inside_of_a_graph(factorized):
    layer = InvertibleMatrix(5, factorized, seed=0, dtype="float64")
    np.testing.assert_allclose(tf.function(layer)(X)[0], kernel_of(matrix(factorized)), atol=1e-14)


@both_forms
def test_it_has_the_precision_of_its_weights_under_a_mixed_policy(factorized):
    class Outer(keras.layers.Layer):
        def call(self, x):
            return matrix(factorized, dtype="mixed_bfloat16")(x)

    expected = matrix(factorized, dtype="float32")(X)
    for answer, value in zip(Outer(dtype="mixed_bfloat16")(X), expected, strict=True):
        assert answer.dtype == tf.float32
        np.testing.assert_array_equal(answer, value)


@both_forms
def test_it_knows_the_shapes_of_its_output(factorized):
    layer = matrix(factorized)
    assert layer.compute_output_shape(X.shape) == [tuple(answer.shape) for answer in layer(X)]


@pytest.mark.parametrize("size", [0, 2.0, None])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(ValueError, match=f"size must be a positive int; got {size}"):
        InvertibleMatrix(size)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
