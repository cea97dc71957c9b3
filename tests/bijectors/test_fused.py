"""One pass a question, never a stale answer, and nothing kept alive."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from benchmarks.flops import operations
from tests import laws
from tfp_realnvp.bijectors import BatchNormalization, Coupling, FactorOut, FusedBijector, Sequential, Squeeze
from tfp_realnvp.bijectors.masks import Channel, Checkerboard

tfb = tfp.bijectors
tfd = tfp.distributions


class Counted:
    """A conditioner of affine couplings without weights that counts its calls."""

    def __init__(self, channels):
        self.calls = 0

    def __call__(self, kept):
        self.calls += 1
        return tf.concat([tf.sin(kept), tf.cos(kept)], axis=-1)


def convolution(channels):
    """A conditioner whose weights are those of `laws.randomize` alone: log-scales that no round trip suffers from."""
    return keras.layers.Conv2D(2 * channels, 3, padding="same", kernel_initializer="zeros")


class Shift(FusedBijector):
    """y = x + t of one entry, without any stock bijector, whose caches would be in the way of the memory tests."""

    def __init__(self, t, name="shift"):
        super().__init__(dict(locals()), event_ndims=0, name=name)
        self.t = t

    def _forward_and_log_det(self, x):
        return x + self.t, tf.zeros_like(x)

    def _inverse_and_log_det(self, y):
        return y - self.t, tf.zeros_like(y)


def leaf(conditioner):
    return Coupling(Checkerboard(), conditioner(2))


def chain(conditioner):
    channel = Coupling(Channel(), conditioner(1))
    return tfb.Chain([tfb.Shift(1.0), channel, tfb.Scale(2.0), Coupling(Checkerboard(), conditioner(2))])


def coupling_last(conditioner):
    """A coupling hands out the latents, which TFP's cache of the chain ties the data to."""
    return tfb.Chain([leaf(conditioner)])


def factor_out(conditioner):
    """A factor-out within a factor-out: what reaches the innermost coupling has 8 channels."""
    flow = Coupling(Channel(), conditioner(4))
    for _ in range(2):
        squeeze = Squeeze()
        flow = tfb.Chain([tfb.Invert(squeeze), FactorOut(flow), squeeze])
    return tfb.Chain([flow, Coupling(Checkerboard(), conditioner(2))])


def sequential(conditioner):
    """The same with each layer in a pass of the whole, and a stock bijector beside them."""
    inner = Sequential([Squeeze(), FactorOut(Coupling(Channel(), conditioner(2))), tfb.Invert(Squeeze())])
    return Sequential([Coupling(Checkerboard(), conditioner(2)), tfb.Scale(2.0), inner])


# Flows of images of shape [4, 4, 2], data → latent, by the function that makes a conditioner of so many channels.
COMPOSITIONS = {
    "leaf": leaf,
    "chain": chain,
    "coupling_last": coupling_last,
    "factor_out": factor_out,
    "sequential": sequential,
}


def flow(bijector):
    """The distribution of images of shape [4, 4, 2] with `bijector`, data → latent."""
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [4, 4, 2]), tfb.Invert(bijector))


def counted(name):
    return flow(COMPOSITIONS[name](Counted))


def learned(name):
    """A flow with weights that are not special, all of them built."""
    distribution = flow(COMPOSITIONS[name](convolution))
    distribution.log_prob(tf.zeros([1, 4, 4, 2]))
    laws.randomize(distribution.bijector)
    return distribution


def images(seed=0):
    return tf.random.stateless_normal([2, 4, 4, 2], [0, seed])


def inverse_then_log_det(d, x):
    return d.bijector.inverse(x), d.bijector.inverse_log_det_jacobian(x, 3)


def log_det_then_inverse(d, x):
    return d.bijector.inverse_log_det_jacobian(x, 3), d.bijector.inverse(x)


def forward_then_log_det(d, z):
    return d.bijector.forward(z), d.bijector.forward_log_det_jacobian(z, 3)


def log_det_then_forward(d, z):
    return d.bijector.forward_log_det_jacobian(z, 3), d.bijector.forward(z)


def there_and_back(d, z):
    x = d.bijector.forward(z)
    return d.bijector.inverse(x), d.bijector.inverse_log_det_jacobian(x, 3), d.bijector.forward_log_det_jacobian(z, 3)


def sample_then_log_prob(d, x):
    return d.log_prob(d.sample(2, seed=[0, 1]))


