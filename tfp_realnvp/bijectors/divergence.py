"""The divergence of a vector field, tr ∂f/∂y: exact, or Hutchinson's estimate by random probes.

References: Grathwohl et al., FFJORD, arXiv 1810.01367, section 3.1.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfp_realnvp import noise
from tfp_realnvp.bijectors.solves import Solves
from tfp_realnvp.common import draw_seed

LARGEST_EXACT = 4096
"""The largest number of entries of an event with an exact divergence."""


def rademacher(uniform: tf.Tensor) -> tf.Tensor:
    """Probes of entries −1 and 1, from uniform numbers; the diagonal of the Jacobian adds nothing to their variance.

    Example: `rademacher(tf.constant([0.2, 0.7]))` is [-1, 1].
    """
    return tf.where(uniform < 0.5, -1.0, 1.0)


def gaussian(uniform: tf.Tensor) -> tf.Tensor:
    """Probes of standard normal entries, from uniform numbers in steps of 2^−24.

    Example: `gaussian(tf.constant([0.5]))` is [0.0].
    """
    return tf.math.ndtri(uniform * (1 - 2**-22) + 2.0**-23)


class Exact:
    """The exact divergence Σ eᵀ (∂f/∂y) e over the basis: as many products as an event has entries.

    Raises:
      ValueError: when called, for events of more than 4,096 entries.

    Example: `ContinuousFlow(dynamics, divergence=Exact())`
    """

    def __repr__(self) -> str:
        return "Exact()"

    def check(self, size: Any) -> None:
        """Raises a ValueError for events of more entries than 4,096.

        Args:
          size: the number of entries, an int, or a tensor, of which nothing is known.
        """
        if isinstance(size, int) and size > LARGEST_EXACT:
            raise ValueError(
                f'divergence must be "hutchinson" for events of more than {LARGEST_EXACT} entries, since "exact" runs '
                f'the network once for each; got "exact" for {size} entries'
            )

    def probes(self, y: tf.Tensor, solves: Solves | None = None) -> tf.Tensor:
        """The basis, [entries, 1] + event_shape.

        Args:
          y: events [batch] + event_shape.
          solves: unused; the basis is not random.
        """
        event = sizes(y)[1:]
        size = math.prod(event)
        self.check(size)
        return tf.reshape(tf.eye(size, dtype=y.dtype), [size, 1, *event])


class Hutchinson:
    """Hutchinson's estimate eᵀ (∂f/∂y) e by one probe e per event and solve; its mean is the divergence.

    A probe is fixed within a solve, in both directions. In a model it depends on the model's seed, the event and the
    draw or the step of training; elsewhere on `seed` alone, so that log-dets of two calls agree.

    Args:
      probe: `rademacher`, `gaussian` or another function of uniform numbers.
      seed: int, so that the flows of one model have different probes; None draws one.

    Example: `ContinuousFlow(dynamics, divergence=Hutchinson(gaussian, seed=3))`

    References: FFJORD, equations 7 and 8.
    """

    def __init__(self, probe: Callable[[tf.Tensor], tf.Tensor] = rademacher, seed: int | None = None) -> None:
        self.probe, self.seed = probe, draw_seed(seed)

    def check(self, size: Any) -> None:
        """Does nothing: events may have any size."""

    def __repr__(self) -> str:
        return f"Hutchinson({self.probe.__name__}, seed={self.seed})"

    def probes(self, y: tf.Tensor, solves: Solves | None = None) -> tf.Tensor:
        """The probe of each event, [1, batch or 1] + event_shape.

        Args:
          y: events [batch] + event_shape.
          solves: the solves that this one belongs to, with a key for each event; None for the same probe everywhere.
        """
        event = sizes(y)[1:]
        size = math.prod(event)
        if solves is None or solves.keys is None:
            multipliers, _ = tf.unstack(noise.coefficients([2, size], [self.seed, 0]))
            uniform = noise.uniform(tf.ones([1, 1], tf.uint64), multipliers, tf.zeros_like(multipliers))
        else:
            seed = tf.bitwise.bitwise_xor(solves.seed, tf.constant([self.seed, 0], tf.int64))
            uniform = noise.uniform(solves.keys, *tf.unstack(noise.coefficients([2, size], seed)))
        return tf.reshape(tf.cast(self.probe(uniform), y.dtype), [1, -1, *event])


def get(identifier: Any, seed: int | None = None) -> Any:
    """The divergence of a name; a divergence is returned as it is.

    Args:
      identifier: "exact", "hutchinson" (with Rademacher's probes) or "gaussian" (Hutchinson's with Gaussian ones), or
        an object with the method `probes`.
      seed: int, of Hutchinson's probes; None draws one.

    Raises:
      ValueError: for anything else.

    Example: `get("hutchinson", seed=0)`
    """
    if hasattr(identifier, "probes"):
        return identifier
    named: dict[Any, Callable[[], Any]] = {
        "exact": Exact,
        "hutchinson": lambda: Hutchinson(rademacher, seed),
        "gaussian": lambda: Hutchinson(gaussian, seed),
    }
    if identifier not in named:
        raise ValueError(f'divergence must be "exact", "hutchinson" or "gaussian"; got {identifier!r}')
    return named[identifier]()


def jacobian_products(
    f: Callable[[tf.Tensor], tf.Tensor], y: tf.Tensor, probes: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """f(y), and eᵀ ∂f/∂y for each probe e, in one evaluation of f for all.

    Args:
      f: function of events [n · batch] + event_shape, to a tensor of the same shape.
      y: events [batch] + event_shape.
      probes: tensor [n, batch or 1] + event_shape.

    Returns:
      Tensors of shape [batch] + event_shape and [n, batch] + event_shape.

    Example: `jacobian_products(tf.sin, y, tf.ones_like(y)[tf.newaxis])`
    """
    (number, *_), (batch, *event) = sizes(probes), sizes(y)
    probes = tf.broadcast_to(probes, [number, batch, *event])
    copies = tf.reshape(tf.broadcast_to(y, [number, batch, *event]), [-1, *event])
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(copies)
        values = f(copies)
    products = tape.gradient(values, copies, tf.reshape(probes, [-1, *event]), tf.UnconnectedGradients.ZERO)
    return tf.reshape(values, [number, batch, *event])[0], tf.reshape(products, [number, batch, *event])


def sizes(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape of x, in ints where they are known.

    Example: `sizes(tf.zeros([8, 3]))` is [8, 3].
    """
    return [size if size is not None else tf.shape(x)[axis] for axis, size in enumerate(x.shape)]


def sums(probes: tf.Tensor, products: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The divergence Σ eᵀJe and the squared Frobenius norm Σ |eᵀJ|² of each event, or Hutchinson's estimates of them.

    Args:
      probes, products: as of `jacobian_products`.

    Returns:
      Two tensors [batch].

    Example: `divergence, norm = sums(probes, products)`

    References: FFJORD, equation 7; Finlay et al., RNODE, arXiv 2002.02798, equation 12.
    """
    axes = [0, *range(2, products.shape.rank)]
    return tf.reduce_sum(probes * products, axes), tf.reduce_sum(tf.square(products), axes)
