"""The coordinates of an unknown event: real numbers u, and its entries x as functions of them.

Chains and optimizers move u. Each class of this file has these methods:

```none
known(images, mask)                              the facts about each event, a tuple of arrays [N, ...]
values(u, known, context)                        the values x that the distribution is over
log_prob_and_entries(u, known, context)          log p(u) in nats, and the entries of x in the units of the data
starts(num_chains, number, known, context, rng)  dispersed u for chains of each event, [num_chains, number, ...]
```

`images` are events [N] + event_shape, and `mask` tells which entries are known, a bool array of the same shape.
`context` is a tuple of one array or tensor, empty for a flow without a context.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp import sampling
from tfp_realnvp.bijectors import bins
from tfp_realnvp.bijectors.solves import Solves, solving
from tfp_realnvp.completion.targets import repeated
from tfp_realnvp.model import FlowModel


class Levels:
    """Pixel values as logits, between the ends of a known level's bin or of the range of all levels.

    ```none
    x = low + (high − low) σ(u),    log p(u) = log p(x) + Σ log dx/du
    ```

    A known pixel of level k lies between k and k + 1. Its dequantization noise is unknown, and u holds it too. So the
    posterior is given the levels, not given one draw of their noise.

    A model with exact probabilities P has no density within a bin, see `bijectors.bins`. Its pixel values get one here,
    which does not change the probabilities of the levels k = ⌊x⌋:

    ```none
    log p(x) = log P(k) + Σ g (x − k − ½) − log (sinh(g/2) / (g/2)),    g = ∂ log P / ∂k, as if k were real
    ```

    Its slope within a bin is g. So it hardly jumps between bins where P is smooth, and chains see where to go.

    Closer than a fiftieth of a level to the ends of the range p(x) keeps its value, since log-scales may explode there.

    Args:
      model: `FlowModel` of pixel levels.

    Example: `Levels(model).values(u, Levels(model).known(images, mask), ())`
    """

    def __init__(self, model: FlowModel) -> None:
        assert model.num_bins is not None
        self._model, self._num_bins = model, model.num_bins
        self._limit = math.log(model.num_bins) + 4

    def known(self, images: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        levels = images.astype(self._model.events.dtype.as_numpy_dtype)
        return np.where(mask, levels, 0 * levels), np.where(mask, levels + 1, 0 * levels + self._num_bins)

    def values(self, u: tf.Tensor, known: tuple, context: tuple) -> tf.Tensor:
        return tfb.Sigmoid(*known).forward(tf.clip_by_value(u, -self._limit, self._limit))

    def log_prob_and_entries(self, u: tf.Tensor, known: tuple, context: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.values(u, known, context)
        distribution: Any = self._model.distribution_given(*context)
        log_p = self._tilted(distribution, x) if self._model.is_exact else distribution.log_prob(x)
        return log_p + tfb.Sigmoid(*known).forward_log_det_jacobian(u, len(self._model.event_shape)), x - 0.5

    def _tilted(self, distribution: Any, x: tf.Tensor) -> tf.Tensor:
        """The density of pixel values whose levels have exact probabilities, for restorations."""
        levels = tf.stop_gradient(tf.minimum(tf.floor(x), self._num_bins - 1.0))
        log_prob = lambda levels: bins.log_prob(distribution, levels, self._num_bins)
        log_p, slopes = map(tf.stop_gradient, tfp.math.value_and_gradient(log_prob, levels))
        half = tf.maximum(tf.abs(slopes) / 2, 1e-3)  # At 0 the last term is 0; here it is below 2e-7.
        log_mean = half + tf.math.log(-tf.math.expm1(-2 * half) / (2 * half))
        return log_p + tf.reduce_sum(slopes * (x - levels - 0.5) - log_mean, axis=range(1, x.shape.rank))

    def starts(
        self, num_chains: int, number: int, known: tuple, context: tuple, rng: np.random.Generator
    ) -> np.ndarray:
        low, high = known
        levels = np.where(high - low == 1, low, _draws(self._model, num_chains, number, context, rng))
        x = levels + rng.uniform(0.01, 0.99, size=levels.shape)
        return tfb.Sigmoid(low, high).inverse(x.astype(low.dtype)).numpy()


class Values:
    """The unknown entries of continuous events themselves.

    ```none
    x = u where unknown,    log p(u) = log p(x) − ½ Σ u² over the known entries
    ```

    The known entries of u count nowhere, and are standard normal. So each event may have a mask of its own.

    Args:
      model: `FlowModel` of continuous data.

    Example: `Values(model).values(u, Values(model).known(rows, mask), ())`
    """

    def __init__(self, model: FlowModel) -> None:
        self._model = model

    def known(self, images: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        return np.where(mask, images, 0).astype(self._model.events.dtype.as_numpy_dtype), mask

    def values(self, u: tf.Tensor, known: tuple, context: tuple) -> tf.Tensor:
        rows, mask = known
        return tf.where(mask, rows, u)

    def log_prob_and_entries(self, u: tf.Tensor, known: tuple, context: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        x, (_, mask) = self.values(u, known, context), known
        distribution: Any = self._model.distribution_given(*context)
        unused = tf.where(mask, u, tf.zeros_like(u))
        return distribution.log_prob(x) - 0.5 * tf.reduce_sum(unused**2, axis=range(1, u.shape.rank)), x

    def starts(
        self, num_chains: int, number: int, known: tuple, context: tuple, rng: np.random.Generator
    ) -> np.ndarray:
        rows, mask = known
        draws = _draws(self._model, num_chains, number, context, rng)
        return np.where(mask, rng.standard_normal(draws.shape), draws).astype(rows.dtype)


class Latents:
    """The latents z of a flow: x = G(z), with the density of the latents themselves. No entry is known.

    Args:
      model: `FlowModel` with latents.

    Example: `Latents(model).values(tf.zeros([8, *model.latent_shape]), (), ())`
    """

    def __init__(self, model: FlowModel) -> None:
        self._model = model

    def known(self, images: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
        return ()

    def values(self, z: tf.Tensor, known: tuple, context: tuple) -> tf.Tensor:
        distribution: Any = self._model.distribution_given(*context)
        with solving(Solves(with_log_det=False)):
            x = distribution.bijector.forward(z)
        return x if self._model.num_bins is None else tf.clip_by_value(x, 0.0, float(self._model.num_bins))

    def log_prob_and_entries(self, z: tf.Tensor, known: tuple, context: tuple) -> tuple[tf.Tensor, tf.Tensor]:
        x = self.values(z, known, context)
        base: Any = self._model.base_given(*context)
        return base.log_prob(z), x if self._model.num_bins is None else x - 0.5

    def starts(
        self, num_chains: int, number: int, known: tuple, context: tuple, rng: np.random.Generator
    ) -> np.ndarray:
        base = self._model.base_given(*repeated(context, num_chains))
        shape: Any = [] if context else num_chains * number
        z = sampling.latents(base, shape, 1.0, int(rng.integers(2**31))).numpy()
        return z.reshape([num_chains, number, *z.shape[1:]])


def of_all_entries(model: FlowModel) -> Any:
    """The coordinates of events without a known entry: the latents of a flow.

    The values of a model with exact probabilities are levels, of which its latents give only a density. So its
    coordinates are those of its levels.

    Example: `of_all_entries(model).starts(4, 8, (), (), np.random.default_rng(0))`
    """
    if model.has_latents and not model.is_exact:
        return Latents(model)
    return of_entries(model)


def of_entries(model: FlowModel) -> Any:
    """The coordinates of events some of whose entries are known: `Levels` for images of levels, otherwise `Values`.

    Example: `of_entries(model).known(images, mask)`
    """
    return Values(model) if model.num_bins is None else Levels(model)


def unknown(coordinates: Any, model: FlowModel, number: int) -> tuple[np.ndarray, ...]:
    """The facts about events of which no entry is known.

    Example: `unknown(of_all_entries(model), model, 8)`
    """
    zeros = np.zeros([number, *model.event_shape], model.events.dtype.as_numpy_dtype)
    return coordinates.known(zeros, zeros > 0)


def named(model: FlowModel, context: tuple) -> dict[str, Any]:
    """The contexts as arguments of `FlowModel.sample`: labels, context, or none.

    Example: `model.sample(8, **named(model, context))`
    """
    return dict(zip([model.events.contexts.name], context, strict=False))


def _draws(model: FlowModel, num_chains: int, number: int, context: tuple, rng: np.random.Generator) -> np.ndarray:
    """Events that the model draws, for chains of each event: [num_chains, number] + event_shape."""
    contexts = named(model, repeated(context, num_chains))
    draws = model.sample(num_chains * number, seed=int(rng.integers(2**31)), **contexts)
    return draws.reshape([num_chains, number, *model.event_shape])
