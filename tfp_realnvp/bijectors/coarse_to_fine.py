"""`CoarseToFine`: the pixels of an image of any size in an order from coarse to fine."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.volume_preserving import VolumePreserving


class CoarseToFine(VolumePreserving):
    """Lays the pixels of an image side by side, from coarse to fine: [height, width, c] ↦ [1, 1, height · width · c].

    The first group is the top-left pixel. For h = …, 4, 2, 1 follow three groups, places of each block of 2h × 2h:

    ```none
    the pixels at (h, h),  at (0, h),  at (h, 0)
    ```

    This is the order of `Squeeze(diagonal_first=True)`, applied again and again. Here the sides may also be odd. Groups
    without pixels are left out.

    Args:
      event_shape: ints (height, width, channels).

    Attributes:
      sizes: list of ints, the number of entries of each group.

    Raises:
      ValueError: for an `event_shape` of another length, or with sizes below 1.

    Example: `CoarseToFine((3, 3, 1)).sizes` is [1, 1, 1, 1, 1, 2, 2].

    References: Reed et al., arXiv 1703.03664, figure 2, for the order of the places.
    """

    is_permutation = True  # See `bins`.

    def __init__(self, event_shape: Sequence[int], validate_args: bool = False, name: str = "coarse_to_fine") -> None:
        parameters = dict(locals())
        self._shape = tuple(event_shape)
        if len(self._shape) != 3 or any(not isinstance(size, int) or size < 1 for size in self._shape):
            raise ValueError(f"event_shape must be three positive ints; got {event_shape!r}")
        places = np.arange(np.prod(self._shape)).reshape(self._shape)
        groups = [places[:1, :1]]
        for h in (2**bit for bit in reversed(range(max(self._shape[:2]).bit_length()))):
            groups += [places[row :: 2 * h, column :: 2 * h] for row, column in ((h, h), (0, h), (h, 0))]
        groups = [group.ravel() for group in groups if group.size]
        self.sizes = [len(group) for group in groups]
        self._order = np.concatenate(groups)
        super().__init__(parameters, 3, validate_args, name)

    @property
    def _is_permutation(self) -> bool:
        return True

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return self._moved(x, self._shape, self._order, self._flat_shape)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self._moved(y, self._flat_shape, np.argsort(self._order), self._shape)

    @property
    def _flat_shape(self) -> tuple[int, int, int]:
        return 1, 1, len(self._order)

    def _moved(self, x: tf.Tensor, before: tuple, order: np.ndarray, after: tuple) -> tf.Tensor:
        self._check(x.shape[-3:], before)
        batch = tf.shape(x)[:-3]
        entries = tf.gather(tf.reshape(x, tf.concat([batch, [len(order)]], 0)), order, axis=-1)
        return tf.ensure_shape(tf.reshape(entries, tf.concat([batch, after], 0)), [*x.shape[:-3], *after])

    def _forward_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return self._other_shape(shape, self._shape, self._flat_shape)

    def _inverse_event_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return self._other_shape(shape, self._flat_shape, self._shape)

    def _other_shape(self, shape: tf.TensorShape, before: tuple, after: tuple) -> tf.TensorShape:
        if tf.TensorShape(shape).rank is None:
            return shape
        self._check(shape[-3:], before)
        return shape[:-3] + list(after)

    def _forward_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.concat([shape[:-3], self._flat_shape], 0)

    def _inverse_event_shape_tensor(self, shape: tf.Tensor) -> tf.Tensor:
        return tf.concat([shape[:-3], self._shape], 0)

    def _check(self, shape: tf.TensorShape, expected: tuple) -> None:
        if not tf.TensorShape(shape).is_compatible_with(expected):
            raise ValueError(f"{self.name} needs events of shape {expected} here; got {tuple(shape)}")
