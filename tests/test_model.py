"""FlowModel: Keras's methods over a TFP distribution."""

import math
import operator

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.train.processes import Program
from tfp_realnvp import sampling

pytestmark = pytest.mark.long

tfb = tfp.bijectors
tfd = tfp.distributions

SHAPE = (8, 8, 1)
IMAGES = sklearn.datasets.load_digits().images[:64, ..., None].astype(np.uint8)


def small_model(num_scales=1):
    return rnvp.RealNVP(SHAPE, num_scales, filters=4, num_blocks=1, num_bins=17, seed=0)


@pytest.fixture(scope="module")
def trained():
    model = small_model()
    model.compile()
    model.fit(IMAGES, batch_size=32, epochs=2, verbose=0)
    return model


def one_convolution():
    """A flow over the same images whose graph is quickly traced."""
    network = rnvp.networks.TanhScale(keras.layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros"))
    coupling = rnvp.bijectors.Coupling(rnvp.bijectors.masks.Checkerboard(), network)
    base = tfd.Sample(tfd.Normal(0.0, 1.0), SHAPE)
    flow = tfb.Invert(tfb.Chain([coupling, rnvp.bijectors.Logit(17)]))
    return rnvp.FlowModel(tfd.TransformedDistribution(base, flow), num_bins=17, seed=0)


def vector_flow(num_couplings=2, **kwargs):
    couplings = [
        rnvp.bijectors.Coupling([i % 2, 1 - i % 2], rnvp.networks.TanhScale(rnvp.networks.MLP(4, [16], seed=i)))
        for i in range(num_couplings)
    ]
    base = tfd.Sample(tfd.Normal(0.0, 1.0), 2)
    return rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Invert(tfb.Chain(couplings))), **kwargs)


# Bits per dimension.


@pytest.mark.parametrize("num_bins", [17, 32, 256])
@pytest.mark.parametrize("shape, dtype", [((8, 8, 1), "float32"), ((32, 32, 3), "float64")])
def test_a_uniform_distribution_scores_log2_of_the_number_of_bins(num_bins, shape, dtype):
    uniform = tfd.Uniform(tf.zeros(shape, dtype), tf.cast(num_bins, dtype))
    model = rnvp.FlowModel(tfd.Independent(uniform, 3), num_bins=num_bins, seed=1)
    model.compile()
    images = np.random.default_rng(0).integers(num_bins, size=(100, *shape)).astype(np.uint8)
    logs = model.evaluate(images, batch_size=32, verbose=0, return_dict=True)
    assert logs["bits_per_dim"] == pytest.approx(math.log2(num_bins), abs=1e-6)
    assert logs["loss"] == pytest.approx(math.prod(shape) * math.log(num_bins), rel=1e-6)


def test_evaluate_is_the_mean_of_predict_over_every_image_in_any_batches(trained):
    nats = -trained.predict(IMAGES[:50], batch_size=50, verbose=0)
    assert nats.shape == (50,)
    np.testing.assert_allclose(trained.predict(IMAGES[:50], batch_size=7, verbose=0), -nats, rtol=1e-5)
    loss, bits_per_dim = trained.evaluate(IMAGES[:50], batch_size=16, verbose=0)
    assert loss == pytest.approx(nats.mean(), rel=1e-5)
    assert bits_per_dim == pytest.approx(loss / (64 * math.log(2)))


def test_the_end_of_data_of_unknown_length_counts_for_nothing(trained):
    batches = tf.data.Dataset.from_tensor_slices(IMAGES).batch(16, drop_remainder=True)
    unknown = tf.data.Dataset.from_tensor_slices(IMAGES).filter(lambda _: True).batch(16, drop_remainder=True)
    for _ in range(3):
        assert trained.evaluate(unknown, verbose=0) == pytest.approx(trained.evaluate(batches, verbose=0), rel=1e-9)


def test_log_probability_is_the_distributions_at_the_image_plus_noise(trained):
    x = rnvp.dequantization.uniform(tf.constant(IMAGES[:5]), 17, tf.constant([0, -1], tf.int64))
    np.testing.assert_allclose(trained.distribution.log_prob(x), trained.predict(IMAGES[:5], verbose=0), rtol=1e-4)


# Training.


def test_fit_takes_arrays_data_sets_and_tfds_dictionaries_with_the_same_result(eagerly):
    labels = np.zeros(len(IMAGES), np.int64)
    dictionaries = tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": labels})
    sources = [
        IMAGES,
        IMAGES.astype(np.float64),
        {"image": IMAGES, "label": labels},
        tf.data.Dataset.from_tensor_slices(IMAGES).batch(32),
        tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(32),
        dictionaries.batch(32),
    ]
    results = []
    for data in sources:
        model = one_convolution()
        model.compile()
        options = {} if isinstance(data, tf.data.Dataset) else dict(batch_size=32, shuffle=False)
        history = model.fit(data, epochs=1, verbose=0, **options).history
        assert set(history) == {"loss", "bits_per_dim"}
        results.append(history["loss"][0])
        model.evaluate(data, verbose=0)
        assert model.predict(data, verbose=0).shape == (64,)
    np.testing.assert_allclose(results, results[0], rtol=1e-5)


