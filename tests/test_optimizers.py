"""The fused Adam against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_realnvp import optimizers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"global_clipnorm": 0.5},
        {"weight_decay": 0.1},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True},
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    ],
)
def test_updates_are_those_of_kerass_adam(options):
    results = []
    for adam in (keras.optimizers.Adam, optimizers.Adam):
        variables = [keras.Variable([1.0, -2.0, 3.0]), keras.Variable(0.5)]
        optimizer = adam(0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-6, **options)
        for step in range(5):
            gradients = [tf.constant([step - 2.0, 1.0, 0.1]), tf.constant(-1.0 * step)]
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        optimizer.finalize_variable_values(variables)
        results.append(np.concatenate([v.numpy().ravel() for v in variables + optimizer.variables[2:]]))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_it_is_saved_with_its_name():
    optimizer = optimizers.Adam(0.01, global_clipnorm=3.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, optimizers.Adam) and again.global_clipnorm == 3.0


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="amsgrad must be False"):
        optimizers.Adam(amsgrad=True)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
