"""What every family of flows obeys, with a context and without."""

import contextlib
import functools
import json
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import families, laws
from tfp_realnvp.architectures.architecture import Architecture
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.dequantization import VariationalDequantization

tfb = tfp.bijectors
tfd = tfp.distributions
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(17, size=(12, 4, 4, 1)).astype(np.uint8)
VECTORS = RNG.standard_normal([12, 3]).astype(np.float32)
LABELS = np.arange(12) % 3
CONTEXTS = RNG.standard_normal([12, 2]).astype(np.float32)

FLOWS = families.flows("trained")
every_case = pytest.mark.parametrize("name", FLOWS)
every_family = pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.cls.__name__)


pytestmark = pytest.mark.usefixtures("module_eagerly")


def make(name, **more):
    """The flow of this name; of images of 17 levels."""
    is_image = len(FLOWS[name].keywords["event_shape"]) == 3
    return FLOWS[name](**{"num_bins": 17 if is_image else None, **more})


def data_of(model):
    """Events, and a list of the labels or contexts that they have."""
    x = IMAGES if len(model.event_shape) == 3 else VECTORS
    contexts = LABELS if model.num_classes else CONTEXTS
    return x, [contexts] if model.context_size else []


def predict(model, x, context):
    return model.predict((x, *context) if context else x, batch_size=12, verbose=0)


class Trained:
    """A flow that was fitted for one step.

    Attributes:
      model: the flow.
      x, context: the data, a list of labels or contexts.
      initial: the weights of the new flow.
      before: the weights that the step began with, of no special kind.
      gradients, logs, nats: those of the step, what it reported, and what the flow predicts then.
    """

    def __init__(self, name):
        self.model = make(name)
        self.initial = self.model.get_weights()
        laws.randomize_weights(self.model.weights)
        self.x, self.context = data_of(self.model)
        self.model.initialize(self.x, *self.context)
        self.before = self.model.get_weights()
        self.model.compile(rnvp.optimizers.Adam(0.01))
        apply = self.model.optimizer.apply

        def recorded(gradients, variables):
            self.gradients = gradients
            apply(gradients, variables)

        self.model.optimizer.apply = recorded
        history = self.model.fit(self.x, *self.context, batch_size=12, verbose=0).history
        self.model.optimizer.apply = apply
        self.logs = {key: values[0] for key, values in history.items()}
        self.nats = predict(self.model, self.x, self.context)


trained = functools.cache(Trained)


