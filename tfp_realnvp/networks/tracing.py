"""`TracedOnce`: layers with equal configs share one traced function in a graph."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.bijectors.passes import initialization
from tfp_realnvp.internals import in_training, in_xla, sublayers, tf_variable, weights_are_substituted
from tfp_realnvp.networks.activations import is_recording


class TracedOnce:
    """Mixin for Keras layers: in a graph, layers with equal configs share one traced function.

    It shortens the tracing of flows that contain many equal layers of many operations. The first layer becomes a
    function of its input and its weights. All equal layers call this function, and so do their gradients. TensorFlow
    inlines the calls when the graph first runs, so a training step takes no longer.

    The configs of the inner layers must be equal too; names and seeds do not count. So `get_config` must contain
    everything that a call depends on.

    The function is not shared eagerly, under a distribution strategy, or while activations are recorded. Nor is it
    shared by layers with non-trainable weights, since their calls may change these weights.

    It is not shared in a graph for XLA either. There the gradient of a concatenation takes its axis, a constant, from
    the function's results. So XLA takes all arguments of the function for constants, and compiles the graph anew for
    each batch.

    Example: `class Block(TracedOnce, keras.layers.Layer): ...`
    """

    # The attributes of the Keras layer.
    built: bool
    weights: list[Any]

    def __call__(self, x: tf.Tensor, **kwargs: Any) -> Any:
        call = super().__call__  # type: ignore[misc]
        if kwargs or not self.built or not _can_share(self) or (config := _seedless_config(self)) is None:
            return call(x, **kwargs)
        graph = tf.compat.v1.get_default_graph()
        # The functions refer to the graph, so a dictionary outside of the graph would keep it alive.
        if not hasattr(graph, "traced_once"):
            graph.traced_once = {}
        functions, key = graph.traced_once, (config, in_training())
        if key not in functions:
            functions[key] = _shared_function(call, self.weights)
        return functions[key]([tf.convert_to_tensor(tf_variable(weight)) for weight in self.weights], x)


def _can_share(layer: keras.layers.Layer) -> bool:
    """Whether the call belongs to a plain graph, uses the layer's own weights and leaves them unchanged."""
    in_plain_graph = not (tf.executing_eagerly() or tf.distribute.has_strategy() or in_xla())
    substituted = weights_are_substituted() or initialization.get()
    return in_plain_graph and not substituted and not is_recording() and not layer.non_trainable_variables


def _shared_function(call: Callable[[tf.Tensor], Any], weights: Sequence[Any]) -> Callable[..., Any]:
    """The function of the weights' values and x that computes `call(x)`."""

    @tf.function(autograph=False)
    def traced_once(values: list[tf.Tensor], x: tf.Tensor) -> Any:
        with keras.StatelessScope(list(zip(weights, values, strict=True))):
            return call(x)

    return traced_once


def _seedless_config(layer: keras.layers.Layer) -> str | None:
    """The configs of a layer and its inner layers without names and seeds; None if one has no `get_config`."""

    def seedless(config: Any) -> Any:
        if isinstance(config, dict):
            return {key: seedless(value) for key, value in config.items() if key != "seed"}
        return [seedless(value) for value in config] if isinstance(config, (list, tuple)) else config

    try:
        parts = [keras.saving.serialize_keras_object(part) for part in sublayers(layer)]
    except NotImplementedError:  # Keras raises it for a layer without a `get_config` of its own.
        return None
    for part in parts:
        part["config"].pop("name", None)
    return json.dumps(seedless(parts), sort_keys=True)
