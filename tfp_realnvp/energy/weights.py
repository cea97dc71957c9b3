"""`weigh`: samples of a flow as weighted samples of a target, with the evidence and reports of their quality."""

import dataclasses
import math
import warnings

import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.energy.modes import explore, forward_ess
from tfp_realnvp.energy.pareto import tail_shape
from tfp_realnvp.energy.target import LogProb, check_nats, checked_target
from tfp_realnvp.model import FlowModel
from tfp_realnvp.sampling import latents, push

LEAST = 25  # The tail of fewer weights has less than five.


@dataclasses.dataclass(frozen=True)
class WeightedSamples:
    """Samples xᵢ of a flow q with normalised weights w̄ᵢ ∝ p̃(xᵢ) / q(xᵢ): Σ w̄ᵢ g(xᵢ) estimates E_p[g].

    Attributes:
      samples: array [n] + event_shape.
      log_weights: float64 array [n], log w̄; Σ w̄ = 1.
      log_z: the estimate of log Z = log ∫ p̃, the logarithm of the mean of p̃ / q.
      log_z_error: its standard error, √((n / ESS − 1) / (n − 1)).
      ess: the effective sample size 1 / Σ w̄².
      pareto_k: the shape of the weights' tail, see `pareto.tail_shape`.
      forward_ess: the effective sample size of n samples by states of HMC chains, see `modes.forward_ess`; None without
        chains.

    Example: `np.exp(weighted.log_weights) @ weighted.samples` is the mean of the target, for vectors.
    """

    samples: np.ndarray
    log_weights: np.ndarray
    log_z: float
    log_z_error: float
    ess: float
    pareto_k: float
    forward_ess: float | None

    def resample(self, num_samples: int, seed: int | None = None) -> np.ndarray:
        """Samples of the target without weights: an array [num_samples] + event_shape, with repetitions.

        Raises:
          ValueError: for a `num_samples` below 1.

        Example: `weighted.resample(100, seed=0)`
        """
        check_positive(num_samples=num_samples)
        rng = np.random.default_rng(draw_seed(seed))
        return self.samples[rng.choice(len(self.samples), num_samples, p=np.exp(self.log_weights))]


def weigh(
    model: FlowModel,
    log_prob: LogProb,
    num_samples: int,
    seed: int | None = None,
    batch_size: int = 1000,
    num_chains: int = 100,
) -> WeightedSamples:
    """Draws samples of a flow q and weighs them for a target p = p̃ / Z.

    ```none
    wᵢ = p̃(xᵢ) / q(xᵢ),  xᵢ ~ q,    Z ≈ Σ wᵢ / n,    ESS = (Σ wᵢ)² / Σ wᵢ²
    ```

    Weights cannot tell of a mode that no sample reaches. So HMC chains look for such modes, see `explore`. A warning
    says that the ESS by the chains' states is less than half of the ESS by the samples, or that the weights have a
    heavy tail: k̂ > min(1 − 1 / log₁₀ n, 0.7).

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`. It may be −infinity; a sample where the flow overflows has weight 0.
      num_samples: n, an int of at least 25.
      seed: int; None draws one.
      batch_size: number of samples per pass.
      num_chains: number of HMC chains, for which log p̃ must be differentiable; 0 for none.

    Returns:
      `WeightedSamples`.

    Raises:
      ValueError: for a conditional flow, for a `log_prob` that returns another shape, NaN or +infinity, or is −infinity
        at all samples, or for numbers out of range.

    Example: `weighted = weigh(model, log_prob, 10_000); print(weighted.log_z, weighted.log_z_error)`

    References: arXiv 1507.02646 for k̂, arXiv 2402.08151 for its limit; arXiv 2302.14082, section 4, on both ESS.
    """
    if not isinstance(num_samples, int) or num_samples < LEAST:
        raise ValueError(f"num_samples must be an int of at least {LEAST}; got {num_samples!r}")
    if not isinstance(num_chains, int) or num_chains < 0:
        raise ValueError(f"num_chains must be a non-negative int; got {num_chains!r}")
    check_positive(batch_size=batch_size)
    seed = draw_seed(seed)
    target = checked_target(model, log_prob)

    @tf.function(autograph=False)
    def draw(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x, log_q = push(model.distribution, latents(model.base_distribution, batch_size, 1.0, seed, number))
        return x, log_q, target(x)

    batches = [draw(number) for number in tf.range(-(-num_samples // batch_size))]
    x, log_q, log_p = (np.concatenate(parts)[:num_samples] for parts in zip(*batches, strict=True))
    is_finite = np.isfinite(log_q) & np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    check_nats(log_p[is_finite])
    log_w = np.where(is_finite, np.float64(log_p) - log_q, -np.inf)
    total = np.logaddexp.reduce(log_w)
    if total == -np.inf:
        raise ValueError(f"log_prob must be finite at some sample of the flow; got -inf at all {num_samples}")
    log_weights = log_w - total
    ess = float(np.exp(-np.logaddexp.reduce(2 * log_weights)))
    k = tail_shape(log_weights)
    limit = min(1 - 1 / math.log10(num_samples), 0.7)
    if k > limit:
        warnings.warn(
            f"the weights have a heavy tail, k = {k:.2f} above {limit:.2f}: log_z and its error cannot be trusted",
            stacklevel=2,
        )
    log_z = float(total - math.log(num_samples))
    of_chains = None
    if num_chains:
        states = explore(model, log_prob, num_chains, seed=seed)
        of_chains = num_samples * forward_ess(model, log_prob, states, log_z)
        if of_chains < ess / 2:
            warnings.warn(
                f"the flow misses a part of the target that HMC chains found: the ESS of {num_samples} samples is "
                f"{of_chains:.3g} by the chains and {ess:.3g} by the samples; log_z is too low",
                stacklevel=2,
            )
    log_z_error = math.sqrt(max(num_samples / ess - 1, 0) / (num_samples - 1))
    return WeightedSamples(x, log_weights, log_z, log_z_error, ess, k, of_chains)