@every_case
def test_fit_moves_the_weights_by_finite_gradients_of_all_of_them(name):
    case = trained(name)
    loss, bits = case.logs["loss"], case.logs["bits_per_dim"]
    assert np.isfinite(loss) and bits == pytest.approx(loss / (math.prod(case.model.event_shape) * math.log(2)))
    for weight, gradient in zip(case.model.trainable_weights, case.gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.all(np.isfinite(gradient)), weight.path
    pairs = zip(case.model.weights, case.before, strict=True)
    moved = [np.any(w.numpy() != before) for w, before in pairs if w.trainable and before.size]
    assert np.mean(moved) > 0.9  # a rectified unit may be dead


@every_case
def test_decode_gives_back_what_encode_got(name):
    case = trained(name)
    model, x, context = case.model, case.x, case.context
    z = model.encode(x, *context)
    assert z.shape == x.shape and z.dtype == np.float32
    back = model.decode(z, *context)
    assert back.dtype == x.dtype
    np.testing.assert_allclose(back, x, atol=0 if x.dtype == np.uint8 else 1e-4)


@every_case
def test_evaluate_is_the_mean_of_predict(name):
    case = trained(name)
    assert case.nats.shape == (12,)
    loss, *_ = case.model.evaluate(case.x, *case.context, batch_size=12, verbose=0)
    assert loss == pytest.approx(-case.nats.mean(), rel=1e-4)


@every_case
def test_a_saved_model_predicts_the_same_to_the_bit(name, tmp_path):
    case = trained(name)
    case.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(case.model) and again.seed == case.model.seed
    np.testing.assert_array_equal(predict(again, case.x, case.context), case.nats)
    for weight, other in zip(again.optimizer.variables, case.model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(weight, other)


@every_case
def test_a_configuration_rebuilds_the_flow_as_it_began(name):
    case = trained(name)
    config = json.loads(json.dumps(case.model.get_config()))
    again = type(case.model).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    for weight, other, initial in zip(again.weights, case.model.weights, case.initial, strict=True):
        assert weight.name == other.name
        np.testing.assert_array_equal(weight, initial)


@every_case
def test_the_model_finds_every_network_and_its_scale(name):
    model = trained(name).model
    names = [network.name for network in model.networks]
    assert len(set(names)) == len(names)
    scales = model.networks_by_scale()
    assert [network.name for networks in scales for network in networks] == names
    for number, networks in enumerate(scales):
        assert all(network.name.startswith(f"scale_{number}_") for network in networks)
    of_noise = model.dequantization.weights if model.dequantization else []
    assert len(model.weights) == sum(len(network.weights) for network in model.networks) + len(of_noise)


@pytest.mark.parametrize("name", [name for name, make in FLOWS.items() if "context_size" in make.keywords])
def test_the_given_distribution_is_what_predict_evaluates(name):
    case = trained(name)
    distribution = case.model.given(*case.context)
    assert distribution.batch_shape == (12,) and distribution.event_shape == case.model.event_shape
    x = tf.constant(case.x)
    if case.model.num_bins:
        x, _ = case.model.dequantization(x, num_bins=17, seed=tf.constant([0, -1], tf.int64))
    np.testing.assert_allclose(distribution.log_prob(x), case.nats, rtol=1e-4, atol=1e-4)


SCALES = {  # the latents of each scale of images of 4×4×1
    "RealNVP, classes": [(4, 4, 1)],
    "RealNVP, vectors and contexts": [(3,)],
    "Glow": [(2, 2, 2), (2, 2, 2)],
    "NICE": [(4, 4, 1)],
    "UvA": [(2, 2, 2), (2, 2, 2)],
    "UvA, contexts": [(4, 4, 1)],
    "VectorRealNVP": [(3,)],
}


@pytest.mark.parametrize("name", SCALES)
def test_latents_by_scale_are_joined_again(name):
    model = trained(name).model
    z = np.random.default_rng(0).standard_normal([5, *model.event_shape]).astype(np.float32)
    latents = model.latents_by_scale(z)
    assert [latent.shape[1:] for latent in latents] == SCALES[name]
    np.testing.assert_array_equal(model.join_latents(latents), z)
    with pytest.raises(ValueError, match=r"z must have shape \[N\] \+"):
        model.latents_by_scale(z[0])


@pytest.mark.parametrize("name", ["Glow", "UvA"])
def test_a_scale_sees_nothing_of_the_latents_of_the_finer_ones(name):
    model = make(name)
    laws.randomize_weights(model.weights)
    before = model.latents_by_scale(model.encode(IMAGES))
    laws.randomize_weights([w for network in model.networks_by_scale()[1] for w in network.weights], seed=1)
    after = model.latents_by_scale(model.encode(IMAGES))
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).max() > 1e-3


@every_case
def test_names_do_not_grow_with_the_layers(name):
    model = trained(name).model  # each name begins those of a layer's operations, so that a graph would grow by squares
    flow = model.given(*trained(name).context) if model.context_size else model.distribution
    names = [module.name for module in (flow, *flow.submodules) if isinstance(module, tfb.Bijector | tfd.Distribution)]
    assert len(names) > 3 and max(map(len, names)) < 60, names


# Seeds, precision, learned noise.


@every_family
def test_without_a_seed_one_is_drawn_and_kept(family):
    models = [family.cls(**family.small) for _ in range(2)]
    assert models[0].seed != models[1].seed
    again = family.cls.from_config(models[0].get_config())
    for weight, other in zip(again.weights, models[0].weights, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.dtype("mixed_bfloat16")
@pytest.mark.parametrize("name", ["Glow, classes", "VectorRealNVP"])
def test_networks_in_bfloat16_leave_the_flow_in_float32(name):
    model = make(name, dtype="mixed_bfloat16")
    laws.randomize_weights(model.weights)
    exact = model.with_dtype("float32")
    x, context = data_of(model)
    nats, expected = (predict(each, x, context) for each in (model, exact))
    assert nats.dtype == np.float32 and {w.dtype for w in model.weights} == {"float32"}
    assert np.any(nats != expected)
    np.testing.assert_allclose(nats.mean(), expected.mean(), rtol=0.1)


@contextlib.contextmanager
def policy(name):
    """Within it Keras makes layers of this dtype policy where they are not told another."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.dtype("mixed_bfloat16")
@every_family
def test_keras_policy_and_the_argument_make_the_same_flow(family):
    make = functools.partial(family.cls, **family.small, seed=0)
    if family.is_continuous:
        with (
            policy("mixed_bfloat16"),
            pytest.raises(ValueError, match='dtype must be "float32" or "float64": in lower'),
        ):
            make()
        return
    model = make(dtype="mixed_bfloat16")
    with policy("mixed_bfloat16"):
        other, exact = make(), make(dtype="float32")
    policies = [[part.dtype_policy.name for part in each._flatten_layers() if part.weights] for each in (other, exact)]
    assert set(policies[0]) == {"mixed_bfloat16"} and set(policies[1]) == {"float32"}
    for each in (model, other):
        laws.randomize_weights(each.weights)
    x = tf.cast(data_of(model)[0], tf.float32)
    with policy("mixed_bfloat16"):
        nats, z = other.distribution.log_prob(x), other.bijector.inverse(x)
        log_det = other.bijector.inverse_log_det_jacobian(x, len(model.event_shape))
    assert {nats.dtype, z.dtype, log_det.dtype} == {tf.float32}
    np.testing.assert_array_equal(nats, model.distribution.log_prob(x))


@pytest.mark.parametrize(
    "name",
    [
        "RealNVP, vectors",
        "Glow",
        "NICE",
        "VectorRealNVP, contexts",
    ],
)
def test_the_whole_flow_may_be_in_float64(name):
    model = make(name, dtype="float64")
    x, context = data_of(model)
    assert predict(model, x, context).dtype == np.float64


def with_learned_noise():
    noise = VariationalDequantization(num_couplings=1, filters=2, num_blocks=1, seed=1)
    model = FLOWS["NICE"](num_bins=17, dequantization=noise)
    laws.randomize_weights(model.trainable_weights)
    return model


def test_learned_noise_is_trained_with_the_flow():
    model = with_learned_noise()
    noise = {id(weight) for weight in model.dequantization.trainable_weights}
    assert noise and noise < {id(weight) for weight in model.trainable_weights}
    with tf.GradientTape() as tape:
        nats = tf.reduce_mean(model(IMAGES, training=True))
    for gradient in tape.gradient(nats, [w.value for w in model.dequantization.trainable_weights]):
        assert np.any(gradient != 0)


def test_learned_noise_by_name_is_saved_with_the_flow(tmp_path):
    model = FLOWS["NICE"](dequantization="variational")
    laws.randomize_weights(model.weights)
    model.save(tmp_path / "model.keras")
    for again in (keras.saving.load_model(tmp_path / "model.keras"), model.with_dtype("float32")):
        assert type(again.dequantization) is VariationalDequantization
        for weight, other in zip(again.weights, model.weights, strict=True):
            np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize("copy_of", ["file", "configuration", "precision"])
def test_a_copy_has_the_learned_noise(copy_of, tmp_path):
    model = with_learned_noise()
    if copy_of == "file":
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
    elif copy_of == "configuration":
        again = rnvp.NICE.from_config(model.get_config())
        assert again.get_config() == model.get_config()
        again.set_weights(model.get_weights())
    else:
        again = model.with_dtype("float32")
    assert again.dequantization is not model.dequantization
    assert again.dequantization.get_config() == model.dequantization.get_config()
    np.testing.assert_array_equal(predict(again, IMAGES, []), predict(model, IMAGES, []))


# A family of one's own.


@keras.saving.register_keras_serializable(package="tests")
class Shifted(Architecture):
    """A learned shift of each entry."""

    def __init__(self, event_shape, context_size=None, seed=None, dtype=None, name="shifted"):
        super().__init__(locals())

    def flow(self, networks):
        (size,) = self.options.event_shape
        dense = functools.partial(keras.layers.Dense, size, kernel_initializer="zeros")
        conditioner = networks.conditioner("scale_0_shift", dense, (0,))
        return [rnvp.bijectors.Coupling(rnvp.bijectors.masks.ChangeAll(1), conditioner, rnvp.bijectors.additive)]


@pytest.mark.parametrize("context", [dict(), dict(context_size=2)], ids=str)
def test_a_new_family_is_its_arguments_and_its_flow(context, tmp_path):
    model = Shifted((3,), **context, seed=0)
    laws.randomize_weights(model.weights)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x, given = data_of(model)
    z = again.encode(x, *given)
    dense = model.networks[0]
    np.testing.assert_allclose(z, x + dense.bias + (CONTEXTS @ dense.kernel.numpy() if context else 0), rtol=1e-4)


def test_a_family_must_write_its_flow():
    class Empty(Architecture):
        def __init__(self, event_shape, seed=None, dtype=None, name="empty"):
            super().__init__(locals())

    with pytest.raises(NotImplementedError, match=r"Empty must define flow\(layers\)"):
        Empty((3,))


@every_family
@pytest.mark.parametrize("event_shape", [(), (8, 8), (0,), (4, 4, -1), (4.0,), 4, None, "four"])
def test_a_wrong_event_shape_is_refused(family, event_shape):
    with pytest.raises(ValueError, match=f"event_shape must be .*got {re.escape(repr(event_shape))}"):
        family.cls(event_shape)


def test_bad_arguments_are_refused_before_a_network_is_made(monkeypatch):
    monkeypatch.setattr(LayerStore, "layer", None)
    for options, message in (
        (dict(alpha="x"), r"alpha must be in \[0, 0.5\); got 'x'"),
        (dict(num_classes="10"), "num_classes must be None or a positive int; got '10'"),
        (dict(context_size=0), "context_size must be None or a positive int; got 0"),
        (dict(num_classes=2, context_size=3), "num_classes and context_size exclude each other; got 2 and 3"),
    ):
        with pytest.raises(ValueError, match=message):
            make("RealNVP, classes", **{"num_classes": None, **options})


@pytest.mark.parametrize(
    "num_bins",
    [-1, 1.5, 0],
)
def test_a_wrong_number_of_levels_is_refused(num_bins):
    with pytest.raises(ValueError, match=f"num_bins must be .*got {num_bins}"):
        make("Glow", num_bins=num_bins)


@every_family
def test_xla_trains_and_scores_as_tensorflow_does(family, in_graphs):
    """XLA compiles the whole step: an operation without a kernel there, such as one on the host, would be an error."""
    options = {**family.small, "seed": 0, **(dict(solver="rk4", num_steps=2) if family.is_continuous else {})}
    compiled, eager = family.cls(**options), family.cls(**options)
    x, _ = data_of(compiled)
    for model, how in ((compiled, dict(jit_compile=True)), (eager, dict(run_eagerly=True))):
        laws.randomize_weights(model.weights)
        model.compile(**how)
    assert compiled.jit_compile
    np.testing.assert_allclose(compiled.predict(x, verbose=0), eager.predict(x, verbose=0), rtol=1e-4)
    for _ in range(2):  # The second loss shows the first step.
        losses = [model.train_on_batch(x, return_dict=True)["loss"] for model in (compiled, eager)]
        np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, dict(adjoint=True)], ids=["recorded", "adjoint"])
def test_xla_is_left_where_the_number_of_recorded_steps_depends_on_the_data(options):
    model = rnvp.FFJORD((2,), hidden_units=[2], seed=0, **options)
    assert model.supports_jit == bool(options)


@pytest.fixture
def channels_first():
    """As `image_data_format` in a user's keras.json."""
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@every_case
def test_images_have_their_channels_last_in_every_configuration_of_keras(name, channels_first):
    model = make(name)
    x, context = data_of(model)
    model.compile()
    model.train_on_batch(x[:4], *(values[:4] for values in context))
    assert np.isfinite(predict(model, x, context)).all()
    assert model.sample(
        1, **({"labels": 0} if model.num_classes else {"context": context[0][0]} if context else {})
    ).shape


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
