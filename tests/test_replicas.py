"""Several replicas on one machine, its logical CPUs: they do what one device does with the same global batches."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

# Batches of 16 out of 50 examples: the last of each pass is a batch of 2, of which the first replica gets both.
PROGRAM = """
import contextlib
import keras, numpy as np, pytest, sklearn.datasets, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)
import tfp_realnvp as rnvp

points = np.random.default_rng(0).normal([1.0, -2.0, 0.0], [2.0, 0.3, 1.0], [50, 3]).astype("float32")
digits = sklearn.datasets.load_digits().images[:50, ..., None].astype("uint8")
images = digits[:, ::2, ::2]
batches = lambda x: tf.data.Dataset.from_tensor_slices(x).batch(16)
# Batch norm in double precision: Adam makes steps of full length of what rounding leaves of the gradient of a bias in
# front of a batch norm, which is 0, where that is more than its epsilon.
vector = lambda: rnvp.VectorRealNVP((3,), 2, hidden_units=[4], norm="batch", seed=0, dtype="float64")
real_nvp = lambda: rnvp.RealNVP((8, 8, 1), 1, filters=2, num_blocks=1, num_bins=17, seed=0, dtype="float64")
glow = lambda: rnvp.Glow((4, 4, 1), num_scales=1, steps_per_scale=1, filters=4, num_bins=17, seed=0)


def trained(make, x, scope, **options):
    with scope:
        model = make()
        model.compile(rnvp.optimizers.Adam(3e-3, global_clipnorm=0.5, use_ema=True))
    model.fit(batches(x).repeat(), steps_per_epoch=10, epochs=2, verbose=0, **options)
    return model


def compare_training(make, x, replicas, **options):
    model = trained(make, x, contextlib.nullcontext(), **options)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])
    other = trained(make, x, strategy.scope(), **options)
    assert int(other.optimizer.iterations.numpy()) == 20 and not other.needs_initialization
    for weight, expected in zip(other.weights + other.optimizer.variables, model.weights + model.optimizer.variables):
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
"""


def run(program):
    subprocess.run([sys.executable, "-c", PROGRAM + program], check=True)


@pytest.mark.parametrize(("flow", "replicas"), [("vector, points", 4), ("glow, images", 2)])
def test_replicas_train_like_one_device(flow, replicas):
    run(f"compare({flow}, {replicas})")


@pytest.mark.parametrize("replicas", [2, 4])  # which TensorFlow does not allow in one process
def test_replicas_train_real_nvp_with_batch_norm_like_one_device(replicas):
    run(f"compare_training(real_nvp, digits, {replicas})")


def test_what_does_not_go_with_replicas_is_refused():
    run("""
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = glow()
message = "optimizer must not have clipnorm under a strategy of 2 replicas.*got a SGD"
with pytest.raises(ValueError, match=message):
    model.compile(keras.optimizers.SGD(clipnorm=1.0))
model.compile(type("SGD", (rnvp.optimizers.ClipsGlobally, keras.optimizers.SGD), {})(clipnorm=1.0))
with pytest.raises(ValueError, match="x must be a global data set for a flow with ActNorm"):
    model.fit(model.distribute_strategy.distribute_datasets_from_function(lambda context: batches(images)))
""")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
