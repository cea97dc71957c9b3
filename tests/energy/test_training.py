"""Training by the energy: the steps are those of the formula, and end at the target."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.energy import gaussians
from tfp_realnvp.sampling import latents

tfd = tfp.distributions
VARIANCES = np.array([4.0, 0.25], np.float32)


def log_prob(x):
    """exp(LOG_Z) N(x; MEAN, diag(VARIANCES)), which a shift and a scale can reach."""
    of_entries = tfd.Normal(gaussians.MEAN, np.sqrt(VARIANCES)).log_prob(x)
    return tf.reduce_sum(of_entries, axis=-1) + gaussians.LOG_Z


def compiled(optimizer, **options):
    model = gaussians.trainable()
    model.compile(optimizer, **options)
    return model


def step_by_hand(inverse_temperatures, forward_share, rate):
    """The shift and log-scale after steps of gradient descent on the formula of `fit`, with x = z exp(−s) − t."""
    shift, log_scale = tf.Variable([0.0, 0.0]), tf.Variable([0.0, 0.0])
    log_q_of = lambda x: tf.reduce_sum(
        tfd.Normal(0.0, 1.0).log_prob((x + shift) * tf.exp(log_scale)) + log_scale, axis=-1
    )
    for step, coldness in enumerate(inverse_temperatures):
        z = latents(tfd.Sample(tfd.Normal(0.0, 1.0), 2), 8, 1.0, 5, step)
        with tf.GradientTape() as tape:
            x = z * tf.exp(-log_scale) - shift
            reverse = tf.reduce_mean(log_q_of(x) - coldness * log_prob(x))
            constant = tf.stop_gradient(x)
            weights = tf.stop_gradient(tf.nn.softmax(coldness * log_prob(constant) - log_q_of(constant)))
            forward = -tf.reduce_sum(weights * log_q_of(constant))
            loss = (1 - forward_share) * reverse + forward_share * forward
        for variable, gradient in zip((shift, log_scale), tape.gradient(loss, (shift, log_scale)), strict=True):
            variable.assign_sub(rate * gradient)
    return shift.numpy(), log_scale.numpy()


@pytest.mark.parametrize("forward_share", [0.0, 0.3])
def test_the_steps_are_those_of_the_formula(forward_share):
    model = compiled(keras.optimizers.SGD(0.01))
    options = dict(steps=4, batch_size=8, temperature=5.0, forward_share=forward_share, seed=5, verbose=0)
    history = rnvp.energy.fit(model, log_prob, **options)
    expected = step_by_hand([0.2, 0.6, 1.0, 1.0], forward_share, rate=0.01)
    for weight, value in zip(model.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-4)
    assert len(history.history["loss"]) == 1 and 0 < history.history["ess"][0] <= 1


@pytest.fixture(scope="module")
def trained():
    model = compiled(rnvp.optimizers.Adam(0.05), jit_compile=True, steps_per_execution=10)
    history = rnvp.energy.fit(model, log_prob, 300, batch_size=64, steps_per_epoch=100, seed=0, verbose=0)
    return model, history.history


def test_the_flow_ends_at_the_target_and_the_loss_at_minus_log_z(trained):
    model, history = trained
    shift, log_scale = (weight.numpy() for weight in model.trainable_weights)
    np.testing.assert_allclose(-shift, gaussians.MEAN, atol=0.1)
    np.testing.assert_allclose(np.exp(-log_scale), np.sqrt(VARIANCES), rtol=0.1)
    assert len(history["loss"]) == 3
    np.testing.assert_allclose(history["loss"][-1], -gaussians.LOG_Z, atol=0.03)
    assert history["ess"][0] < 0.9 < 0.95 < history["ess"][-1]


def test_training_keeps_moments_and_counts_its_steps(trained):
    model, _ = trained
    assert not model.needs_initialization  # `fit` with data would otherwise replace the trained ActNorm.
    assert int(model.steps.numpy()) == 300
    with_norms = rnvp.VectorRealNVP((2,), 2, hidden_units=[4], norm="batch", seed=0)
    with_norms.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    before = [weight.numpy() for weight in with_norms.non_trainable_weights]
    rnvp.energy.fit(with_norms, log_prob, 1, batch_size=8, verbose=0)
    for weight, value in zip(with_norms.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_callbacks_save_the_flow(tmp_path):
    model = rnvp.VectorRealNVP((2,), 2, hidden_units=[4], seed=0)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    callback = keras.callbacks.ModelCheckpoint(tmp_path / "flow.keras", monitor="loss")
    rnvp.energy.fit(model, log_prob, 1, batch_size=8, callbacks=[callback], verbose=0)
    loaded = rnvp.load_model(tmp_path / "flow.keras")
    for weight, value in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_steps_that_are_not_finite_change_nothing_and_are_counted():
    model = compiled(keras.optimizers.SGD(0.01), run_eagerly=True)
    calls = []

    def broken(x):
        calls.append(len(x))
        return log_prob(x) if len(calls) == 1 else x[:, 0] * np.nan

    with pytest.warns(UserWarning, match="2 of 2 steps were skipped: log_prob"):
        rnvp.energy.fit(model, broken, 2, batch_size=8, verbose=0)
    assert not np.any(model.get_weights()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be a positive int; got 0"),
        (dict(batch_size=0), "batch_size must be a positive int; got 0"),
        (dict(temperature=0.5), "temperature must be a number of at least 1; got 0.5"),
        (dict(forward_share=1.5), "forward_share must be a number from 0 to 1; got 1.5"),
        (dict(steps_per_epoch=3), "steps_per_epoch must be a divisor of steps, 4; got 3"),
        (dict(seed=-1), "seed must be None or an int"),
        (dict(log_prob=3.0), "log_prob must be a function of a batch of events; got 3.0"),
        (dict(log_prob=lambda x: x), r"log_prob must return a number for each event, of shape \(16,\).*got \(16, 2\)"),
        (dict(log_prob=tf.reduce_sum), r"log_prob must return a number for each event.*got \(\)"),
        (dict(log_prob=lambda x: tf.cast(x[:, 0], tf.int32)), "log_prob must return floats; got int32"),
        (dict(log_prob=lambda x: x[:, 0] * np.nan), "log_prob must be a number at each event; got nan at 16 of 16"),
    ],
)
def test_what_cannot_be_fitted_is_refused(options, message):
    options = dict(log_prob=log_prob, steps=4, seed=0) | options
    with pytest.raises(ValueError, match=message):
        rnvp.energy.fit(compiled(keras.optimizers.SGD(0.01)), **options)


def test_flows_that_have_no_samples_of_an_exact_density_are_refused():
    normal = tfd.Sample(tfd.Normal(0.0, 1.0), 2)
    mixture = tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), tfd.MultivariateNormalDiag(tf.zeros([2, 2])))
    fixed = tfd.TransformedDistribution(tfd.Sample(tfd.Poisson(1.0), 2), tfp.bijectors.Scale(2.0))
    for model, message in [
        (rnvp.VectorRealNVP((2,), num_classes=3), "model must be a flow without a context; got one given labels"),
        (rnvp.VectorRealNVP((2,), context_size=3), "model must be a flow without a context; got one given context"),
        (rnvp.FlowModel(mixture), "model must have latents; got a MixtureSameFamily"),
        (rnvp.FlowModel(fixed), "model must have reparametrised latents; got a Sample"),
        (rnvp.FFJORD((2,), hidden_units=[2], divergence="hutchinson"), "model must have exact log-dets"),
    ]:
        model.compile()
        with pytest.raises(ValueError, match=message):
            rnvp.energy.fit(model, normal.log_prob, 1)
    with pytest.raises(ValueError, match="model must be compiled"):
        rnvp.energy.fit(gaussians.trainable(), log_prob, 1)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
