"""Rematerialized networks: the plain ones' values, gradients and moving averages, without their activations."""

import contextlib
import inspect

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests import families, laws
from tfp_realnvp.networks import Rematerialized, ResidualBlocks, ResNet
from tfp_realnvp.networks.rematerialization import recomputing

tfb = tfp.bijectors
tfd = tfp.distributions
IMAGES = np.random.default_rng(0).integers(0, 256, size=[4, 4, 4, 1], dtype=np.uint8)

FLOWS = {
    name: make
    for name, make in families.flows("rematerialized").items()
    if "rematerialize" in inspect.signature(make.func).parameters
}


def pair(name):
    """The flow, plain and rematerialized, with the same weights."""
    plain, rematerialized = (FLOWS[name](dtype="float64", rematerialize=choice) for choice in (False, True))
    laws.randomize_weights(plain.weights)
    rematerialized.set_weights(plain.get_weights())
    return plain, rematerialized


def gradients(model, context=None):
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            nats = model(tf.constant(IMAGES), context, training=True, draw=0)
        return nats, tape.gradient(nats, model.trainable_variables)

    return step()


@pytest.mark.parametrize("name", FLOWS)
def test_values_gradients_and_moving_averages_are_those_of_the_plain_flow(name, eagerly):
    compare(name)


def test_they_are_in_a_graph():
    compare("RealNVP, running averages")


def compare(name):
    models = pair(name)
    context = tf.constant([0, 1, 1, 0], tf.int64) if models[0].num_classes else None
    (nats, plain), (again, rematerialized) = (gradients(model, context) for model in models)
    np.testing.assert_allclose(again, nats, rtol=1e-12)
    for expected, actual in zip(plain, rematerialized, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    for expected, actual in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_its_activations_are_not_kept():
    network = ResNet(2, filters=16, num_blocks=2, seed=0)
    network.build((None, 8, 8, 2))
    kept = []
    for conditioner in (network, Rematerialized(network)):

        @tf.function(input_signature=[tf.TensorSpec([4, 8, 8, 2])])
        def step(x, conditioner=conditioner):
            graph = tf.compat.v1.get_default_graph()
            forward = set(graph.get_operations())
            y = laws.in_training(conditioner, x)
            forward = set(graph.get_operations()) - forward
            backward = set(graph.get_operations())
            gradient = tf.gradients(y, x)
            backward = set(graph.get_operations()) - backward
            inputs = {t.ref() for operation in backward for t in operation.inputs if t.op in forward}
            kept.append(sum(t.deref().shape[:3] == (4, 8, 8) for t in inputs))
            return gradient

        step.get_concrete_function()
    assert kept[0] > 10 and kept[1] <= 1


def learn(blocks, x):
    """What the gradients take of the forward pass; the output, the gradients and the averages."""
    kept = []

    @tf.function(autograph=False)
    def step(x):
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = blocks(x, training=True)[-1]
            loss = tf.reduce_sum(y**2)
        forward = set(graph.get_operations())
        gradients = tape.gradient(loss, [x, *blocks.trainable_variables])
        backward = set(graph.get_operations()) - forward
        kept.extend(tensor.op.type for operation in backward for tensor in operation.inputs if tensor.op in forward)
        again = [operation for operation in backward if operation.type == "FusedBatchNormV3"]
        assert all(operation.inputs[0].op.control_inputs for operation in again)  # waits for the gradient
        return y, *gradients, *[tf.identity(weight) for weight in blocks.non_trainable_variables]

    answers = step(x)
    return kept, answers


@pytest.mark.parametrize("options", [{}, dict(bottleneck=True), dict(use_batch_norm=False)], ids=str)
def test_computed_again_a_layer_keeps_its_input_alone(options):
    blocks = ResidualBlocks(2, 3, seed=0, **options)
    blocks.build((None, 4, 4, 3))
    laws.randomize_weights(blocks.weights)
    initial, x = blocks.get_weights(), tf.random.stateless_normal([5, 4, 4, 3], [0, 1])
    kept, found = [], []
    for scope in (contextlib.nullcontext, recomputing):
        blocks.set_weights(initial)
        with scope():
            of_scope, answers = learn(blocks, x)
        kept.append(of_scope)
        found.append(answers)
    assert "Relu" in kept[0] and ("Relu" in kept[1]) == (not blocks.use_batch_norm)
    number = 1 + 1 + len(blocks.trainable_variables)
    for one, other in zip(*(answers[:number] for answers in found), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    for average, before in zip(found[1][number:], blocks.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(average, before)  # they have moved in the first pass


@pytest.mark.parametrize("in_a_graph", [False, True])
def test_second_derivatives_are_refused_by_name(in_a_graph):
    network = ResNet(2, filters=2, num_blocks=1)
    network.build((None, 4, 4, 2))

    def second_derivatives(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = Rematerialized(network)(x)
            penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(penalty, x)

    function = tf.function(second_derivatives, autograph=False) if in_a_graph else second_derivatives
    with pytest.raises(NotImplementedError, match="rematerialize must be False for second derivatives; got True"):
        function(tf.ones([1, 4, 4, 2]))


def test_the_distribution_finds_the_network():
    network = ResNet(4, filters=2, num_blocks=1, checkerboard=1)
    network.build((None, 4, 4, 2))
    coupling = rnvp.bijectors.Coupling(rnvp.bijectors.masks.Checkerboard(), Rematerialized(network))
    flow = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), (4, 4, 2)), tfb.Invert(coupling))
    assert rnvp.FlowModel(flow, num_bins=None).networks == [network]
    assert set(map(id, flow.trainable_variables)) == {id(v.value) for v in network.trainable_variables}


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
