"""`fit`: training by the energy, the reverse KL divergence from an unnormalised density."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.energy.target import LogProb, checked_target
from tfp_realnvp.guard import StepGuard
from tfp_realnvp.internals import TrainerHooks
from tfp_realnvp.model import FlowModel
from tfp_realnvp.networks.actnorm import uninitialized
from tfp_realnvp.progress import Progress
from tfp_realnvp.replicas import gather_over_replicas, logs_of_replica, nonempty_share, num_replicas
from tfp_realnvp.sampling import latents, push


def fit(
    model: FlowModel,
    log_prob: LogProb,
    steps: int,
    batch_size: int = 256,
    temperature: float = 4.0,
    forward_share: float = 0.0,
    steps_per_epoch: int | None = None,
    verbose: Any = "auto",
    callbacks: Sequence[keras.callbacks.Callback] | None = None,
    seed: int | None = None,
) -> keras.callbacks.History:
    """Trains a flow q on an unnormalised density p̃ = Z p, with samples of the flow alone.

    ```none
    KL(q ‖ p) = E_q[log q(x) − log p̃(x)] + log Z,    x = f(z) reparametrised
    ```

    The loss is the expectation, so its minimum is −log Z. The steps minimise it at a temperature T, with log p̃ / T, to
    reach modes far from each other: 1/T grows linearly from 1/`temperature` to 1 over the first half of the steps.

    The reverse KL divergence hardly punishes a flow that misses a mode. `forward_share` mixes in the forward KL
    divergence, by the flow's samples with their weights w = p̃ / q; it holds modes that the flow still reaches:

    ```none
    (1 − share) · E_q[log q − log p̃] − share · Σ w̄ᵢ log q(xᵢ),    w̄ᵢ = wᵢ / Σ wⱼ and xᵢ constant
    ```

    The flow is in inference mode: batch norms keep their moments, and an `ActNorm` begins as the identity. The steps
    are Keras's own, with the optimizer, strategy, `jit_compile` and `steps_per_execution` of `model.compile`. A step
    with a loss or gradient that is not finite changes nothing. Penalties of weights count as in `FlowModel.fit`, and
    regularizers of continuous flows do not.

    Args:
      model: compiled `FlowModel` without a context. For images with pixel levels p̃ is a density over [0, num_bins).
      log_prob: log p̃, a differentiable TensorFlow function: events [batch] + event_shape ↦ nats [batch].
      steps: number of steps.
      batch_size: number of samples in each step, of all replicas together.
      temperature: T at the first step, at least 1; 1 for none.
      forward_share: from 0 to 1. Above 0 each step evaluates the flow in both directions.
      steps_per_epoch: number of steps from one call of the callbacks at the end of an epoch to the next, a divisor of
        `steps`; None for one epoch.
      verbose, callbacks: as for `keras.Model.fit`. Callbacks that save or load write and read the flow.
      seed: int, of the latents; None draws one.

    Returns:
      `keras.callbacks.History` with "loss" and "ess" at T = 1: the mean of log q − log p̃ in nats, and the mean ESS of a
      batch divided by its size. See `weigh` for the modes that they do not see.

    Raises:
      ValueError: for a model that is not compiled, is conditional or has no reparametrised latents; for a `log_prob`
        that returns another shape, NaN or +infinity at the first samples; for numbers out of range.

    Example:

    ```python
    model = rnvp.VectorRealNVP((2,))
    model.compile(rnvp.optimizers.Adam(1e-3))
    rnvp.energy.fit(model, lambda x: -tf.reduce_sum((x**2 - 1) ** 2, axis=-1), steps=2000)
    ```

    References: arXiv 1904.12072, equation 11; arXiv 1505.05770, section 3; arXiv 1812.01729 on the mixture of both
    divergences and on temperatures.
    """
    check_positive(steps=steps, batch_size=batch_size)
    if not isinstance(temperature, (int, float)) or not 1 <= temperature < math.inf:
        raise ValueError(f"temperature must be a number of at least 1; got {temperature!r}")
    if not isinstance(forward_share, (int, float)) or not 0 <= forward_share <= 1:
        raise ValueError(f"forward_share must be a number from 0 to 1; got {forward_share!r}")
    steps_per_epoch = steps if steps_per_epoch is None else steps_per_epoch
    check_positive(steps_per_epoch=steps_per_epoch)
    if steps % steps_per_epoch:
        raise ValueError(f"steps_per_epoch must be a divisor of steps, {steps}; got {steps_per_epoch}")
    if not model.compiled:
        raise ValueError("model must be compiled: call model.compile() first")
    target = checked_target(model, log_prob)
    for layer in (layer for network in model.networks for layer in uninitialized(network)):
        layer.initialized.assign(1.0)
    with model.distribute_strategy.scope():
        trainer = ReverseKL(model, target, steps, batch_size, temperature, forward_share, draw_seed(seed))
        trainer.compile(
            optimizer=model.optimizer,
            run_eagerly=model.run_eagerly,
            steps_per_execution=model.steps_per_execution,
            jit_compile=model.jit_compile,
        )
    samples = tf.data.Dataset.range(steps * batch_size).batch(batch_size, drop_remainder=True)
    history = trainer.fit(
        samples,
        epochs=steps // steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        verbose=verbose,
        callbacks=callbacks,
        shuffle=False,
    )
    if skipped := int(trainer.progress.skipped.numpy()):
        warnings.warn(
            f"{skipped} of {steps} steps were skipped: log_prob, the flow or a gradient was not finite", stacklevel=2
        )
    return history


class ReverseKL(TrainerHooks):
    """A Keras model whose steps train a flow by the reverse KL divergence, see `fit`.

    A batch of its data holds the numbers of the samples. The step and the latents of the global batch follow from them;
    each replica takes its own rows, so that all replicas together do what one device does.

    Args:
      flow: `FlowModel`.
      target: as of `checked_target`.
      steps, batch_size, temperature, forward_share, seed: see `fit`.

    Example: see `fit`.
    """

    def __init__(
        self,
        flow: FlowModel,
        target: LogProb,
        steps: int,
        batch_size: int,
        temperature: float,
        forward_share: float,
        seed: int,
    ) -> None:
        super().__init__(autocast=False, name=flow.name)
        self.flow = flow
        self.progress = Progress()
        self._target, self._batch_size, self._seed = target, batch_size, seed
        self._first_beta, self._annealing_steps = 1 / temperature, max(1, steps // 2)
        self._forward_share = forward_share
        self._ess = keras.metrics.Mean(name="ess", dtype="float64")
        self.built = True

    def train_step(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step on the samples of these numbers, as Keras calls it."""
        guard = StepGuard(self.optimizer, self.progress, self.trainable_variables, [])
        with nonempty_share(numbers) as (size, numbers):
            step, rows = tf.cast(numbers[0] // self._batch_size, tf.int32), numbers % self._batch_size
            z = tf.gather(latents(self.flow.base_distribution, self._batch_size, 1.0, self._seed, step), rows)
            beta = self._inverse_temperature(step, z.dtype)
            with tf.GradientTape() as tape:
                x, log_q = push(self.flow.distribution, z)
                log_p = self._target(x)
                every_log_q, every_log_p = map(gather_over_replicas, (log_q[:size], log_p[:size]))
                count = tf.cast(tf.size(every_log_q), z.dtype)
                # This replica's part of the loss: the gradients of the replicas are summed.
                loss = tf.reduce_sum((log_q - beta * log_p)[:size]) / count
                if self._forward_share:
                    log_total = tf.reduce_logsumexp(beta * every_log_p - every_log_q)
                    weights = tf.stop_gradient(tf.exp(beta * log_p - log_q - log_total))
                    log_q_at_x = self.flow.distribution.log_prob(tf.stop_gradient(x))
                    forward = -tf.reduce_sum((weights * log_q_at_x)[:size])
                    loss = (1 - self._forward_share) * loss + self._forward_share * forward
                loss += tf.cast(sum(self.losses), z.dtype) / num_replicas()
                loss = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(loss, self.trainable_variables)
        log_w = tf.cast(every_log_p - every_log_q, tf.float64)
        count = tf.cast(count, tf.float64)
        guard.apply_or_skip(loss, gradients, -tf.reduce_mean(log_w), count)
        ess = tf.exp(2 * tf.reduce_logsumexp(log_w) - tf.reduce_logsumexp(2 * log_w)) / count
        self._ess.update_state(tf.where(tf.math.is_finite(ess), ess, 0))
        return logs_of_replica(self.get_metrics_result())

    def _inverse_temperature(self, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """β = 1/T of a step: from 1/`temperature` to 1 over the first half of the steps."""
        part = tf.minimum(tf.cast(step, dtype) / self._annealing_steps, 1)
        return self._first_beta + (1 - self._first_beta) * part

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.progress, self._ess]

    # Keras's callbacks save and load the flow itself.

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.flow.save(*args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> None:
        self.flow.save_weights(*args, **kwargs)

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        self.flow.load_weights(*args, **kwargs)
