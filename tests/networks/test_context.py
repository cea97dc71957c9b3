"""`WithContext`: which context each event is given, and that the network sees nothing else of it; `ContextMaps`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import Coupling
from tfp_realnvp.bijectors.masks import ChangeAll, Split
from tfp_realnvp.discovery import find_networks
from tfp_realnvp.networks import MLP, ContextMaps, GlowNet, WithContext

tfb = tfp.bijectors
tfd = tfp.distributions

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal([6, 3]).astype(np.float32)
IMAGES = RNG.standard_normal([6, 2, 5, 3]).astype(np.float32)
CONTEXTS = RNG.standard_normal([6, 4]).astype(np.float32)
CONTEXT_IMAGES = RNG.standard_normal([6, 2, 5, 4]).astype(np.float32)
BY_PIXEL = np.broadcast_to(CONTEXTS[:, None, None], [6, 2, 5, 4])

see = lambda x: x  # a network that tells what it has seen


@pytest.mark.parametrize(
    "h, context, event_ndims, seen",
    [(VECTORS, CONTEXTS, 1, CONTEXTS), (IMAGES, CONTEXTS, 1, BY_PIXEL), (IMAGES, CONTEXT_IMAGES, 3, CONTEXT_IMAGES)],
    ids=["a vector to vectors", "a vector to images, at each pixel", "an image to images"],
)
def test_the_network_sees_the_context_as_more_channels(h, context, event_ndims, seen):
    given = WithContext(see, context, event_ndims)
    np.testing.assert_array_equal(given(tf.constant(h)), np.concatenate([h, seen], axis=-1))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("h, context, event_ndims", [(VECTORS, CONTEXTS, 1), (IMAGES, CONTEXT_IMAGES, 3)])
def test_a_batch_of_repeats_is_given_the_contexts_over_and_over(h, context, event_ndims, number):
    seen = WithContext(see, context[:number], event_ndims)(tf.constant(h))
    np.testing.assert_array_equal(seen[..., 3:], np.concatenate([context[:number]] * (6 // number)))


@pytest.mark.parametrize("h, context, event_ndims", [(VECTORS, CONTEXTS, 1), (IMAGES, CONTEXT_IMAGES, 3)])
@pytest.mark.parametrize("batch", [(2, 3), (3, 1, 2), ()])
def test_contexts_of_any_batch_are_flattened(h, context, event_ndims, batch):
    size = int(np.prod(batch))
    seen = WithContext(see, context[:size].reshape(*batch, *context.shape[1:]), event_ndims)(tf.constant(h))
    np.testing.assert_array_equal(seen[..., 3:], np.concatenate([context[:size]] * (6 // size)))


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_batch_that_the_contexts_do_not_fit_is_an_error(number):
    with pytest.raises(tf.errors.InvalidArgumentError):
        WithContext(see, CONTEXTS[:2])(tf.constant(VECTORS[:number]))


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64])
def test_the_context_is_cast_to_the_dtype_of_what_the_network_sees(dtype):
    for context in (CONTEXTS, CONTEXTS.astype(np.float64), np.eye(4, dtype=np.int64)[:2]):
        assert WithContext(see, context)(tf.cast(VECTORS, dtype)).dtype == dtype


@pytest.mark.parametrize("h, context, event_ndims", [(VECTORS, CONTEXTS, 1), (IMAGES, CONTEXT_IMAGES, 3)])
def test_a_graph_of_unknown_sizes_gives_the_eager_answers(h, context, event_ndims):
    specs = [tf.TensorSpec([None] * (x.ndim - 1) + [x.shape[-1]]) for x in (h, context)]
    graph = tf.function(lambda h, context: WithContext(see, context, event_ndims)(h), input_signature=specs)
    np.testing.assert_array_equal(graph(h, context[:2]), WithContext(see, context[:2], event_ndims)(tf.constant(h)))


def test_where_a_coupling_keeps_nothing_the_network_sees_the_context_alone():
    network = keras.layers.Dense(6, use_bias=False)
    network.build([None, 4])
    coupling = Coupling(ChangeAll(3), WithContext(network, CONTEXTS))
    shift, log_scale = np.split((CONTEXTS @ network.kernel.numpy())[:, None, None], 2, axis=-1)
    np.testing.assert_allclose(coupling.forward(IMAGES), (IMAGES + shift) * np.exp(log_scale), rtol=1e-5, atol=1e-6)


def test_a_model_finds_the_network_and_its_variables():
    network = MLP(4, [5])
    network.build([None, 1 + 4])
    coupling = Coupling(Split([1, 0, 0]), WithContext(network, CONTEXTS))
    assert list(map(id, coupling.variables)) == [id(weight.value) for weight in network.weights]
    distribution = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), tfb.Invert(coupling))
    assert find_networks(distribution) == [network]


def test_a_distribution_of_a_batch_of_contexts_has_each_contexts_density():
    network = MLP(4, [5], seed=0)
    network.build([None, 1 + 4])

    def distribution(context):
        base = tfd.BatchBroadcast(tfd.Sample(tfd.Normal(0.0, 1.0), 3), tf.shape(context)[:-1])
        return tfd.TransformedDistribution(base, tfb.Invert(Coupling(Split([1, 0, 0]), WithContext(network, context))))

    contexts = tf.constant(CONTEXTS.reshape(2, 3, 4))
    together = distribution(contexts)
    x = together.sample(5, seed=[0, 0])
    assert x.shape == (5, 2, 3, 3) and together.batch_shape == (2, 3)
    log_prob = together.log_prob(x)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(log_prob[:, i, j], distribution(contexts[i, j]).log_prob(x[:, i, j]), rtol=1e-5)
    assert np.ptp(together.log_prob(tf.broadcast_to(x[0, 0, 0], [2, 3, 3])).numpy()) > 1e-3


class See(keras.layers.Layer):
    def call(self, x):
        return x


def test_maps_are_seen_in_place_of_the_context():
    layer = ContextMaps(See(), context_size=4, num_maps=5, seed=0)
    layer.build((None, 2, 5, 3 + 4))
    seen = WithContext(layer, CONTEXTS)(tf.constant(IMAGES))
    maps = np.einsum("bk,hwkm->bhwm", CONTEXTS, layer.maps.numpy())
    np.testing.assert_allclose(seen, np.concatenate([IMAGES, maps], axis=-1), rtol=1e-5, atol=1e-6)
    assert np.ptp(seen[0, :, :, -1]) > 0.1  # not the same at every pixel


def test_maps_are_drawn_by_the_seed():
    layers = [ContextMaps(See(), context_size=4, seed=seed) for seed in (0, 0, 1)]
    for layer in layers:
        layer.build((None, 2, 5, 3 + 4))
    first, again, other = (layer.maps.numpy() for layer in layers)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_the_network_under_the_maps_is_built_for_their_number():
    layer = ContextMaps(GlowNet(2, filters=4), context_size=4, num_maps=5)
    layer.build((None, 2, 5, 3 + 4))
    assert layer.network.convs[0].kernel.shape == (3, 3, 3 + 5, 4)


@pytest.mark.parametrize("sizes", [dict(context_size=0), dict(context_size=2, num_maps=0), dict(context_size=1.5)])
def test_sizes_below_one_are_refused_by_name(sizes):
    *_, (name, value) = sizes.items()
    with pytest.raises(ValueError, match=f"{name} must be a positive int; got {value}"):
        ContextMaps(See(), **sizes)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
