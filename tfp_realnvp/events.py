"""`Events` and `Contexts`: what the data of a flow are, and errors that say in what other data differ from them."""

import contextlib
import dataclasses
import itertools
import re
import types

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Contexts:
    """What a flow is conditioned on: the class of each event, or a vector. With neither it is not conditional.

    Args:
      num_classes: number of classes where the contexts are labels, ints, otherwise None.
      context_size: size of the contexts where they are vectors, otherwise None.
      vector_dtype: `tf.DType` of the vectors that the flow sees, of labels the one-hot ones.

    Raises:
      ValueError: for both `num_classes` and `context_size`, or one that is no positive int.

    Example: `Contexts(num_classes=3, context_size=None, vector_dtype=tf.float32).vectors([2])` is [[0, 0, 1]].
    """

    num_classes: int | None
    context_size: int | None
    vector_dtype: tf.DType

    def __post_init__(self):
        if self.num_classes is not None and self.context_size is not None:
            raise ValueError(
                f"num_classes and context_size exclude each other; got {self.num_classes} and {self.context_size}"
            )
        for name in ("num_classes", "context_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be None or a positive int; got {value!r}")

    @property
    def size(self):
        """The size of the vectors that the flow sees, None without a context."""
        return self.num_classes or self.context_size

    @property
    def name(self):
        """What they are called where samples are drawn: "labels" or "context"."""
        return "labels" if self.num_classes else "context"

    @property
    def shape(self):
        """The shape of one: () of a label."""
        return () if self.num_classes else (self.context_size,)

    @property
    def dtype(self):
        """Their `tf.DType`: int64 of labels."""
        return tf.int64 if self.num_classes else self.vector_dtype

    @property
    def description(self):
        """What an error says that there should be."""
        if self.num_classes:
            return f"labels of a class-conditional flow, ints from 0 to {self.num_classes - 1}"
        return f"contexts of a conditional flow, vectors of size {self.context_size}"

    def vectors(self, context):
        """The vectors that the flow sees, with the check of the contexts' values made part of the graph.

        Args:
          context: labels [...], or vectors [..., context_size].

        Returns:
          Tensor of `vector_dtype` and shape [..., size].

        Raises:
          ValueError: for a flow without a context, floats for labels, vectors of another size, or, where they are not
            in a graph, labels out of range or NaN.
        """
        if not self.size:
            raise ValueError(f"context must be left out: the flow is not conditional; got {context!r}")
        context = tf.convert_to_tensor(context)
        if self.num_classes and not context.dtype.is_integer:
            raise ValueError(f"context must hold the {self.description}; got {context.dtype.name}")
        context = tf.cast(context, self.dtype)
        if self.num_classes:
            allowed = (context >= 0) & (context < self.num_classes)
            message = f"y must hold labels from 0 to {self.num_classes - 1}"
        elif context.shape[-1:] == self.shape:
            allowed, message = tf.math.is_finite(context), "y must be finite; got NaN or infinity"
        else:
            raise ValueError(f"context must have shape [..., {self.context_size}]; got {tuple(context.shape)}")
        with value_errors():
            with tf.control_dependencies([tf.debugging.assert_equal(tf.reduce_all(allowed), True, message)]):
                context = tf.identity(context)
        return tf.one_hot(context, self.num_classes, dtype=self.vector_dtype) if self.num_classes else context

    def checked(self, argument, contexts):
        """Labels or vectors as an array.

        Args:
          argument: str, what an error calls them.
          contexts: array, list or pandas frame of labels [N], or vectors [N, context_size].

        Returns:
          The array, of `dtype`.

        Raises:
          ValueError: for a flow without a context, none at all, another shape, other than numbers, labels out of range,
            or NaN.
        """
        if not self.size:
            raise ValueError(f"{argument} must be None for a flow that is not conditional; got {contexts!r}")
        if contexts is None:
            raise ValueError(f"{argument} must hold the {self.description}; got None")
        values = np.asarray(as_array(contexts))
        if values.shape[1:] != self.shape or not values.ndim:
            raise ValueError(f"{argument} must have shape [N] + {self.shape}; got {values.shape}")
        if values.dtype.kind not in ("ui" if self.num_classes else "buif"):
            raise ValueError(f"{argument} must hold the {self.description}; got {values.dtype}")
        if self.num_classes and values.size and (values.min() < 0 or values.max() >= self.num_classes):
            raise ValueError(
                f"{argument} must hold the {self.description}; got {values.dtype} from {values.min()} to {values.max()}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{argument} must be finite; got NaN or infinity")
        return values.astype(self.dtype.as_numpy_dtype)

    def of_events(self, number, context):
        """The contexts of `number` events, see `checked`: a list of one array, or of none for a flow without."""
        if context is None and not self.size:
            return []
        context = self.checked("context", context)
        if len(context) != number:
            raise ValueError(f"context must have as many entries as there are events, {number}; got {len(context)}")
        return [context]

    def of_samples(self, number, labels, context):
        """The contexts of `number` samples: a list of one array, or of none for a flow without.

        Args:
          number: int.
          labels, context: labels [number] or an int, vectors [number, context_size] or [context_size]; the other None.

        Returns:
          List of arrays [number] or [number, context_size], see `checked`.

        Raises:
          ValueError: as `checked`, and for labels where there should be a context, or the other way round.
        """
        given = {"labels": labels, "context": context}
        if not self.size:
            if labels is None and context is None:
                return []
            raise ValueError("labels and context must be None for this flow")
        other = "context" if self.num_classes else "labels"
        if given[other] is not None:
            raise ValueError(f"{other} must be None for this flow")
        if given[self.name] is None:
            raise ValueError(f"{self.name} must be given for a conditional flow; got None")
        value, shape = np.asarray(given[self.name]), (number, *self.shape)
        if value.shape not in (shape, self.shape):
            raise ValueError(f"{self.name} must have shape {self.shape} or {shape}; got {value.shape}")
        return [self.checked(self.name, np.broadcast_to(value, shape))]


