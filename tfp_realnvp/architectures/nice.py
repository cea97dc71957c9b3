"""NICE (Dinh, Krueger and Bengio, arXiv 1410.8516): additive couplings and a diagonal scaling."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.architectures.architecture import Architecture, check_counts
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import Coupling, additive, diagonal
from tfp_realnvp.bijectors.masks import ChangeAll, Split
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import MLP

# Adam moves a weight by about its learning rate per step, and the log-scales have to move by several nats.
DIAGONAL_RATE = 10.0


def _diagonal(params: tf.Tensor) -> tfb.Bijector:
    return diagonal(DIAGONAL_RATE * params)


@register
class NICE(Architecture):
    """Additive couplings that change the odd and even entries in turn, and a learned diagonal scaling.

    ```none
    h₁: odd entries change, h₂: even, h₃: odd, h₄: even, …,    z = exp(s) ⊙ h
    ```

    Images are flattened. The latents are logistic and have the shape of the event.

    Args:
      event_shape: (size,) or (height, width, channels).
      num_couplings: number of couplings; in the paper 4.
      hidden_units: number of rectified units of each hidden layer; in the paper 5 × 1000 (MNIST, TFD) or 4 × 2000
        (SVHN, CIFAR-10).
      alpha: see `Architecture`. None, without a logit, as in the paper: its x in [0, 1] is ours, x / num_bins − ½,
        shifted by ½.
      num_bins, dequantization, num_classes, context_size, mixture_base, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for sizes below 1, or events of fewer than two entries.

    Example: `rnvp.NICE((28, 28, 1))` is the paper's MNIST model.

    References: arXiv 1410.8516, sections 3.2, 3.3 and 5.1. The paper reports log-likelihoods of x / 256. Ours, of x,
    are lower by D log 256 nats; `nats_of_unit_pixels` converts them.
    """

    latent = tfd.Logistic

    def __init__(
        self,
        event_shape: Sequence[int],
        num_couplings: int = 4,
        hidden_units: Sequence[int] = (1000, 1000, 1000, 1000, 1000),
        num_bins: int | str | None = "auto",
        alpha: float | None = None,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        mixture_base: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "nice",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options, shape = self.options, self.options.event_shape
        check_counts(options, "num_couplings")
        size = math.prod(shape)
        if size < 2:
            raise ValueError(f"event_shape must have at least two entries; got {shape}")
        bijectors = []
        for number, seed in enumerate(spawn_seeds(options.seed, options.num_couplings)):
            mask = [(entry + number + 1) % 2 for entry in range(size)]
            network = functools.partial(MLP, size - sum(mask), tuple(options.hidden_units), seed=seed)
            conditioner = layers.conditioner(f"coupling_{number}", network, (sum(mask),))
            bijectors.append(Coupling(Split(mask), conditioner, additive))
        bijectors.append(Coupling(ChangeAll(1), layers.prior("diagonal", (size,)), _diagonal))
        if len(shape) == 1:
            return bijectors
        flatten = tfb.Reshape(event_shape_in=shape, event_shape_out=(size,))
        return [flatten, *bijectors, tfb.Reshape(event_shape_in=(size,), event_shape_out=shape)]

    @property
    def is_convolutional(self) -> bool:
        return False

    def nats_of_unit_pixels(self, nats: Any) -> Any:
        """Converts log-likelihoods of x to the paper's, of x / num_bins: adds D log num_bins.

        Example: `model.nats_of_unit_pixels(model.predict(images)).mean()`
        """
        return nats + math.prod(self.event_shape) * math.log(self.num_bins or 1)