def test_gradients_are_accumulated_over_batches_of_different_noise(monkeypatch):
    model, seeds = one_convolution(), []
    dequantize = model.dequantization.call
    monkeypatch.setattr(
        model.dequantization, "call", lambda x, num_bins, seed: seeds.append(seed) or dequantize(x, num_bins, seed)
    )
    model.compile(rnvp.optimizers.Adam(1e-2, gradient_accumulation_steps=2), run_eagerly=True)
    before = model.get_weights()
    model.fit(IMAGES[:8], batch_size=2, epochs=1, verbose=0)
    assert int(model.optimizer.iterations) == 2 and len({tuple(np.array(seed)) for seed in seeds}) == 4
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))


def test_training_eagerly_gives_the_numbers_of_the_graph():
    training, evaluation = [], []
    for run_eagerly in (False, True):
        model = rnvp.RealNVP(SHAPE, num_scales=1, filters=2, num_blocks=1, num_bins=17, seed=0)
        model.compile(run_eagerly=run_eagerly)
        training.append([model.train_on_batch(IMAGES[:32])[0] for _ in range(3)])
        evaluation.append(model.evaluate(IMAGES, verbose=0))
    np.testing.assert_allclose(*training, rtol=1e-6)
    np.testing.assert_allclose(*evaluation, rtol=1e-3)  # Adam's first steps magnify the rounding of small gradients


def test_compile_has_the_papers_optimizer_and_refuses_a_loss():
    model = small_model()
    model.compile()
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.optimizer.global_clipnorm == 100
    with pytest.raises(ValueError, match="loss must be left out"):
        model.compile(loss="mse")


def test_the_penalty_is_on_magnitudes_and_checkerboard_scales_only():
    model = small_model(num_scales=2)
    penalized = [w for w in model.trainable_weights if w.regularizer]
    assert {w.path.split("/")[-1] for w in penalized} == {"magnitude", "a"}
    assert sum(w.path.endswith("/a") for w in penalized) == 7  # of ten couplings three are channel couplings
    expected = 5e-5 * sum(float(tf.reduce_sum(w.value**2)) for w in penalized)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_noise_is_new_at_each_step_and_a_seed_repeats_a_run_bit_for_bit():
    def losses():
        model = one_convolution()
        model.compile(keras.optimizers.SGD(0.0))
        return [model.train_on_batch(IMAGES[:16])[0] for _ in range(2)]

    first, second = losses(), losses()
    assert first == second
    assert first[0] != first[1]


@pytest.mark.dtype("mixed_bfloat16")
@pytest.mark.parametrize("family, options", [(rnvp.RealNVP, dict(num_blocks=1)), (rnvp.Glow, dict(steps_per_scale=2))])
def test_networks_in_bfloat16_are_trained_and_stay_within_a_percent_of_float32(family, options):
    options = dict(num_scales=1, filters=4, num_bins=17, seed=0, **options)
    model = family(SHAPE, dtype="mixed_bfloat16", **options)
    model.compile(rnvp.optimizers.Adam(0.01, global_clipnorm=100.0))
    losses = model.fit(IMAGES, batch_size=32, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 10
    nats, exact = model(IMAGES), model.with_dtype("float32")(IMAGES)
    assert np.any(nats != exact)
    np.testing.assert_allclose(nats, exact, rtol=0.01)


# Averaged weights.

POINTS = np.random.default_rng(0).normal([3.0, -1.0], [2.0, 0.5], [32, 2]).astype(np.float32)


def averaging_flow():
    """A flow with `ActNorm` whose optimizer keeps the averages of the weights."""
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[3], seed=0)
    model.compile(rnvp.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.75))
    return model


def fit_points(model, **kwargs):
    return model.fit(POINTS, batch_size=8, shuffle=False, verbose=0, **kwargs).history


def test_averages_begin_with_the_first_step_and_are_the_weights_that_fit_leaves(eagerly):
    model, steps = averaging_flow(), []
    record = lambda batch, logs: steps.append([weight.numpy() for weight in model.trainable_weights])
    fit_points(model, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=record)])
    averages = steps[0]  # of weights that the first batch has initialized
    for weights in steps[1:]:
        averages = [0.75 * average + 0.25 * weight for average, weight in zip(averages, weights, strict=True)]
    for weight, average in zip(model.trainable_weights, averages, strict=True):
        np.testing.assert_allclose(weight, average, atol=1e-6)


