"""Kernels of `tfp.mcmc` that a flow helps: NeuTra and independence Metropolis."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.energy.target import LogProb, checked_target
from tfp_realnvp.model import FlowModel
from tfp_realnvp.sampling import push

InnerKernel = Callable[[LogProb], tfp.mcmc.TransitionKernel]


def kernel(model: FlowModel, log_prob: LogProb, kind: str = "neutra", **options: Any) -> tfp.mcmc.TransitionKernel:
    """A kernel for `tfp.mcmc.sample_chain` by its name; see `neutra` and `independence`.

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`.
      kind: "neutra" moves within a mode and so repairs what the flow got wrong there; "independence" jumps between
        modes that the flow covers.
      **options: of the kernel's function.

    Raises:
      ValueError: for another `kind`, a conditional flow, or a wrong `log_prob`.

    Example:

    ```python
    kernel = rnvp.energy.kernel(model, log_prob, kind="independence")
    states = tfp.mcmc.sample_chain(1000, model.sample(64), kernel=kernel, trace_fn=None)    # [1000, 64] + event_shape
    ```
    """
    kinds: dict[str, Callable[..., tfp.mcmc.TransitionKernel]] = {"neutra": neutra, "independence": independence}
    if kind not in kinds:
        raise ValueError(f"kind must be one of {list(kinds)}; got {kind!r}")
    return kinds[kind](model, log_prob, **options)


def neutra(model: FlowModel, log_prob: LogProb, inner: InnerKernel | None = None) -> tfp.mcmc.TransitionKernel:
    """NeuTra: MCMC over the latents, where a well trained flow makes the target a standard normal distribution.

    ```none
    log p̃(z) = log p̃(f(z)) + log|det ∂f/∂z|
    ```

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`.
      inner: function of the log-density of the latents to a kernel, such as `lambda log_prob:
        tfp.mcmc.NoUTurnSampler(log_prob, 0.5)`. None for HMC of step size D^(−1/4) and trajectories of length π/2. On a
        normal distribution their states are independent of the states before, but for the size of the steps.

    Returns:
      `tfp.mcmc.TransformedTransitionKernel`; its states are events.

    Raises:
      ValueError: for a conditional flow, or a wrong `log_prob`.

    Example: `tfp.mcmc.DualAveragingStepSizeAdaptation(neutra(model, log_prob), num_adaptation_steps=400)`

    References: arXiv 1903.03704, section 2.
    """
    inner = _hmc(model) if inner is None else inner
    return tfp.mcmc.TransformedTransitionKernel(inner(checked_target(model, log_prob)), model.bijector)


def independence(model: FlowModel, log_prob: LogProb) -> tfp.mcmc.TransitionKernel:
    """Independence Metropolis: a fresh sample of the flow q is proposed at each step.

    ```none
    P(accept x′) = min(1, w(x′) / w(x)),    w = p̃ / q
    ```

    Args:
      model: `FlowModel` without a context.
      log_prob: log p̃, see `fit`; it needs no gradient.

    Returns:
      `tfp.mcmc.MetropolisHastings`.

    Raises:
      ValueError: for a conditional flow, or a wrong `log_prob`.

    Example: `independence(model, log_prob).bootstrap_results(model.sample(64))`

    References: arXiv 1904.12072, section 2; arXiv 2206.12036, section 5.
    """
    return tfp.mcmc.MetropolisHastings(Proposals(model, checked_target(model, log_prob)))


class ProposalResults(NamedTuple):
    """The results of a proposal, as `tfp.mcmc.MetropolisHastings` reads them.

    Attributes:
      target_log_prob: log p̃ of the state.
      log_q: log q of the state.
      log_acceptance_correction: log q of the state before, minus log q of the state.
    """

    target_log_prob: tf.Tensor
    log_q: tf.Tensor
    log_acceptance_correction: tf.Tensor


class Proposals(tfp.mcmc.TransitionKernel):
    """A kernel whose next state is a sample of a flow, whatever the current state is.

    Args:
      model: `FlowModel`.
      target: as of `checked_target`.

    Example: see `independence`.
    """

    def __init__(self, model: FlowModel, target: LogProb) -> None:
        self._model, self._target = model, target
        self._parameters = dict(model=model, target=target)

    @property
    def parameters(self) -> dict[str, Any]:
        return self._parameters

    @property
    def is_calibrated(self) -> bool:
        return False

    def bootstrap_results(self, init_state: tf.Tensor) -> ProposalResults:
        """The results of a first state."""
        x = tf.convert_to_tensor(init_state)
        log_q = self._model.distribution.log_prob(x)
        return ProposalResults(self._target(x), log_q, tf.zeros_like(log_q))

    def one_step(
        self, current_state: tf.Tensor, previous_kernel_results: ProposalResults, seed: Any = None
    ) -> tuple[tf.Tensor, ProposalResults]:
        """A sample of the flow for each chain, and its results."""
        z = self._model.base_distribution.sample(tf.shape(previous_kernel_results.log_q), seed=seed)
        x, log_q = push(self._model.distribution, z)
        return x, ProposalResults(self._target(x), log_q, previous_kernel_results.log_q - log_q)


def _hmc(model: FlowModel) -> InnerKernel:
    step_size = math.prod(model.event_shape) ** -0.25
    num_leapfrog_steps = round(math.pi / 2 / step_size)
    return lambda log_prob: tfp.mcmc.HamiltonianMonteCarlo(log_prob, step_size, num_leapfrog_steps)
