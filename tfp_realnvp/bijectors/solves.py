"""`Solves`: the solves of one pass of a model through its continuous flows, and the scope around them."""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Iterator

import tensorflow as tf

from tfp_realnvp import noise
from tfp_realnvp.scopes import setting

_numbers = itertools.count()


class Solves:
    """The solves of one pass of a model: the randomness of their events, and the results that they leave for the model.

    Args:
      x: tensor [batch, ...], the events from which the keys of their probes follow; None for none.
      seed: int64 tensor [2], the seed of the keys and probes.
      with_log_det: False for solves of the events alone, whose log-dets are NaN.

    Attributes:
      seed: see the argument.
      with_log_det: see the argument.
      evaluations: list of int32 scalars, the number of evaluations of each solve.
      penalties: list of scalars in nats, of the regularizers.

    Example: `Solves(with_log_det=False)`
    """

    def __init__(self, x: tf.Tensor | None = None, seed: tf.Tensor | None = None, with_log_det: bool = True) -> None:
        self._x, self.seed, self.with_log_det = x, seed, with_log_det
        self._number = next(_numbers)
        self.evaluations: list[tf.Tensor] = []
        self.penalties: list[tf.Tensor] = []

    def __hash__(self) -> int:
        """Another one for each object, also after others are gone; the state of a pass depends on it."""
        return self._number

    @functools.cached_property
    def keys(self) -> tf.Tensor | None:
        """A key for each event, from its values and the seed: a uint64 tensor [batch, 1], or None."""
        if self._x is None:
            return None
        bits = tf.bitcast(tf.cast(self._x, tf.float64), tf.uint64)
        return noise.keys(bits, noise.coefficients([math.prod(bits.shape[1:])], self.seed))


scope: contextvars.ContextVar[Solves | None] = contextvars.ContextVar("solves", default=None)


@contextlib.contextmanager
def solving(solves: Solves) -> Iterator[Solves]:
    """A scope in which all solves of continuous flows belong to `solves`.

    Example: `with solving(Solves(x, seed)) as solves: log_prob = distribution.log_prob(x)`
    """
    with setting(scope, solves):
        yield solves
