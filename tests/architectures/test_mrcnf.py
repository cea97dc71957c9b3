"""MRCNF against the authors' own code (data/mrcnf_small), its scales, its bound, its samples; errors."""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.bijectors.solves import Solves, solving

pytestmark = pytest.mark.usefixtures("module_eagerly")

ORACLE = np.load(pathlib.Path(__file__).parents[1] / "data" / "mrcnf_small" / "mrcnf_small.npz")
WEIGHTS = {name[2:]: ORACLE[name] for name in ORACLE.files if name.startswith("w/")}
NUM_ENTRIES = 8 * 8 * 3
IMAGES = np.random.default_rng(0).integers(256, size=(6, 8, 8, 1)).astype("uint8")


def channels_last(name):
    return np.moveaxis(ORACLE[name], 1, -1)


@functools.cache
def official(dtype="float64", tolerance=1e-7, divergence="exact", **options):
    options = dict(num_scales=2, num_blocks=(2, 1), filters=8, divergence=divergence, dtype=dtype, seed=0, **options)
    return rnvp.MRCNF.from_official_weights(WEIGHTS, event_shape=(8, 8, 3), evaluation_tolerance=tolerance, **options)


@functools.cache
def small(**options):
    model = rnvp.MRCNF((8, 8, 1), **{**dict(num_scales=3, num_blocks=1, filters=2, seed=0), **options})
    laws.randomize_weights(model.weights)
    return model


@pytest.mark.parametrize(("dtype", "tolerance", "nats"), [("float64", 1e-7, 1e-5), ("float32", 1e-6, 2e-3)])
def test_log_densities_latents_and_samples_are_those_of_the_authors(dtype, tolerance, nats):
    model = official(dtype, tolerance)
    x = tf.constant(256 * channels_last("once/v/s1"), dtype)

    @tf.function(autograph=False)
    def answers(x):
        return model.bijector.inverse(x), model.distribution.log_prob(x)

    z, log_prob = answers(x)
    log_p = log_prob.numpy() + NUM_ENTRIES * np.log(256)
    np.testing.assert_allclose(log_p, ORACLE["once/logp"], rtol=0, atol=nats)
    fine, coarse = model.latents_by_scale(z.numpy())
    for actual, name in ((coarse, "once/eps/s0"), (fine, "once/eps/s1")):
        np.testing.assert_allclose(actual, channels_last(name), rtol=0, atol=1e-6 if dtype == "float64" else 1e-4)
    if dtype == "float64":
        bits = -log_p / NUM_ENTRIES / np.log(2) + 8
        np.testing.assert_allclose(bits, ORACLE["once/bpd"], rtol=0, atol=1e-8)
        latents = model.join_latents([channels_last("sample/eps/s1"), channels_last("sample/eps/s0")])
        samples = tf.function(model.bijector.forward, autograph=False)(tf.constant(latents)) / 256
        np.testing.assert_allclose(samples, channels_last("sample/v/s1"), rtol=0, atol=1e-6)


def blocks():
    """The blocks of the oracle: names, the dynamics, the latent shape and the image that they are given."""
    model = official()
    for scale, networks in enumerate(reversed(model.networks_by_scale())):
        dynamics = [network for network in networks if isinstance(network, rnvp.networks.ConvDynamics)]
        for block, network in enumerate(dynamics):
            given = [channels_last("once/v/s0")] if scale else []
            yield f"s{scale}/b{block}", network, given


def test_each_block_is_that_of_the_authors():
    masks, solvers = rnvp.bijectors.masks, rnvp.bijectors.solvers
    for name, network, given in blocks():
        mask = masks.Channel(num_first=3) if given else masks.ChangeAll(3)
        solver = solvers.Adaptive(solvers.DORMAND_PRINCE, 1e-7)
        flow = rnvp.bijectors.ContinuousFlow(network, mask, evaluation_solver=solver)
        x = tf.constant(np.concatenate([*given, channels_last(f"once/block/{name}/in")], axis=-1))
        answers = tf.function(
            lambda x, flow=flow: (flow.forward(x), flow.forward_log_det_jacobian(x, 3)), autograph=False
        )
        y, log_det = answers(x)
        expected = np.concatenate([*given, channels_last(f"once/block/{name}/out")], axis=-1)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(log_det, ORACLE[f"once/block/{name}/logdet"], rtol=0, atol=1e-6)


