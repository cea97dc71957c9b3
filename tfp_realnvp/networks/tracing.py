"""`TracedOnce`: of equal parts of networks a graph holds one function, called with the weights of each."""

import json

import keras
import tensorflow as tf

from tfp_realnvp.bijectors.passes import initialization
from tfp_realnvp.internals import in_training, sublayers, tf_variable, weights_are_substituted


class TracedOnce:
    """For a Keras layer of many operations that there are many of: in a graph, those of equal config are traced once.

    The first of them becomes a function of its input and its weights; all of them call it, and so do their gradients.
    TensorFlow inlines the calls when the graph first runs, so a step takes no longer.

    Equal are layers whose configs, and whose parts' configs, differ in nothing but names and seeds. So whatever a call
    depends on has to be in `get_config`. Eagerly, and under a distribution strategy, nothing changes, nor for a layer
    with weights that are not trainable, which its calls may change.

    Example: `class Block(TracedOnce, keras.layers.Layer): ...`
    """

    def __call__(self, x, **kwargs):
        call = super().__call__
        if kwargs or not self.built or not _shares(self) or (config := _config(self)) is None:
            return call(x, **kwargs)
        graph = tf.compat.v1.get_default_graph()
        if not hasattr(graph, "traced_once"):  # a dictionary of ours would keep the graph, which they refer to
            graph.traced_once = {}
        functions, key = graph.traced_once, (config, in_training())
        if key not in functions:
            functions[key] = _function(call, self.weights)
        return functions[key]([tf.convert_to_tensor(tf_variable(weight)) for weight in self.weights], x)


def _shares(layer):
    """Whether the call is one of a graph, with the layer's own weights, and leaves them as they are."""
    in_plain_graph = not (tf.executing_eagerly() or tf.distribute.has_strategy())
    substituted = weights_are_substituted() or initialization.get()
    return in_plain_graph and not substituted and not layer.non_trainable_variables


def _function(call, weights):
    @tf.function(autograph=False)
    def traced_once(values, x):
        with keras.StatelessScope(list(zip(weights, values, strict=True))):
            return call(x)

    return traced_once


def _config(layer):
    """What a layer and its parts are, but for their names and seeds, as a string; None where they do not tell."""

    def seedless(config):  # initializers have seeds as well
        if isinstance(config, dict):
            return {key: seedless(value) for key, value in config.items() if key != "seed"}
        return [seedless(value) for value in config] if isinstance(config, (list, tuple)) else config

    try:
        parts = [keras.saving.serialize_keras_object(part) for part in sublayers(layer)]
    except NotImplementedError:  # Keras's: there is no get_config
        return None
    for part in parts:
        part["config"].pop("name", None)
    return json.dumps(seedless(parts), sort_keys=True)