def test_the_averages_are_validated(eagerly):
    model = averaging_flow()
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    losses = fit_points(model, validation_data=POINTS, validation_batch_size=32, callbacks=[swap])["val_loss"]
    assert model.evaluate(POINTS, batch_size=32, verbose=0)[0] == pytest.approx(losses[0], rel=1e-5)


def test_averages_are_saved_and_copied_and_training_goes_on_to_the_same_bits(tmp_path, eagerly):
    model = averaging_flow()
    fit_points(model, epochs=2, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")])
    again = keras.saving.load_model(tmp_path / "1.keras")
    fit_points(again, epochs=2, initial_epoch=1)
    for other in (again, model.with_dtype("float32")):
        assert other.optimizer.use_ema and len(other.optimizer.variables) > 3 * len(model.trainable_variables)
        for variables in ("weights", "optimizer.variables"):
            get = operator.attrgetter(variables)
            for variable, expected in zip(get(other), get(model), strict=True):
                np.testing.assert_array_equal(variable, expected)


def test_variables_that_keras_would_not_train_are_refused_by_name():
    location = tf.Variable([0.0, 0.0], name="base_location")
    with pytest.raises(ValueError, match="base_location"):
        rnvp.FlowModel(tfd.MultivariateNormalDiag(location, [1.0, 1.0]))
    rnvp.FlowModel(tfd.MultivariateNormalDiag(tf.Variable([0.0, 0.0], trainable=False), [1.0, 1.0]))


def test_variables_hidden_in_a_function_are_refused_when_training_meets_them():
    network = rnvp.networks.MLP(4, [3], name="hidden_network")
    coupling = rnvp.bijectors.Coupling([1, 0], lambda x: network(x))
    base = tfd.Sample(tfd.Normal(0.0, 1.0), 2)
    model = rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Invert(coupling)))
    model.compile()
    with pytest.raises(ValueError, match="belong to no Keras network.*hidden_network"):
        model.fit(np.zeros([8, 2], np.float32), verbose=0)


def test_networks_are_found_in_any_composition_of_stock_bijectors_and_distributions():
    first, second, third = (rnvp.networks.MLP(2, [3], seed=i) for i in range(3))
    coupling = lambda network: rnvp.bijectors.Coupling([1, 0], network, rnvp.bijectors.additive)
    flow = tfb.Chain([tfb.Scale(2.0), tfb.Invert(coupling(first)), tfb.Chain([coupling(second), tfb.Identity()])])
    base = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), coupling(third))
    model = rnvp.FlowModel(tfd.TransformedDistribution(base, flow))
    assert model.networks == [first, second, third]
    assert len(model.trainable_weights) == 12
    model.compile()
    before = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32))
    assert all(np.any(w.numpy() != old) for w, old in zip(model.trainable_weights, before, strict=True))


# Samples and latents.


def overflowing_flow(scale=60.0, shift=0.0):
    """x = exp(scale · z + shift), not finite in float32 where the exponent exceeds 88.7: here at 7% of all z."""
    flow = tfb.Chain([tfb.Exp(), tfb.Shift(shift), tfb.Scale(scale)])
    return rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 1), flow), seed=0)