def test_the_dynamics_and_their_jacobians_are_those_of_the_authors():
    divergence = rnvp.bijectors.divergence
    for name, network, given in blocks():
        x = tf.constant(channels_last(f"once/block/{name}/in"))
        kept = [tf.tile(tf.constant(each), [x.shape[-1] * 16, 1, 1, 1]) for each in given]
        basis = divergence.Exact().probes(x)
        at = lambda x, network=network, kept=kept: network(tf.constant(0.3, tf.float64), tf.concat([x, *kept], axis=-1))
        velocity, products = divergence.jacobian_products(at, x, basis)
        trace, norm = divergence.sums(basis, products)
        np.testing.assert_allclose(velocity, channels_last(f"dyn/{name}/f"), rtol=0, atol=1e-10)
        np.testing.assert_allclose(trace, ORACLE[f"dyn/{name}/div"], rtol=0, atol=1e-10)
        size = np.prod(x.shape[1:])
        np.testing.assert_allclose(norm / size, ORACLE[f"dyn/{name}/jac_frob2_per_dim"], rtol=0, atol=1e-10)


class Given:
    """The probes of the oracle, in the order of the blocks in the data's path."""

    def __init__(self):
        self.left = [channels_last(f"train/probe/{name}") for name in ("s1/b0", "s0/b0", "s0/b1")]

    def check(self, size):
        pass

    def probes(self, y, solves=None):
        return tf.constant(self.left.pop(0)[np.newaxis])


@pytest.mark.parametrize("adjoint", [False, True])
def test_the_training_loss_and_its_gradients_are_those_of_the_authors(adjoint):
    probes = Given()
    model = rnvp.MRCNF.from_official_weights(
        WEIGHTS,
        (8, 8, 3),
        2,
        [2, 1],
        8,
        divergence=probes,
        solver="dopri5",
        tolerance=1e-7,
        dtype="float64",
        adjoint=adjoint,
    )
    x = tf.constant(256 * channels_last("once/v/s1"))

    @tf.function(autograph=False)
    def loss_and_gradients():
        with tf.GradientTape() as tape, solving(Solves()) as solves:
            log_prob = laws.in_training(model.distribution.log_prob, x)
            nats = -tf.reduce_mean(log_prob) + tf.add_n(solves.penalties)
            loss = nats / (NUM_ENTRIES * np.log(2))
        return loss, tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    loss, gradients = loss_and_gradients()
    assert abs(loss - ORACLE["train/loss"]) < 1e-6
    by_id = {id(weight): gradient for weight, gradient in zip(model.trainable_weights, gradients, strict=True)}
    for scale, networks in enumerate(reversed(model.networks_by_scale())):
        dynamics = [network for network in networks if isinstance(network, rnvp.networks.ConvDynamics)]
        for block, network in enumerate(dynamics):
            for layer, convolution in enumerate(network.convolutions):
                for weight in convolution.weights:
                    expected = ORACLE[f"train/grad/s{scale}/b{block}/l{layer}/{weight.name}"]
                    expected = expected.transpose(2, 3, 1, 0) if expected.ndim == 4 else expected
                    error = np.abs(by_id[id(weight)] - expected).max()
                    assert error < 1e-5 * np.abs(expected).max(), (scale, block, layer, weight.name)


def test_the_parts_of_the_scales_add_up_to_the_bound():
    model = small()
    parts = model.bits_per_dim_by_scale(IMAGES, draw=3)
    assert parts.shape == (6, 3)
    bits = -model.log_likelihood(IMAGES, draw=3).numpy() / (64 * np.log(2))
    np.testing.assert_allclose(parts.sum(axis=1), bits, rtol=1e-4)