# What is asked of a flow.
QUESTIONS = {
    "log_prob": lambda d, x: d.log_prob(x),
    "sample": lambda d, x: d.sample(2, seed=[0, 1]),
    "sample_and_log_prob": lambda d, x: d.experimental_sample_and_log_prob(2, seed=[0, 1]),
    "sample_then_log_prob": sample_then_log_prob,
    "inverse_then_log_det": inverse_then_log_det,
    "forward_then_log_det": forward_then_log_det,
}
# What a stock Chain finds in one pass only in a graph: for its log-det it walks to the far end and drops it.
LOG_DET_FIRST = {
    "log_det_then_inverse": log_det_then_inverse,
    "log_det_then_forward": log_det_then_forward,
    "there_and_back": there_and_back,
}
ALL_QUESTIONS = {**QUESTIONS, **LOG_DET_FIRST}


def num_convolutions(function, *args):
    """How many convolutions there are in the graph of `function`."""
    graph = tf.function(function, autograph=False).get_concrete_function(*args).graph
    return sum(operation.type == "Conv2D" for operation in operations(graph))


# One pass.


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_each_network_runs_once_eagerly(name, question):
    distribution = counted(name)
    QUESTIONS[question](distribution, images())
    assert {network.calls for network in laws.networks_of(distribution.bijector)} == {1}


@pytest.mark.parametrize("question", LOG_DET_FIRST)
@pytest.mark.parametrize(
    "make",
    [leaf, lambda conditioner: FactorOut(leaf(conditioner)), sequential],
    ids=["leaf", "factor_out", "sequential"],
)
def test_each_network_runs_once_eagerly_also_where_the_log_det_is_asked_first(make, question):
    distribution = flow(make(Counted))
    LOG_DET_FIRST[question](distribution, images())
    assert {network.calls for network in laws.networks_of(distribution.bijector)} == {1}


@pytest.mark.parametrize("question", sorted({*ALL_QUESTIONS} - {"sample_then_log_prob"}))
def test_each_network_runs_once_in_a_graph(question):
    distribution = learned("factor_out")
    assert num_convolutions(lambda x: ALL_QUESTIONS[question](distribution, x), images()) == 2


def test_the_log_prob_of_a_sample_of_a_graph_depends_on_it():
    """`tf.gradients` may ask for it afterwards, so each network runs once more."""
    distribution = learned("factor_out")
    assert num_convolutions(lambda x: sample_then_log_prob(distribution, x), images()) == 2 * 2


def test_each_network_runs_once_under_a_tape():
    distribution = counted("factor_out")
    with tf.GradientTape():
        distribution.log_prob(images())
    assert {network.calls for network in laws.networks_of(distribution.bijector)} == {1}


def test_a_real_nvp_runs_each_of_its_convolutions_once():
    distribution = rnvp.RealNVP((4, 4, 1), num_scales=2, filters=2, num_blocks=1, seed=0).distribution
    stacks = [layer for layer in _layers(distribution) if isinstance(layer, rnvp.networks.WeightNormConv2D)]
    number = sum(stack.copies or 1 for stack in stacks)
    assert number == 10 * 6  # ten couplings of 3 + 3 · num_blocks convolutions
    assert num_convolutions(distribution.log_prob, tf.TensorSpec([None, 4, 4, 1])) == number
    assert num_convolutions(lambda: distribution.experimental_sample_and_log_prob(1, seed=[0, 1])) == number


def _layers(distribution):
    networks = laws.networks_of(distribution.bijector)
    return [layer for network in networks for layer in network._flatten_layers()]


def test_the_log_det_outlives_everything_but_the_graph_that_it_is_in():
    distribution = learned("leaf")

    @tf.function(autograph=False)
    def log_det(x):
        distribution.bijector.inverse(x)
        gc.collect()
        return distribution.bijector.inverse_log_det_jacobian(x, 3)

    expected = distribution.bijector.inverse_log_det_jacobian(images(), 3)
    np.testing.assert_allclose(log_det(images()), expected, rtol=1e-5)


def test_a_sequence_is_a_chain_in_the_other_order():
    layers = [tfb.Scale(2.0), learned("leaf").bijector.bijector, tfb.Shift(1.0), tfb.Exp()]
    sequence, chain = Sequential(layers), tfb.Chain(layers[::-1])
    x = images()
    y, log_det = sequence.forward(x), sequence.forward_log_det_jacobian(x, 3)
    np.testing.assert_array_equal(y, chain.forward(tf.identity(x)))
    np.testing.assert_allclose(log_det, chain.forward_log_det_jacobian(tf.identity(x), 3), rtol=1e-6)
    assert list(sequence.bijectors) == chain.bijectors