def test_a_sample_that_overflows_is_drawn_again_and_counted(tmp_path):
    model = overflowing_flow()
    z = sampling.latents(model.base_distribution, 200, 1.0, seed=0).numpy()
    lost = np.flatnonzero(60 * z > 88.7)
    assert 5 < len(lost) < 40
    with pytest.warns(UserWarning, match=f"^{len(lost)} of 200 samples were not finite and were drawn again"):
        samples = model.sample(200, seed=0, batch_size=32)
    assert np.isfinite(samples).all()
    kept = np.setdiff1d(np.arange(200), lost)
    np.testing.assert_allclose(samples[kept], np.exp(60 * z[kept]), rtol=1e-4, atol=1e-30)
    model.export(tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").sample(200, 1.0, 0)["vectors"]
    np.testing.assert_allclose(served, samples, rtol=1e-5, atol=1e-30)


def test_a_flow_that_overflows_at_most_latents_still_samples(tmp_path):
    """As at 66% of them here, and at 46% for a Glow of the digits at temperature 2."""
    model = overflowing_flow(1000.0, 500.0)
    with pytest.warns(UserWarning, match=r"^1[0-9]{2} of 200 samples were not finite and were drawn again"):
        samples = model.sample(200, seed=0)
    assert np.isfinite(samples).all()
    model.export(tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").sample(200, 1.0, 0)["vectors"]
    np.testing.assert_allclose(served, samples, rtol=1e-4, atol=1e-30)


def test_latents_that_overflow_are_named(eagerly):
    model = overflowing_flow()
    message = "z must be closer to 0, or the temperature lower: the flow overflows; in 2 of 4 rows: 1, 3"
    with pytest.raises(ValueError, match=message):
        model.decode(np.float32([[0.0], [2.0], [1.0], [30.0]]))
    always = rnvp.FlowModel(tfd.TransformedDistribution(model.base_distribution, tfb.Scale(1e38)), seed=0)
    with pytest.raises(ValueError, match="the flow overflows; in 20 of 20 rows: 0, 1, .*, 9, ..."):
        always.sample(20, temperature=1e6, seed=0)


def test_samples_are_levels_that_a_seed_repeats(trained):
    images = trained.sample(5, seed=3)
    assert images.shape == (5, *SHAPE) and images.dtype == np.uint8 and images.max() < 17
    np.testing.assert_array_equal(images, trained.sample(5, seed=3, batch_size=2))
    assert np.any(images != trained.sample(5, seed=4))


def test_temperature_zero_gives_the_image_of_the_mean_latent(trained):
    cold = trained.sample(3, temperature=0.0, seed=0)
    np.testing.assert_array_equal(cold, trained.decode(np.zeros([3, *SHAPE])))


def test_samples_may_be_larger_than_in_training(trained):
    images = trained.sample(3, seed=0, image_size=(16, 12))
    assert images.shape == (3, 16, 12, 1) and images.dtype == np.uint8
    z = trained.base_distribution.copy(sample_shape=(16, 12, 1)).sample(3, seed=tf.constant([0, 0]))
    expected = np.floor(trained.bijector.forward(z)).clip(0, trained.num_bins - 1)
    assert np.mean(images == expected) > 0.99  # one graph and eager rounding apart
    np.testing.assert_array_equal(
        trained.sample(3, seed=0, image_size=trained.event_shape[:2]), trained.sample(3, seed=0)
    )


def test_only_flows_over_independent_latents_have_other_sizes():
    base = tfd.Independent(tfd.Normal(tf.zeros([4, 4, 1]), 1.0), 3)
    model = rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Scale(2.0)))
    with pytest.raises(ValueError, match=r"image_size must be None for a flow that is not convolutional; got \(8, 8\)"):
        model.sample(1, image_size=(8, 8))


@pytest.mark.parametrize(
    "make, divisor",
    [
        (lambda: rnvp.RealNVP((8, 8, 1), num_scales=4, filters=1, num_blocks=1), 8),
        (lambda: rnvp.RealNVP((8, 8, 1), num_scales=3, filters=1, num_blocks=1, recursion_type=1), 4),
        (lambda: rnvp.RealNVP((8, 8, 1), num_scales=2, filters=1, num_blocks=1, recursion_type=4), 2),
        (lambda: rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=1, filters=1), 4),
        (lambda: rnvp.UvA((8, 8, 1), multi_scale=True, filters=2, num_blocks=1), 4),
        (lambda: rnvp.SubpixelFlow((8, 8, 1), num_scales=3, filters=1, num_blocks=1, num_components=1), 8),
    ],
)
def test_an_image_size_that_the_squeezes_do_not_divide_is_refused(make, divisor, eagerly):
    model = make()
    message = f"image_size must have a height and width divisible by {divisor}; got "
    with pytest.raises(ValueError, match=message + rf"\({divisor}, {divisor + 1}\)"):
        model.sample(1, image_size=(divisor, divisor + 1))
    with pytest.raises(ValueError, match=message + rf"\[{divisor // 2}, {divisor}\]"):
        model.sample(1, image_size=[divisor // 2, divisor])
    assert model.sample(1, image_size=(divisor, 3 * divisor)).shape == (1, divisor, 3 * divisor, 1)


def test_an_image_size_is_two_positive_ints(trained):
    for bad in (7, (8,), (8, 8, 1), (0, 8), (8, -8), (8.0, 8), "big", "88", ()):
        with pytest.raises(ValueError) as raised:
            trained.sample(1, image_size=bad)
        assert str(raised.value) == f"image_size must be (height, width), two positive ints; got {bad!r}"
    assert trained.sample(1, image_size=np.array([8, 4])).shape == (1, 8, 4, 1)


def test_a_flow_without_squeezes_takes_images_of_any_size():
    assert one_convolution().sample(1, image_size=(5, 7)).shape == (1, 5, 7, 1)


def test_the_temperature_spreads_the_latents_about_their_mean():
    base = tfd.Independent(tfd.Normal([1.0, -2.0], 1.0), 1)
    model = rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Scale(2.0)), seed=0)
    np.testing.assert_allclose(model.sample(3, temperature=0.0), [[2.0, -4.0]] * 3)
    warm, cold = (model.sample(3, temperature=temperature, seed=1) for temperature in (1.0, 0.5))
    np.testing.assert_allclose(cold - [2.0, -4.0], 0.5 * (warm - [2.0, -4.0]), rtol=1e-5)


