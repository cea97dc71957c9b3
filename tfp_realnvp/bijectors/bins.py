"""The bins of pixel levels on their way through a flow, which give the probabilities of the levels themselves.

A flow whose entries each pass one increasing map y, chosen by the entries before it, is a model of integers. F is the
distribution function of a latent:

```none
P(k | levels before) = F(y(k + 1)) − F(y(k)),    k = 0 begins at −∞, and the last level ends at ∞
```

The entries before it enter at the middles of their bins. So P needs no noise and is no bound. The probabilities of all
levels of an entry add up to 1.

A bijector that is neither elementwise nor a permutation takes part by a method `forward_bins(bins)`, data → latent. One
whose entries come in an order, as in `Coupling` and `FactorOut`, also has `inverse_levels(z, at, choice)`, latent →
levels. There `at` is the function from levels to values in front of the bijector. The choice is a function that gives
the levels of entries whose map is known: those whose bins hold given latents, or those that a codec reads. It also
gives the levels before them, whose events it may resample.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.representation import layers_of

NARROWEST = 2.0**-40  # of a bin, as a difference of latents: its probability is at least about 1e-12

At = Callable[[tf.Tensor], tf.Tensor]
# A choice gives (kept, levels) from (bijector_fn, params, kept, latents, at). bijector_fn(params) is the map of the
# entries. kept holds the levels before them.
Choice = Callable[[Callable[[tf.Tensor], Any], tf.Tensor, tf.Tensor, tf.Tensor, At], tuple[tf.Tensor, tf.Tensor]]


class Bins(NamedTuple):
    """The bins of a batch of events at some place of a flow.

    Attributes:
      levels: tensor [batch] + event_shape, the levels, which only change places.
      middle: tensor of the same shape, the middles of the bins as mapped so far. The middle of an entry counts until
        the entry is mapped.
      edges: tensors of the same shape, ends of bins as mapped so far.
      is_mapped: bool array of the shape of an event, the entries that have passed a map of their own.

    Example: `Bins.of(levels, at=tf.identity, edges=(levels, levels + 1))`
    """

    levels: tf.Tensor
    middle: tf.Tensor
    edges: tuple[tf.Tensor, ...]
    is_mapped: np.ndarray

    @classmethod
    def of(cls, levels: tf.Tensor, at: At, edges: Iterable[tf.Tensor]) -> "Bins":
        """The bins of levels, before any map but `at`.

        Args:
          levels: float tensor [batch] + event_shape.
          at: function of levels.
          edges: tensors of the same shape, in units of levels.

        Example: `Bins.of(levels, at=tf.identity, edges=(levels, levels + 1))`
        """
        return cls(levels, at(levels + 0.5), tuple(map(at, edges)), np.zeros(levels.shape[1:], bool))

    def split(self, function: Callable[[tf.Tensor], Sequence[tf.Tensor]]) -> list["Bins"]:
        """The parts of the events, by a function that splits tensors.

        Example: `kept, changed = bins.split(mask.split)`
        """
        flags = _static(function, self)
        parts = zip(*(function(tensor) for tensor in self._tensors()), strict=True)
        return [_bins(tensors, flag) for tensors, flag in zip(parts, flags, strict=True)]

    def merged(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], other: "Bins") -> "Bins":
        """The events of these parts and others, by a function that merges tensors.

        Example: `kept.merged(mask.merge, changed)`
        """
        (flags,) = _static(lambda *parts: [function(*parts)], self, other)
        return _bins(map(function, self._tensors(), other._tensors()), flags)

    def moved(self, function: Callable[[tf.Tensor], tf.Tensor]) -> "Bins":
        """The bins after a permutation of the entries.

        Example: `bins.moved(Squeeze().forward)`
        """
        (flags,) = _static(lambda part: [function(part)], self)
        return _bins(map(function, self._tensors()), flags)

    def repeated(self, function: Callable[[tf.Tensor], tf.Tensor]) -> "Bins":
        """The bins of events that a function repeats over a batch.

        Example: `bins.repeated(Broadcast([10]).forward)`
        """
        return _bins(map(function, self._tensors()), self.is_mapped)

    def mapped(self, function: Callable[[tf.Tensor], tf.Tensor], differs: bool = False) -> "Bins":
        """The bins after an increasing elementwise map.

        Args:
          function: the map, of tensors.
          differs: whether it differs between entries.

        Example: `bins.mapped(tfb.Scale(2.0).forward)`
        """
        return Bins(self.levels, function(self.middle), tuple(map(function, self.edges)), self.is_mapped | differs)

    def _tensors(self) -> list[tf.Tensor]:
        return [self.levels, self.middle, *self.edges]


def forward(bijector: Any, bins: Bins) -> Bins:
    """The bins behind a bijector.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      bins: `Bins`.

    Raises:
      ValueError: for a bijector in which the bins of the entries do not stay intervals.

    Example: `forward(tfb.Scale(2.0), bins)`
    """
    if hasattr(bijector, "forward_bins"):
        return bijector.forward_bins(bins)
    if _is_chain(bijector):
        return functools.reduce(lambda bins, layer: forward(layer, bins), layers_of(bijector), bins)
    if _is_elementwise(bijector):
        return bins.mapped(bijector.forward, differs=bijector.experimental_batch_shape().rank != 0)
    if _is_permutation(bijector):
        return bins.moved(bijector.forward)
    raise ValueError(
        "the probabilities of levels need entries that pass one increasing map each, which is chosen by the entries "
        f"before; {bijector} is no such map"
    )


def inverse(bijector: Any, z: tf.Tensor, at: At, choice: Choice) -> tf.Tensor:
    """The levels of the entries, in an order in which those before an entry determine its map.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      z: tensor [batch] + event_shape, latents for the choice.
      at: function of levels, which gives the values in front of the bijector.
      choice: function (bijector_fn, params, kept, z, at) ↦ (kept, levels), see `Choice`.

    Returns:
      Tensor [batch] + event_shape, levels.

    Example: `inverse(flow, z, tf.identity, lambda bijector_fn, params, kept, z, at: (kept, tf.zeros_like(z)))`
    """
    if hasattr(bijector, "inverse_levels"):
        return bijector.inverse_levels(z, at, choice)
    if _is_chain(bijector):
        layers = layers_of(bijector)
        for number, layer in reversed(list(enumerate(layers))):
            z = inverse(layer, z, _behind(layers[:number], at), choice)
        return z
    return z if _is_elementwise(bijector) else bijector.inverse(z)


def num_turns(bijector_fn: Any, params: tf.Tensor, z: tf.Tensor) -> int:
    """The number of turns in which the levels of z are found: one for each channel if the map joins them, or one.

    Args:
      bijector_fn, params, z: as of `Choice`. A `bijector_fn` whose maps join the channels must have a method
        `of_channel`, as `ResidualMixture` has.

    Raises:
      ValueError: for a map that joins the channels without that method.

    Example: `num_turns(lambda params: tfb.Scale(params), tf.constant(2.0), z)` is 1.
    """
    if not bijector_fn(params).forward_min_event_ndims or z.shape[-1] == 1:
        return 1
    if not hasattr(bijector_fn, "of_channel"):
        raise ValueError(
            "bijector_fn must have a method of_channel, as bijectors.ResidualMixture, to find the levels of channels "
            f"that depend on one another; got {bijector_fn}"
        )
    return z.shape[-1]


def levels_at(
    bijector_fn: Any, params: tf.Tensor, z: tf.Tensor, at: At, num_bins: int, given: tf.Tensor | None = None
) -> tf.Tensor:
    """The levels whose bins hold the latents z, by bisection; NaN where the map is NaN.

    Args:
      bijector_fn, params, z, at: as of `Choice`.
      num_bins: number of levels.
      given: tensor like z of levels that stand whatever z is, negative for those to be found; None for none.

    Raises:
      ValueError: as `num_turns`.

    Example: `levels_at(tfb.Scale, tf.constant(2.0), tf.constant([[7.0]]), tf.identity, 17)` is 3.
    """
    turns = num_turns(bijector_fn, params, z)
    given = -tf.ones_like(z) if given is None else given
    if turns == 1:
        return tf.where(given < 0, _bisected(bijector_fn(params), z, at, num_bins), given)

    def step(channel: tf.Tensor, levels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mixture, of_channel = bijector_fn.of_channel(params, at(levels + 0.5), channel)
        found = _bisected(mixture(of_channel), channel_of(z, channel), at, num_bins)
        is_found = (tf.range(turns) == channel) & (given < 0)
        return channel + 1, tf.where(is_found, found, levels)

    _, levels = tf.while_loop(lambda channel, _: channel < turns, step, [0, tf.maximum(given, 0.0)])
    return tf.ensure_shape(levels, z.shape)


def channel_of(x: tf.Tensor, channel: Any) -> tf.Tensor:
    """One channel [..., 1] of a tensor [..., channels].

    Example: `channel_of(images, 0)`
    """
    return tf.gather(x, [channel], axis=-1)


def _bisected(f: Any, z: tf.Tensor, at: At, num_bins: int) -> tf.Tensor:
    """The levels whose bins hold the latents z of an elementwise map f, or of a map of one channel."""
    bits = (num_bins - 1).bit_length()
    halves = tf.constant([2.0**bit for bit in reversed(range(bits))], z.dtype)

    def step(number: tf.Tensor, levels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidates = levels + halves[number]
        is_level = candidates < num_bins  # Beyond the last level a map may be NaN.
        latents = f.forward(at(candidates))
        candidates = tf.where(tf.math.is_nan(latents), latents, candidates)  # Anywhere else NaN goes on as NaN.
        return number + 1, tf.where(is_level & ~(latents > z), candidates, levels)

    _, levels = tf.while_loop(lambda number, _: number < bits, step, [0, tf.zeros_like(z)])
    return tf.ensure_shape(levels, z.shape)


def log_probs(low: tf.Tensor, high: tf.Tensor, is_first: tf.Tensor, is_last: tf.Tensor) -> tf.Tensor:
    """log P of bins between standard logistic latents, in nats.

    ```none
    log (σ(high) − σ(low)) = log σ(high) + log σ(−low) + log(1 − exp(low − high))
    ```

    This form is exact in both tails. The first bin has only the first term, and the last bin only the second.

    Args:
      low, high: tensors, the ends of the bins.
      is_first, is_last: bool tensors, whether a bin is open at its low or its high end, whose value does not count.

    Example: `log_probs(tf.constant(-1.0), tf.constant(1.0), False, False)` is log 0.462.

    References: PixelCNN++, arXiv 1701.05517, section 2.1, for the open bins at both ends.
    """
    zeros = tf.zeros_like(low)
    below = tf.where(is_last, zeros, tf.math.log_sigmoid(high))
    above = tf.where(is_first, zeros, tf.math.log_sigmoid(-low))
    # TFP's log1mexp has a branch for wide bins, whose gradient is NaN at narrow ones.
    between = tf.math.log(-tf.math.expm1(-tf.maximum(high - low, NARROWEST)))
    between = tf.where(is_first | is_last, zeros, between)
    return below + above + between


def log_prob(distribution: tfd.Distribution, levels: tf.Tensor, num_bins: int) -> tf.Tensor:
    """The log-probabilities of pixel levels, in nats: a tensor [batch].

    Args:
      distribution: `tfd.TransformedDistribution` with logistic latents, over values in [0, num_bins).
      levels: float tensor [batch] + event_shape of whole numbers.
      num_bins: number of levels.

    Raises:
      ValueError: for a distribution that gives only densities.

    Example: `log_prob(rnvp.SubpixelFlow((8, 8, 1), num_bins=17).distribution, digits, 17)`
    """
    event_ndims = distribution.event_shape.rank
    return tf.reduce_sum(log_probs_of_entries(distribution, levels, num_bins), axis=range(-event_ndims, 0))


def log_probs_of_entries(distribution: tfd.Distribution, levels: tf.Tensor, num_bins: int) -> tf.Tensor:
    """The log-probability of each level given those before it, at the place of its latent: [batch] + event_shape.

    Args:
      distribution, levels, num_bins: as for `log_prob`.

    Raises:
      ValueError: as `log_prob`.

    Example: `model.split_by_scale(log_probs_of_entries(model.distribution, digits, 17))`
    """
    standard = standardized(distribution)  # It refuses distributions without a bijector.
    return log_probs_behind(data_to_latent(distribution), levels, tf.identity, num_bins, standard)


def log_probs_behind(bijector: Any, levels: tf.Tensor, at: At, num_bins: int, standard: Any) -> tf.Tensor:
    """The log-probability of each level given those before it, at the place of its latent, by a bijector alone.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      levels: float tensor [batch] + event_shape of whole numbers.
      at: function of levels, which gives the values in front of the bijector.
      num_bins: number of levels.
      standard: of `standardized`.

    Example: `log_probs_behind(bijector_fn(params), levels, at, 17, standardized(distribution))`
    """
    # A middle stands in for an infinite end.
    low = tf.where(levels == 0, levels + 0.5, levels)
    high = tf.where(levels == num_bins - 1, levels + 0.5, levels + 1)
    bins = forward(bijector, Bins.of(levels, at, (low, high)))
    low, high = map(standard, bins.edges)
    return log_probs(low, high, bins.levels == 0, bins.levels == num_bins - 1)


def in_latents_order(bijector: Any, levels: tf.Tensor) -> tf.Tensor:
    """Levels at the places of their latents. No network runs.

    Args:
      bijector: `tfb.Bijector`, data → latent.
      levels: tensor [batch] + event_shape, or any other numbers for the entries.

    Example: `in_latents_order(flow, levels)`
    """
    return forward(bijector, Bins.of(levels, tf.identity, ())).levels


def decode(distribution: tfd.Distribution, z: tf.Tensor, num_bins: int) -> tf.Tensor:
    """The levels whose bins hold the latents z. Those of drawn z have the probabilities of `log_prob`.

    Args:
      distribution, num_bins: as for `log_prob`.
      z: latents [batch] + event_shape.

    Example: `decode(distribution, z, 17)` are levels from 0 to 16.
    """
    choice = lambda bijector_fn, params, kept, z, at: (kept, levels_at(bijector_fn, params, z, at, num_bins))
    return inverse(data_to_latent(distribution), z, tf.identity, choice)


def check(distribution: tfd.Distribution, event_shape: tuple[int, ...]) -> None:
    """Raises a ValueError for a distribution that gives only densities, not the probabilities of levels.

    Args:
      distribution: `tfd.Distribution`.
      event_shape: shape of an event.

    Example: `check(model.distribution, model.event_shape)`
    """
    log_prob(distribution, tf.zeros([1, *event_shape], distribution.dtype), num_bins=2)


def data_to_latent(distribution: Any) -> tfb.Bijector:
    """The bijector of a `tfd.TransformedDistribution` in the papers' direction.

    Example: `data_to_latent(model.distribution)`
    """
    return _inverted(distribution.bijector)


def standardized(distribution: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function of a latent that makes it a standard logistic one.

    Raises:
      ValueError: for a distribution without independent logistic latents.

    Example: `standardized(distribution)(z)`
    """
    base = latent(distribution)
    return lambda z: (z - base.loc) / base.scale


