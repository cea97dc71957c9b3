"""RealNVP: the authors' recursion, parameter for parameter."""

import math

import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp


@pytest.mark.parametrize(
    "event_shape, num_scales, filters, num_blocks, parameters",
    [
        ((32, 32, 3), 2, 32, 4, 2_522_473),
        ((32, 32, 3), 2, 64, 8, 19_609_545),
        ((32, 32, 3), 4, 32, 4, 46_220_359),
        ((16, 16, 3), 3, 8, 2, 421_629),
    ],
)
def test_trainable_parameters_are_those_of_the_authors_code(event_shape, num_scales, filters, num_blocks, parameters):
    model = rnvp.RealNVP(event_shape, num_scales=num_scales, filters=filters, num_blocks=num_blocks)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == parameters
    assert sum(math.prod(v.shape) for v in model.distribution.trainable_variables) == parameters


def test_the_graph_of_log_prob_holds_each_convolution_once():
    model = rnvp.RealNVP((8, 8, 1), num_scales=2, filters=2, num_blocks=1)
    convolutions = 10 * 6  # ten couplings of 3 + 3 · num_blocks convolutions
    log_prob = tf.function(model.distribution.log_prob).get_concrete_function(tf.TensorSpec([None, 8, 8, 1]))
    assert sum(op.type == "Conv2D" for op in log_prob.graph.get_operations()) == convolutions


def test_the_latent_has_the_shape_of_the_image_and_the_flow_is_fully_convolutional():
    model = rnvp.RealNVP((8, 8, 1), num_scales=2, filters=2, num_blocks=1)
    assert model.distribution.event_shape == (8, 8, 1)
    larger = np.random.default_rng(0).normal(size=(2, 16, 24, 1)).astype(np.float32)
    image = model.bijector.forward(larger)
    np.testing.assert_allclose(model.bijector.inverse(tf.identity(image)), larger, atol=1e-3)


def test_28_by_28_works_with_two_scales():
    model = rnvp.RealNVP((28, 28, 1), num_scales=2, filters=2, num_blocks=1)
    assert model.sample(2).shape == (2, 28, 28, 1)


def test_a_seed_repeats_the_initialization_and_another_changes_it():
    weights = [
        np.concatenate([w.numpy().ravel() for w in rnvp.RealNVP((4, 4, 1), 1, 2, 1, seed=seed).trainable_weights])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.any(weights[0] != weights[2])


def test_networks_in_bfloat16_leave_the_flow_in_float32():
    images = np.random.default_rng(0).integers(256, size=(8, 8, 8, 3)).astype(np.uint8)
    models = [rnvp.RealNVP((8, 8, 3), 1, 8, 1, seed=0, dtype=dtype) for dtype in ("float32", "mixed_bfloat16")]
    nats, mixed = (model.predict(images, verbose=0) for model in models)
    assert mixed.dtype == np.float32
    assert np.any(nats != mixed)
    np.testing.assert_allclose(mixed, nats, rtol=0.01)
    np.testing.assert_array_equal(models[1].decode(models[1].encode(images)), images)
    assert {w.dtype for w in models[1].trainable_weights} == {"float32"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(event_shape=(8, 8)), r"event_shape must be .*got \(8, 8\)"),
        (dict(event_shape=()), r"event_shape must be .*got \(\)"),
        (dict(event_shape=(8, 0, 1)), r"event_shape must be .*got \(8, 0, 1\)"),
        (dict(event_shape=(6, 8, 1), num_scales=3), r"divisible by 2\^\(num_scales - 1\) = 4; got \(6, 8, 1\)"),
        (dict(event_shape=(8, 6, 1), num_scales=3), r"divisible by 2\^\(num_scales - 1\) = 4; got \(8, 6, 1\)"),
        (dict(event_shape=(8, 8, 1), num_scales=0), "num_scales must be a positive int; got 0"),
        (dict(event_shape=(8, 8, 1), filters=-3), "filters must be a positive int; got -3"),
        (dict(event_shape=(8, 8, 1), num_blocks=1.5), "num_blocks must be a positive int; got 1.5"),
        (dict(event_shape=(8, 8, 1), alpha=0.5), r"alpha must be in \[0, 0.5\); got 0.5"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnvp.RealNVP(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