def test_decode_gives_back_what_encode_was_given(trained):
    z = trained.encode(IMAGES, batch_size=20)
    assert z.shape == IMAGES.shape and z.dtype == np.float32
    np.testing.assert_array_equal(trained.decode(z), IMAGES)
    assert np.abs(trained.bijector.forward(z) - (IMAGES + 0.5)).max() < 0.05


def test_latents_by_scale_are_the_entries_of_the_latent_finest_first():
    model = rnvp.RealNVP((16, 16, 3), num_scales=3, filters=2, num_blocks=1)
    z = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    latents = model.latents_by_scale(z)
    assert [latent.shape for latent in latents] == [(2, 8, 8, 6), (2, 4, 4, 12), (2, 4, 4, 12)]
    np.testing.assert_array_equal(np.sort(np.concatenate([x.ravel() for x in latents])), np.sort(z.ravel()))
    # The anti-diagonal of each 2×2 block leaves at the first scale: top-right, then bottom-left.
    np.testing.assert_array_equal(latents[0][..., :3], z[:, ::2, 1::2])
    np.testing.assert_array_equal(latents[0][..., 3:], z[:, 1::2, ::2])


@pytest.mark.parametrize(
    "recursion_type, shapes", [(1, [(8, 8, 1)]), (2, [(4, 4, 2)] * 2), (3, [(4, 4, 3), (4, 4, 1)])]
)
def test_latents_by_scale_come_together_again(recursion_type, shapes):
    model = rnvp.RealNVP((8, 8, 1), num_scales=2, filters=2, num_blocks=1, recursion_type=recursion_type)
    z = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    latents = model.latents_by_scale(z)
    assert [latent.shape[1:] for latent in latents] == shapes
    np.testing.assert_array_equal(model.join_latents(latents), z)


def test_vector_flows_have_one_scale_of_latents():
    model = rnvp.RealNVP((3,), num_scales=1, filters=4, num_blocks=1)
    assert [z.shape for z in model.latents_by_scale(np.zeros([2, 3]))] == [(2, 3)]
    np.testing.assert_array_equal(model.join_latents([np.ones([2, 3])]), np.ones([2, 3]))


# Vectors.


def test_two_moons_are_learned():
    keras.utils.set_random_seed(0)  # of the order in which fit shuffles
    points = sklearn.datasets.make_moons(4096, noise=0.05, random_state=0)[0].astype(np.float32)
    model = rnvp.RealNVP(event_shape=(2,), num_scales=2, filters=32, num_blocks=2, seed=0)
    schedule = keras.optimizers.schedules.CosineDecay(5e-3, decay_steps=20 * 16)
    model.compile(rnvp.optimizers.Adam(schedule, global_clipnorm=100.0))
    model.fit(points, batch_size=256, epochs=20, verbose=0)
    nats = -model.predict(points, batch_size=4096, verbose=0).mean()
    assert nats < 1.0  # a Gaussian with the data's mean and covariance: 1.97
    samples = model.sample(500, seed=0)
    assert samples.dtype == np.float32
    distance = np.sqrt(((samples[:, None] - points[None, ::4]) ** 2).sum(-1)).min(1)
    assert np.mean(distance < 0.15) > 0.85


def test_vectors_come_back_from_their_latents():
    model = vector_flow()
    points = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    np.testing.assert_allclose(model.decode(model.encode(points)), points, atol=1e-5)


# Saving.


def test_a_fresh_process_predicts_bit_equal_and_goes_on_training(trained, tmp_path):
    path = tmp_path / "flow.keras"
    trained.save(path)
    np.save(tmp_path / "images.npy", IMAGES)
    program = tmp_path / "program.py"
    program.write_text(f"""
import keras, numpy as np, tfp_realnvp
other, model = keras.saving.load_model({str(path)!r}), tfp_realnvp.load_model({str(path)!r})
images = np.load({str(tmp_path / "images.npy")!r})
np.save({str(tmp_path / "predictions.npy")!r}, other.predict(images, verbose=0))
model.run_eagerly = True
loss = model.train_on_batch(images)[0]
np.save({str(tmp_path / "trained.npy")!r}, [loss, *model.evaluate(images, verbose=0), int(model.optimizer.iterations)])
""")
    process = Program([str(program)])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    predictions = trained.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(np.load(tmp_path / "predictions.npy"), predictions)
    here = keras.saving.load_model(path)
    here.run_eagerly = True
    loss = here.train_on_batch(IMAGES)[0]
    expected = [loss, *here.evaluate(IMAGES, verbose=0), int(here.optimizer.iterations)]
    np.testing.assert_array_equal(np.load(tmp_path / "trained.npy"), expected)
    assert expected[-1] == int(trained.optimizer.iterations) + 1


