"""Checks of training with several replicas on one machine, its logical CPUs.

  python -m tests.replicas

runs every check, and prints as its last line, in JSON, the exit code of each. TensorFlow allows one training with
replicas in a process, so each check has a process of its own: a fork, which need not import TensorFlow again.
"""

import contextlib
import functools
import json
import multiprocessing

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_probability as tfp

import tests.conftest  # noqa: F401  whose settings are those of every process of the tests
import tfp_realnvp as rnvp
from tests import graphs, test_guard
from tfp_realnvp.bijectors import ActNorm
from tfp_realnvp.networks.actnorm import ChannelAffine, initializing, uninitialized

# Batches of 16 out of 50 examples: the last of each pass is a batch of 2, of which the first replica gets both.
POINTS = np.random.default_rng(0).normal([1.0, -2.0, 0.0], [2.0, 0.3, 1.0], [50, 3]).astype("float32")
DIGITS = sklearn.datasets.load_digits().images[:50, ..., None].astype("uint8")
IMAGES = DIGITS[:, ::2, ::2]
WEIGHTED = (POINTS, None, np.random.default_rng(1).uniform(size=50))
PARTLY_LABELLED = (POINTS, np.random.default_rng(2).choice([-1, 0, 1], size=50))


def batches(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(16)


def strategy(replicas):
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])


# Batch norm in double precision: Adam makes steps of full length of what rounding leaves of the gradient of a bias in
# front of a batch norm, which is 0, where that is more than its epsilon.


def vector(**options):
    return rnvp.VectorRealNVP((3,), 2, hidden_units=[4], norm="batch", seed=0, dtype="float64", **options)


def real_nvp():
    return rnvp.RealNVP((8, 8, 1), 1, filters=2, num_blocks=1, num_bins=17, seed=0, dtype="float64")


def glow():
    return rnvp.Glow((4, 4, 1), num_scales=1, steps_per_scale=1, filters=4, num_bins=17, seed=0)


def continuous():
    """Steps of one length, since those of another share of the batch would have other lengths."""
    options = dict(solver="rk4", num_steps=1, kinetic_energy=0.1, seed=0, dtype="float64")
    return rnvp.FFJORD((3,), hidden_units=[4], divergence="hutchinson", **options)


def trained(make, x, scope, optimizer=rnvp.optimizers.Adam, **options):
    with scope:
        model = make()
        model.compile(optimizer(3e-3, global_clipnorm=0.5, use_ema=True))
    model.fit(batches(x).repeat(), steps_per_epoch=10, epochs=2, verbose=0, **options)
    return model


def compare_training(make, x, replicas, **options):
    """Both models, after what training with replicas has done is compared with what one device does."""
    model = trained(make, x, contextlib.nullcontext(), **options)
    other = trained(make, x, strategy(replicas).scope(), **options)
    assert int(other.optimizer.iterations.numpy()) == 20 and not other.needs_initialization
    for weight, expected in zip(
        other.weights + other.optimizer.variables, model.weights + model.optimizer.variables, strict=True
    ):
        error, size = np.abs(weight.numpy() - expected.numpy()).max(), np.abs(expected.numpy()).max()
        assert error <= 1e-4 * size + 1e-12, (replicas, expected.path, error, size)  # 1e-12: of those biases
        for copy in weight.value.values:  # of every replica
            np.testing.assert_array_equal(copy.numpy(), weight.numpy())
    for log, values in model.history.history.items():
        np.testing.assert_allclose(other.history.history[log], values, rtol=1e-5)
    return model, other


def compare(make, x, replicas):
    both = compare_training(make, x, replicas, validation_data=batches(x[:33]))
    logs, other_logs = (model.evaluate(batches(x[:33]), return_dict=True, verbose=0) for model in both)
    for log, value in logs.items():
        np.testing.assert_allclose(other_logs[log], value, rtol=1e-5)
    nats, other_nats = (model.predict(x[:17], batch_size=16, verbose=0) for model in both)
    np.testing.assert_allclose(other_nats, nats, rtol=1e-4)


def compare_energies():
    """Batches of 15 samples: the replicas have 8 and 7 of them."""
    log_prob = lambda x: -0.5 * tf.reduce_sum((x - 1.0) ** 2, axis=-1)
    models, histories = [], []
    for scope in (contextlib.nullcontext(), strategy(2).scope()):
        with scope:
            model = vector()
            model.compile(rnvp.optimizers.Adam(3e-3))
        fitted = rnvp.energy.fit(model, log_prob, 10, batch_size=15, forward_share=0.3, seed=0, verbose=0)
        models.append(model)
        histories.append(fitted.history)
    for weight, expected in zip(models[1].weights, models[0].weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-9)
    for log, values in histories[0].items():
        np.testing.assert_allclose(histories[1][log], values, rtol=1e-6)


