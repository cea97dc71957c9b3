"""Representations that show the parts of an object, for masks, couplings, networks, wrappers and flows."""

import inspect
import textwrap
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb


def describe(name: str, *parts: Any, **arguments: Any) -> str:
    """The representation of an object: one line if it is short, one line per part if not.

    Args:
      name: the name of the class.
      *parts: the parts in order, each with a representation of its own.
      **arguments: the arguments by name.

    Example: `describe("Checkerboard", top_left=1)` is "Checkerboard(top_left=1)".
    """
    texts = [_text(part) for part in parts] + [f"{key}={_text(value)}" for key, value in arguments.items()]
    line = f"{name}({', '.join(texts)})"
    if len(line) <= 100 and "\n" not in line:
        return line
    return "\n".join([f"{name}(", *(textwrap.indent(text, "  ") for text in texts), ")"])


class Described:
    """Mixin for Keras layers: the representation shows the arguments that differ from their defaults.

    Example: `class ResNet(Described, keras.layers.Layer): ...`
    """

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters
        arguments = {name: getattr(self, name) for name in parameters if name != "seed" and hasattr(self, name)}
        changed = {name: value for name, value in arguments.items() if value != parameters[name].default}
        return describe(type(self).__name__, **changed)


class DescribedBijector(tfb.Bijector):
    """Base class of bijectors: the representation shows the arguments.

    Example: `class Squeeze(DescribedBijector): ...`
    """

    def __repr__(self) -> str:
        arguments = {name: value for name, value in self.parameters.items() if name not in ("validate_args", "name")}
        return describe(type(self).__name__, **arguments)

    __str__ = __repr__


def layers_of(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    """The bijectors that a chain applies, in the order of application; any other bijector alone.

    Example: `layers_of(tfb.Chain([tfb.Exp(), tfb.Shift(1.0)]))` is the shift, then the exponential.
    """
    if hasattr(bijector, "bijectors"):  # A tfb.Chain. TFP has several classes of it.
        return [layer for part in reversed(bijector.bijectors) for layer in layers_of(part)]
    return [bijector]


def _text(value: Any) -> str:
    if isinstance(value, tfb.Bijector) and not isinstance(value, DescribedBijector):
        return _text_of_stock(value)
    if isinstance(value, np.ndarray):
        return str(value.tolist()) if value.size <= 16 else f"array of shape {value.shape}"
    if tf.is_tensor(value):
        return f"tensor of shape {tuple(value.shape)}"
    return getattr(value, "__name__", None) or repr(value)


def _text_of_stock(bijector: tfb.Bijector) -> str:
    """The representation of a bijector of TFP with its parts, since TFP's own shows none."""
    name = type(bijector).__name__.strip("_")
    if hasattr(bijector, "bijectors"):
        return describe("sequential", *layers_of(bijector))
    if hasattr(bijector, "bijector"):  # A tfb.Invert.
        return describe(name, bijector.bijector)
    return describe(name)
