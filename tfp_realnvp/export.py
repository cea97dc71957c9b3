"""A flow as a SavedModel: four signatures for processes with TensorFlow alone."""

import math
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfp_realnvp import sampling
from tfp_realnvp.common import assert_finite, assert_that

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel


def write(model: "FlowModel", filepath: Any) -> None:
    """Writes the SavedModel of `FlowModel.export` into a draft folder beside `filepath`, then renames the folder.

    Args:
      model: `FlowModel`.
      filepath: the folder, new or empty.

    Raises:
      ValueError: for a folder that holds something, or a flow that is not a `tfd.TransformedDistribution`.

    Example: `write(model, "flow/1")`
    """
    path = pathlib.Path(filepath)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"filepath must be a folder that is new or empty; got {str(path)!r}, which holds something")
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, specs) in endpoints(model).items():
        archive.add_endpoint(name, function, specs)
    draft = path.with_name(f"draft.{path.name}")  # TF Serving would take a number for a version.
    shutil.rmtree(draft, ignore_errors=True)
    archive.write_out(draft, verbose=False)
    os.replace(draft, path)


def endpoints(model: "FlowModel") -> dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]:
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
        nats = model.log_likelihood(x, *_checked_contexts(context, tf.shape(x)[0]))
        return {"nats": nats, "bits_per_dim": -nats / (math.prod(model.event_shape) * math.log(2))}

    def encode(x: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        checked = _checked_contexts(context, tf.shape(x)[0])
        return {"latents": model.encode_batch(data.checked_tensor(tf.cast(x, data.dtype)), *checked)}

    def decode(z: tf.Tensor, *context: tf.Tensor) -> dict[str, tf.Tensor]:
        checked = _checked_contexts(context, tf.shape(z)[0])
        z = assert_finite(z, "latents must be finite")
        return {events: model.decode_batch(z, *checked)}

    def sample(
        num_samples: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor, *context: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        allowed = tf.math.is_finite(temperature) & (temperature >= 0)
        checks = [
            assert_that(num_samples > 0, "num_samples must be a positive int"),
            assert_that(allowed, "temperature must be a non-negative number"),
        ]
        with tf.control_dependencies(checks):
            num_samples, temperature = tf.identity(num_samples), tf.identity(temperature)
        repeated = [tf.broadcast_to(part, tf.stack([num_samples, *part.shape[1:]])) for part in context]
        checked = _checked_contexts(repeated, tf.cast(num_samples, tf.int32))
        z = sampling.latents(model.base_given(*checked), [] if checked else num_samples, temperature, seed)
        return {events: model.decode_batch(z, *checked)}

    x, z = batch(events, data.data_dtype), batch("latents", data.dtype, model.latent_shape)
    draw = [number("num_samples", tf.int64), number("temperature", data.dtype), number("seed", tf.int64)]
    inputs = {log_prob: [x], encode: [x], decode: [z], sample: draw}
    return {function.__name__: (function, [*specs, *contexts]) for function, specs in inputs.items()}


def _checked_contexts(contexts: Sequence[tf.Tensor], number: tf.Tensor) -> list[tf.Tensor]:
    """The labels or contexts, if any, with assertions that they are finite and number the same as the events."""
    message = "there must be as many labels or contexts as images or vectors"
    checks = [assert_that(tf.shape(part)[0] == number, message) for part in contexts]
    finite = lambda part: assert_finite(part, "context must be finite")
    with tf.control_dependencies(checks):
        return [finite(part) if part.dtype.is_floating else tf.identity(part) for part in contexts]
