"""The fused Adam and Muon against Keras's own."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests.families import flows
from tfp_realnvp import optimizers
from tfp_realnvp.optimizers.muon import orthogonalized


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


@pytest.fixture
def float64_by_default():
    for dtype in ("float64", "float32"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)  # Keras makes it once, of the floatx of that time.
        if dtype == "float64":
            yield


@pytest.mark.parametrize("name", ["RealNVP, vectors", "Glow", "NICE", "SubpixelFlow, refined", "UvA", "VectorRealNVP"])
def test_every_family_trains_where_double_precision_is_the_default(name, float64_by_default, eagerly):
    model = flows("trained")[name]()
    model.compile(run_eagerly=True)
    random = np.random.default_rng(0)
    x = random.integers(17, size=[4, *model.event_shape]) if model.num_bins else random.normal(size=[4, 3])
    losses = model.fit(x, epochs=2, verbose=0).history["loss"]
    assert model.events.dtype == tf.float64 and losses[1] < losses[0]
    assert {variable.dtype for variable in model.optimizer.variables} == {"int64", "float64"}


@pytest.mark.parametrize(
    "options",
    [{}, {"use_ema": True, "global_clipnorm": 1.0}, {"gradient_accumulation_steps": 2, "clipnorm": 1.0}],
)
@pytest.mark.parametrize("rate", [1e-3, optimizers.WarmUp(keras.optimizers.schedules.CosineDecay(1e-3, 9), 2, 2)])
def test_updates_in_double_precision_are_those_of_kerass_adam(options, rate, float64_by_default):
    results = []
    for adam in (keras.optimizers.Adam, optimizers.Adam):
        variable, optimizer = keras.Variable([1.0, -2.0, 3.0], dtype="float64"), adam(rate, **options)
        optimizer.build([variable])
        step = tf.function(functools.partial(_apply, optimizer, variable))
        for number in range(4):
            step(tf.constant([number - 2.0, 1.0, 0.1], tf.float64))
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, rtol=1e-7)


def _apply(optimizer, variable, gradient):
    optimizer.apply([gradient], [variable])


def test_it_is_saved_with_its_name():
    optimizer = optimizers.Adam(0.01, global_clipnorm=3.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, optimizers.Adam) and again.global_clipnorm == 3.0


def test_an_optimizer_that_takes_over_at_a_step_begins_anew():
    weights = []
    for first_step in (0, 7):
        decay = keras.optimizers.schedules.PolynomialDecay(0.1, 4, 0.01)
        schedule = optimizers.WarmUp(decay, warmup_steps=2, start=2, first_step=first_step)
        optimizer = optimizers.Adam(schedule, use_ema=True, first_step=first_step)
        restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
        variable = keras.Variable([1.0, -2.0])
        for step in range(4):
            assert int(restored.iterations) == first_step + step
            restored.apply_gradients([(tf.constant([step - 2.0, 1.0]), variable)])
        weights.append([variable.numpy(), *(average.numpy() for average in restored.averages())])
    np.testing.assert_array_equal(*weights)
    for wrong, options in ((-1, {}), (1.0, {}), (3, {"gradient_accumulation_steps": 2})):
        with pytest.raises(ValueError, match=f"first_step must be a non-negative int, .*; got {wrong}"):
            optimizers.Adam(first_step=wrong, **options)


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="amsgrad must be False"):
        optimizers.Adam(amsgrad=True)


@pytest.mark.parametrize("shape", [(6, 6), (40, 8), (3, 20), (5, 1)])
def test_directions_of_a_matrix_get_equal_lengths(shape):
    matrix = tf.random.stateless_normal(shape, [0, 1])
    np.testing.assert_allclose(
        orthogonalized(matrix), keras.optimizers.Muon().zeropower_via_newtonschulz5(matrix, 5), atol=1e-5
    )
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    lengths = left.T @ orthogonalized(matrix).numpy() @ right.T  # Diagonal: each direction keeps its own.
    np.testing.assert_allclose(lengths, np.diag(np.diag(lengths)), atol=1e-3)
    assert (np.diag(lengths) > 0.65).all() and (np.diag(lengths) < 1.25).all()
    np.testing.assert_array_equal(orthogonalized(tf.zeros(shape)), np.zeros(shape))


def test_muon_moves_matrices_as_kerass_muon_does_and_other_weights_as_adam():
    results = []
    ours = optimizers.Muon(0.1, beta_2=0.9)
    theirs = keras.optimizers.Muon(0.1, weight_decay=None), optimizers.Adam(0.1, beta_2=0.9)
    for of_kernel, of_others in ((ours, ours), theirs):
        kernel = keras.Variable(tf.ones([4, 3]), name="kernel")
        others = [keras.Variable(tf.ones([4, 3]), name="filter"), keras.Variable(tf.ones([3]), name="kernel")]
        for step in range(4):
            gradient = tf.random.stateless_normal([4, 3], [0, step])
            pairs = [(gradient, kernel), (gradient, others[0]), (gradient[0], others[1])]
            if of_kernel is of_others:
                ours.apply_gradients(pairs)
            else:
                of_kernel.apply_gradients(pairs[:1])
                of_others.apply_gradients(pairs[1:])
        results.append(np.concatenate([variable.numpy().ravel() for variable in (kernel, *others)]))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-6)


def test_muon_takes_the_kernel_of_a_convolution_as_a_matrix_of_its_inputs():
    random = np.random.default_rng(0)
    start, gradient = (random.normal(size=[3, 3, 4, 5]).astype(np.float32) for _ in range(2))
    kernels = keras.Variable(start, name="kernel"), keras.Variable(start.reshape(36, 5), name="kernel")
    for kernel in kernels:
        optimizers.Muon(0.1).apply_gradients([(tf.constant(gradient.reshape(kernel.shape)), kernel)])
    np.testing.assert_allclose(kernels[0].numpy().reshape(36, 5), kernels[1], rtol=1e-6)


def test_muon_skips_a_step_whose_gradients_are_not_finite():
    kernel, bias = keras.Variable(tf.ones([4, 3]), name="kernel"), keras.Variable(tf.ones([3]), name="bias")
    optimizer = optimizers.Muon(0.1)
    values = []
    for factor in (1.0, np.nan, 1.0):
        gradients = [factor * tf.random.stateless_normal([4, 3], [0, 1]), factor * tf.ones([3])]
        optimizer.apply_if(tf.math.is_finite(factor), gradients, [kernel, bias])
        state = [v.numpy() for v in (kernel, bias, *optimizer.variables) if v is not optimizer.iterations]
        values.append(np.concatenate([value.ravel() for value in state]))
    np.testing.assert_array_equal(values[0], values[1])
    assert np.isfinite(values[2]).all() and (values[2][:12] != values[1][:12]).all()


def test_a_training_by_muon_goes_on_from_its_file(tmp_path):
    x = np.random.default_rng(0).normal(size=[32, 2]).astype(np.float32)
    model = rnvp.VectorRealNVP((2,), 2, hidden_units=[4], seed=0)
    model.compile(optimizers.Muon(1e-2, use_ema=True))
    fit = lambda model: model.fit(x, batch_size=16, shuffle=False, verbose=0)
    fit(model)
    model.save(tmp_path / "model.keras")
    again = rnvp.load_model(tmp_path / "model.keras")
    for each in (model, again):
        fit(each)
    assert isinstance(again.optimizer, optimizers.Muon)
    for weight, expected in zip(
        again.weights + again.optimizer.variables, model.weights + model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(weight, expected, err_msg=expected.path)


def test_muon_is_saved_with_its_momentum_and_refuses_a_wrong_one():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizers.Muon(momentum=0.8)))
    assert isinstance(again, optimizers.Muon) and again.momentum == 0.8
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\); got 1.0"):
        optimizers.Muon(momentum=1.0)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
