"""A network's answers in training, and how far bfloat16 may carry them from those in float32."""

import collections
import math

import numpy as np
import tensorflow as tf

UNIT_ROUNDOFF = 2.0**-8  # bfloat16 keeps 8 bits


def learn(network, x, training):
    """The output, the gradients and the weights after the call."""
    with tf.GradientTape() as tape:
        y = network(x, training=training)
        coefficients = np.random.default_rng(2).standard_normal(y.shape)
        loss = tf.reduce_sum(coefficients * tf.cast(y, tf.float64))
    gradients = tape.gradient(loss, network.trainable_variables)
    return [y, *gradients, *(tf.identity(weight.value) for weight in network.weights)]


def assert_call_and_graph_are_near_float32(network, exact, x, training, roundings, relus=0):
    """Bounds the distances of a bfloat16 network's answers from those of the same network in float32.

    A call and a graph round at different places, so their entries may part by more than either is wrong. Each is
    therefore compared with float32, in the Euclidean norm of each tensor.

    **Values.** A rounding is off by at most u = 2⁻⁸ of the number, and by 0.4 u in the root mean square. Independent
    roundings add up in quadrature: n of them, one after the other, give 0.4 √n u. The bound ε = √n u is 2.5 times that.

    **Gradients.** Their path has 2n roundings, forward and backward. The sum over the positions of the images adds one
    rounding per position: a call sums a bias's gradient in bfloat16. ReLU's slope jumps at 0: where its input is
    nearer to 0 than the input is wrong, the slope is wrong as a whole. Errors of 0.4 ε beside inputs of a normal
    distribution turn φ(0) E|error| = 0.13 ε of the slopes, and half of the slopes count. So each ReLU adds ε / 4 to the
    square of the distance.

    A gradient may sum up to 0, as the gradient of a bias in front of a batch norm does, while its roundings do not.
    The distance is therefore measured by the norm of all gradients of the layer.

    Args:
      network: Keras layer that computes in bfloat16.
      exact: the same layer in float32.
      x: images in float32.
      training: the mode of the calls.
      roundings: n, the number of roundings on the longest path from the input to the output.
      relus: number of ReLUs on this path.
    """
    initial, positions = network.get_weights(), math.prod(x.shape[:-1])
    of_values = math.sqrt(roundings) * UNIT_ROUNDOFF
    of_gradients = math.sqrt((2 * roundings + positions) * UNIT_ROUNDOFF**2 + relus * of_values / 4)
    expected = learn(exact, x, training)
    layers = [variable.path.rpartition("/")[0] for variable in exact.trainable_variables]
    of_layers = collections.defaultdict(float)
    for layer, gradient in zip(layers, expected[1:], strict=False):
        of_layers[layer] = math.hypot(of_layers[layer], np.linalg.norm(gradient))
    bounds = [of_values * np.linalg.norm(value) for value in expected]
    bounds[1 : 1 + len(layers)] = [of_gradients * of_layers[layer] for layer in layers]
    for function in (learn, tf.function(learn)):
        network.set_weights(initial)
        for value, exactly, bound in zip(function(network, x, training), expected, bounds, strict=True):
            assert np.linalg.norm(tf.cast(value, tf.float32) - exactly) <= bound
