"""Finds the networks of a distribution, and the trainable variables that belong to none of them."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.bijectors import FusedBijector


def find_networks(distribution: tfd.Distribution) -> list[keras.layers.Layer]:
    """The Keras layers that the distribution's bijectors call, each once, in the order of the bijectors' construction.

    Example: `find_networks(tfd.TransformedDistribution(base, tfb.Invert(Coupling([1, 0], mlp))))` is `[mlp]`.
    """
    modules = (distribution, *distribution.submodules)
    bijectors = sorted((m for m in modules if isinstance(m, FusedBijector)), key=lambda bijector: bijector.number)
    networks = (_layer_inside(network) for bijector in bijectors for network in bijector.networks)
    return list({id(n): n for n in networks if isinstance(n, keras.layers.Layer)}.values())


def refuse_untrained(variables: Iterable[tf.Variable], weights: Iterable[keras.Variable]) -> None:
    """Raises a ValueError that names the trainable variables that are not among a model's weights.

    Args:
      variables: the trainable variables that the distribution depends on.
      weights: the weights of the model.

    Example: `refuse_untrained(distribution.trainable_variables, model.weights)`
    """
    own = {id(weight.value) for weight in weights}
    others = [variable for variable in variables if id(variable) not in own]
    if others:
        raise ValueError(
            "distribution has trainable variables that belong to no Keras network of its bijectors, so that Keras "
            f"would not train them: {sorted(v.name for v in others)}. Put them into a Keras layer that the "
            "bijector calls, or make them non-trainable"
        )


def _layer_inside(network: Any) -> Any:
    """The Keras layer inside wrappers such as `networks.WithContext`, through their attribute `network`."""
    while not isinstance(network, keras.layers.Layer) and hasattr(network, "network"):
        network = network.network
    return network
