"""`Events`: the images or vectors of a flow, and the checks of a user's data."""

import dataclasses
import itertools
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.common import as_array, assert_finite, assert_that
from tfp_realnvp.contexts import Contexts


@dataclasses.dataclass(frozen=True)
class Events:
    """The events of a flow, images or vectors, with their contexts.

    Arrays are checked before any work. Data that Keras reads batch by batch are checked in the graph of the step.
    Within `common.value_errors` both raise the same ValueErrors.

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
    def of(cls, distribution: tfd.Distribution, num_bins: Any, contexts: Contexts) -> "Events":
        """The events of a distribution.

        Args:
          distribution: `tfd.Distribution`; for a conditional flow, given a batch of contexts.
          num_bins: see `checked_num_bins`.
          contexts: `Contexts`.

        Raises:
          ValueError: for an unknown event shape, or a batch shape other than the contexts'.
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
    def data_dtype(self) -> tf.DType:
        """The `tf.DType` of images or vectors that are drawn."""
        if self.num_bins is None:
            return self.dtype
        return tf.uint8 if self.num_bins <= 256 else tf.uint16

    # Data that Keras hands over.

    def unpack(self, data: Any) -> tuple[Any, Any]:
        """Splits the data of a Keras step into the events and their contexts.

        Args:
          data: x, (x, y) or a TFDS dictionary, made of arrays, tensors, lists or data frames.

        Returns:
          `(x, context)`; tensors stay tensors and arrays stay arrays. The context is None for a flow without one.

        Raises:
          ValueError: for weights of the examples, a dictionary without "image", missing contexts, or a tensor of labels
            that are not ints.
        """
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            raise ValueError(f"sample_weight must be None: every example counts the same; got {weights!r}")
        if isinstance(x, tuple):  # The data of `predict` have no y of their own.
            x, y = x[:2]
        if y is None and isinstance(x, dict):
            y = x.get("label")
        if not self.contexts.size:
            return as_events(x), None
        if y is None:
            raise ValueError(f"y must hold the {self.contexts.description}; got none")
        if not tf.is_tensor(y):
            return as_events(x), as_array(y)
        if self.contexts.num_classes and not y.dtype.is_integer:  # A cast would cut off fractions.
            raise ValueError(f"y must hold the {self.contexts.description}; got {y.dtype.name}")
        return as_events(x), tf.cast(y, self.contexts.dtype)

    def check(self, argument: str, data: Any, context: Any = None) -> None:
        """Checks data before they are read: shapes, and for arrays the values too.

        Args:
          argument: the name of the data in an error message.
          data: x as for `FlowModel.fit`, or (x, y).
          context: y as for `FlowModel.fit`.

        Raises:
          ValueError: for data that do not fit the flow's events or contexts.
        """
        if isinstance(data, tf.data.Dataset):
            return self._check_dataset(argument, data)
        if isinstance(data, types.GeneratorType | keras.utils.PyDataset | tf.distribute.DistributedDataset):
            return  # Each batch is checked in the graph.
        data, context = self.unpack(data if isinstance(data, tuple) else (data, context))
        self._check_array(argument, data)
        if self.contexts.size and len(self.contexts.checked("y", context)) != len(data):
            raise ValueError(f"y must have as many entries as {argument}, {len(data)}; got {len(context)}")

    def _check_dataset(self, argument: str, dataset: tf.data.Dataset) -> None:
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

    def first_batch(self, x: Any, y: Any, batch_size: int, seed: int) -> tuple[Any, tuple]:
        """The first batch of the data for `FlowModel.fit`; a random batch if the data are arrays.

        Args:
          x, y: as for `FlowModel.fit`.
          batch_size: number of events in the batch, if `x` holds arrays.
          seed: int, the seed of the random choice.

        Returns:
          `(x, batch)`: the data to fit (a generator still begins with its first batch), and (events,) or (events, y).

        Raises:
          ValueError: for data without a batch, or for a distributed data set.
        """
        batch: Any = (x, y)
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

    def checked_array(self, argument: str, data: Any) -> Any:
        """Events as an array, [N] + shape.

        Args:
          argument: the name of the data in an error message.
          data: array, list, pandas frame or TFDS dictionary.

        Raises:
          ValueError: for another shape, no events, entries that are not numbers, NaN, or levels that are not integers
            from 0 to num_bins − 1.
        """
        data = as_events(data)
        self._check_array(argument, data)
        return data

    def _check_array(self, argument: str, data: Any) -> None:
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
                f"{argument} must hold integers from 0 to {self._last_level}; got values from {values.min()} to "
                f"{values.max()}"
            )
        if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
            raise ValueError(
                f"{argument} must hold integers from 0 to {self._last_level}; got fractions such as "
                f"{values[values != np.floor(values)][0]}"
            )

    @property
    def _last_level(self) -> int:
        """The highest pixel level."""
        assert self.num_bins is not None
        return self.num_bins - 1

    def _takes_every(self, dtype: Any) -> bool:
        """Whether every finite value of this dtype is allowed in an event."""
        return self.num_bins is None or (dtype == np.uint8 and self.num_bins >= 256)

    def of_known_shape(self, x: Any) -> tf.Tensor:
        """Events as a tensor of known shape, [batch] + shape; the graph checks the sides that a data set leaves open.

        Raises:
          ValueError: for another shape.
          tf.errors.InvalidArgumentError: for another shape that only the graph knows; see `common.value_errors`.
        """
        x = tf.convert_to_tensor(as_events(x))
        shape = tf.TensorShape([None, *self.shape])
        if x.shape.rank is None or not x.shape.is_compatible_with(shape):
            raise ValueError(f"x must have shape [batch] + {self.shape}; got {x.shape}")
        if x.shape[1:].is_fully_defined():
            return x
        message = f"x must hold events of shape {self.shape}; got a batch of others"
        with tf.control_dependencies([assert_that(tf.shape(x)[1:] == self.shape, message)]):
            x = tf.identity(x)
        x.set_shape(shape)
        return x

    def checked_tensor(self, x: Any) -> tf.Tensor:
        """Events as a tensor, [batch] + shape; the checks of its values become part of the graph.

        Raises:
          ValueError: for another shape.
          tf.errors.InvalidArgumentError: for the other data that `checked_array` refuses; see `common.value_errors`.
        """
        x = self.of_known_shape(x)
        if x.dtype.is_floating:
            x = assert_finite(x, "x must be finite; got NaN or infinity")
        if self._takes_every(x.dtype):
            return x
        allowed = (x >= 0) & (x < tf.cast(self.num_bins, x.dtype))
        if x.dtype.is_floating:
            allowed &= x == tf.floor(x)
        with tf.control_dependencies([assert_that(allowed, f"x must hold integers from 0 to {self._last_level}")]):
            return tf.identity(x)

    def checked_latents(self, z: Any) -> np.ndarray:
        """Latents as an array, [N] + shape, of the flow's dtype.

        Raises:
          ValueError: for another shape, no latents, entries that are not numbers, or NaN.
        """
        z = np.asarray(z)
        if tuple(z.shape[1:]) != self.shape:
            raise ValueError(f"z must have shape [N] + {self.shape}; got {tuple(z.shape)}")
        if not z.size or z.dtype.kind not in "iuf":
            raise ValueError(f"z must hold numbers, and not be empty; got {z.dtype} of shape {z.shape}")
        if np.isnan(z).any():
            raise ValueError("z must not hold NaN")
        return z.astype(self.dtype.as_numpy_dtype)


def checked_num_bins(num_bins: Any, event_shape: tuple) -> int | None:
    """The number of pixel levels, or None for continuous data; "auto" is 256 for images and None for vectors.

    Raises:
      ValueError: for anything but "auto", None or an int from 1 to 65536.

    Example: `checked_num_bins("auto", (28, 28, 1))` is 256.
    """
    if num_bins == "auto":
        return 256 if len(event_shape) == 3 else None
    if num_bins is not None and (not isinstance(num_bins, int) or not 1 <= num_bins <= 65536):
        raise ValueError(f"num_bins must be None or an int from 1 to 65536; got {num_bins!r}")
    return num_bins


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
