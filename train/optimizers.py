"""The optimizer of a config, with its learning rate schedule."""

from collections.abc import Callable

import keras
import ml_collections

import tfp_realnvp as rnvp

# config.decay ↦ function of the config, the number of steps to decay in, and the number of steps of an epoch
DECAYS: dict[str, Callable[[ml_collections.ConfigDict, int, int], keras.optimizers.schedules.LearningRateSchedule]] = {
    "cosine": lambda config, steps, _: keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps, alpha=config.final_learning_rate / config.learning_rate
    ),
    "linear": lambda config, steps, _: keras.optimizers.schedules.PolynomialDecay(
        config.learning_rate, steps, config.final_learning_rate
    ),
    "exponential": lambda config, _, steps_per_epoch: keras.optimizers.schedules.ExponentialDecay(
        config.learning_rate, steps_per_epoch, config.decay_rate, staircase=True
    ),
}

OPTIMIZERS = {"Adam": rnvp.optimizers.Adam, "Muon": rnvp.optimizers.Muon}  # config.optimizer ↦ class


def make_optimizer(
    config: ml_collections.ConfigDict, steps_per_epoch: int, first_epoch: int = 0, epochs: int | None = None
) -> rnvp.optimizers.Adam:
    """The config's optimizer. Its learning rate warms up, is constant until `config.decay_start`, and then decays.

    With `config.ema_momentum` it keeps moving averages of the weights.

    Args:
      config: the run's config.
      steps_per_epoch: number of steps of an epoch.
      first_epoch: the number of epochs before the first one of this optimizer.
      epochs: the number of epochs at the end of its last one; None for `config.epochs`.
    """
    first_step = first_epoch * steps_per_epoch
    steps = (config.epochs if epochs is None else epochs) * steps_per_epoch - first_step
    start = max(config.warmup_steps, round(config.decay_start * steps))
    decay = DECAYS[config.decay](config, max(steps - start, 1), steps_per_epoch)
    schedule = rnvp.optimizers.WarmUp(decay, config.warmup_steps, start, first_step)
    return OPTIMIZERS[config.optimizer](
        schedule,
        beta_2=config.beta_2,
        weight_decay=config.weight_decay or None,
        epsilon=1e-8,
        global_clipnorm=config.clip_norm,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
        first_step=first_step,
    )
