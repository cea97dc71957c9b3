"""The fixed order of the entries of an event."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_realnvp.common import register
from tfp_realnvp.representation import Described


@register
class FixedOrder(Described, keras.layers.Layer):
    """An order of entries as a weight that is not trained, so that a saved flow keeps it.

    Args:
      order: ints, a permutation of 0, 1, …, size − 1.

    Raises:
      ValueError: for other numbers.

    Call arguments:
      x: tensor of entries; the order does not depend on it.

    Returns:
      int64 tensor [size].

    Example: `bijectors.Permutation(FixedOrder([2, 0, 1]), event_ndims=1)`

    References: Kolesnikov et al., Jet, arXiv 2412.15129, section 3.
    """

    def __init__(self, order: Sequence[int] | np.ndarray, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._order = np.asarray(order)
        if not np.array_equal(np.sort(self._order), np.arange(self._order.size)):
            raise ValueError(f"order must be a permutation of 0, 1, …, size - 1; got {order}")

    def build(self, input_shape: tuple | None = None) -> None:
        self.permutation = self.add_weight(
            name="permutation",
            shape=self._order.shape,
            dtype="int64",
            initializer=self._order,
            trainable=False,
            autocast=False,
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.identity(self.permutation.value)

    def compute_output_shape(self, input_shape: tuple | None) -> tuple:
        return self._order.shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "order": self._order.tolist()}
