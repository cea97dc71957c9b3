"""The ground floor: registration with Keras, seeds, argument checks and conversions that every module shares."""

import contextlib
import errno
import os
import pathlib
import random
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="tfp_realnvp")
"""Class decorator that lets Keras save and load a layer, model or optimizer by its name.

Example: `@register` above `class MyFlow(rnvp.Architecture): ...`
"""


def draw_seed(seed: int | None = None) -> int:
    """Returns `seed`, or draws one from Python's generator (`keras.utils.set_random_seed` seeds it).

    Args:
      seed: int from 0 to 2^63 − 1, or None.

    Raises:
      ValueError: for any other value.

    Example: `draw_seed(3)` is 3.
    """
    if seed is None:
        return random.randrange(2**31)
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise ValueError(f"seed must be None or an int from 0 to 2^63 - 1; got {seed!r}")
    return int(seed)


def spawn_seeds(seed: int | None, number: int) -> list[int] | list[None]:
    """Derives `number` independent seeds for the parts of a network; all are None where `seed` is None.

    Example: `conv_seed, dense_seed = spawn_seeds(0, 2)`
    """
    if seed is None:
        return [None] * number
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(number)]


def check_positive(**sizes: Any) -> None:
    """Raises a ValueError that names the first argument that is not a positive int.

    Example: `check_positive(filters=filters, num_blocks=num_blocks)`
    """
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int; got {value!r}")


def as_array(data: Any) -> Any:
    """Converts lists and pandas objects to arrays; returns anything else unchanged.

    Example: `as_array(pandas.DataFrame({"a": [1, 2], "b": [True, False]}))` is [[1, 1], [2, 0]].
    """
    data = data.to_numpy() if hasattr(data, "to_numpy") else data
    if isinstance(data, np.ndarray) and data.dtype == object:  # Columns of different or of nullable types.
        data = data.tolist()
    return np.asarray(data) if isinstance(data, list) else data


def of_known_shape(argument: str, x: tf.Tensor, shape: tuple) -> tf.Tensor:
    """A batch with its shape known, [batch] + shape; the graph checks the sides that a data set leaves open.

    Args:
      argument: the name of the batch in an error message.
      x: tensor.
      shape: tuple of ints, the shape of one entry.

    Raises:
      ValueError: for another shape.
      tf.errors.InvalidArgumentError: for another shape that only the graph knows; see `value_errors`.

    Example: `x = of_known_shape("x", x, (28, 28, 1))`
    """
    known = tf.TensorShape([None, *shape])
    if x.shape.rank is None or not x.shape.is_compatible_with(known):
        raise ValueError(f"{argument} must have shape [batch] + {shape}; got {x.shape}")
    if x.shape[1:].is_fully_defined():
        return x
    message = f"{argument} must hold events of shape {shape}; got a batch of others"
    with tf.control_dependencies([assert_that(tf.shape(x)[1:] == shape, message)]):
        x = tf.identity(x)
    x.set_shape(known)
    return x


def assert_that(condition: tf.Tensor, message: str) -> tf.Operation | None:
    """Asserts, in a graph or eagerly, that every entry of `condition` holds; see `value_errors`.

    Args:
      condition: bool tensor.
      message: the text of the ValueError.

    Returns:
      The operation to depend on, None eagerly.

    Raises:
      tf.errors.InvalidArgumentError: where an entry is False.

    Example: `with tf.control_dependencies([assert_that(x >= 0, "x must not be negative")]): ...`
    """
    return tf.debugging.assert_equal(tf.reduce_all(condition), True, _marked(message))


def assert_finite(x: tf.Tensor, message: str) -> tf.Tensor:
    """Returns `x` with an assertion that no entry is NaN or infinite; see `value_errors`.

    Args:
      x: floating tensor.
      message: the text of the ValueError.

    Raises:
      tf.errors.InvalidArgumentError: where an entry is not finite.

    Example: `x = assert_finite(x, "x must be finite")`
    """
    return tf.debugging.assert_all_finite(x, _marked(message))


@contextlib.contextmanager
def value_errors() -> Iterator[None]:
    """A scope that turns a failed `assert_that` or `assert_finite` into a ValueError with its message.

    Example: `with value_errors(): model(x)`
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        marked = re.search(f"{_MARK}(.*?){_MARK}", error.message)
        if marked is None:
            raise
        raise ValueError(marked.group(1)) from None


@contextlib.contextmanager
def file_errors(path: Any) -> Iterator[None]:
    """A scope that writes into `path`: errors of Python that name no file, and TensorFlow's, are OSErrors that name it.

    Args:
      path: the file, or the folder.

    Raises:
      OSError: where a file cannot be written, such as on a full disk.

    Example: `with file_errors(path), path.open("a") as file: file.write(line)`
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    except tf.errors.OpError as error:
        if str(path) not in reason_of(error):
            raise
        raise OSError(errno.EIO, reason_of(error), str(path)) from error


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A scope that writes a draft, which replaces the file `path` as a whole at its end; no draft is left on an error.

    Args:
      path: the file; its folder exists.

    Yields:
      The path of the draft, which does not exist yet.

    Raises:
      OSError: where it cannot be written, such as on a full disk.

    Example: `with replacing(path) as draft: draft.write_text("all")`
    """
    draft = path.with_name(f"draft.{path.name}")
    with file_errors(path):
        draft.unlink(missing_ok=True)  # It may be a link to another file.
        try:
            yield draft
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def reason_of(error: tf.errors.OpError) -> str:
    """The first line of an error of TensorFlow, without the names of its operations.

    Example: "/full/flow/saved_model.pb; No space left on device"
    """
    return re.sub(r"\{\{.*?\}\} | \[Op:.*", "", error.message.splitlines()[0])


_MARK = "~"  # TensorFlow surrounds the message of an assertion with text of its own.


def _marked(message: str) -> str:
    return f"{_MARK}{message}{_MARK}"
