"""A flow as a SavedModel: four signatures for processes with TensorFlow alone."""

import math
import os
import pathlib
import shutil
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfp_realnvp import sampling
from tfp_realnvp.common import assert_finite, assert_that, file_errors

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel

AS_MANY = "there must be as many labels or contexts as images or vectors"


Signature = tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]  # (function, the specs of its inputs)


def write(model: "FlowModel", filepath: Any, others: Mapping[str, Signature] = types.MappingProxyType({})) -> None:
    """Writes the SavedModel of `FlowModel.export` into a draft folder beside `filepath`, then renames the folder.

    Args:
      model: `FlowModel`.
      filepath: the folder, new or empty.
      others: signatures by name, besides those of `endpoints`.

    Raises:
      ValueError: for a folder that holds something, the current folder, or a flow that is not a
        `tfd.TransformedDistribution`.
      OSError: where a file cannot be written, such as on a full disk; no draft is left.

    Example: `write(model, "flow/1")`
    """
    path = pathlib.Path(os.path.realpath(filepath))  # the folder that a link stands for
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"filepath must be a folder that is new or empty; got {str(filepath)!r}, which is neither")
    if path.is_dir() and path.samefile(os.curdir):
        raise ValueError(f"filepath must not be the current folder, which would be replaced; got {str(filepath)!r}")
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, specs) in {**endpoints(model), **others}.items():
        archive.add_endpoint(name, function, specs)
    draft = path.with_name(f"draft.{path.name}")  # TF Serving would take a number for a version.
    with file_errors(path.parent):
        _remove(draft)  # of a process that was killed while it exported
        try:
            archive.write_out(draft, verbose=False)
            os.replace(draft, path)
        finally:
            _remove(draft)


def _remove(folder: pathlib.Path) -> None:
    """Removes a folder with all that it holds, or a link with nothing of what it stands for."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def endpoints(model: "FlowModel") -> dict[str, Signature]:
    """The signatures by name.

    Returns:
      {name: (function, the specs of its inputs)}, with the names and tables of `FlowModel.export`.

    Raises:
      ValueError: for a flow that is not a `tfd.TransformedDistribution`, since it has no latents.

    Example: `function, specs = endpoints(model)["sample"]`
    """
    number = lambda name, dtype: tf.TensorSpec([], dtype, name)
    batch = lambda name, dtype, shape=model.event_shape: tf.TensorSpec([None, *shape], dtype, name)
    data, events, contexts = model.events, "images" if len(model.event_shape) == 3 else "vectors", []
    if data.contexts.size:
        contexts = [batch(data.contexts.name, data.contexts.dtype, data.contexts.shape)]
    elif not hasattr(model.distribution, "bijector"):
        raise ValueError(f"distribution must be a tfd.TransformedDistribution to be exported; got {model.distribution}")

    def log_prob(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        nats = model.log_likelihood(x, *checked_contexts(context, tf.shape(x)[0]))
        return {"nats": nats, "bits_per_dim": -nats / (math.prod(model.event_shape) * math.log(2))}

    def encode(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        checked = checked_contexts(context, tf.shape(x)[0])
        return {"latents": model.encode_batch(data.checked_tensor(tf.cast(x, data.dtype)), *checked)}

    def decode(z: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        checked = checked_contexts(context, tf.shape(z)[0])
        z = assert_finite(z, "latents must be finite")
        return {events: _all_finite(*model.decode_batch(z, *checked))}

    def sample(
        num_samples: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        allowed = tf.math.is_finite(temperature) & (temperature >= 0)
        in_range = (num_samples > 0) & (num_samples <= most_samples)
        given = [tf.shape(part, tf.int64)[0] for part in context]
        checks = [
            *(assert_that((number == 1) | (number == num_samples), AS_MANY) for number in given),
            assert_that(in_range, f"num_samples must be a positive int, at most {most_samples}"),
            assert_that(allowed, "temperature must be a non-negative number"),
        ]
        with tf.control_dependencies(checks):
            num_samples, temperature = tf.identity(num_samples), tf.identity(temperature)
        repeated = [tf.broadcast_to(part, tf.stack([num_samples, *part.shape[1:]])) for part in context]
        checked = checked_contexts(repeated, tf.cast(num_samples, tf.int32))

        def draw(attempt: tf.Tensor, drawn: tf.Tensor, is_finite: tf.Tensor) -> tuple[tf.Tensor, ...]:
            shape = [] if checked else num_samples
            z = sampling.latents(model.base_given(*checked), shape, temperature, seed, attempt)
            z = tf.ensure_shape(z, [None, *model.latent_shape])  # The loop forgets the shape.
            again, is_finite_now = model.decode_batch(z, *checked)
            kept = tf.reshape(is_finite, [-1, *[1] * len(model.event_shape)])
            drawn = tf.ensure_shape(tf.where(kept, drawn, again), drawn.shape)
            return attempt + 1, drawn, is_finite | is_finite_now

        nothing = tf.zeros(tf.stack([num_samples, *model.event_shape]), data.data_dtype)
        is_missing = lambda attempt, _, is_finite: (attempt < sampling.ATTEMPTS) & ~tf.reduce_all(is_finite)
        _, drawn, is_finite = tf.while_loop(is_missing, draw, [0, nothing, tf.fill([num_samples], False)])
        return {events: _all_finite(drawn, is_finite)}

    most_samples = tf.int32.max // math.prod(model.event_shape)  # TensorFlow counts entries in 32 bits.
    x, z = batch(events, data.data_dtype), batch("latents", data.dtype, model.latent_shape)
    draw = [number("num_samples", tf.int64), number("temperature", data.dtype), number("seed", tf.int64)]
    inputs = {log_prob: [x], encode: [x], decode: [z], sample: draw}
    with_contexts = {function: [*specs, *contexts] for function, specs in inputs.items()}
    return {function.__name__: (of_shapes(function, specs), specs) for function, specs in with_contexts.items()}


def of_shapes(function: Callable[..., Any], specs: list[tf.TensorSpec]) -> Callable[..., Any]:
    """The function with a check of the shapes of its inputs: TensorFlow calls a loaded signature with any tensors.

    Example: `of_shapes(tf.sin, [tf.TensorSpec([None, 3])])`
    """
    return lambda *inputs: function(*map(tf.ensure_shape, inputs, [spec.shape for spec in specs]))


def _all_finite(decoded: tf.Tensor, is_finite: tf.Tensor) -> tf.Tensor:
    """The decoded events, with an assertion that they are finite."""
    with tf.control_dependencies([assert_that(is_finite, sampling.OVERFLOW)]):
        return tf.identity(decoded)


def checked_contexts(contexts: Sequence[tf.Tensor], number: tf.Tensor) -> list[tf.Tensor]:
    """The labels or contexts, if any, with assertions that they are finite and number the same as the events.

    Example: `checked_contexts([labels], tf.shape(images)[0])`
    """
    checks = [assert_that(tf.shape(part)[0] == number, AS_MANY) for part in contexts]
    finite = lambda part: assert_finite(part, "context must be finite")
    with tf.control_dependencies(checks):
        return [finite(part) if part.dtype.is_floating else tf.identity(part) for part in contexts]
