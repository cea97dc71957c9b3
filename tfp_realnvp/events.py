"""`Events`: the images or vectors of a flow, and the checks of a user's data."""

import dataclasses
import itertools
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.common import as_array, assert_finite, assert_that, of_known_shape
from tfp_realnvp.contexts import Contexts
from tfp_realnvp.parts import BATCHES, as_events, is_missing, packed, parts_of, stand_in


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
          ValueError: for an unknown event shape, a dtype of 16 bits, or a batch shape other than the contexts'.
        """
        if not distribution.event_shape.is_fully_defined():
            raise ValueError(f"distribution must have a known event shape; got {distribution.event_shape}")
        if distribution.dtype not in (tf.float32, tf.float64):
            raise ValueError(
                "distribution must have dtype float32 or float64, also where networks compute in bfloat16 "
                f'(dtype="mixed_bfloat16"): a log-likelihood needs their digits; got {distribution.dtype.name}'
            )
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
          data: x, (x, y), (x, y, sample_weight) or a TFDS dictionary, made of arrays, tensors, lists or data frames.

        Returns:
          `(x, context)`; tensors stay tensors and arrays stay arrays. The context is None for a flow without one.

        Raises:
          ValueError: for a dictionary without "image", missing contexts, or tensors of another shape or dtype.
          tf.errors.InvalidArgumentError: for another number of contexts than events; see `common.value_errors`.
        """
        x, y, _ = parts_of(data)
        if tf.is_tensor(x):
            x = self.of_known_shape(x)
        if not self.contexts.size:
            return x, None
        if y is None:
            raise ValueError(f"y must hold the {self.contexts.description}; got none")
        return x, self.contexts.of_batch(y, tf.shape(x)[0]) if tf.is_tensor(y) else as_array(y)

    def weights(self, data: Any) -> tf.Tensor | None:
        """The weights of the examples of a Keras step, [batch] of the flow's dtype; None where all count the same.

        Args:
          data: as for `unpack`.

        Raises:
          ValueError: for another shape.
          tf.errors.InvalidArgumentError: for another number of weights than events, or for weights that are negative
            or not finite; see `common.value_errors`.
        """
        x, _, weights = parts_of(data)
        if weights is None:
            return None
        weights = of_known_shape("sample_weight", tf.cast(weights, self.dtype), ())
        checks = [
            assert_that(tf.shape(weights)[0] == tf.shape(x)[0], "sample_weight must have as many entries as x"),
            assert_that(tf.math.is_finite(weights) & (weights >= 0), "sample_weight must be finite and not negative"),
        ]
        with tf.control_dependencies(checks):
            return tf.identity(weights)

    def checked(self, argument: str, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, Any, Any]:
        """Checks data before they are read: shapes and dtypes, and for arrays the values too.

        Args:
          argument: the name of the data in an error message.
          x, y, sample_weight: as for `FlowModel.fit`; x may also be a tuple of them.

        Returns:
          `(x, y, sample_weight)` as Keras takes them: arrays or tensors and None, or a data set and twice None.

        Raises:
          ValueError: for data that do not fit the flow's events or contexts, or wrong weights.
        """
        if isinstance(x, BATCHES):
            for name, value in (("y", y), ("sample_weight", sample_weight)):
                if value is not None:
                    raise ValueError(f"{name} must be None beside the batches of a {type(x).__name__}, which hold it")
            return self._checked_batches(argument, x), None, None
        _, _, sample_weight = parts_of((x, y, sample_weight))
        x, y = self.unpack((x, y))
        self._check_array(argument, x)
        if self.contexts.size:
            y = self.contexts.checked("y", y, may_be_unlabelled=True)
            if len(y) != len(x):
                raise ValueError(f"y must have as many entries as {argument}, {len(x)}; got {len(y)}")
        if sample_weight is not None:
            sample_weight = self._checked_weights(len(x), sample_weight)
        return x, stand_in(x) if y is None and sample_weight is not None else y, sample_weight

    def _checked_weights(self, number: int, weights: Any) -> np.ndarray:
        values = np.asarray(as_array(weights))
        if values.dtype.kind not in "biuf" or values.shape != (number,):
            raise ValueError(
                f"sample_weight must hold numbers, of shape {(number,)}; got {values.dtype} of shape {values.shape}"
            )
        wrong = values[~(np.isfinite(values) & (values >= 0))]
        if wrong.size:
            raise ValueError(f"sample_weight must be finite and not negative; got values such as {wrong[0]}")
        return values.astype(self.dtype.as_numpy_dtype)

    def weighed_by_class(self, x: Any, sample_weight: Any, class_weight: Any) -> tuple[Any, dict[int, float] | None]:
        """The data and weights of classes that Keras takes; a data set gets the weights of its examples instead.

        Keras would look for the weight of the label −1 in vain.

        Args:
          x, sample_weight: checked data.
          class_weight: {label: weight}, see `Contexts.weights_of_classes`.

        Raises:
          ValueError: for a wrong `class_weight`, for examples that have weights already, or for batches from which
            Keras takes no labels.
        """
        weights = self.contexts.weights_of_classes(class_weight)
        if isinstance(x, tf.data.Dataset):
            _, _, sample_weight = parts_of(x.element_spec)
        elif isinstance(x, keras.utils.PyDataset) and not isinstance(x[0], dict):
            _, _, sample_weight = parts_of(x[0])
        elif isinstance(x, BATCHES):
            raise ValueError(
                f"class_weight must be None for the batches of a {type(x).__name__}: give each (x, y, sample_weight)"
            )
        if sample_weight is not None:
            raise ValueError("class_weight must be None where the examples have a sample_weight")
        if not isinstance(x, tf.data.Dataset):
            return x, weights
        of_labels = tf.constant([*weights.values(), 1.0], self.dtype)  # The last one is that of the label −1.

        def weighed(*data: Any) -> tuple[Any, Any, tf.Tensor]:
            events, labels, _ = parts_of(data)
            return events, labels, tf.gather(of_labels, tf.cast(labels, tf.int64) % of_labels.shape[0])

        return x.map(weighed), None

    def _checked_batches(self, argument: str, batches: Any) -> Any:
        """Checks what is known of batches before they are read; the graph checks each of them."""
        if isinstance(batches, tf.data.Dataset):
            self._check_dataset(argument, batches)
            spec = batches.element_spec
            if isinstance(spec, tuple) and any(map(is_missing, spec)):
                return batches.map(packed)  # Distribution strategies cannot fill up a batch that holds None.
        elif isinstance(batches, types.GeneratorType):
            first = next(batches, None)
            if first is None:
                raise ValueError(f"{argument} must not be empty; got a data set without batches")
            self.checked(argument, *parts_of(first))
            return (batch for batch in itertools.chain([first], batches))
        elif isinstance(batches, keras.utils.PyDataset):
            if batches.num_batches == 0:
                raise ValueError(f"{argument} must not be empty; got a data set without batches")
            first = batches[0]
            self.checked(argument, *parts_of(first))
            if isinstance(first, tuple) and any(part is None for part in first):
                raise ValueError(
                    f"y must not be None in the batches of {argument}: Keras reads no None from a PyDataset; give zeros"
                )
        return batches

    def _check_dataset(self, argument: str, dataset: tf.data.Dataset) -> None:
        x, y, weights = parts_of(dataset.element_spec)
        parts = [(argument, x, self.shape)]
        if self.contexts.size:
            if y is None:
                raise ValueError(f"y must hold the {self.contexts.description}; got none")
            parts.append(("y", y, self.contexts.shape))
        if weights is not None:
            parts.append(("sample_weight", weights, ()))
        for name, spec, shape in parts:
            if not isinstance(spec, tf.TensorSpec):
                raise ValueError(f"{name} must hold batches that are tensors; got {spec}")
            if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
                raise ValueError(f"{name} must hold numbers; got {spec.dtype.name}")
            if spec.shape.rank is None:
                raise ValueError(
                    f"{name} must hold batches of shape [batch] + {shape}; got a data set of unknown rank: "
                    f"tf.ensure_shape({name}, {[None, *shape]}) in dataset.map makes it known"
                )
            if not spec.shape.is_compatible_with([None, *shape]):
                raise ValueError(f"{name} must hold batches of shape [batch] + {shape}; got {spec.shape}")
            if not spec.shape[:1].is_compatible_with(x.shape[:1]):
                raise ValueError(f"{name} must have as many entries as {argument}; got {spec.shape} and {x.shape}")
        if self.contexts.size:
            self.contexts.check_dtype("y", y.dtype)
        if dataset.cardinality() == 0:
            raise ValueError(f"{argument} must not be empty; got a data set without batches")

    def first_batch(self, x: Any, y: Any, batch_size: int, seed: int) -> tuple[Any, tuple]:
        """The first batch of the data for `FlowModel.fit`; a random batch if the data are arrays.

        Args:
          x, y: as for `FlowModel.fit`.
          batch_size: number of events in the batch, if `x` holds arrays.
          seed: int, the seed of the random choice.

        Returns:
          `(x, batch)`: the data to fit (a generator still begins with its first batch), and (events, y).

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
        return x, parts_of(batch)[:2]

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
            flat = values.ravel()
            first = next((place for place, value in enumerate(flat) if not _is_number(value)), 0)
            raise ValueError(f"{argument} must hold numbers; got {values.dtype} such as {flat[first : first + 1]}")
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
        return of_known_shape("x", tf.convert_to_tensor(as_events(x)), self.shape)

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
        levels = tf.cast(x, tf.float64 if x.dtype.is_floating else tf.int64)  # The dtype of x may not hold num_bins.
        allowed = (levels >= 0) & (levels < self.num_bins)
        if x.dtype.is_floating:
            allowed &= levels == tf.floor(levels)
        with tf.control_dependencies([assert_that(allowed, f"x must hold integers from 0 to {self._last_level}")]):
            return tf.identity(x)

    def checked_latents(self, z: Any, shape: tuple | None = None) -> np.ndarray:
        """Latents as an array, [N] + shape, of the flow's dtype; None for the shape of an event.

        Raises:
          ValueError: for another shape, no latents, entries that are not numbers, or NaN.
        """
        z = np.asarray(as_array(z))
        shape = self.shape if shape is None else shape
        if tuple(z.shape[1:]) != shape:
            raise ValueError(f"z must have shape [N] + {shape}; got {tuple(z.shape)}")
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


def _is_number(value: Any) -> bool:
    """Whether the value can be read as a number: in a frame with one column of words all values become words."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
