"""Steps whose loss or gradient is not finite: nothing changes but the counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tfp_realnvp.guard import cond_across_replicas, is_finite

X = np.random.default_rng(0).normal(size=[32, 2]).astype("float32")
TOO_LARGE = np.where(np.arange(32)[:, None] == 20, np.float32(1e25), X)  # its square overflows


def compiled(optimizer):
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=(4,), norm="batch", seed=0)
    model.compile(optimizer)
    return model


def values(model):
    return {v.path: v.numpy() for v in model.weights + model.optimizer.variables}


def counts(model):
    return int(model.progress.skipped.numpy()), int(model.progress.skipped_in_a_row.numpy())


def test_a_skipped_step_leaves_keras_own_norms_alone(eagerly):
    network = keras.Sequential(
        [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(4, kernel_initializer="zeros")]
    )
    network.build((None, 2))
    flow = tfp.bijectors.Invert(rnvp.bijectors.Coupling([1, 0], network))
    model = rnvp.FlowModel(
        tfp.distributions.TransformedDistribution(tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), 2), flow)
    )
    model.compile()
    before = [weight.numpy() for weight in model.weights]
    model.train_on_batch(np.full([4, 2], 1e30, np.float32))
    assert counts(model) == (1, 1)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


@pytest.mark.parametrize(
    ("loss", "gradients", "expected"),
    [
        (1.0, [[2.0, -3.0], None, 1e10], "then"),
        (np.nan, [[2.0]], "otherwise"),
        (np.inf, [[2.0]], "otherwise"),
        (1.0, [[2.0, np.nan], 1.0], "otherwise"),
        (1.0, [1.0, [-np.inf]], "otherwise"),
        (1.0, [1e30], "otherwise"),  # the norm, by which it would be clipped, overflows
        (np.float64(1.0), [np.float64(2.0), np.float32(2.0)], "then"),
    ],
    ids=str,
)
@pytest.mark.parametrize("in_graph", [False, True])
def test_the_loss_and_all_gradients_decide(loss, gradients, expected, in_graph):
    called = {"then": tf.Variable(0), "otherwise": tf.Variable(0)}

    def branch(name):
        called[name].assign_add(1)

    def step():
        tensors = [None if gradient is None else tf.constant(gradient) for gradient in gradients]
        cond_across_replicas(is_finite(tf.constant(loss), tensors), lambda: branch("then"), lambda: branch("otherwise"))

    (tf.function(step) if in_graph else step)()
    assert {name: int(count) for name, count in called.items()} == {"then": 0, "otherwise": 0, expected: 1}


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: rnvp.optimizers.Adam(0.01, global_clipnorm=100.0, use_ema=True, ema_momentum=0.5),
        lambda: rnvp.optimizers.Adam(0.01, weight_decay=0.1),
        lambda: rnvp.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 9), clipnorm=1.0),
        lambda: rnvp.optimizers.Adam(0.01, gradient_accumulation_steps=2),
        lambda: rnvp.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        lambda: keras.optimizers.SGD(0.01, momentum=0.9),
    ],
    ids=["average", "decay", "schedule", "accumulation", "overwritten", "SGD"],
)
def test_a_skipped_step_changes_only_the_counts(optimizer, eagerly):
    model = compiled(optimizer())
    model.train_on_batch(X)
    before = values(model)
    for _ in range(2):
        model.train_on_batch(TOO_LARGE)
    after = values(model)
    counter = model.optimizer.variables[0].path
    assert [path for path in after if not np.array_equal(before[path], after[path])] == [counter]
    assert (after[counter], counts(model)) == (3, (2, 2))
    model.train_on_batch(X)
    assert counts(model) == (2, 0)
    assert any(not np.array_equal(before[weight.path], weight) for weight in model.trainable_weights)


def test_the_loss_is_the_mean_over_the_steps_that_were_not_skipped(eagerly):
    losses = []
    for batches in ([X], [X, TOO_LARGE], [TOO_LARGE]):
        history = compiled("sgd").fit(np.concatenate(batches), batch_size=32, shuffle=False, verbose=0).history
        losses.append(history["loss"][0])
    assert losses[0] == losses[1] and np.isnan(losses[2])


def test_the_counts_and_the_mean_loss_are_saved_with_the_model(tmp_path, eagerly):
    model = compiled(rnvp.optimizers.Adam(0.01))
    history = model.fit(np.concatenate([X, TOO_LARGE]), batch_size=32, shuffle=False, verbose=0).history
    loss = history["loss"][0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert counts(again) == (1, 1) and float(again.progress.result()) == float(loss)
    again.reset_metrics()
    assert counts(again) == (1, 1) and np.isnan(again.progress.result())


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
