"""The bins of pixel levels on their way through a flow, which give the probabilities of the levels themselves.

A flow whose entries each pass one increasing map y, chosen by the entries before it, is a model of integers. F is the
distribution function of a latent:

```none
P(k | levels before) = F(y(k + 1)) − F(y(k)),    k = 0 begins at −∞, and the last level ends at ∞
```

The entries before it enter at the middles of their bins. So P needs no noise and is no bound. The probabilities of all
levels of an entry add up to 1.

A bijector that is neither elementwise nor a permutation takes part by two methods, as `Coupling` does:

```none
forward_bins(bins) -> Bins                          data → latent
inverse_to_middles(z, to_middle) -> x               latent → the middles of the bins that hold the data
```
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.representation import layers_of

NARROWEST = 2.0**-40  # of a bin, as a difference of latents: its probability is at least about 1e-12


class Bins(NamedTuple):
    """The bins of a batch of events at some place of a flow.

    Attributes:
      levels: tensor [batch] + event_shape, the pixel levels.
      middle, low, high: tensors of the same shape, the middles and the ends of their bins, as mapped so far. The middle
        of an entry counts until the entry is mapped. It stands in for the infinite ends of the first and last level.
      is_mapped: bool array of the shape of an event, the entries that have passed a map of their own.

    Example: `Bins.of(images, num_bins=256)`
    """

    levels: tf.Tensor
    middle: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    is_mapped: np.ndarray

    @classmethod
    def of(cls, levels: tf.Tensor, num_bins: int) -> "Bins":
        """The bins [k, k + 1) of levels k.

        Args:
          levels: float tensor [batch] + event_shape.
          num_bins: number of levels.

        Example: `Bins.of(tf.constant([[3.0]]), num_bins=17)`
        """
        middle = levels + 0.5
        low = tf.where(levels == 0, middle, levels)
        high = tf.where(levels == num_bins - 1, middle, levels + 1)
        return cls(levels, middle, low, high, np.zeros(levels.shape[1:], bool))

    def split(self, function: Callable[[tf.Tensor], Sequence[tf.Tensor]]) -> list["Bins"]:
        """The parts of the events, by a function that splits tensors.

        Example: `kept, changed = bins.split(mask.split)`
        """
        parts = zip(*map(function, self[:-1]), strict=True)
        return [Bins.from_parts(part, flags) for part, flags in zip(parts, _static(function, self), strict=True)]

    def merged(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], other: "Bins") -> "Bins":
        """The events of these parts and others, by a function that merges tensors.

        Example: `kept.merged(mask.merge, changed)`
        """
        (flags,) = _static(lambda *parts: [function(*parts)], self, other)
        return Bins.from_parts(map(function, self[:-1], other[:-1]), flags)

    def moved(self, function: Callable[[tf.Tensor], tf.Tensor]) -> "Bins":
        """The bins after a permutation of the entries.

        Example: `bins.moved(Squeeze().forward)`
        """
        (flags,) = _static(lambda part: [function(part)], self)
        return Bins.from_parts(map(function, self[:-1]), flags)

    def repeated(self, function: Callable[[tf.Tensor], tf.Tensor]) -> "Bins":
        """The bins of events that a function repeats over a batch.

        Example: `bins.repeated(Broadcast([10]).forward)`
        """
        return Bins.from_parts(map(function, self[:-1]), self.is_mapped)

    @classmethod
    def from_parts(cls, tensors: Iterable[tf.Tensor], is_mapped: np.ndarray) -> "Bins":
        """The bins of the four tensors in the order of the attributes."""
        levels, middle, low, high = tensors
        return cls(levels, middle, low, high, is_mapped)

    def mapped(self, function: Callable[[tf.Tensor], tf.Tensor], is_mapped: bool) -> "Bins":
        """The bins after an increasing elementwise map.

        Args:
          function: the map, of tensors.
          is_mapped: whether it differs between entries.

        Example: `bins.mapped(tfb.Scale(2.0).forward, is_mapped=False)`
        """
        middle, low, high = map(function, (self.middle, self.low, self.high))
        return Bins(self.levels, middle, low, high, self.is_mapped | is_mapped)


def forward(bijector: Any, bins: Bins) -> Bins:
    """The bins behind a bijector.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      bins: `Bins`.

    Raises:
      ValueError: for a bijector in which the bins of the entries do not stay intervals.

    Example: `forward(tfb.Scale(2.0), Bins.of(levels, num_bins=17))`
    """
    if hasattr(bijector, "forward_bins"):
        return bijector.forward_bins(bins)
    if _is_chain(bijector):
        for part in layers_of(bijector):
            bins = forward(part, bins)
        return bins
    if _is_elementwise(bijector):
        return bins.mapped(bijector.forward, is_mapped=bijector.experimental_batch_shape().rank != 0)
    if _is_permutation(bijector):
        return bins.moved(bijector.forward)
    raise ValueError(
        "the probabilities of levels need entries that pass one increasing map each, which is chosen by the entries "
        f"before; {bijector} is no such map"
    )


def inverse(bijector: Any, z: tf.Tensor, to_middle: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The data of latents. Entries before another one enter its map at the middles of their bins, as in `forward`.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      z: latents [batch] + event_shape.
      to_middle: function of values at the data's end of the bijector; it gives the middles of their bins.

    Example: `inverse(flow, z, lambda x: tf.floor(x) + 0.5)`
    """
    if hasattr(bijector, "inverse_to_middles"):
        return bijector.inverse_to_middles(z, to_middle)
    if _is_chain(bijector):
        layers = layers_of(bijector)
        for number, layer in reversed(list(enumerate(layers))):
            before = [part for part in layers[:number] if _is_elementwise(part)]
            z = inverse(layer, z, _behind(before, to_middle))
        return z
    return bijector.inverse(z)


