"""Checkpoints of the authors' script: the same function to rounding, and the same step of training.

tests/data/official_small holds what the authors' code left after 60 steps on 16×16 crops of CIFAR-10: the checkpoint,
and its answers on eight images. The script's pass in training mode, the last before the checkpoint was written, moved
the moving averages once more; those of step 60, which its evaluation used, are among the arrays.
"""

import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests.laws import in_training
from tfp_realnvp.architectures import official_checkpoint
from tfp_realnvp.bijectors import Logit

FOLDER = pathlib.Path(__file__).parents[1] / "data/official_small"
PREFIX = FOLDER / "model.ckpt"
SIZE = 16 * 16 * 3


@pytest.fixture(scope="module")
def arrays():
    return np.load(FOLDER / "arrays.npz")


@pytest.fixture(scope="module")
def model():
    return rnvp.RealNVP.from_official_checkpoint(PREFIX, seed=0)


def use_moving_averages_of_step_60(model, arrays):
    for name, weight in official_checkpoint._weights(model).items():
        if name.endswith(("/mean", "/var")):
            weight.assign(arrays[name.replace("/", "|")])


def assert_latents(actual, expected):
    error = np.abs(actual - expected)
    assert error.max() <= 1e-3 and error.mean() <= 1e-5


def encoded(model, x01):
    """Latents, log-det of the couplings alone, and nats with respect to x in [0, 1), of x in [0, 1)."""
    x = tf.constant(256 * x01)
    z, log_det = model.bijector.inverse(x), model.bijector.inverse_log_det_jacobian(x, 3)
    nats = -model.distribution.log_prob(x) - SIZE * np.log(256)
    return z.numpy(), (log_det - Logit().forward_log_det_jacobian(x, 3)).numpy(), nats.numpy()


def test_the_hyper_parameters_are_inferred(model):
    expected = dict(num_scales=3, filters=8, num_blocks=2, recursion_type=2, use_affine=True, use_batch_norm=True)
    expected.update(event_shape=(16, 16, 3), skip=True, bottleneck=False)
    assert {name: model.get_config()[name] for name in expected} == expected


def test_training_mode_is_the_authors_function_and_moves_the_averages_as_theirs(model, arrays):
    use_moving_averages_of_step_60(model, arrays)
    z, log_det, nats = in_training(lambda x: encoded(model, x), arrays["x01"])
    assert_latents(z, arrays["z_train"])
    np.testing.assert_allclose(log_det, arrays["ldj_train"], rtol=1e-5)
    np.testing.assert_allclose(nats, arrays["nll_train"], rtol=1e-5)


def test_the_averages_move_as_in_the_authors_code(model, arrays):
    use_moving_averages_of_step_60(model, arrays)
    in_training(lambda x: model.distribution.log_prob(256 * x), tf.constant(arrays["x01"]))
    reader = tf.train.load_checkpoint(str(PREFIX))
    for name, weight in official_checkpoint._weights(model).items():
        np.testing.assert_allclose(weight.numpy(), reader.get_tensor(name), rtol=1e-5, atol=1e-5, err_msg=name)


def test_evaluation_mode_is_the_authors_function(model, arrays):
    use_moving_averages_of_step_60(model, arrays)
    z, log_det, nats = encoded(model, arrays["x01"])
    assert_latents(z, arrays["z_eval"])
    np.testing.assert_allclose(log_det, arrays["ldj_eval"], rtol=1e-5)
    np.testing.assert_allclose(nats, arrays["nll_eval"], rtol=1e-5)


def test_decoding_is_the_authors_function(model, arrays):
    use_moving_averages_of_step_60(model, arrays)
    z = tf.constant(arrays["z_rand"])
    x, log_det = model.bijector.forward(z), model.bijector.forward_log_det_jacobian(z, 3)
    log_det += Logit().forward_log_det_jacobian(x, 3)
    assert_latents(Logit().forward(x).numpy(), arrays["decoded_logit"])
    np.testing.assert_allclose(log_det, arrays["decoded_ldj"], rtol=1e-5)


def test_a_step_of_training_moves_every_weight_as_in_the_authors_code(arrays):
    # In double precision: biases in front of a norm have no gradient but rounding, of which Adam makes whole steps.
    model = rnvp.RealNVP.from_official_checkpoint(PREFIX, seed=0, dtype="float64")
    model.compile(run_eagerly=True)
    images = np.floor(256 * arrays["x01"]).astype(np.uint8)
    weights = official_checkpoint._weights(model)
    trainable = {name: weight for name, weight in weights.items() if weight.variable.trainable}
    before = {name: weight.numpy() for name, weight in trainable.items()}
    with tf.GradientTape() as tape:
        cost = -tf.reduce_mean(model(images, training=True))
        penalized = [w for name, w in trainable.items() if "magnitude" in name or "rescaling_scale" in name]
        cost += 5e-5 * tf.add_n([tf.reduce_sum(tf.square(w.variable.value[w.index])) for w in penalized])
    gradients = tape.gradient(cost, [weight.variable.value for weight in trainable.values()])
    gradients = [gradient[weight.index] for gradient, weight in zip(gradients, trainable.values(), strict=True)]
    norm = tf.linalg.global_norm(gradients)
    assert norm > 100  # clipping matters
    model.train_on_batch(images)
    for (name, weight), gradient in zip(trainable.items(), gradients, strict=True):
        clipped = gradient * (100 / norm)
        m, v = (1 - 0.9) * clipped, (1 - 0.999) * clipped**2
        step = 1e-3 * np.sqrt(1 - 0.999) / (1 - 0.9) * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(weight.numpy(), before[name] - step, rtol=0, atol=1e-8, err_msg=name)