def test_a_sequence_may_change_the_rank_of_events_on_its_way():
    layers = [tfb.Reshape([4], [2, 2]), tfb.Scale(2.0), tfb.Reshape([2, 2], [4])]
    sequence = Sequential(layers)
    of_batches = tf.function(
        lambda x: (sequence.forward_log_det_jacobian(x, 2), sequence.inverse_log_det_jacobian(x, 2)),
        input_signature=[tf.TensorSpec([None, 2, 2])],
    )
    forward, inverse = of_batches(tf.ones([3, 2, 2]))
    np.testing.assert_allclose(forward, np.full(3, 4 * np.log(2)), rtol=1e-6)
    np.testing.assert_allclose(inverse, np.full(3, -4 * np.log(2)), rtol=1e-6)
    with pytest.raises(ValueError, match="layers must keep the rank of an event, 2; got 1 behind"):
        Sequential(layers[:1])


def test_a_sequence_of_constant_jacobians_has_a_log_det_for_each_event():
    x = tf.zeros([2, 4, 4, 2])
    log_det = Sequential([Squeeze(), tfb.Scale(2.0)]).forward_log_det_jacobian(x, 3)
    np.testing.assert_allclose(log_det, [32 * np.log(2)] * 2, rtol=1e-6)
    np.testing.assert_array_equal(Sequential([]).forward(x), x)


def test_a_sequence_has_the_weights_of_functions_that_its_layers_have_not_called_yet():
    weight = tf.Variable(0.5)
    inner = Coupling(Checkerboard(), lambda kept: tf.concat([weight + kept, kept], axis=-1))
    sequence = Sequential([inner])
    before = sequence.forward(x := images())
    assert [id(variable) for variable in sequence.trainable_variables] == [id(weight)]
    inner.forward(x)
    weight.assign(1.0)
    assert not np.array_equal(sequence.forward(x), before)


# No stale answers.


def assign(weight):
    weight.assign(weight + 0.5)


def assign_add(weight):
    weight.assign_add(0.5 * keras.ops.ones_like(weight))


@tf.function
def assign_compiled(weight):
    weight.assign_add(0.5 * tf.ones_like(weight))


CHANGES = {
    "assign": assign,
    "assign_add": assign_add,
    "compiled": lambda weight: assign_compiled(weight.value),
    "one_entry": lambda weight: weight.value.scatter_nd_add([[weight.shape[0] - 1]], [0.5]),
}


def assert_same(actual, fresh):
    np.testing.assert_allclose(actual, fresh, rtol=1e-5, atol=1e-5)


def biases(distribution):
    return [network.bias for network in laws.networks_of(distribution.bijector)]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_changed_weight_changes_the_answers(name, change):
    distribution = learned(name)
    bijector = distribution.bijector
    for bias in biases(distribution):
        x = distribution.sample(2, seed=[0, 1])
        z = bijector.inverse(x)
        log_prob, log_det = distribution.log_prob(x), bijector.inverse_log_det_jacobian(x, 3)
        CHANGES[change](bias)
        fresh = tf.identity(x)
        assert_same(distribution.log_prob(x), distribution.log_prob(fresh))
        assert_same(bijector.inverse(x), bijector.inverse(fresh))
        fresh_log_det = bijector.inverse_log_det_jacobian(fresh, 3)
        assert_same(bijector.inverse_log_det_jacobian(x, 3), fresh_log_det)
        assert_same(bijector.forward(z), bijector.forward(tf.identity(z)))
        assert np.all(distribution.log_prob(fresh) != log_prob)
        assert np.all(fresh_log_det != log_det)