def latent(distribution: Any) -> tfd.Logistic:
    """The distribution of each latent.

    Raises:
      ValueError: as `standardized`.

    Example: `latent(distribution).sample([8, 16, 16, 3])`
    """
    base: Any = getattr(distribution, "distribution", None) if hasattr(distribution, "bijector") else None
    while hasattr(base, "distribution"):  # A tfd.Sample, and for contexts a tfd.BatchBroadcast of it.
        base = base.distribution
    if not isinstance(base, tfd.Logistic):
        raise ValueError(
            "the probabilities of levels need a tfd.TransformedDistribution of independent logistic latents, such as "
            f"SubpixelFlow's; got {base or distribution}"
        )
    return base


def _bins(tensors: Iterable[tf.Tensor], is_mapped: np.ndarray) -> Bins:
    levels, middle, *edges = tensors
    return Bins(levels, middle, tuple(edges), is_mapped)


def _static(function: Callable[..., Sequence[tf.Tensor]], *bins: Bins) -> list[np.ndarray]:
    """The results of a function of tensors for `is_mapped`, which is known before any graph runs."""
    with tf.init_scope():
        results = function(*(tf.constant(part.is_mapped[np.newaxis], tf.float32) for part in bins))
    return [result.numpy()[0] > 0.5 for result in results]


def _inverted(bijector: Any) -> tfb.Bijector:
    """The inverse of a bijector, for a chain the chain of the inverses."""
    if _is_inverse(bijector):
        return bijector.bijector
    if _is_chain(bijector):
        return tfb.Chain([_inverted(part) for part in layers_of(bijector)])
    return tfb.Invert(bijector)


def _behind(layers: Sequence[Any], at: At) -> At:
    """The function of levels that gives the values behind these layers, of which only the elementwise ones change it.

    All others move entries, or change only entries that no later map sees.
    """
    maps = [layer for layer in layers if _is_elementwise(layer)]
    return lambda levels: functools.reduce(lambda x, layer: layer.forward(x), maps, at(levels))


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
