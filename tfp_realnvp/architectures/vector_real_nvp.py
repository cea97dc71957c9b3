"""Real NVP for vectors: tabular data, and densities given a context, for example in simulation-based inference."""

import functools
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.architectures.architecture import check_counts
from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.architectures.standardization import (
    Standardized,
    standardization,
    vectors_of_moments,
    with_standardized_context,
)
from tfp_realnvp.bijectors import ActNorm, BatchNormalization, Coupling
from tfp_realnvp.bijectors.masks import Split
from tfp_realnvp.common import register, spawn_seeds
from tfp_realnvp.networks import MLP, ChannelAffine, FixedMoments, Moments, TanhScale


@register
class VectorRealNVP(Standardized):
    """Affine couplings over vectors with MLPs as conditioners. The first layer standardizes the data.

    ```none
    y = (x − mean) / deviation,    then couplings and norms in turn
    ```

    Args:
      event_shape: (size,).
      num_couplings: number of couplings.
      hidden_units: sizes of the hidden layers of each MLP.
      activation: Keras activation of the hidden layers.
      norm: the norm after each coupling but the last: "batch", "act" or None.
      random_masks: True for couplings that keep a random half of the entries each, drawn from the seed. False for
        couplings that keep the odd and the even entries in turn.
      num_bins: None, since the data are continuous.
      num_classes, context_size, mixture_base, seed, dtype, name: see `Architecture`.

    Raises:
      ValueError: for sizes below 1, another `norm`, or events that are not vectors.

    Example:

    ```python
    posterior = rnvp.VectorRealNVP((3,), context_size=4)      # p(3 parameters | 4 observed numbers)
    posterior.adapt(parameters, observations)
    posterior.compile()
    posterior.fit(parameters, observations, epochs=20)
    posterior.sample(1000, context=observed)                  # float [1000, 3]
    posterior.given(observed).log_prob(parameters[0])
    ```

    References: arXiv 1605.08803, sections 3.2 to 3.7; arXiv 1912.02762, section 6.3, on inference from simulations.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        num_couplings: int = 8,
        hidden_units: Sequence[int] = (64, 64),
        activation: Any = "relu",
        norm: str | None = "act",
        random_masks: bool = False,
        num_bins: int | str | None = None,
        num_classes: int | None = None,
        context_size: int | None = None,
        mixture_base: bool = False,
        seed: int | None = None,
        dtype: Any = None,
        name: str = "vector_real_nvp",
    ) -> None:
        super().__init__(locals())

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        options, shape = self.options, self.options.event_shape
        if len(shape) != 1:
            raise ValueError(f"event_shape must be (size,); got {shape}")
        if options.num_bins is not None:
            raise ValueError(f"num_bins must be None: the data are continuous; got {options.num_bins!r}")
        if shape == (1,) and layers.context_size == 0:
            raise ValueError("event_shape must have at least two entries without a context; got (1,)")
        check_counts(options, "num_couplings")
        norms = {"batch": _batch_norm, "act": _act_norm, None: lambda *_: []}
        if options.norm not in norms:
            raise ValueError(f'norm must be "batch", "act" or None; got {options.norm!r}')
        (size,) = shape
        bijectors: list[tfb.Bijector] = [standardization(layers, shape)]
        layers = with_standardized_context(layers, options.context_size)
        for number, seed in enumerate(spawn_seeds(options.seed, options.num_couplings)):
            name, (mask_seed, network_seed) = f"coupling_{number}", spawn_seeds(seed, 2)
            mask = (np.arange(size) + number) % 2 if size > 1 else np.zeros(1, int)
            if options.random_masks:
                mask = np.random.default_rng(mask_seed).permutation(mask)
            changed = int(size - sum(mask))
            make = functools.partial(_conditioner, 2 * changed, options, network_seed)
            bijectors.append(Coupling(Split(mask), layers.conditioner(name, make, (size - changed,))))
            if number < options.num_couplings - 1:
                bijectors += norms[options.norm](layers, f"{name}_norm", shape)
        return bijectors

    def inputs_of_moments(self, x: tf.Tensor, context: Any) -> list[tuple[str, FixedMoments, tf.Tensor]]:
        return vectors_of_moments(self.networks, x, context)


def _conditioner(out_units: int, options: types.SimpleNamespace, seed: int | None, name: str, dtype: Any) -> TanhScale:
    mlp = MLP(out_units, tuple(options.hidden_units), options.activation, seed, name="network", dtype=dtype)
    return TanhScale(mlp, dtype=dtype, name=name)


def _batch_norm(layers: LayerStore, name: str, shape: tuple) -> list[tfb.Bijector]:
    return [BatchNormalization(layers.layer(name, Moments, shape), event_ndims=1)]


def _act_norm(layers: LayerStore, name: str, shape: tuple) -> list[tfb.Bijector]:
    return [ActNorm(layers.layer(name, ChannelAffine, shape), event_ndims=1)]
