"""RealNVP: the authors' recursion, parameter for parameter."""

import math
import operator

import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tfp_realnvp.networks.moments import moments_of

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.mark.parametrize(
    "event_shape, num_scales, filters, num_blocks, parameters",
    [
        ((32, 32, 3), 2, 32, 4, 2_522_473),
        ((32, 32, 3), 4, 32, 4, 46_220_359),
        ((16, 16, 3), 3, 8, 2, 421_629),
    ],
)
def test_trainable_parameters_are_those_of_the_authors_code(event_shape, num_scales, filters, num_blocks, parameters):
    model = rnvp.RealNVP(event_shape, num_scales=num_scales, filters=filters, num_blocks=num_blocks)
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == parameters
    assert sum(math.prod(v.shape) for v in model.distribution.trainable_variables) == parameters


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


@pytest.mark.dtype("mixed_bfloat16")
def test_networks_in_bfloat16_leave_the_flow_in_float32():
    images = np.random.default_rng(0).integers(256, size=(8, 8, 8, 3)).astype(np.uint8)
    models = [rnvp.RealNVP((8, 8, 3), 1, 8, 1, seed=0, dtype=dtype) for dtype in ("float32", "mixed_bfloat16")]
    nats, mixed = (model.predict(images, verbose=0) for model in models)
    assert mixed.dtype == np.float32
    assert np.any(nats != mixed)
    np.testing.assert_allclose(mixed, nats, rtol=0.01)
    np.testing.assert_array_equal(models[1].decode(models[1].encode(images)), images)
    assert {w.dtype for w in models[1].trainable_weights} == {"float32"}


@pytest.mark.dtype("mixed_bfloat16")
def test_another_precision_is_the_same_flow_with_its_optimizer():
    images = np.random.default_rng(0).integers(256, size=(8, 8, 8, 3)).astype(np.uint8)
    model = rnvp.RealNVP((8, 8, 3), num_scales=1, filters=8, num_blocks=1, seed=0, dtype="mixed_bfloat16")
    model.compile(rnvp.optimizers.Adam(0.01), run_eagerly=True)
    model.fit(images, batch_size=4, verbose=0)
    exact = model.with_dtype("float32")
    assert exact.dtype_policy.name == "float32" and exact.seed == model.seed
    np.testing.assert_array_equal(exact.decode(exact.encode(images)), images)
    np.testing.assert_allclose(exact.predict(images, verbose=0), model.predict(images, verbose=0), rtol=0.02)
    for variables in ("weights", "optimizer.variables"):
        get = operator.attrgetter(variables)
        for weight, expected in zip(get(exact), get(model), strict=True):
            np.testing.assert_array_equal(weight, expected)
    assert int(exact.optimizer.iterations) == 2


# The options of the code and of the paper.


def networks(model):
    """Number of each coupling in the authors' code -> its conditioner; of the first scale."""
    conditioners = [n for n in model.networks_by_scale()[0] if not isinstance(n, rnvp.networks.Moments)]
    return {int(network.name.rpartition("_")[2]): network for network in conditioners}


def small(**options):
    return rnvp.RealNVP((8, 8, 1), **{**dict(num_scales=2, filters=2, num_blocks=1, seed=0), **options})


@pytest.mark.parametrize(
    "recursion_type, channels, widths",
    [(1, [1, 4, 16], [2, 4, 8]), (2, [1, 2, 4], [2, 4, 8]), (3, [1, 1, 1], [2, 4, 8]), (4, [1, 1, 1], [2, 2, 2])],
)
def test_what_goes_on_to_the_next_scale(recursion_type, channels, widths):
    model = small(num_scales=3, recursion_type=recursion_type)
    first = [networks[0].network for networks in model.networks_by_scale()]
    assert [network.conv_in.v.shape[2] // 2 for network in first] == channels
    assert [network.filters for network in first] == widths
    fourth = model.networks_by_scale()[0][6].network  # the first channel coupling
    assert (fourth.filters, fourth.checkerboard) == (4, None)


def test_additive_couplings_are_the_first_two_of_three():
    kinds = {number: type(network).__name__ for number, network in networks(small(use_affine=False)).items()}
    assert kinds == {0: "ResNet", 1: "ResNet", 2: "TanhScale", 4: "ResNet", 5: "ResNet", 6: "TanhScale"}
    assert type(networks(small(num_scales=1, use_affine=False))[3]).__name__ == "TanhScale"


def test_the_papers_affine_map_shifts_last():
    x = np.random.default_rng(0).uniform(1, 255, size=(4, 8, 8, 1)).astype(np.float32)
    for scale_first in (False, True):
        model = small(num_scales=1, scale_first=scale_first, use_batch_norm=False)
        for weight in model.trainable_weights:
            weight.assign_add(0.1 * np.random.default_rng(1).standard_normal(weight.shape))
        _, *layers = reversed(model.bijector.bijector.bijectors)
        y = layers[0].forward(x)
        board = (np.indices((8, 8)).sum(0) % 2 == 0)[..., None]
        shift, log_scale = np.split(networks(model)[0](x * board), 2, axis=-1)
        expected = x * np.exp(log_scale) + shift if scale_first else (x + shift) * np.exp(log_scale)
        np.testing.assert_allclose(y, np.where(board, x, expected), rtol=1e-4)


def test_without_batch_norm_log_scales_have_an_offset_and_nothing_depends_on_the_batch():
    model = small(use_batch_norm=False)
    assert not model.non_trainable_weights
    assert all(network.b is not None for network in model.networks)
    assert all(network.b is None for network in networks(small()).values())


def test_the_papers_batch_norm_uses_running_averages_everywhere():
    moments = [m for network in small(running_average=0.7).networks for m in moments_of(network)]
    assert {(m.momentum, m.running) for m in moments} == {(0.7, True)}
    assert {m.running for network in small().networks for m in moments_of(network)} == {False}


def test_skip_and_bottleneck_reach_every_network():
    for network in networks(small(skip=False, bottleneck=True)).values():
        assert network.network.skips is None and len(network.network.blocks.convs) == 3


@pytest.mark.parametrize(
    "options", [dict(use_affine=False), dict(scale_first=True), dict(use_batch_norm=False)], ids=str
)
def test_vector_flows_have_the_options_of_couplings(options):
    model = rnvp.RealNVP((3,), num_scales=1, filters=8, num_blocks=1, seed=0, **options)
    points = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    model.compile()
    model.fit(points, verbose=0)
    np.testing.assert_allclose(model.decode(model.encode(points)), points, atol=1e-4)
    assert [type(n).__name__ for n in networks(model).values()].count("MLP") == (2 if "use_affine" in options else 0)


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
        (dict(event_shape=(8, 8, 1), filters=1, num_blocks=1, alpha=0.5), r"alpha must be in \[0, 0.5\); got 0.5"),
        (dict(event_shape=(8, 8, 1), recursion_type=5), "recursion_type must be 1, 2, 3 or 4; got 5"),
        (dict(event_shape=(8, 8, 1), running_average=1.0), r"running_average must be None, or in \[0, 1\).*got 1.0"),
        (
            dict(event_shape=(8, 8, 1), running_average=0.5, use_batch_norm=False),
            "running_average must be None.*got 0.5 with use_batch_norm=False",
        ),
        (dict(event_shape=(8,), skip=False), "skip must be left at the default for vectors; got {'skip': False}"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        rnvp.RealNVP(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
