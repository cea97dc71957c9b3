"""`TracedOnce`: of equal parts of networks a graph holds one function, called with the weights of each."""

import json

import keras
import tensorflow as tf

from tfp_realnvp.bijectors.fused import in_training, initialization, tf_variable, weights_are_substituted
from tfp_realnvp.networks.layers import is_recomputing


class TracedOnce:
    """For a Keras layer of many operations that there are many of: in a graph, those of equal config are traced once.

    The first of them becomes a function of its input and its weights; all of them call it, and so do their gradients. A
    flow repeats the same block tens of times: tracing its training step takes half of the time. TensorFlow inlines the
    calls when the graph first runs, so a step takes no longer.

    Equal are layers whose configs, and whose parts' configs, differ in nothing but names and seeds. So whatever a call
    depends on has to be in `get_config`. Eagerly, and under a distribution strategy, whose replicas meet inside of the
    layers, nothing changes.

    Example: `class Block(TracedOnce, keras.layers.Layer): ...`
    """

    def __call__(self, x, **kwargs):
        call = super().__call__
        if kwargs or not self.built or not _shares() or (config := _config(self)) is None:
            return call(x, **kwargs)
        graph = tf.compat.v1.get_default_graph()
        if not hasattr(graph, "traced_once"):  # a dictionary of ours would keep the graph, which they refer to
            graph.traced_once = {}
        functions = graph.traced_once
        key = config, in_training(), is_recomputing()
        weights, states = _weights_and_states(self)
        if key not in functions:
            functions[key] = _function(call, weights, states)
        values = [tf.convert_to_tensor(tf_variable(weight)) for weight in weights]
        return functions[key](values, [tf_variable(state).handle for state in states], x)


def _shares():
    """Whether the call is one of a graph, with the layer's own weights, which only the layer itself may change."""
    in_plain_graph = not (tf.executing_eagerly() or tf.distribute.has_strategy())
    return in_plain_graph and not (weights_are_substituted() or initialization.get())


def _weights_and_states(layer):
    """The variables whose values a call depends on, and those that it may change as well."""
    if in_training():
        return layer.trainable_variables, layer.non_trainable_variables
    return layer.variables, []


def _function(call, weights, states):
    @tf.function(autograph=False)
    def traced_once(values, handles, x):
        before = [_read(state, handle) for state, handle in zip(states, handles, strict=True)]
        given = zip([*weights, *states], [*values, *before], strict=True)
        with keras.StatelessScope(list(given)) as scope:
            y = call(x)
        # Not returned: TensorFlow would specialize the gradient's function for every call.
        for state, handle, old in zip(states, handles, before, strict=True):
            new = scope.get_current_value(state)
            if new is not old:
                tf.raw_ops.AssignVariableOp(resource=handle, value=new)
        return y

    return traced_once


def _read(state, handle):
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf_variable(state).dtype)
    return tf.ensure_shape(value, state.shape)


def _config(layer):
    """What a layer and its parts are, but for their names and seeds, as a string; None where they do not tell."""

    def seedless(config):  # initializers have seeds as well
        if isinstance(config, dict):
            return {key: seedless(value) for key, value in config.items() if key != "seed"}
        return [seedless(value) for value in config] if isinstance(config, (list, tuple)) else config

    try:
        parts = [keras.saving.serialize_keras_object(part) for part in layer._flatten_layers()]
    except NotImplementedError:  # Keras's: there is no get_config
        return None
    for part in parts:
        part["config"].pop("name", None)
    return json.dumps(seedless(parts), sort_keys=True)