@dataclasses.dataclass(frozen=True)
class Events:
    """The events of a flow, images or vectors, and with them their contexts.

    Arrays are checked before anything is done with them, and what Keras reads batch by batch in the graph that it is
    handed to. The errors of the latter become the same ValueErrors within `value_errors`.

    Args:
      shape: tuple of ints, the shape of one event, and of its latent.
      dtype: `tf.DType` of the flow.
      num_bins: number of pixel levels, None for continuous data.
      contexts: `Contexts`.

    Example: `x, context = events.unpack({"image": images, "label": labels})`
    """

    shape: tuple
    dtype: tf.DType
    num_bins: int | None
    contexts: Contexts

    @classmethod
    def of(cls, distribution, num_bins, contexts):
        """The events of a distribution.

        Args:
          distribution: `tfd.Distribution`, of a conditional flow given a batch of contexts.
          num_bins: see `checked_num_bins`.
          contexts: `Contexts`.

        Raises:
          ValueError: for an event shape that is not known, or a batch shape that is not that of the contexts.
        """
        if not distribution.event_shape.is_fully_defined():
            raise ValueError(f"distribution must have a known event shape; got {distribution.event_shape}")
        if distribution.batch_shape.rank != (1 if contexts.size else 0):
            raise ValueError(
                f"distribution must have {'the context’s' if contexts.size else 'no'} batch shape; got "
                f"{distribution.batch_shape}. tfd.Independent or tfd.Sample make it part of the event, "
                "tfd.BatchBroadcast gives one"
            )
        shape = tuple(distribution.event_shape)
        return cls(shape, distribution.dtype, checked_num_bins(num_bins, shape), contexts)

    @property
    def data_dtype(self):
        """The `tf.DType` of the images or vectors that are drawn."""
        if self.num_bins is None:
            return self.dtype
        return tf.uint8 if self.num_bins <= 256 else tf.uint16

    # What Keras hands over.

    def unpack(self, data):
        """The events and the contexts of what Keras hands to a step.

        Args:
          data: x, (x, y), or a TFDS dictionary; of arrays, tensors, lists or frames.

        Returns:
          `(x, context)`, of which tensors and arrays remain what they are; None for a flow without a context.

        Raises:
          ValueError: for weights of the examples, a dictionary without "image", contexts that are missing, or tensors
            of labels that are no ints.
        """
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError(f"sample_weight must be None: every example counts the same; got {weights!r}")
        if isinstance(x, tuple):  # from `predict`, whose data have no y of their own
            x, y = x[:2]
        if y is None and isinstance(x, dict):
            y = x.get("label")
        if not self.contexts.size:
            return as_events(x), None
        if y is None:
            raise ValueError(f"y must hold the {self.contexts.description}; got none")
        if not tf.is_tensor(y):
            return as_events(x), as_array(y)
        if self.contexts.num_classes and not y.dtype.is_integer:  # the cast would cut off their fractions
            raise ValueError(f"y must hold the {self.contexts.description}; got {y.dtype.name}")
        return as_events(x), tf.cast(y, self.contexts.dtype)

    def check(self, argument, data, context=None):
        """Checks what can be known of data before they are read: shapes, and, of arrays, the values too.

        Args:
          argument: str, what an error calls the data.
          data: x as for `FlowModel.fit`, or (x, y).
          context: y as for `FlowModel.fit`.

        Raises:
          ValueError: for data that are not such events, or have not such contexts.
        """
        if isinstance(data, tf.data.Dataset):
            return self._check_dataset(argument, data)
        if isinstance(data, types.GeneratorType | keras.utils.PyDataset | tf.distribute.DistributedDataset):
            return  # checked batch by batch
        data, context = self.unpack(data if isinstance(data, tuple) else (data, context))
        self._check_array(argument, data)
        if self.contexts.size and len(self.contexts.checked("y", context)) != len(data):
            raise ValueError(f"y must have as many entries as {argument}, {len(data)}; got {len(context)}")

    def _check_dataset(self, argument, dataset):
        spec = dataset.element_spec
        spec = as_events(spec[0] if isinstance(spec, tuple) else spec)
        if not isinstance(spec, tf.TensorSpec):
            raise ValueError(f"{argument} must hold batches that are tensors; got {spec}")
        if spec.shape.rank is None:
            raise ValueError(
                f"{argument} must hold batches of shape [batch] + {self.shape}; got a data set of unknown rank: "
                f"tf.ensure_shape(x, {[None, *self.shape]}) in dataset.map makes it known"
            )
        if not spec.shape.is_compatible_with([None, *self.shape]):
            raise ValueError(f"{argument} must hold batches of shape [batch] + {self.shape}; got {spec.shape}")
        if dataset.cardinality() == 0:
            raise ValueError(f"{argument} must not be empty; got a data set without batches")

    def first_batch(self, x, y, batch_size, seed):
        """A first batch of what `FlowModel.fit` is given, of arrays a random one.

        Args:
          x, y: as for `FlowModel.fit`.
          batch_size: how many events it has, where `x` holds arrays.
          seed: int, of the random choice.

        Returns:
          `(x, batch)`: what then is to be fitted, of a generator with its first batch, and (events,) or (events, y).

        Raises:
          ValueError: for data without a batch, or distributed ones.
        """
        batch = x, y
        if isinstance(x, types.GeneratorType):
            batch = next(x, None)
            x = (each for each in itertools.chain([batch], x))
        elif isinstance(x, tf.data.Dataset):
            batch = next(iter(x.take(1)), None)
        elif isinstance(x, keras.utils.PyDataset):
            batch = x[0]
        elif isinstance(x, tf.distribute.DistributedDataset):
            raise ValueError("x must be a global data set for a flow with ActNorm that initialize() has not set yet")
        else:
            events, context = self.unpack(batch)
            chosen = np.random.default_rng(seed).permutation(len(events))[:batch_size]
            batch = (np.asarray(events)[chosen], None if context is None else np.asarray(context)[chosen])
        if batch is None:
            raise ValueError("x must not be empty; got a data set without batches")
        return x, batch[:2] if isinstance(batch, tuple) else (batch,)

    # Arrays, and tensors in a graph.

    def checked_array(self, argument, data):
        """Events as an array, [N] + shape; an error calls them by the name `argument`.

        Raises:
          ValueError: for another shape, none at all, other than numbers, NaN, or levels that are no integers from 0 to
            num_bins − 1.
        """
        data = as_events(data)
        self._check_array(argument, data)
        return data

    def _check_array(self, argument, data):
        values = np.asarray(data)
        if values.dtype.kind not in "biuf" and values.dtype.name != "bfloat16":
            raise ValueError(f"{argument} must hold numbers; got {values.dtype} such as {values.ravel()[:1]}")
        if values.shape[1:] != self.shape or not values.ndim:
            raise ValueError(f"{argument} must have shape [N] + {self.shape}; got {values.shape}")
        if not values.size:
            raise ValueError(f"{argument} must not be empty; got shape {values.shape}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{argument} must be finite; got NaN or infinity")
        if self._takes_every(values.dtype):
            return
        if values.min() < 0 or values.max() >= self.num_bins:
            raise ValueError(
                f"{argument} must hold integers from 0 to {self.num_bins - 1}; got values from {values.min()} to "
                f"{values.max()}"
            )
        if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
            raise ValueError(
                f"{argument} must hold integers from 0 to {self.num_bins - 1}; got fractions such as "
                f"{values[values != np.floor(values)][0]}"
            )

    def _takes_every(self, dtype):
        """Whether every finite value of this dtype may be one of an event."""
        return self.num_bins is None or (dtype == np.uint8 and self.num_bins >= 256)

    def of_known_shape(self, x):
        """Events as a tensor whose shape is known, [batch] + shape: the sides that a data set left open are checked.

        Raises:
          ValueError: for another shape.
          tf.errors.InvalidArgumentError: for what turns out to have another; see `value_errors`.
        """
        x = tf.convert_to_tensor(as_events(x))
        shape = tf.TensorShape([None, *self.shape])
        if x.shape.rank is None or not x.shape.is_compatible_with(shape):
            raise ValueError(f"x must have shape [batch] + {self.shape}; got {x.shape}")
        if x.shape[1:].is_fully_defined():
            return x
        message = f"x must hold events of shape {self.shape}; got a batch of others"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[1:], self.shape, message)]):
            x = tf.identity(x)
        x.set_shape(shape)
        return x

    def checked_tensor(self, x):
        """Events as a tensor, [batch] + shape, with the checks that need its values made part of the graph.

        Raises:
          ValueError: for another shape.
          tf.errors.InvalidArgumentError: for what `checked_array` refuses otherwise; see `value_errors`.
        """
        x = self.of_known_shape(x)
        if x.dtype.is_floating:
            x = tf.debugging.assert_all_finite(x, "x must be finite; got NaN or infinity")
        if self._takes_every(x.dtype):
            return x
        message = f"x must hold integers from 0 to {self.num_bins - 1}"
        checks = [
            tf.debugging.assert_non_negative(x, message),
            tf.debugging.assert_less(x, tf.cast(self.num_bins, x.dtype), message),
        ]
        if x.dtype.is_floating:
            checks.append(tf.debugging.assert_equal(x, tf.floor(x), message))
        with tf.control_dependencies([check for check in checks if check is not None]):
            return tf.identity(x)

    def checked_latents(self, z):
        """Latents as an array, [N] + shape, of the flow's dtype.

        Raises:
          ValueError: for another shape, none at all, other than numbers, or NaN.
        """
        z = np.asarray(z)
        if tuple(z.shape[1:]) != self.shape:
            raise ValueError(f"z must have shape [N] + {self.shape}; got {tuple(z.shape)}")
        if not z.size or z.dtype.kind not in "iuf":
            raise ValueError(f"z must hold numbers, and not be empty; got {z.dtype} of shape {z.shape}")
        if np.isnan(z).any():
            raise ValueError("z must not hold NaN")
        return z.astype(self.dtype.as_numpy_dtype)