def test_saving_replaces_a_file_as_a_whole(trained, tmp_path, monkeypatch):
    path = tmp_path / "flow.keras"
    trained.save(path)
    before = path.read_bytes()

    def crash(self, filepath, **kwargs):
        filepath.write_bytes(b"half a fi")
        raise OSError("no space left")

    monkeypatch.setattr(keras.Model, "save", crash)
    with pytest.raises(OSError):
        trained.save(path)
    assert path.read_bytes() == before


def test_saving_an_arbitrary_flow_says_what_to_do_instead(tmp_path):
    model = vector_flow()
    with pytest.raises(NotImplementedError, match="save_weights"):
        model.save(tmp_path / "flow.keras")
    model.save_weights(tmp_path / "flow.weights.h5")
    other = vector_flow()
    points = np.ones([4, 2], np.float32)
    other.load_weights(tmp_path / "flow.weights.h5")
    np.testing.assert_array_equal(other.predict(points, verbose=0), model.predict(points, verbose=0))


def test_the_summary_names_each_layer_in_the_order_of_the_paper(capsys):
    model = small_model(num_scales=2)
    lines = []
    model.summary(print_fn=lambda text, **_: lines.append(text))
    text = "\n".join(lines)
    names = [f"scale_0_coupling_{i} " for i in (0, 1, 2, 4, 5, 6)] + [f"scale_1_coupling_{i} " for i in range(4)]
    places = [text.index(name) for name in names]
    assert places == sorted(places)


# Errors.

BAD_IMAGES = {
    "fractions": (IMAGES + 0.5, r"x must hold integers from 0 to 16; got fractions such as"),
    "negative": (IMAGES.astype(np.int32) - 1, r"x must hold integers from 0 to 16; got values from -1"),
    "too large": (np.full([2, *SHAPE], 17, np.uint8), r"x must hold integers from 0 to 16; got values from 17 to 17"),
    "NaN": (np.full([2, *SHAPE], np.nan), r"x must be finite; got NaN"),
    "infinity": (np.full([2, *SHAPE], np.inf), r"x must be finite"),
    "wrong shape": (IMAGES[:, :4], r"x must have shape \[N\] \+ \(8, 8, 1\); got \(64, 4, 8, 1\)"),
    "no channel": (IMAGES[..., 0], r"x must have shape \[N\] \+ \(8, 8, 1\); got \(64, 8, 8\)"),
    "empty": (IMAGES[:0], r"x must not be empty; got shape \(0, 8, 8, 1\)"),
    "dictionary": ({"picture": IMAGES}, r'must hold "image"; got the keys \[\'picture\'\]'),
    "data set of another shape": (
        tf.data.Dataset.from_tensor_slices(IMAGES[:, :4]).batch(8),
        r"x must hold batches of shape \[batch\] \+ \(8, 8, 1\); got \(None, 4, 8, 1\)",
    ),
    "data set not batched": (tf.data.Dataset.from_tensor_slices(IMAGES), r"x must hold batches"),
    "data set without elements": (tf.data.Dataset.from_tensor_slices(IMAGES).take(0).batch(8), r"x must not be empty"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_bad_data_are_refused_before_any_work(trained, name, method):
    data, message = BAD_IMAGES[name]
    step = int(trained.optimizer.iterations)
    with pytest.raises(ValueError, match=message):
        getattr(trained, method)(data, verbose=0)
    assert int(trained.optimizer.iterations) == step


@pytest.mark.parametrize("name", ["fractions", "too large", "NaN", "wrong shape"])
def test_encode_and_train_on_batch_refuse_bad_data(trained, name):
    data, message = BAD_IMAGES[name]
    with pytest.raises(ValueError, match=message.replace("x must", "images must")):
        trained.encode(data)
    with pytest.raises(ValueError, match=message):
        trained.train_on_batch(data)


def test_bad_levels_deep_in_a_data_set_are_a_value_error():
    model = rnvp.FlowModel(tfd.Independent(tfd.Uniform(tf.zeros(SHAPE), 17.0), 3), num_bins=17)
    model.compile()
    for bad, message in ((16.5, "integers from 0 to 16"), (17.0, "integers from 0 to 16"), (np.nan, "must be finite")):
        images = IMAGES.astype(np.float32)
        images[50, 3, 3] = bad
        with pytest.raises(ValueError, match=f"x must .*{message.split('must ')[-1]}"):
            model.evaluate(tf.data.Dataset.from_tensor_slices(images).batch(8), verbose=0)


def test_a_data_set_that_turns_out_to_be_empty_is_refused():
    model = rnvp.FlowModel(tfd.Independent(tfd.Uniform(tf.zeros(SHAPE), 17.0), 3), num_bins=17)
    model.compile()
    nothing = tf.data.Dataset.from_tensor_slices(IMAGES).filter(lambda image: False).batch(8)
    with pytest.raises(ValueError, match="x must not be empty"):
        model.evaluate(nothing, verbose=0)
    flow = vector_flow()
    flow.compile()
    with pytest.raises(ValueError, match="x must not be empty"):
        flow.fit(
            tf.data.Dataset.from_tensor_slices(np.zeros([8, 2], np.float32)).filter(lambda x: False).batch(4), verbose=0
        )


def test_bad_validation_data_are_refused_by_that_name(trained):
    with pytest.raises(ValueError, match="validation_data must have shape"):
        trained.fit(IMAGES, validation_data=IMAGES[:, :4], verbose=0)


def test_a_list_of_validation_data_holds_events():
    model = vector_flow()
    model.compile()
    three = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]  # not events, labels and weights
    (loss,) = model.fit(three, validation_data=three, verbose=0).history["val_loss"]
    np.testing.assert_allclose(loss, model.evaluate(np.array(three), verbose=0, return_dict=True)["loss"], rtol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: m.decode(np.zeros([2, 8, 8])), r"z must have shape \[N\] \+ \(8, 8, 1\); got \(2, 8, 8\)"),
        (lambda m: m.decode(np.full([2, *SHAPE], np.nan)), "z must not hold NaN"),
        (lambda m: m.latents_by_scale(np.zeros([2, 4, 4, 1])), "z must have shape"),
        (lambda m: m.sample(0), "num_samples must be a positive int; got 0"),
        (lambda m: m.sample(2.5), "num_samples must be a positive int; got 2.5"),
        (lambda m: m.sample(2, temperature=-1.0), "temperature must be a non-negative number; got -1.0"),
        (lambda m: m.sample(2, temperature=float("nan")), "temperature must be a non-negative number; got nan"),
    ],
)
def test_bad_latents_and_samples_are_refused(trained, call, message):
    with pytest.raises(ValueError, match=message):
        call(trained)


