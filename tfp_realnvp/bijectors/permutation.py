"""`Permutation`: the entries of an event in another order; orders of tokens."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfp_realnvp.bijectors.fused import FusedBijector


class Permutation(FusedBijector):
    """Puts the entries of an event in another order: y_i = x_{order(i)}, with the entries counted in C order.

    The order may be a weight, so that a saved flow keeps it. Forward is data → latent, as in the papers.

    Args:
      order: callable, x ↦ the order, an int tensor [entries]. It is the same for every x. It may be an
        `rnvp.networks.FixedOrder`, or any function of this form.
      event_ndims: int, rank of an event, 3 for images and 1 for vectors.

    Raises:
      ValueError: when called, for events of another number of entries.

    Example: `Permutation(lambda x: tf.constant([2, 0, 1]), event_ndims=1).forward([5.0, 6.0, 7.0])` is [7, 5, 6].

    References: Kolesnikov et al., Jet, arXiv 2412.15129, section 3.
    """

    def __init__(
        self,
        order: Callable[[tf.Tensor], tf.Tensor],
        event_ndims: int = 3,
        validate_args: bool = False,
        name: str = "permutation",
    ) -> None:
        parameters = dict(locals())
        self._order = self._no_dependency(order)
        self._event_ndims = event_ndims
        super().__init__(parameters, event_ndims, [order], validate_args=validate_args, name=name)

    @property
    def _is_permutation(self) -> bool:
        return True

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._gathered(x, self._order(x))

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = self._order(y)
        # On a GPU `tf.math.invert_permutation` would run on the host.
        places = tf.range(tf.size(order, order.dtype))
        return self._gathered(y, tf.scatter_nd(order[:, tf.newaxis], places, tf.shape(order, order.dtype)))

    def _gathered(self, x: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The entries of x in this order, and the log-det."""
        event_shape, size = x.shape[-self._event_ndims :], order.shape[0]
        if event_shape.is_fully_defined() and event_shape.num_elements() != size:
            raise ValueError(f"{self.name} needs events of {size} entries; got an event of shape {tuple(event_shape)}")
        batch = tf.shape(x)[: -self._event_ndims]
        entries = tf.reshape(x, tf.concat([batch, [-1]], 0))
        return tf.reshape(tf.gather(entries, order, axis=-1), tf.shape(x)), tf.zeros(batch, x.dtype)


def channel_order(shape: tuple[int, int, int], channels: Sequence[int] | np.ndarray) -> np.ndarray:
    """The order of entries that puts the channels of each token in another order.

    Args:
      shape: (rows, columns, channels) of the tokens.
      channels: ints [channels], the channel at each new place.

    Example: `channel_order((1, 2, 2), [1, 0])` is [1, 0, 3, 2].
    """
    return np.arange(math.prod(shape)).reshape(shape)[..., channels].ravel()


def token_order(shape: tuple[int, int, int], tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """The order of entries for a spatial coupling: half of the tokens fill the first halves of all tokens.

    The first halves are x₁, which the coupling keeps: the n-th kept token becomes the tokens 2n and 2n + 1 of x₁.

    Args:
      shape: (rows, columns, channels) of the tokens.
      tokens: ints [rows · columns], the kept tokens, then the changed ones.

    Example: `token_order((1, 2, 4), [1, 0])` is [4, 5, 0, 1, 6, 7, 2, 3].
    """
    kept, changed = np.split(np.arange(math.prod(shape)).reshape(-1, shape[-1])[np.asarray(tokens)], 2)
    halves = [part.reshape(-1, shape[-1] // 2) for part in (kept, changed)]
    return np.concatenate(halves, axis=1).ravel()
