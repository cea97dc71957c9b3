"""The parts of the data that Keras takes: events, contexts and the weights of the examples."""

import types
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import as_array

BATCHES = (tf.data.Dataset, types.GeneratorType, keras.utils.PyDataset, tf.distribute.DistributedDataset)
"""The types of data that Keras reads batch by batch."""


def as_events(data: Any) -> Any:
    """The images of a TFDS dictionary; lists and pandas objects as arrays; anything else unchanged.

    Raises:
      ValueError: for a dictionary without "image".

    Example: `as_events({"image": images, "label": labels})` is `images`.
    """
    if isinstance(data, dict):
        if "image" not in data:
            raise ValueError(f'a dictionary of data must hold "image"; got the keys {sorted(data)}')
        return data["image"]
    return as_array(data)


def parts_of(data: Any) -> tuple[Any, Any, Any]:
    """The events, contexts and weights of the examples in the data of a Keras step, or their specs; None for none.

    Args:
      data: x, (x, y), (x, y, sample_weight) or a TFDS dictionary.

    Raises:
      ValueError: for a dictionary without "image", or for parts that are given twice.

    Example: `events, labels, weights = parts_of({"image": images, "label": labels})`; the weights are None.
    """
    x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(x, tuple):  # As `predict` hands over its data.
        x, *own = keras.utils.unpack_x_y_sample_weight(x)
        if any(part is not None for part in own):
            if y is not None or weights is not None:
                raise ValueError("y and sample_weight must be None where x is a tuple that holds them")
            y, weights = own
    if y is None and isinstance(x, dict):
        y = x.get("label")
    y, weights = (None if is_missing(part) else part for part in (y, weights))
    return as_events(x), y, weights


def is_missing(part: Any) -> bool:
    """Whether a part of the data, or its spec, is None.

    Example: `is_missing(None)`
    """
    return part is None or (isinstance(part, tf.TypeSpec) and part == tf.type_spec_from_value(None))


def packed(*data: Any) -> Any:
    """A batch without None, and with its labels outside of a dictionary.

    Example: `dataset.map(packed)`
    """
    x, y, weights = parts_of(data)
    return keras.utils.pack_x_y_sample_weight(x, stand_in(x) if y is None and weights is not None else y, weights)


def stand_in(x: Any) -> tf.Tensor:
    """Zeros in place of a missing y: Keras drops the weights of data without y.

    Example: `stand_in(images)`
    """
    return tf.zeros(tf.shape(x)[:1], tf.uint8)