def test_bad_distributions_are_refused():
    with pytest.raises(ValueError, match="distribution must have no batch shape"):
        rnvp.FlowModel(tfd.Normal([0.0, 1.0], 1.0))
    for num_bins in (0, 2.5, -1, 70000):
        with pytest.raises(ValueError, match="num_bins must be None or an int from 1 to 65536"):
            rnvp.FlowModel(tfd.Sample(tfd.Normal(0.0, 1.0), 2), num_bins=num_bins)


@pytest.mark.dtype("mixed_float16")
def test_networks_in_float16_are_refused():
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[2], dtype="mixed_float16", seed=0)
    with pytest.raises(
        ValueError, match='optimizer must not scale the loss, as Keras makes it for dtype="mixed_float16"'
    ):
        model.compile()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_flows_of_16_bits_are_refused(dtype):
    message = f"distribution must have dtype float32 or float64.*mixed_bfloat16.*; got {dtype}"
    for make in (rnvp.VectorRealNVP, rnvp.NICE):
        with pytest.raises(ValueError, match=message):
            make((2,), hidden_units=[2], dtype=dtype)
    with pytest.raises(ValueError, match=message):
        rnvp.NICE((2,), hidden_units=[2]).with_dtype(dtype)
    with pytest.raises(ValueError, match=message):
        rnvp.FlowModel(tfd.Sample(tfd.Normal(tf.zeros([], dtype), 1.0), 2))


# Other distributions than one flow.

POINTS = np.random.default_rng(3).standard_normal([8, 2]).astype("float32")


def mixture():
    flows = [vector_flow(seed=seed).distribution for seed in (0, 1)]
    return tfd.Mixture(tfd.Categorical(logits=[0.0, 0.0]), flows)


WITHOUT_LATENTS = {
    "Mixture": mixture,
    "Independent": lambda: tfd.Independent(vector_flow().distribution, 0),
    "Sample": lambda: tfd.Sample(vector_flow().distribution, 3),
    "MixtureSameFamily": lambda: tfd.MixtureSameFamily(
        tfd.Categorical(logits=[0.0, 0.0]), tfd.MultivariateNormalDiag(tf.constant([[-9.0, 0.0], [9.0, 0.0]]))
    ),
}