# Every option that the variables tell.


def written(path, values):
    """A checkpoint in TensorFlow 1's format."""
    tensors = [tf.convert_to_tensor(value) for value in values.values()]
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors)
    return path


def read(prefix=PREFIX):
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize(
    "options",
    [
        dict(recursion_type=1),
        dict(recursion_type=3, use_affine=False, bottleneck=True),
        dict(recursion_type=4, use_batch_norm=False, skip=False),
        dict(num_scales=1, use_affine=False, use_batch_norm=False, bottleneck=True),
    ],
    ids=str,
)
def test_other_models_are_recognized_and_read(options, tmp_path):
    model = rnvp.RealNVP((8, 8, 1), **{**dict(num_scales=2, filters=2, num_blocks=2, seed=1), **options})
    rng, values = np.random.default_rng(0), {}
    for name, weight in official_checkpoint._weights(model).items():
        weight.assign(weight.numpy() + 0.1 * np.abs(rng.standard_normal(weight.shape)))
        values[name] = weight.numpy()
        values[f"{name}/Adam"] = values[f"{name}/Adam_1"] = np.zeros(weight.shape, np.float32)
    values.update({"global_step": np.int64(60), "beta1_power": np.float32(0.1)})
    num_weights = sum(weight.shape[0] if re.search("/(skips|blocks)/", weight.path) else 1 for weight in model.weights)
    assert len(values) == 3 * num_weights + 2
    again = rnvp.RealNVP.from_official_checkpoint(written(tmp_path / "model.ckpt-60", values), image_size=8, seed=1)
    assert again.get_config() == model.get_config()
    x = rng.uniform(0, 256, size=(2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(again.distribution.log_prob(x), model.distribution.log_prob(x))


def test_an_option_that_no_variable_tells_can_be_given():
    model = rnvp.RealNVP.from_official_checkpoint(PREFIX, running_average=0.9, num_bins=17)
    assert model.num_bins == 17 and model.get_config()["running_average"] == 0.9
    moments = next(network for network in model.networks if isinstance(network, rnvp.networks.Moments))
    assert float(moments.filled) == 1  # the averages that it read count in full


# What does not fit.


def refused(tmp_path, values):
    with pytest.raises(ValueError) as caught:
        rnvp.RealNVP.from_official_checkpoint(written(tmp_path / "model.ckpt", values))
    return str(caught.value)


def test_missing_unknown_and_mis_shaped_variables_are_listed(tmp_path):
    values = read()
    del values["model/scale_1/coupling_4/resnet/skip_1/biases"], values["model/scale_2/coupling_3/bn_in/beta"]
    values["model/scale_1/coupling_4/resnet/gate/weights"] = np.zeros(3, np.float32)
    values["model/scale_0/coupling_0/bn_out/var"] = np.ones(5, np.float32)
    message = refused(tmp_path, values)
    assert "2 missing: model/scale_1/coupling_4/resnet/skip_1/biases, model/scale_2/coupling_3/bn_in/beta;" in message
    assert "1 unknown: model/scale_1/coupling_4/resnet/gate/weights;" in message
    assert "model/scale_0/coupling_0/bn_out/var (5,) where the model has (3,)" in message


def test_a_model_that_does_not_fit_is_left_as_it_was():
    model = rnvp.RealNVP((16, 16, 3), num_scales=2, filters=8, num_blocks=2, seed=0)
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(ValueError, match="missing: model/scale_1/coupling_3/.* unknown: model/scale_1/coupling_4/"):
        official_checkpoint.load_weights(model, PREFIX)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_other_files_are_no_checkpoints_of_a_real_nvp(tmp_path):
    message = refused(tmp_path, {"dense/kernel": np.zeros(3, np.float32)})
    assert "must be a checkpoint of the authors' script" in message and "holds dense/kernel" in message
    with pytest.raises(ValueError, match="prefix must be the path of a TensorFlow checkpoint.*no/such"):
        rnvp.RealNVP.from_official_checkpoint("no/such")


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "a byte", "a folder"])
def test_a_damaged_checkpoint_is_named_and_changes_no_model(part, damage, model, tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "there")
    path = folder / f"model.ckpt.{part}"
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(data[:-1])
        case "a byte":
            path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
        case "a folder":
            path.mkdir()
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(ValueError, match=re.escape(str(path if part != "index" else path.with_suffix("")))):
        official_checkpoint.load_weights(model, folder / "model.ckpt")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_model_is_saved_as_any_other(model, tmp_path):
    model.save(tmp_path / "flow.keras")
    again = keras.saving.load_model(tmp_path / "flow.keras")
    for weight, expected in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
