"""Activation normalization and whitening: what the first batch makes of them, and when."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp.bijectors import Invertible1x1Convolution
from tfp_realnvp.networks.actnorm import ChannelAffine, Whitening, initializing, uninitialized

X = np.random.default_rng(0).normal([1.0, -2.0, 0.0], [2.0, 0.3, 1.0], size=(16, 5, 7, 3)).astype(np.float32)


def assert_normalizes(layer, x):
    axes = tuple(range(x.ndim - 1))
    np.testing.assert_allclose(layer.shift, -x.mean(axes), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.log_scale, -np.log(x.std(axes)), rtol=1e-3, atol=1e-4)
    assert layer.initialized.numpy() == 1


def assert_is_new(layer):
    for weight in layer.get_weights():
        np.testing.assert_array_equal(weight, np.zeros_like(weight))


@pytest.mark.parametrize("shape", [(16, 5, 7, 3), (560, 3), (4, 4, 5, 7, 3)])
def test_the_first_batch_of_the_scope_normalizes_itself(shape):
    layer, x = ChannelAffine(), X.reshape(shape)
    with initializing():
        shift, log_scale = layer(x)
    assert_normalizes(layer, x)
    y = (x + shift) * tf.exp(log_scale)
    np.testing.assert_allclose(tf.reduce_mean(y, range(len(shape) - 1)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(y, range(len(shape) - 1)), np.ones(3), rtol=1e-4)


def test_nothing_is_initialized_outside_of_the_scope_nor_where_it_is_not_wanted():
    layer = ChannelAffine()
    for training in (False, True):
        np.testing.assert_array_equal(layer(X, training=training), np.zeros([2, 3]))
    with initializing():
        layer(X, initialize=False)
    with pytest.raises(ZeroDivisionError), initializing():
        raise ZeroDivisionError
    layer(X)
    assert_is_new(layer)


def test_scopes_may_be_nested_and_are_those_of_a_thread():
    inner, outer, elsewhere = (ChannelAffine() for _ in range(3))
    with initializing():
        with initializing():
            inner(X)
        outer(X)
        thread = threading.Thread(target=elsewhere, args=[X])
        thread.start()
        thread.join()
    assert_normalizes(inner, X)
    assert_normalizes(outer, X)
    assert_is_new(elsewhere)


def test_what_is_initialized_stays_as_it_is():
    layer = ChannelAffine()
    with initializing():
        layer(X)
        layer(3 * X + 1)
    assert_normalizes(layer, X)
    by_hand = ChannelAffine()
    by_hand.build(X.shape)
    for weight, value in zip(by_hand.weights, ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 1.0), strict=True):
        weight.assign(value)
    with initializing():
        shift, log_scale = by_hand(X)
    np.testing.assert_array_equal(shift, [1, 2, 3])
    np.testing.assert_array_equal(log_scale, [4, 5, 6])


def test_a_constant_channel_stays_finite():
    layer = ChannelAffine()
    with initializing():
        shift, log_scale = layer(np.full([4, 2], 7.0, np.float32))
    np.testing.assert_array_equal(shift, [-7, -7])
    np.testing.assert_allclose(log_scale, [0.5 * np.log(1e6)] * 2, rtol=1e-5)


def test_shift_and_log_scale_are_trained_and_the_flag_is_not():
    layer = ChannelAffine()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.stack(layer(X)) * [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert [weight.name for weight in layer.trainable_weights] == ["shift", "log_scale"]
    gradients = tape.gradient(total, [weight.value for weight in layer.trainable_weights])
    np.testing.assert_array_equal(gradients, [[1, 2, 3], [4, 5, 6]])
    assert [weight.name for weight in layer.non_trainable_weights] == ["initialized"]


def test_a_mixed_policy_leaves_the_values_in_float32():
    class Outer(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.affine = ChannelAffine(dtype=self.dtype_policy)

        def call(self, x):
            assert x.dtype == tf.bfloat16
            return self.affine(x)

    layer = Outer(dtype="mixed_bfloat16")
    with initializing():
        shift, log_scale = layer(X)
    assert shift.dtype == log_scale.dtype == tf.float32
    assert_normalizes(layer.affine, tf.cast(tf.cast(X, tf.bfloat16), tf.float32).numpy())


def test_the_uninitialized_are_found_inside_of_other_layers_built_or_not():
    parts = [ChannelAffine() for _ in range(3)]
    parts[1].build(X.shape)
    with initializing():
        parts[2](X)
    outer = keras.layers.Layer()
    outer.parts = [keras.layers.Dense(3), *parts]
    assert set(map(id, uninitialized(outer))) == {id(parts[0]), id(parts[1])}
    assert uninitialized(parts[0]) == [parts[0]]
    assert uninitialized(parts[2]) == []


def test_the_layer_is_rebuilt_from_its_serialized_form_and_knows_its_shapes():
    layer = ChannelAffine(name="affine", dtype="float64")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()
    assert layer.compute_output_shape(X.shape) == [tuple(values.shape) for values in again(X)]


def test_a_saved_model_keeps_what_is_initialized(tmp_path):
    def model(x=None):
        inputs = keras.Input(X.shape[1:])
        model = keras.Model(inputs, ChannelAffine()(inputs))
        if x is not None:
            with initializing():
                model(x)
        return model

    saved = model(X)
    saved.save(tmp_path / "model.keras")
    saved.save_weights(tmp_path / "model.weights.h5")
    again = model()
    assert len(uninitialized(again)) == 1
    again.load_weights(tmp_path / "model.weights.h5")
    for restored in (again, keras.saving.load_model(tmp_path / "model.keras")):
        assert uninitialized(restored) == []
        with initializing():
            restored(3 * X)
        assert_normalizes(restored.layers[-1], X)


def test_a_fixed_shift_and_log_scale_are_not_trained():
    layer = ChannelAffine(learned=False)
    with initializing():
        layer(X)
    assert_normalizes(layer, X)
    assert layer.trainable_weights == [] and layer.get_config()["learned"] is False


def test_the_first_batch_is_whitened_and_no_later_one():
    layer, mixed = Whitening(), X @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]], np.float32)
    kernel, log_abs_det = layer(mixed)
    np.testing.assert_array_equal(kernel, np.eye(3))
    assert log_abs_det == 0 and uninitialized(layer) == [layer]
    with initializing():
        layer(mixed)
        kernel, log_abs_det = layer(3 * mixed)
    np.testing.assert_allclose(np.cov((mixed @ kernel.numpy()).reshape(-1, 3).T), np.eye(3), atol=3e-3)
    np.testing.assert_allclose(log_abs_det, -0.5 * np.linalg.slogdet(np.cov(mixed.reshape(-1, 3).T))[1], atol=3e-3)
    assert layer.trainable_weights == [] and uninitialized(layer) == []


def test_a_whitening_needs_as_many_pixels_as_channels():
    with pytest.raises(ValueError, match="x must hold at least 3 pixels to whiten 3 channels; got 2"), initializing():
        Whitening()(X[:1, :1, :2])


def test_latents_initialize_no_whitening():
    layer = Whitening()
    with initializing():
        Invertible1x1Convolution(layer).inverse(tf.constant(X))
    assert uninitialized(layer) == [layer]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