def log_prob(distribution: tfd.Distribution, levels: tf.Tensor, num_bins: int) -> tf.Tensor:
    """The log-probabilities of pixel levels, in nats: a tensor [batch].

    ```none
    log P(k) = log σ(y(k + 1)) + log σ(−y(k)) + log(1 − exp(y(k) − y(k + 1)))
    ```

    This form of σ(y(k + 1)) − σ(y(k)) is exact in both tails. The first level has only the first term, the last level
    only the second.

    Args:
      distribution: `tfd.TransformedDistribution` with logistic latents, over values in [0, num_bins).
      levels: float tensor [batch] + event_shape of whole numbers.
      num_bins: number of levels.

    Raises:
      ValueError: for a distribution that gives only densities.

    Example: `log_prob(rnvp.SubpixelFlow((8, 8, 1), num_bins=17).distribution, digits, 17)`

    References: PixelCNN++, arXiv 1701.05517, section 2.1, for the open bins at both ends.
    """
    logistic = _logistic(distribution)
    bins = forward(_data_to_latent(distribution), Bins.of(levels, num_bins))
    low, high = ((end - logistic.loc) / logistic.scale for end in (bins.low, bins.high))
    is_first, is_last = bins.levels == 0, bins.levels == num_bins - 1
    zeros = tf.zeros_like(low)
    below = tf.where(is_last, zeros, tf.math.log_sigmoid(high))
    above = tf.where(is_first, zeros, tf.math.log_sigmoid(-low))
    between = tfp.math.log1mexp(tf.maximum(high - low, NARROWEST))
    nats = below + above + tf.where(is_first | is_last, zeros, between)
    return tf.reduce_sum(nats, axis=range(-len(bins.is_mapped.shape), 0))


def decode(distribution: tfd.Distribution, z: tf.Tensor, num_bins: int) -> tf.Tensor:
    """The middles of the bins whose latents contain z, so that levels of drawn z have the probabilities of `log_prob`.

    Args:
      distribution, num_bins: as for `log_prob`.
      z: latents [batch] + event_shape.

    Example: `tf.floor(decode(distribution, z, 17))` are levels from 0 to 16.
    """
    to_middle = lambda x: tf.clip_by_value(tf.floor(x), 0, num_bins - 1) + 0.5
    return to_middle(inverse(_data_to_latent(distribution), z, to_middle))


def check(distribution: tfd.Distribution, event_shape: tuple[int, ...]) -> None:
    """Raises a ValueError for a distribution that gives only densities, not the probabilities of levels.

    Args:
      distribution: `tfd.Distribution`.
      event_shape: shape of an event.

    Example: `check(model.distribution, model.event_shape)`
    """
    log_prob(distribution, tf.zeros([1, *event_shape], distribution.dtype), num_bins=2)


def _data_to_latent(distribution: Any) -> tfb.Bijector:
    return _inverted(distribution.bijector)


def _inverted(bijector: Any) -> tfb.Bijector:
    """The inverse of a bijector, for a chain the chain of the inverses."""
    if _is_inverse(bijector):
        return bijector.bijector
    if _is_chain(bijector):
        return tfb.Chain([_inverted(part) for part in layers_of(bijector)])
    return tfb.Invert(bijector)


def _logistic(distribution: Any) -> tfd.Logistic:
    """The logistic distribution of each latent."""
    base: Any = getattr(distribution, "distribution", None) if hasattr(distribution, "bijector") else None
    while hasattr(base, "distribution"):  # A tfd.Sample, and for contexts a tfd.BatchBroadcast of it.
        base = base.distribution
    if not isinstance(base, tfd.Logistic):
        raise ValueError(
            "the probabilities of levels need a tfd.TransformedDistribution of independent logistic latents, such as "
            f"SubpixelFlow's; got {base or distribution}"
        )
    return base


def _static(function: Callable[..., Sequence[tf.Tensor]], *bins: Bins) -> list[np.ndarray]:
    """The results of a function of tensors for `is_mapped`, which is known before any graph runs."""
    with tf.init_scope():
        results = function(*(tf.constant(part.is_mapped[np.newaxis], tf.float32) for part in bins))
    return [result.numpy()[0] > 0.5 for result in results]


def _behind(layers: list[tfb.Bijector], to_middle: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., tf.Tensor]:
    """The function `to_middle` for values behind these elementwise layers."""
    if not layers:
        return to_middle
    maps = tfb.Chain(list(reversed(layers)))
    return lambda y: maps.forward(to_middle(maps.inverse(y)))


def _is_elementwise(bijector: tfb.Bijector) -> bool:
    return bijector.forward_min_event_ndims == 0 and bijector.inverse_min_event_ndims == 0


def _is_permutation(bijector: Any) -> bool:
    inner = bijector.bijector if _is_inverse(bijector) else bijector
    return getattr(inner, "is_permutation", False) or isinstance(inner, (tfb.Permute, tfb.Reshape, tfb.Transpose))


# TFP has several classes of chains and of inverses.


def _is_chain(bijector: Any) -> bool:
    return hasattr(bijector, "bijectors")


def _is_inverse(bijector: Any) -> bool:
    return hasattr(bijector, "bijector")