def test_adapt_standardizes_what_enters_each_flow():
    model = rnvp.MRCNF((8, 8, 1), num_scales=2, num_blocks=1, filters=2, seed=0)
    model.adapt(IMAGES)
    images = rnvp.dequantization.uniform(IMAGES, 256, [0, -1]).numpy() / 256
    coarse, details = np.split(rnvp.bijectors.UnimodularTransform().forward(images).numpy(), [1], axis=-1)
    (details_layer, *_), (coarse_layer, *_) = model.networks_by_scale()
    np.testing.assert_allclose(details_layer.mean, details.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(details_layer.variance, details.var(axis=(0, 1, 2)), rtol=1e-4)
    logits = rnvp.bijectors.Logit(1, 0.05).forward(coarse).numpy()
    np.testing.assert_allclose(coarse_layer.mean, logits.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(coarse_layer.variance, logits.var(axis=(0, 1, 2)), rtol=1e-4)


def test_decode_inverts_encode():
    model = small()
    z = model.encode(IMAGES)
    np.testing.assert_array_equal(model.decode(z), IMAGES)
    back = tf.function(model.bijector.forward, autograph=False)(z)
    np.testing.assert_allclose(back, IMAGES + 0.5, rtol=0, atol=1e-3)


def test_coarse_samples_are_those_that_refine_begins_with():
    model = small()
    for number, side in ((1, 2), (2, 4), (3, 8)):
        images = model.sample(3, num_scales=number, seed=0)
        assert images.shape == (3, side, side, 1) and images.dtype == np.uint8
    coarse = model.sample(2, num_scales=1, seed=1)
    fine = model.refine(coarse, 5, temperature=0.0, seed=2)
    assert fine.shape == (2, 5, 8, 8, 1) and fine.dtype == np.uint8
    assert (fine == fine[:, :1]).all()
    np.testing.assert_array_equal(model.refine(coarse[1], 2, temperature=0.0), fine[1, :2])
    values = np.array([[[[100.5], [30.25]], [[200.0], [120.0]]]])  # Fractions of levels, within the range.
    fine = model.refine(values, 3, temperature=0.1, seed=3)
    means = fine.astype(float).reshape(3, 2, 4, 2, 4).mean(axis=(2, 4)) + 0.5
    inside = (fine > 0).all() and (fine < 255).all()
    np.testing.assert_allclose(means[..., np.newaxis], np.repeat(values, 3, axis=0), atol=1.0 if inside else 40.0)


def test_the_refined_image_has_exactly_the_mean_of_the_given_one():
    model = small()
    v = tf.constant(np.random.default_rng(0).random([2, 4, 4, 1]), tf.float32)
    layers = model._layers_given(None)
    flow = rnvp.bijectors.Sequential([rnvp.bijectors.UnimodularTransform(), *model._scale_flow(layers, 0)])
    z = tf.constant(np.random.default_rng(1).standard_normal([2, 4, 4, 3]), tf.float32)
    x = tf.function(flow.inverse, autograph=False)(tf.concat([v, z], axis=-1)).numpy()
    np.testing.assert_allclose(x.reshape(2, 4, 2, 4, 2).mean(axis=(2, 4)), v[..., 0], atol=1e-6)


def test_scales_are_trained_alone():
    model = rnvp.MRCNF((4, 4, 1), num_scales=2, num_blocks=1, filters=2, seed=0)
    model.train_scales([0])
    model.compile(keras.optimizers.SGD(0.01))
    before = model.get_weights()
    model.train_on_batch(IMAGES[:, :4, :4])
    changed = {
        weight.path.split("/")[0].split("_block")[0]
        for weight, old in zip(model.weights, before, strict=True)
        if np.any(weight != old)
    }
    assert changed == {"scale_1"}  # The layers count from the finest.
    model.train_scales([0, 1])
    model.compile(keras.optimizers.SGD(0.01))
    assert len(model.trainable_weights) == 16


def test_fit_counts_the_evaluations_of_a_solve():
    model = rnvp.MRCNF((4, 4, 1), num_scales=2, num_blocks=1, filters=2, solver="rk4", num_steps=3, seed=0)
    model.compile(keras.optimizers.SGD(0.01))
    history = model.fit(IMAGES[:, :4, :4], batch_size=3, epochs=1, verbose=0).history
    assert history["evaluations"] == [12.0]


def test_sizes_may_differ_by_scale():
    model = rnvp.MRCNF((8, 8, 1), num_scales=3, num_blocks=[3, 2, 1], filters=[8, 4, 2], seed=0)
    found = [
        [network.filters for network in networks if isinstance(network, rnvp.networks.ConvDynamics)]
        for networks in reversed(model.networks_by_scale())
    ]
    assert found == [[8, 8, 8], [4, 4], [2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(event_shape=(28, 28, 1), num_scales=4),
            "event_shape must be (height, width, channels) with sides divisible by 2^(num_scales - 1) = 8; got "
            "(28, 28, 1) for num_scales = 4",
        ),
        (dict(event_shape=(8,)), "event_shape must be (height, width, channels) with sides divisible by"),
        (dict(num_scales=0), "num_scales must be a positive int; got 0"),
        (dict(num_blocks=[1, 2]), "num_blocks must be a positive int, or 3 of them for num_scales = 3; got [1, 2]"),
        (dict(num_blocks=0), "num_blocks must be a positive int, or 3 of them for num_scales = 3; got 0"),
        (dict(filters=[4, 4, 0]), "filters must be a positive int, or 3 of them"),
        (dict(solver="euler"), 'solver must be "bosh3", "dopri5" or "rk4"; got \'euler\''),
        (dict(divergence="trace"), 'divergence must be "exact", "hutchinson" or "gaussian"; got \'trace\''),
        (dict(tolerance=0.0), "tolerance must be positive; got 0.0"),
        (dict(evaluation_tolerance=-1e-5), "evaluation_tolerance must be positive; got -1e-05"),
        (dict(num_steps=0), "num_steps must be a positive int; got 0"),
        (dict(kinetic_energy=-1.0), "kinetic_energy must be a non-negative number"),
        (dict(dtype="mixed_bfloat16"), 'dtype must be "float32" or "float64"'),
        (
            dict(event_shape=(128, 128, 3), divergence="exact"),
            'divergence must be "hutchinson" for events of more than 4096',
        ),
    ],
    ids=str,
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        rnvp.MRCNF(**{**dict(event_shape=(8, 8, 1), num_scales=3, num_blocks=1, filters=2), **options})


def test_wrong_official_weights_are_listed():
    weights = {name: array for name, array in WEIGHTS.items() if name != "s0/b1/l2/bias"}
    weights.update({"s9/b0/l0/kernel": np.zeros(3), "s1/b0/l0/kernel": np.zeros([8, 4, 3, 3])})
    message = (
        "weights must be those of the model: s0/b1/l2/bias is missing; s9/b0/l0/kernel is unknown; s1/b0/l0/kernel has "
        "another shape, (8, 4, 3, 3)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        rnvp.MRCNF.from_official_weights(weights, (8, 8, 3), 2, [2, 1], 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.refine(IMAGES), "images must have shape [N] + (4, 4, 1) or (2, 2, 1); got (6, 8, 8, 1)"),
        (lambda model: model.refine(np.full([1, 2, 2, 1], 300.0)), "images must hold levels from 0 to 256"),
        (lambda model: model.refine(IMAGES[:, :2, :2], 0), "num_samples must be a positive int; got 0"),
        (lambda model: model.sample(1, num_scales=4), "num_scales must be an int from 1 to 3; got 4"),
        (lambda model: model.train_scales([3]), "scales must be ints from 0 to 2; got [3]"),
    ],
    ids=["size", "levels", "number", "num_scales", "scales"],
)
def test_wrong_calls_are_errors(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(small())


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
