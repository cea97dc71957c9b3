"""The phases of a run: one for all weights, or one for each scale of a flow that is trained progressively."""

import dataclasses
import inspect

import ml_collections

import tfp_realnvp as rnvp

from . import models
from .optimizers import make_optimizer


@dataclasses.dataclass(frozen=True)
class Phase:
    """The epochs of a run with the same trainable weights and the same optimizer.

    Attributes:
      scale: the scale that is trained, 0 for the coarsest; None to train all weights.
      first_epoch: the number of epochs before the phase.
      epochs: the number of epochs at its end.
    """

    scale: int | None
    first_epoch: int
    epochs: int

    def begin(self, model: rnvp.FlowModel, config: ml_collections.ConfigDict, steps_per_epoch: int) -> None:
        """Makes the weights of the phase trainable, and compiles the model with a new optimizer for them.

        Args:
          model: `FlowModel` at the first step of the phase.
          config: the run's config.
          steps_per_epoch: number of steps of an epoch.
        """
        if self.scale is not None:
            model.train_scales([self.scale])  # type: ignore[attr-defined]
        optimizer = make_optimizer(config, steps_per_epoch, self.first_epoch, self.epochs)
        model.compile(optimizer, steps_per_execution=config.steps_per_execution)


def phases_of(config: ml_collections.ConfigDict) -> list[Phase]:
    """The phases of a run in their order, which follow from its config alone.

    Example: with `config.progressive`, 3 scales and 8 epochs, the phases end at the epochs 2, 5 and 8.
    """
    if not config.progressive:
        return [Phase(None, 0, config.epochs)]
    number = num_scales(config)
    ends = [(scale + 1) * config.epochs // number for scale in range(number)]
    return [Phase(scale, first, end) for scale, (first, end) in enumerate(zip([0, *ends], ends, strict=False))]


def check_progressive(config: ml_collections.ConfigDict) -> None:
    """Raises a ValueError if `config.progressive` does not fit the architecture, the epochs or the averages."""
    if not config.progressive:
        return
    if not issubclass(models.flow_class(config), rnvp.MRCNF):
        raise ValueError(
            f"progressive must be False for architecture {config.architecture}: MRCNF alone trains its scales one by "
            "one; got True"
        )
    if config.epochs < num_scales(config):
        raise ValueError(
            f"epochs must be at least the number of scales, {num_scales(config)}, for progressive=True; got "
            f"{config.epochs}"
        )
    if config.ema_momentum:  # The averages of a scale would be lost with its optimizer.
        raise ValueError(f"ema_momentum must be 0 for progressive=True; got {config.ema_momentum}")


def num_scales(config: ml_collections.ConfigDict) -> int:
    """The number of scales of a config of MRCNF."""
    return config.model.get("num_scales", inspect.signature(rnvp.MRCNF).parameters["num_scales"].default)
