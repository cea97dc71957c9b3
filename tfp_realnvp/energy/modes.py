"""Mode collapse: HMC chains that look for modes which a flow misses, and the ESS by their states."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.energy.target import LogProb, check_nats, checked_target
from tfp_realnvp.model import FlowModel
from tfp_realnvp.sampling import latents, push

SPREAD = 3.0  # The temperature of the latents at which the chains begin.


def explore(
    model: FlowModel, log_prob: LogProb, num_chains: int = 100, num_steps: int = 200, seed: int | None = None
) -> np.ndarray:
    """The last states of HMC chains that begin around the flow's samples, three times as far out in its latents.

    Each chain ends in a mode near its start. So the states tell where the target has mass, but not how much of it. The
    chains know nothing of the flow but their starts, and the mean and deviation of each entry.

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`.
      num_chains: number of chains, all in one batch.
      num_steps: number of steps, of five leapfrog steps each. The size of a step adapts over four fifths of them.
      seed: int; None draws one.

    Returns:
      Array [num_chains] + event_shape.

    Raises:
      ValueError: for a conditional flow, a wrong `log_prob`, or numbers below 1.

    Example: `states = explore(model, log_prob, seed=0)`
    """
    check_positive(num_chains=num_chains, num_steps=num_steps)
    target, base, seed = checked_target(model, log_prob), model.base_distribution, draw_seed(seed)

    @tf.function(autograph=False)
    def last_states() -> tf.Tensor:
        x, _ = push(model.distribution, latents(base, 1000, 1.0, seed, attempt=-1))
        mean, variance = tf.nn.moments(x, axes=[0])
        kernel = tfp.mcmc.HamiltonianMonteCarlo(target, step_size=0.1, num_leapfrog_steps=5)
        # The harmonic mean of the acceptance suits the step to the worst chain, so that none is stuck far out.
        kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
            kernel, num_steps * 4 // 5, reduce_fn=tfp.math.reduce_log_harmonic_mean_exp
        )
        scaled = tfb.Chain([tfb.Shift(mean), tfb.Scale(tf.sqrt(variance))])
        start, _ = push(model.distribution, latents(base, num_chains, SPREAD, seed, attempt=-2))
        return tfp.mcmc.sample_chain(
            num_results=1,
            current_state=start,
            kernel=tfp.mcmc.TransformedTransitionKernel(kernel, scaled),
            num_burnin_steps=num_steps - 1,
            trace_fn=None,
            seed=tf.bitcast(tf.constant(seed, tf.int64), tf.int32),
        )[0]

    return last_states().numpy()


def forward_ess(model: FlowModel, log_prob: LogProb, samples: Any, log_z: float) -> float:
    """The effective share of a flow's samples, ESS / n, by samples of the target instead of the flow's own.

    ```none
    ESS / n = Z / E_p[w],    w = p̃ / q
    ```

    With the ESS by samples of q it agrees where q covers p. At a mode that q misses w is huge, and this ESS is near 0.

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`.
      samples: array [N] + event_shape, which came from another method, such as MCMC.
      log_z: log Z, such as `weigh` estimates it.

    Raises:
      ValueError: for a conditional flow, a wrong `log_prob`, or samples that do not fit the model.

    Example: `forward_ess(model, log_prob, states, weighted.log_z)`

    References: arXiv 2302.14082, section 4.
    """
    target = checked_target(model, log_prob)
    x = tf.constant(model.events.checked_array("samples", samples), model.events.dtype)
    log_p, log_q = tf.function(lambda: (target(x), model.distribution.log_prob(x)), autograph=False)()
    check_nats(log_p.numpy())
    log_w = np.float64(log_p) - log_q
    return math.exp(log_z + math.log(len(log_w)) - np.logaddexp.reduce(log_w))