def test_a_weight_changed_again_and_again_changes_the_answers():
    coupling = learned("leaf").bijector
    (bias,) = (network.bias.value for network in laws.networks_of(coupling))
    z, seen = images(), []
    for _ in range(3):  # after the first write to one entry TensorFlow copies the variable at each read
        seen.append(coupling.forward(z))
        bias.scatter_nd_add([[0]], [0.5])
        assert_same(coupling.forward(z), coupling.forward(tf.identity(z)))
    assert np.all(np.any(seen[0] != seen[1], axis=(1, 2, 3))) and np.all(np.any(seen[1] != seen[2], axis=(1, 2, 3)))


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_weight_changed_within_a_graph_changes_the_answers(name):
    distribution = learned(name)

    @tf.function(autograph=False)
    def answers():
        x = distribution.sample(2, seed=[0, 1])
        before = distribution.log_prob(x)
        for bias in biases(distribution):
            bias.assign(bias + 0.5)
        return before, distribution.log_prob(x), distribution.log_prob(tf.identity(x))

    before, after, fresh = answers()
    np.testing.assert_allclose(after, fresh, rtol=1e-6)
    assert np.all(np.abs(before - after) > 0.01)


class Module(tf.Module):
    """A conditioner of points in the plane that is no Keras layer: the log-scale is a weight."""

    def __init__(self):
        self.weight = tf.Variable(1.0)

    def __call__(self, kept):
        return tf.concat([kept[..., ::-1], self.weight * tf.ones_like(kept)], axis=-1)


# A function refers to weights that nothing but running it shows.
@pytest.mark.parametrize(
    "wrap", [lambda module: module, lambda module: lambda kept: module(kept)], ids=["module", "function"]
)
def test_a_weight_that_is_not_keras_counts(wrap):
    module = Module()
    coupling = Coupling([1, 0], wrap(module))
    x = tf.constant([[1.0, 2.0]])
    y = coupling.forward(x)
    module.weight.assign(2.0)
    assert_same(coupling.forward(x), coupling.forward(tf.identity(x)))
    assert np.any(coupling.forward(x) != y)


def test_a_weight_of_a_stock_bijector_inside_counts():
    scale = tf.Variable(2.0)
    factor_out = FactorOut(tfb.Scale(scale))
    x = images()
    y = factor_out.forward(x)
    scale.assign(3.0)
    assert_same(factor_out.forward(x), factor_out.forward(tf.identity(x)))
    assert np.any(factor_out.forward(x) != y)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_hash_never_changes(name):
    bijector = learned(name).bijector
    parts = [bijector, *fused(bijector)]
    before, keys = [hash(part) for part in parts], set(parts)
    bijector.forward(images())
    for weight in bijector.trainable_variables:
        weight.assign_add(tf.ones_like(weight))
    with tf.GradientTape():
        bijector.forward(images())
    assert [hash(part) for part in parts] == before
    assert all(part in keys for part in parts)


def test_equality_does_not_depend_on_the_weights():
    bijector = learned("leaf").bijector
    copied = bijector.copy()
    assert bijector == copied
    bijector.trainable_variables[0].assign_add(tf.ones_like(bijector.trainable_variables[0]))
    assert bijector == copied
    assert bijector != learned("leaf").bijector


# Gradients.


def gradients(distribution, x):
    weights = distribution.trainable_variables
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = distribution.log_prob(x)
    return tape.gradient(log_prob, [x, *weights])


def assert_same_gradients(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_sample_drawn_outside_of_the_tape_has_gradients_inside(name):
    distribution = learned(name)
    x = distribution.sample(2, seed=[0, 1])
    assert_same_gradients(gradients(distribution, x), gradients(distribution, tf.identity(x)))


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_second_tape_has_gradients_while_the_first_is_alive(name):
    distribution, x = learned(name), images()
    expected = gradients(distribution, tf.identity(x))
    with tf.GradientTape(persistent=True) as first:
        first.watch(x)
        kept = distribution.bijector.inverse(x), distribution.log_prob(x)
    assert_same_gradients(gradients(distribution, x), expected)
    assert_same_gradients(first.gradient(kept[1], [x, *distribution.trainable_variables]), expected)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_bijector_has_gradients_at_what_it_has_seen(name):
    bijector, x = learned(name).bijector, images()

    def gradients(x, before=lambda x: None):
        with tf.GradientTape() as tape:
            kept = before(x)
            tape.watch(x)
            answers = bijector.inverse(x), bijector.inverse_log_det_jacobian(x, 3)
        del kept
        return tape.gradient(answers, [x, *bijector.trainable_variables])

    expected = gradients(tf.identity(x))
    kept = bijector.inverse(x)
    assert_same_gradients(gradients(x), expected)
    with tf.GradientTape() as open_tape:
        open_tape.watch(x)
        seen = bijector.inverse(x)
        assert_same_gradients(gradients(x, before=bijector.inverse), expected)
    assert kept.shape == seen.shape


def test_a_conditional_flow_has_gradients_at_what_it_has_seen():
    model = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(4,), num_classes=2, seed=0)
    laws.randomize_weights(model.weights)
    distribution = model.given([0, 1])
    x = distribution.sample(3, seed=[0, 1])
    kept = distribution.bijector.inverse(x), distribution.log_prob(x)
    expected = gradients(distribution, tf.identity(x))
    assert_same_gradients(gradients(distribution, x), expected)
    assert kept[0].shape == expected[0].shape == x.shape