@pytest.mark.parametrize("name", WITHOUT_LATENTS)
def test_distributions_without_a_single_latent_are_drawn_from(name, eagerly):
    distribution = WITHOUT_LATENTS[name]()
    model = rnvp.FlowModel(distribution, seed=0)
    model.compile(run_eagerly=True)
    x = model.sample(5, seed=0, batch_size=3)
    assert x.shape == (5, *distribution.event_shape) and len(np.unique(x)) == x.size
    np.testing.assert_array_equal(model.sample(5, seed=0, batch_size=3), x)
    model.fit(x, verbose=0)
    assert model.base_distribution is distribution
    with pytest.raises(ValueError, match=f"temperature must be 1: {name} has no single latent of each event; got 0.5"):
        model.sample(2, temperature=0.5)
    for method in (model.encode, model.decode):
        with pytest.raises(ValueError, match=f"distribution must be a tfd.TransformedDistribution: {name} has no"):
            method(x)
    with pytest.raises(ValueError, match="image_size must be None"):
        model.sample(2, image_size=(4, 4))


def test_a_mixture_of_image_flows_draws_levels_of_each_class(eagerly):
    images = lambda seed: rnvp.Glow((4, 4, 1), 1, steps_per_scale=1, filters=2, num_bins=17, seed=seed).distribution
    model = rnvp.FlowModel(tfd.Mixture(tfd.Categorical(logits=[0.0, 0.0]), [images(0), images(1)]), num_bins=17)
    x = model.sample(3, seed=0)
    assert x.dtype == np.uint8 and x.max() < 17 and x.shape == (3, 4, 4, 1)
    of_class = rnvp.FlowModel(lambda context: tfd.Independent(tfd.Normal(100 * context, 1.0), 1), num_classes=2)
    np.testing.assert_array_equal(of_class.sample(4, seed=0, labels=[0, 1, 1, 0]).argmax(axis=1), [0, 1, 1, 0])
    with pytest.raises(ValueError, match="temperature must be 1: this one has no single latent"):
        of_class.sample(4, temperature=0.5)


def test_latents_have_the_shape_of_the_base(eagerly):
    base = tfd.Sample(tfd.Normal(0.0, 1.0), 4)
    model = rnvp.FlowModel(tfd.TransformedDistribution(base, tfb.Reshape([2, 2])))
    x = np.arange(12.0, dtype="float32").reshape([3, 2, 2])
    z = model.encode(x)
    assert z.shape == (3, 4) and model.latent_shape == (4,)
    np.testing.assert_array_equal(model.decode(z), x)
    np.testing.assert_array_equal(model.join_latents(model.latents_by_scale(z)), z)
    with pytest.raises(ValueError, match=r"z must have shape \[N\] \+ \(4,\); got \(3, 2, 2\)"):
        model.decode(x)


def test_a_slice_of_a_conditional_flow_is_one_of_its_contexts():
    model = rnvp.NICE((2,), hidden_units=[2], num_classes=3)
    for slices in (0, slice(1), (Ellipsis, tf.newaxis)):
        with pytest.raises(ValueError, match=r"given\(context\) has no slices: take a slice of the context"):
            model.given([0, 1])[slices]
    assert model.given([0, 1][0]).batch_shape == ()


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_an_empty_batch_has_an_empty_answer(run_eagerly):
    """TensorFlow's convolutions give an empty batch a wrong number of channels."""
    model = rnvp.Glow((4, 4, 1), 2, steps_per_scale=1, filters=2, num_bins=17, num_classes=2, seed=0)
    model.compile(run_eagerly=run_eagerly)
    images, labels = np.zeros([3, 4, 4, 1], "uint8"), np.zeros(3, "int64")
    assert model.log_likelihood(images[:0], labels[:0]).shape == (0,)
    assert model.encode_batch(images[:0], labels[:0]).shape == (0, 4, 4, 1)
    assert model.decode_batch(np.zeros([0, 4, 4, 1], "float32"), labels[:0])[0].shape == (0, 4, 4, 1)
    data = tf.data.Dataset.from_generator(
        lambda: iter([(images, labels), (images[:0], labels[:0])]),
        output_signature=(tf.TensorSpec([None, 4, 4, 1], tf.uint8), tf.TensorSpec([None], tf.int64)),
    )
    assert model.predict(data, verbose=0).shape == (3,)
    for method in (model.predict, model.evaluate, model.fit):
        with pytest.raises(ValueError, match="x must not be empty; got shape"):
            method((images[:0], labels[:0]))


@pytest.mark.parametrize("name", ["flow.h5", "flow.hdf5"])
def test_hdf5_files_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"filepath must end in \.keras: .*save_weights.*export.*; got '.*flow.h"):
        vector_flow().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_how_it_is_compiled_is_saved(tmp_path):
    model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[2], seed=0)
    model.compile(steps_per_execution=4, run_eagerly=True, jit_compile=False)
    model.save(tmp_path / "flow.keras")
    for other in (rnvp.load_model(tmp_path / "flow.keras"), model.with_dtype("float32")):
        assert (other.steps_per_execution, other.run_eagerly, other.jit_compile) == (4, True, False)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
