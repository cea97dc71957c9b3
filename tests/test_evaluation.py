"""Evaluation that one can cite."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tfp_realnvp import dequantization, evaluation
from tfp_realnvp.networks.moments import moments_of

tfd = tfp.distributions

IMAGES = np.random.default_rng(0).integers(17, size=(10, 4, 4, 1)).astype(np.uint8)


def flow(**kwargs):
    model = rnvp.RealNVP((4, 4, 1), **{**dict(num_scales=1, filters=2, num_blocks=1, num_bins=17, seed=0), **kwargs})
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign_add(0.3 * rng.standard_normal(weight.shape))
    return model


@pytest.fixture(scope="module")
def model():
    return flow()


def noisy(model, images, draw):
    return dequantization.uniform(tf.constant(images), 17, tf.constant([model.seed, -1 - draw], tf.int64))


# The bound.


def test_one_draw_is_what_predict_gives(model):
    np.testing.assert_allclose(evaluation.log_likelihood(model, IMAGES), model.predict(IMAGES, verbose=0), rtol=1e-6)


def test_several_draws_are_averaged_as_probabilities(model):
    log_probs = [model.distribution.log_prob(noisy(model, IMAGES, draw)).numpy() for draw in range(4)]
    assert len({tuple(log_prob) for log_prob in log_probs}) == 4
    expected = np.log(np.mean(np.exp(np.float64(log_probs)), axis=0))
    np.testing.assert_allclose(evaluation.log_likelihood(model, IMAGES, num_draws=4), expected, rtol=1e-5)


def test_more_draws_tighten_the_bound_towards_a_probability_that_is_known():
    model = rnvp.FlowModel(tfd.Independent(tfd.Normal(tf.fill([1, 1, 1], 2.0), 0.2), 3), num_bins=5, seed=0)
    pixels = np.full((1, 1, 1, 1), 2, np.uint8)
    exact = math.log(float(tfd.Normal(2.0, 0.2).cdf(3.0) - tfd.Normal(2.0, 0.2).cdf(2.0)))
    means = [evaluation.log_likelihood(model, pixels, num_draws)[0] for num_draws in (1, 500)]
    assert means[0] != means[1] and abs(means[1] - exact) < 0.15


def test_the_bound_does_not_depend_on_the_batch_nor_on_how_the_data_come(model):
    expected = evaluation.log_likelihood(model, IMAGES, num_draws=2)
    data = tf.data.Dataset.from_tensor_slices({"image": IMAGES, "label": np.arange(10)}).batch(3)
    for actual in (
        evaluation.log_likelihood(model, data, 2),
        evaluation.log_likelihood(model, IMAGES, 2, batch_size=4),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_vectors_have_one_draw():
    model = rnvp.RealNVP((2,), num_scales=1, filters=4, num_blocks=1, seed=0)
    points = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_allclose(evaluation.log_likelihood(model, points), model.predict(points, verbose=0), rtol=1e-6)
    with pytest.raises(ValueError, match="num_draws must be 1 for continuous data; got 2"):
        evaluation.log_likelihood(model, points, num_draws=2)


def test_estimated_log_dets_have_one_draw(eagerly):
    options = dict(num_scales=2, num_blocks=1, filters=2, num_bins=17, seed=0)
    estimated, exact = (rnvp.MRCNF((4, 4, 1), divergence=name, **options) for name in ("hutchinson", "exact"))
    images = np.random.default_rng(0).integers(17, size=(2, 4, 4, 1)).astype("uint8")
    assert estimated.has_estimates and not exact.has_estimates
    with pytest.raises(ValueError, match='num_draws must be 1 for a flow that estimates its log-dets.*"exact"; got 2'):
        evaluation.log_likelihood(estimated, images, num_draws=2)
    assert np.isfinite(evaluation.log_likelihood(exact, images, num_draws=2)).all()


@pytest.mark.parametrize("num_draws", [0, -1, 1.5])
def test_a_wrong_number_of_draws_is_refused(model, num_draws):
    with pytest.raises(ValueError, match=f"num_draws must be a positive int; got {num_draws}"):
        evaluation.log_likelihood(model, IMAGES, num_draws)


def test_data_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match=r"data must have shape \[N\] \+ \(4, 4, 1\)"):
        evaluation.log_likelihood(model, IMAGES[:, :2])
    with pytest.raises(ValueError, match="data must hold integers from 0 to 16; got values from 17 to 17"):
        evaluation.recalibrate(model, np.full_like(IMAGES, 17))
    wrong = tf.data.Dataset.from_tensors(np.full_like(IMAGES[:2], 17))  # known in the graph only
    for evaluate in (evaluation.log_likelihood, evaluation.recalibrate):
        with pytest.raises(ValueError, match="x must hold integers from 0 to 16"):
            evaluate(model, wrong)


def test_bits_per_dim_come_with_their_standard_error(model):
    nats = np.array([-1.0, -3.0, -5.0])
    mean, standard_error = evaluation.bits_per_dim(model, nats)
    assert mean == pytest.approx(3 / (16 * math.log(2)))
    assert standard_error == pytest.approx(2 / math.sqrt(3) / (16 * math.log(2)))
    assert math.isnan(evaluation.bits_per_dim(model, nats[:1])[1])


# Batch moments.


def test_batch_moments_are_those_of_training_and_leave_the_moving_ones_alone(eagerly):
    model = flow()
    before = [weight.numpy() for weight in model.non_trainable_weights]
    actual = evaluation.log_likelihood(model, IMAGES, batch_moments=True, batch_size=10)
    for weight, value in zip(model.non_trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    expected = model(IMAGES, training=True, draw=0).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert np.abs(actual - evaluation.log_likelihood(model, IMAGES)).max() > 0.1


def test_batch_moments_are_used_without_a_weight_being_written():
    model = flow()
    evaluation.log_likelihood(model, IMAGES, batch_moments=True)
    with tf.GradientTape() as tape:
        evaluation.log_likelihood(model, IMAGES, batch_moments=True)
    operations = model._inference_of_batch.get_concrete_function().graph.get_operations()
    assert tape.watched_variables() and not any(operation.type.startswith("Assign") for operation in operations)


def test_a_smaller_last_batch_is_filled_up_from_the_first(eagerly):
    model = flow()
    actual = evaluation.log_likelihood(model, IMAGES, batch_moments=True, batch_size=6)
    filled = np.concatenate([IMAGES[6:], IMAGES[:2]])
    expected = np.concatenate([model(part, training=True, draw=0)[:n] for part, n in ((IMAGES[:6], 6), (filled, 4))])
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_model_says_whether_it_has_moments(model):
    assert evaluation.has_moments(model)
    assert not evaluation.has_moments(flow(use_batch_norm=False))


# Recalibration.


def test_recalibrated_on_one_batch_evaluation_and_training_agree(eagerly):
    for options in (dict(), dict(running_average=0.5)):
        model = flow(**options)
        evaluation.recalibrate(model, IMAGES, batch_size=10)
        moving = evaluation.log_likelihood(model, IMAGES)
        np.testing.assert_allclose(moving, evaluation.log_likelihood(flow(), IMAGES, 1, True, 10), rtol=1e-4)


def test_the_first_norm_gets_the_exact_moments_of_all_batches(eagerly):
    model = flow()
    evaluation.recalibrate(model, IMAGES, batch_size=3)
    x = model.bijector.bijector.bijectors[-1].forward(noisy(model, IMAGES, 0)).numpy()  # its Logit
    kept = x * (np.indices((4, 4)).sum(0) % 2 == 0)[..., None]
    norm = model.networks[0].network.norm_in.moments
    np.testing.assert_allclose(norm.mean, kept.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.variance, kept.var((0, 1, 2)), rtol=1e-5)


def test_coarser_scales_see_the_recalibrated_finer_ones(eagerly):
    recalibrated, of_fine_scale = flow(num_scales=2), flow(num_scales=2)
    evaluation.recalibrate(recalibrated, IMAGES, batch_size=3)
    scales = [[m for network in networks for m in moments_of(network)] for networks in recalibrated.networks_by_scale()]
    assert len(scales) == 2 and all(scales)
    # The same by hand: the finer scale's moments given, the coarser's first norm over all batches in inference mode.
    for layer, source in zip(of_fine_scale.networks_by_scale()[0], recalibrated.networks_by_scale()[0], strict=True):
        layer.set_weights(source.get_weights())
    seen = []
    norm = of_fine_scale.networks_by_scale()[1][0].network.norm_in
    call = norm.call
    norm.call = lambda x, training=False: seen.append(x.numpy()) or call(x, training)
    of_fine_scale.distribution.log_prob(noisy(of_fine_scale, IMAGES, 0))
    (x,) = seen
    norm = recalibrated.networks_by_scale()[1][0].network.norm_in.moments
    np.testing.assert_allclose(norm.mean, x.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.variance, x.var((0, 1, 2)), rtol=1e-4)


def test_recalibration_leaves_the_weights_and_how_they_learn_alone(eagerly):
    model = flow()
    before = [weight.numpy() for weight in model.trainable_weights]
    evaluation.recalibrate(model, IMAGES)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert {(m.momentum, m.trainable) for network in model.networks for m in moments_of(network)} == {(0.9, True)}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