def test_a_sampler_starts_at_samples_of_its_own_graph():
    distribution = flow(tfb.Chain([tfb.Scale(2.0), leaf(Counted), tfb.Shift(1.0)]))

    @tf.function(autograph=False)
    def chain():
        kernel = tfp.mcmc.HamiltonianMonteCarlo(distribution.log_prob, step_size=0.1, num_leapfrog_steps=1)
        start = distribution.sample(2, seed=[0, 1])
        return start, tfp.mcmc.sample_chain(1, start, kernel=kernel, trace_fn=None, seed=[0, 1])

    start, states = chain()
    assert np.any(states[0] != start)


def test_a_second_tape_has_gradients_in_a_graph():
    distribution = learned("leaf")

    @tf.function(autograph=False)
    def twice(x):
        return gradients(distribution, x), gradients(distribution, x)

    first, second = twice(images())
    assert_same_gradients(second, first)


def test_second_derivatives_are_those_of_the_formula():
    coupling = Coupling([1, 0], lambda kept: tf.concat([kept, tf.sin(kept)], axis=-1)[..., ::-1])
    x = tf.constant([0.3, 0.5])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            log_det = coupling.forward_log_det_jacobian(x)  # the log-scale of the second entry is the first entry
        gradient = inner.gradient(log_det, x)
        squared = gradient[0] ** 2 * x[0]
    np.testing.assert_allclose(gradient, [1.0, 0.0])
    np.testing.assert_allclose(outer.gradient(squared, x), [1.0, 0.0])


