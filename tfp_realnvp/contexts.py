"""`Contexts`: the classes or vectors that a flow is conditioned on, and their checks."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import as_array, assert_that, of_known_shape, value_errors

UNLABELLED = -1
"""The label of an event whose class is unknown."""
_OR_UNLABELLED = f", or {UNLABELLED} for an unknown class"


@dataclasses.dataclass(frozen=True)
class Contexts:
    """The context of a flow: the class of each event, or a vector. With neither, the flow is not conditional.

    Args:
      num_classes: number of classes if the contexts are labels, ints; None otherwise.
      context_size: size of the contexts if they are vectors; None otherwise.
      vector_dtype: `tf.DType` of the vectors that the networks see; labels are one-hot there.

    Raises:
      ValueError: for both `num_classes` and `context_size`, or for one that is not a positive int.

    Example: `Contexts(num_classes=3, context_size=None, vector_dtype=tf.float32).vectors([2])` is [[0, 0, 1]].
    """

    num_classes: int | None
    context_size: int | None
    vector_dtype: tf.DType

    def __post_init__(self) -> None:
        if self.num_classes is not None and self.context_size is not None:
            raise ValueError(
                f"num_classes and context_size exclude each other; got {self.num_classes} and {self.context_size}"
            )
        for name in ("num_classes", "context_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be None or a positive int; got {value!r}")

    @property
    def size(self) -> int | None:
        """The size of the vectors that the networks see, None without a context."""
        return self.num_classes or self.context_size

    @property
    def name(self) -> str:
        """The name of the argument that holds the contexts: "labels" or "context"."""
        return "labels" if self.num_classes else "context"

    @property
    def shape(self) -> tuple[Any, ...]:
        """The shape of one context: () for a label."""
        return () if self.num_classes else (self.context_size,)

    @property
    def dtype(self) -> tf.DType:
        """The `tf.DType` of the contexts: int64 for labels."""
        return tf.int64 if self.num_classes else self.vector_dtype

    @property
    def description(self) -> str:
        """A noun phrase for error messages."""
        if self.num_classes:
            return f"labels of a class-conditional flow, ints from 0 to {self.num_classes - 1}"
        return f"contexts of a conditional flow, vectors of size {self.context_size}"

    def vectors(self, context: Any) -> tf.Tensor:
        """The vectors that the networks see; the check of the contexts' values becomes part of the graph.

        Args:
          context: labels [...], or vectors [..., context_size].

        Returns:
          Tensor of `vector_dtype` and shape [..., size].

        Raises:
          ValueError: for a flow without a context, for floats instead of labels, for vectors of another size, and,
            eagerly, for labels out of range or NaN.
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
            with tf.control_dependencies([assert_that(allowed, message)]):
                context = tf.identity(context)
        return tf.one_hot(context, self.num_classes, dtype=self.vector_dtype) if self.num_classes else context

    def possible_classes(self, labels: Any) -> tf.Tensor:
        """The classes that each event may have: its label, or all classes for the label −1.

        Args:
          labels: ints [batch]; the check of their values becomes part of the graph.

        Returns:
          bool tensor [batch, num_classes].

        Raises:
          ValueError: for floats instead of labels, and, eagerly, for labels out of range.

        Example: `Contexts(3, None, tf.float32).possible_classes([2, -1])` is
        [[False, False, True], [True, True, True]].
        """
        assert self.num_classes
        labels = tf.convert_to_tensor(labels)
        self.check_dtype("context", labels.dtype)
        labels = tf.cast(labels, self.dtype)[:, tf.newaxis]
        allowed = (labels >= UNLABELLED) & (labels < self.num_classes)
        message = f"y must hold labels from 0 to {self.num_classes - 1}{_OR_UNLABELLED}"
        with value_errors(), tf.control_dependencies([assert_that(allowed, message)]):
            return (labels == tf.range(self.num_classes, dtype=self.dtype)) | (labels == UNLABELLED)

    def checked(self, argument: str, contexts: Any, may_be_unlabelled: bool = False) -> np.ndarray:
        """Checks labels or vectors and returns them as an array.

        Args:
          argument: the name of the argument in an error message.
          contexts: array, list or pandas frame of labels [N], or of vectors [N, context_size].
          may_be_unlabelled: whether labels may be −1, for events of unknown class.

        Returns:
          The array, of `dtype`.

        Raises:
          ValueError: for a flow without a context, no contexts, another shape, entries that are not numbers, labels out
            of range, or NaN.
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
        lowest, or_unlabelled = (UNLABELLED, _OR_UNLABELLED) if may_be_unlabelled else (0, "")
        if self.num_classes and values.size and (values.min() < lowest or values.max() >= self.num_classes):
            raise ValueError(
                f"{argument} must hold the {self.description}{or_unlabelled}; got {values.dtype} from "
                f"{values.min()} to {values.max()}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{argument} must be finite; got NaN or infinity")
        return values.astype(self.dtype.as_numpy_dtype)

    def of_batch(self, y: Any, size: Any) -> tf.Tensor:
        """The contexts of a batch as a tensor; `vectors` checks their values.

        Args:
          y: tensor of labels [size], or of vectors [size, context_size].
          size: int tensor, the number of events in the batch.

        Raises:
          ValueError: for another shape, or labels that are not ints.
          tf.errors.InvalidArgumentError: for another number of contexts; see `common.value_errors`.
        """
        self.check_dtype("y", y.dtype)
        y = of_known_shape("y", y, self.shape)
        with tf.control_dependencies([assert_that(tf.shape(y)[0] == size, "y must have as many entries as x")]):
            return tf.cast(tf.identity(y), self.dtype)

    def check_dtype(self, argument: str, dtype: tf.DType) -> None:
        """Raises a ValueError for a `tf.DType` that contexts cannot have: floats instead of labels, or no numbers."""
        # A cast to labels would cut off fractions.
        if not (dtype.is_integer or (self.context_size and (dtype.is_floating or dtype.is_bool))):
            raise ValueError(f"{argument} must hold the {self.description}; got {dtype.name}")

    def weights_of_classes(self, class_weight: Any) -> dict[int, float]:
        """The weight of each class, 1 where `class_weight` has none.

        Args:
          class_weight: {class: weight}.

        Raises:
          ValueError: for a flow without labels, for keys that are not its labels, or for weights that are negative or
            not finite.
        """
        if not self.num_classes:
            raise ValueError(f"class_weight must be None for a flow without labels; got {class_weight!r}")
        if not isinstance(class_weight, dict) or not all(
            isinstance(label, (int, np.integer)) and 0 <= label < self.num_classes for label in class_weight
        ):
            raise ValueError(
                f"class_weight must be a dictionary with keys among the {self.description}; got {class_weight!r}"
            )
        for weight in class_weight.values():
            if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
                raise ValueError(f"class_weight must hold finite numbers that are not negative; got {weight!r}")
        return {label: float(class_weight.get(label, 1.0)) for label in range(self.num_classes)}

    def of_events(self, number: int, context: Any) -> list[np.ndarray]:
        """The contexts of `number` events: a list of one array, empty for a flow without a context.

        Raises:
          ValueError: as `checked`, or for another number of contexts.
        """
        if context is None and not self.size:
            return []
        context = self.checked("context", context)
        if len(context) != number:
            raise ValueError(f"context must have as many entries as there are events, {number}; got {len(context)}")
        return [context]

    def of_samples(self, number: int, labels: Any, context: Any) -> list[np.ndarray]:
        """The contexts of `number` samples: a list of one array, empty for a flow without a context.

        Args:
          number: int.
          labels: labels [number] or one label, for a class-conditional flow; otherwise None.
          context: vectors [number, context_size] or one vector, for a flow given vectors; otherwise None.

        Returns:
          List of arrays [number] or [number, context_size], see `checked`.

        Raises:
          ValueError: as `checked`, and for labels where a context belongs, or the other way round.
        """
        arguments = {"labels": labels, "context": context}
        if not self.size:
            if labels is None and context is None:
                return []
            raise ValueError("labels and context must be None for this flow")
        other = "context" if self.num_classes else "labels"
        if arguments[other] is not None:
            raise ValueError(f"{other} must be None for this flow")
        if arguments[self.name] is None:
            raise ValueError(f"{self.name} must be given for a conditional flow; got None")
        value, shape = np.asarray(arguments[self.name]), (number, *self.shape)
        if value.shape not in (shape, self.shape):
            raise ValueError(f"{self.name} must have shape {self.shape} or {shape}; got {value.shape}")
        return [self.checked(self.name, np.broadcast_to(value, shape))]
