"""A flow as a SavedModel: four signatures that answer where there is nothing but TensorFlow."""

import math
import os
import pathlib
import shutil

import keras
import tensorflow as tf


def write(model, filepath):
    """Writes the SavedModel, see `FlowModel.export`, beside its place and then moves it there."""
    path = pathlib.Path(filepath)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"filepath must be a folder that is new or empty; got {str(path)!r}, where something is")
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, specs) in endpoints(model).items():
        archive.add_endpoint(name, function, specs)
    draft = path.with_name(f"draft.{path.name}")  # no number: TF Serving does not take it for a version
    shutil.rmtree(draft, ignore_errors=True)
    archive.write_out(draft, verbose=False)
    os.replace(draft, path)


def endpoints(model):
    """The signatures by their names: `(function, list of the specs of its inputs)`.

    Raises:
      ValueError: for a flow that is no `tfd.TransformedDistribution`, and so has no latents.
    """
    number = lambda name, dtype: tf.TensorSpec([], dtype, name)
    batch = lambda name, dtype, shape=model.event_shape: tf.TensorSpec([None, *shape], dtype, name)
    data, events, contexts = model._events, "images" if len(model.event_shape) == 3 else "vectors", []
    if data.contexts.size:
        contexts = [batch(data.contexts.name, data.contexts.dtype, data.contexts.shape)]
    elif not hasattr(model.distribution, "bijector"):
        raise ValueError(f"distribution must be a tfd.TransformedDistribution to be exported; got {model.distribution}")

    def log_prob(x, *context):
        context = _checked_contexts(context, tf.shape(x)[0])
        nats = model.log_likelihood(x, *context)
        return {"nats": nats, "bits_per_dim": -nats / (math.prod(model.event_shape) * math.log(2))}

    def encode(x, *context):
        context = _checked_contexts(context, tf.shape(x)[0])
        return {"latents": model._encode(data.checked_tensor(tf.cast(x, data.dtype)), *context)}

    def decode(z, *context):
        context = _checked_contexts(context, tf.shape(z)[0])
        z = tf.debugging.assert_all_finite(z, "latents must be finite")
        return {events: model._decode(z, *context)}

    def sample(num_samples, temperature, seed, *context):
        allowed = tf.math.is_finite(temperature) & (temperature >= 0)
        checks = [
            tf.debugging.assert_positive(num_samples, "num_samples must be a positive int"),
            tf.debugging.assert_equal(allowed, True, "temperature must be a non-negative number"),
        ]
        with tf.control_dependencies(checks):
            num_samples, temperature = tf.identity(num_samples), tf.identity(temperature)
        context = [tf.broadcast_to(part, tf.stack([num_samples, *part.shape[1:]])) for part in context]
        context = _checked_contexts(context, tf.cast(num_samples, tf.int32))
        z = model._draw(model._base(*context), num_samples, temperature, seed)
        return {events: model._decode(z, *context)}

    x, z = batch(events, data.data_dtype), batch("latents", data.dtype)
    draw = [number("num_samples", tf.int64), number("temperature", data.dtype), number("seed", tf.int64)]
    inputs = {log_prob: [x], encode: [x], decode: [z], sample: draw}
    return {function.__name__: (function, [*specs, *contexts]) for function, specs in inputs.items()}


def _checked_contexts(contexts, number):
    """The labels or contexts, if any, once it is seen that they are as many as the events, and finite."""
    message = "there must be as many labels or contexts as images or vectors"
    checks = [tf.debugging.assert_equal(tf.shape(part)[0], number, message) for part in contexts]
    finite = lambda part: tf.debugging.assert_all_finite(part, "context must be finite")
    with tf.control_dependencies(checks):
        return [finite(part) if part.dtype.is_floating else tf.identity(part) for part in contexts]