def test_forward_mode_sees_the_pass():
    coupling = learned("leaf").bijector
    x, direction = images(), images(1)
    y = coupling.forward(x)
    with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
        derivative = accumulator.jvp(coupling.forward(x))
    step = 1e-3
    difference = (coupling.forward(x + step * direction) - coupling.forward(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(derivative, difference, atol=1e-2)
    assert y.shape == x.shape


# Memory.


def fused(bijector):
    return [b for b in (bijector, *bijector.submodules) if isinstance(b, FusedBijector)]


@pytest.mark.parametrize("question", ALL_QUESTIONS)
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_pass_is_forgotten_when_its_tensors_die(name, question):
    distribution = learned(name)
    x = images()
    answers = ALL_QUESTIONS[question](distribution, x)
    del x, answers
    gc.collect()
    assert [b._cache._by_end for b in fused(distribution.bijector) if b._cache._by_end] == []


def test_a_pass_dies_without_the_garbage_collector():
    distribution = counted("leaf")
    x = images()
    distribution.log_prob(x)
    died = weakref.ref(x)
    gc.disable()
    try:
        del x
        assert died() is None
    finally:
        gc.enable()


def test_a_long_lived_tensor_does_not_collect_passes():
    distribution, x = learned("chain"), images()
    for _ in range(3):
        for bias in biases(distribution):
            bias.assign(bias + 0.1)
        distribution.log_prob(x)
        distribution.bijector.inverse_log_det_jacobian(x, 3)
    gc.collect()
    assert all(len(b._cache._by_end) <= 2 for b in fused(distribution.bijector))


def test_a_long_lived_tensor_collects_nothing_from_tapes_and_weights():
    distribution, x = learned("chain"), images()
    (bias, *_) = biases(distribution)

    def objects_after(calls):
        for _ in range(calls):
            gradients(distribution, x)
            bias.assign(bias + 0.1)
            distribution.log_prob(x)
            distribution.bijector.inverse_log_det_jacobian(x, 3)
        gc.collect()
        return len(gc.get_objects())

    objects_after(10)
    before = objects_after(10)
    assert objects_after(40) < before + 40


def graph_dies(function, *args):
    """Whether the graph of `function` dies with the function."""
    traced = tf.function(function, autograph=False)
    graph = weakref.ref(traced.get_concrete_function(*args).graph)
    del traced
    gc.collect()
    return graph() is None


@pytest.mark.parametrize("question", ["log_prob", "sample_and_log_prob", "log_det_then_inverse", "there_and_back"])
def test_a_graph_dies_with_its_function(question):
    spec = tf.TensorSpec([None, 4, 4, 2])
    captured = images()
    conditioner = keras.layers.Conv2D(2, 3, padding="same")
    conditioner.build((None, 4, 4, 2))
    distribution = flow(Coupling(Checkerboard(), conditioner, Shift))
    control = tfd.Sample(tfd.Normal(0.0, 1.0), [4, 4, 2])
    assert graph_dies(lambda x: control.log_prob(conditioner(x)), spec)
    assert graph_dies(lambda x: ALL_QUESTIONS[question](distribution, x), spec)
    assert graph_dies(lambda: ALL_QUESTIONS[question](distribution, captured))


def test_a_pass_of_a_graph_stays_in_it():
    coupling, x = learned("leaf").bijector, images()
    inside = []

    @tf.function(autograph=False)
    def answers():
        inside.append(coupling.forward(x))
        return inside[0], coupling.forward_log_det_jacobian(x, 3)

    y, log_det = answers()
    outside, outside_log_det = coupling.forward(x), coupling.forward_log_det_jacobian(x, 3)
    np.testing.assert_allclose(outside.numpy(), y, rtol=1e-5)
    np.testing.assert_allclose(outside_log_det.numpy(), log_det, rtol=1e-5)
    assert answers.get_concrete_function().graph is inside[0].graph
    # And the other way round: a graph does not freeze what was computed before it.
    again = tf.function(lambda: coupling.forward(x), autograph=False)
    before = again()
    coupling.trainable_variables[0].assign_add(tf.ones_like(coupling.trainable_variables[0]))
    assert np.any(again() != before)


def test_a_branch_and_a_loop_of_a_graph_have_passes_of_their_own():
    distribution = learned("leaf")
    bijector = distribution.bijector

    @tf.function(autograph=False)
    def answers(x):
        def loop(i, total):
            return i + 1, total + bijector.inverse_log_det_jacobian(x, 3)

        before = bijector.inverse(x)
        branch = tf.cond(x[0, 0, 0, 0] > 0, lambda: bijector.inverse(x), lambda: bijector.inverse(x) + 0.0)
        _, total = tf.while_loop(lambda i, total: i < 3, loop, [0, tf.zeros([2])])
        return before, branch, total, bijector.inverse_log_det_jacobian(x, 3)

    before, branch, total, log_det = answers(images())
    np.testing.assert_allclose(before, branch, rtol=1e-5)
    np.testing.assert_allclose(total, 3 * log_det, rtol=1e-5)


# The interface of subclasses.


def test_a_subclass_must_write_both_directions():
    class Half(FusedBijector):
        def __init__(self, name="half"):
            super().__init__(dict(locals()), event_ndims=0, name=name)

    with pytest.raises(NotImplementedError, match="Half must define _forward_and_log_det"):
        Half().forward(1.0)
    with pytest.raises(NotImplementedError, match="Half must define _inverse_and_log_det"):
        Half().inverse(1.0)


def test_the_identity_gives_a_tensor_of_its_own():
    bijector = BatchNormalization(lambda x, training=None: (tf.zeros(2), tf.ones(2)), event_ndims=1, epsilon=0.0)
    shift = Shift(0.0)
    x = tf.constant([[1.0, 2.0]])
    assert shift.forward(x) is not x
    assert bijector.forward(x) is not x


def test_networks_that_build_themselves_show_their_weights_after_the_first_call():
    coupling = Coupling([1, 0], rnvp.networks.MLP(4, [8]))
    assert coupling.variables == ()
    coupling.forward([[1.0, 2.0]])
    assert len(coupling.trainable_variables) == 4
    assert coupling.networks == (coupling.parameters["conditioner"],)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_log_dets_of_arrays_and_of_batches_as_events_are_sums_of_those_of_events(direction):
    coupling, x = leaf(Counted), images()
    log_det = getattr(coupling, f"{direction}_log_det_jacobian")
    nats = log_det(x, 3)
    assert nats.shape == x.shape[:1]
    np.testing.assert_allclose(log_det(x.numpy(), 3), nats, rtol=1e-6)
    np.testing.assert_allclose(log_det(x, 4), tf.reduce_sum(nats), rtol=1e-5)
    with pytest.raises(ValueError, match="event_ndims"):
        log_det(x, 2)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