def checked_num_bins(num_bins, event_shape):
    """The number of pixel levels, or None for continuous data; "auto": 256 for images, None for vectors.

    Raises:
      ValueError: for anything else but an int from 1 to 65536.
    """
    if num_bins == "auto":
        return 256 if len(event_shape) == 3 else None
    if num_bins is not None and (not isinstance(num_bins, int) or not 1 <= num_bins <= 65536):
        raise ValueError(f"num_bins must be None or an int from 1 to 65536; got {num_bins!r}")
    return num_bins


def as_events(data):
    """The images of a TFDS dictionary; anything else as it is, of what is no tensor an array.

    Raises:
      ValueError: for a dictionary without "image".
    """
    if isinstance(data, dict):
        if "image" not in data:
            raise ValueError(f'a dictionary of data must hold "image"; got the keys {sorted(data)}')
        return data["image"]
    return as_array(data)


def as_array(data):
    """Lists and pandas's frames as arrays; anything else as it is."""
    if hasattr(data, "to_numpy"):
        return data.to_numpy()
    return np.asarray(data) if isinstance(data, list) else data


@contextlib.contextmanager
def value_errors():
    """A scope that turns the checks in a graph into the ValueErrors that they stand for."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        message = re.search(r"[xyz] must .*?(?=\]|$|\n| : Tensor)", error.message)
        if message is None:
            raise
        raise ValueError(message.group()) from None