def clipping_and_local_data_are_refused():
    with strategy(2).scope():
        model = glow()
    message = "optimizer must not have clipnorm under a strategy of 2 replicas.*got a SGD"
    with pytest.raises(ValueError, match=message):
        model.compile(keras.optimizers.SGD(clipnorm=1.0))
    model.compile(type("SGD", (rnvp.optimizers.ClipsGlobally, keras.optimizers.SGD), {})(clipnorm=1.0))
    with pytest.raises(ValueError, match="x must be a global data set for a flow with ActNorm"):
        model.fit(model.distribute_strategy.distribute_datasets_from_function(lambda context: batches(IMAGES)))


def one_pass_initializes_every_act_norm():
    x, of_two = POINTS[:, :2], strategy(2)
    for in_scope in (False, True):
        with of_two.scope():
            layers = [ChannelAffine(), ChannelAffine()]
            for layer in layers:
                layer.build(x.shape)
        assert [uninitialized(layer) for layer in layers] == [[layer] for layer in layers]
        flow = tfp.bijectors.Chain([ActNorm(layer, event_ndims=1) for layer in layers])
        halves = of_two.experimental_distribute_values_from_function(
            lambda context: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group])
        )
        run = tf.function(lambda x, flow=flow: of_two.run(flow.forward, [x]))
        run(halves)
        with initializing():
            if in_scope:
                with of_two.scope():
                    y = flow.forward(x)
            else:
                y = flow.forward(x)
        np.testing.assert_allclose(y.numpy().mean(0), [0, 0], atol=1e-5)
        np.testing.assert_allclose(y.numpy().std(0), [1, 1], rtol=1e-4)
        assert [uninitialized(layer) for layer in layers] == [[], []]
        for weight in [weight for layer in layers for weight in layer.weights]:
            one, other = [copy.numpy() for copy in weight.value.values]
            np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(layers[1].shift, -x.mean(0), rtol=1e-4)
        of_both = np.concatenate(of_two.experimental_local_results(run(halves)))
        np.testing.assert_allclose(of_both, y, atol=1e-5)


def a_step_that_is_not_finite_is_skipped_by_all():
    """The second replica's half of a batch is not finite: the first one's weights stay as well."""
    with strategy(2).scope():
        model = test_guard.compiled(rnvp.optimizers.Adam(0.01, global_clipnorm=100.0, use_ema=True))
    fit = lambda x: model.fit(tf.data.Dataset.from_tensors(x).unbatch().batch(32), verbose=0)
    fit(test_guard.X)
    before = test_guard.values(model)
    fit(test_guard.TOO_LARGE)
    after = test_guard.values(model)
    changed = [path for path in after if not np.array_equal(before[path], after[path])]
    assert changed == [model.optimizer.iterations.path], changed
    assert test_guard.counts(model) == (1, 1)
    fit(test_guard.X)
    assert test_guard.counts(model) == (1, 0)
    assert all(np.isfinite(value).all() for value in test_guard.values(model).values())


CHECKS = {
    "vector, 4": lambda: compare(vector, POINTS, 4),
    "glow, 2": lambda: compare(glow, IMAGES, 2),
    "real_nvp, 2": lambda: compare_training(real_nvp, DIGITS, 2),
    "real_nvp, 4": lambda: compare_training(real_nvp, DIGITS, 4),
    "continuous, 2": lambda: compare_training(continuous, POINTS, 2),
    "weights, 2": lambda: compare_training(vector, WEIGHTED, 2, validation_data=batches(WEIGHTED)),
    "labels, 2": lambda: compare_training(functools.partial(vector, num_classes=2), PARTLY_LABELLED, 2),
    "muon, 2": lambda: compare_training(vector, POINTS, 2, optimizer=rnvp.optimizers.Muon),
    "energy, 2": compare_energies,
    "refusals": clipping_and_local_data_are_refused,
    "act_norm": one_pass_initializes_every_act_norm,
    "skipped step": a_step_that_is_not_finite_is_skipped_by_all,
}


def main():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
    )
    exit_codes = {}
    for name, check in CHECKS.items():
        with graphs.as_they_are():  # A graph of each replica, for a few steps.
            process = multiprocessing.get_context("fork").Process(target=check)  # before TensorFlow has threads
            process.start()
        process.join()
        exit_codes[name] = process.exitcode
    print(json.dumps(exit_codes))


if __name__ == "__main__":
    main()
