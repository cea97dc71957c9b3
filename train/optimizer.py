"""The optimizer of a config, and how its learning rate goes."""

import keras

import tfp_realnvp as rnvp

DECAYS = {  # config.decay ↦ function of the config, the number of steps to decay in, and that of an epoch
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


def optimizer(config, steps_per_epoch):
    """Adam with a linear warm-up to the learning rate, which is held until `config.decay_start` and then decays.

    With `config.ema_momentum` it keeps the moving averages of the weights.
    """
    steps = config.epochs * steps_per_epoch
    start = max(config.warmup_steps, round(config.decay_start * steps))
    decay = DECAYS[config.decay](config, max(steps - start, 1), steps_per_epoch)
    schedule = rnvp.optimizers.WarmUp(decay, config.warmup_steps, start)
    return rnvp.optimizers.Adam(
        schedule,
        beta_2=config.beta_2,
        epsilon=1e-8,
        global_clipnorm=config.clip_norm,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
    )
