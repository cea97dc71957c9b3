"""Checks of conditional flows as posteriors: the ranks of simulation-based calibration, and expected coverage."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_realnvp.common import check_positive, draw_seed, value_errors
from tfp_realnvp.sampling import latents, push

if TYPE_CHECKING:
    from tfp_realnvp.model import FlowModel


@dataclasses.dataclass(frozen=True)
class Ranks:
    """The ranks of true events among draws from a conditional flow, uniform from 0 to `num_draws` for a calibrated one.

    Attributes:
      by_entry: int array [N, size], the number of draws with a smaller value, for each entry of an event.
      by_density: int array [N], the number of draws with a higher density.
      num_draws: L, the number of draws for each event.

    Example: `ranks.p_values().min() > 0.01 / (size + 1)` for a calibrated posterior
    """

    by_entry: np.ndarray
    by_density: np.ndarray
    num_draws: int

    def p_values(self, num_bins: int = 20) -> np.ndarray:
        """The p-values of χ² tests that the ranks are uniform: a float array [size + 1], the density's last.

        Args:
          num_bins: number of bins of equal size for the ranks, a divisor of L + 1.

        Raises:
          ValueError: for another number of bins, or less than 5 N for one bin.

        Example: `ranks.p_values(num_bins=10)`
        """
        check_positive(num_bins=num_bins)
        number = len(self.by_density)
        if (self.num_draws + 1) % num_bins or num_bins < 2 or number < 5 * num_bins:
            raise ValueError(
                f"num_bins must be a divisor of num_draws + 1 = {self.num_draws + 1}, from 2 to a fifth of the "
                f"{number} events; got {num_bins}"
            )
        columns = np.column_stack([self.by_entry, self.by_density]).T
        counts = np.array([np.histogram(ranks, num_bins, (0, self.num_draws + 1))[0] for ranks in columns])
        statistics = ((counts - number / num_bins) ** 2).sum(axis=1) / (number / num_bins)
        return tfd.Chi2(np.float64(num_bins - 1)).survival_function(statistics).numpy()

    def coverage(self, levels: Any) -> np.ndarray:
        """The expected coverage: the share of events within the flow's regions of highest density.

        Below its level the posterior is overconfident, above it is too wide.

        Args:
          levels: floats from 0 to 1, the probabilities of the regions; multiples of 1 / (L + 1) are exact.

        Returns:
          Float array, as many numbers as `levels`.

        Raises:
          ValueError: for levels out of range.

        Example: `ranks.coverage([0.5, 0.9])` is near [0.5, 0.9] for a calibrated posterior.
        """
        levels = np.asarray(levels, np.float64)
        if not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"levels must be from 0 to 1; got {levels}")
        return (self.by_density < levels[..., None] * (self.num_draws + 1) - 1e-9).mean(axis=-1)


def rank(model: "FlowModel", data: Any, num_draws: int = 99, seed: int | None = None, batch_size: int = 100) -> Ranks:
    """Ranks true events among draws from a conditional flow, given their contexts.

    ```none
    (θ, y) ~ p(θ) p(y | θ),    θ₁ … θ_L ~ q(θ | y),    rank = Σ [θₗ < θ]
    ```

    The ranks of each entry are uniform if q(θ | y) is the posterior. Ranks by density, Σ [q(θₗ | y) > q(θ | y)], see
    all entries together. Uniform ranks are necessary and not sufficient: the prior has them too.

    Args:
      model: conditional `FlowModel` over vectors, such as `VectorRealNVP(context_size=...)`.
      data: `(x, y)` as for `FlowModel.fit`: pairs that the flow was not trained on.
      num_draws: L, number of draws for each event.
      seed: int; None draws one.
      batch_size: number of contexts per pass, with L draws for each.

    Returns:
      `Ranks`.

    Raises:
      ValueError: for a flow that is not conditional, is over images or estimates its log-dets; for numbers below 1; for
        data that do not fit the model.

    Example: `ranks = rnvp.calibration.rank(posterior, (parameters, observations), seed=0)`

    References: arXiv 1804.06788, algorithm 2, on ranks; arXiv 2110.06581, section 2.2, on coverage.
    """
    check_positive(num_draws=num_draws, batch_size=batch_size)
    if not model.context_size or not model.has_latents:
        raise ValueError("model must be a conditional flow with latents, such as VectorRealNVP(context_size=...)")
    if len(model.event_shape) != 1:
        raise ValueError(f"model must be a flow over vectors; got events of shape {model.event_shape}")
    if model.has_estimates:
        raise ValueError('model must have exact log-dets, by divergence="exact"; got estimates')
    seed = draw_seed(seed)

    @tf.function(autograph=False, reduce_retracing=True)
    def ranks_of(x: tf.Tensor, context: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        q = model.given(context)
        draws, log_q = push(q, latents(model.base_given(context), num_draws, 1.0, seed, number))
        smaller, denser = draws < x, log_q > q.log_prob(x)
        return tuple(tf.reduce_sum(tf.cast(each, tf.int32), axis=0) for each in (smaller, denser))

    with value_errors():
        parts = [
            ranks_of(tf.cast(x, model.events.dtype), context, tf.constant(number))
            for number, (x, context) in enumerate(model.batches(data, batch_size))
        ]
    by_entry, by_density = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Ranks(by_entry, by_density, num_draws)
