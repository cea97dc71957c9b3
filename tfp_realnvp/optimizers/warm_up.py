"""A learning rate that warms up before its schedule."""

from typing import Any

import keras
from keras import ops

from tfp_realnvp.common import register


@register
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning-rate schedule that starts late, after a linear warm-up to its first value.

    ```none
    rate(first_step + step) = min(step / warmup_steps, 1) · schedule(max(step − start, 0))
    ```

    Args:
      schedule: `keras.optimizers.schedules.LearningRateSchedule`.
      warmup_steps: int; 0 for no warm-up.
      start: int, the step at which the schedule starts; its first value holds until then.
      first_step: int, of the optimizer, see `Adam`: the steps count from there.

    Raises:
      ValueError: for negative `warmup_steps`, or a `start` before their end.

    Example: `WarmUp(keras.optimizers.schedules.CosineDecay(1e-3, 9000), warmup_steps=100, start=1000)`
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int = 0,
        start: int = 0,
        first_step: int = 0,
    ) -> None:
        if not 0 <= warmup_steps <= start:
            raise ValueError(f"warmup_steps must be from 0 to start; got warmup_steps={warmup_steps} and start={start}")
        self.schedule, self.warmup_steps, self.start, self.first_step = schedule, warmup_steps, start, first_step

    def __call__(self, step: Any) -> Any:
        step = step - self.first_step
        rate = self.schedule(ops.maximum(step - self.start, 0))
        return rate * ops.minimum(ops.cast(step, rate.dtype) / self.warmup_steps, 1) if self.warmup_steps else rate

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        config = {"schedule": schedule, "warmup_steps": self.warmup_steps, "start": self.start}
        return {**config, "first_step": self.first_step} if self.first_step else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        return cls(**{**config, "schedule": keras.saving.deserialize_keras_object(config["schedule"])})
