"""`Architecture`: the base class of all families of flows."""

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp.architectures.layer_store import LayerStore
from tfp_realnvp.bijectors import Broadcast, Logit, Sequential
from tfp_realnvp.bijectors.masks import first_channels
from tfp_realnvp.common import check_positive, draw_seed
from tfp_realnvp.contexts import Contexts
from tfp_realnvp.events import checked_num_bins
from tfp_realnvp.internals import sublayers
from tfp_realnvp.model import FlowModel
from tfp_realnvp.saving import FORMAT_VERSION, checked_config


class Architecture(FlowModel):
    """A `FlowModel` that builds its distribution from the arguments of its constructor.

    A family of flows is a subclass with two methods: `flow(layers)`, and an `__init__` that lists all arguments by name
    and ends in `super().__init__(locals())`. The arguments become `self.options`. The names `event_shape`, `seed`,
    `dtype` and `name` are required. These arguments mean the same in every family:

    Args:
      event_shape: (height, width, channels) or (size,).
      num_bins: number of pixel levels, or None for continuous data; "auto": 256 for images, None for vectors.
      alpha: see `bijectors.Logit`, the first layer of a flow over pixel levels. None for x / num_bins − ½ instead of a
        logit.
      dequantization, num_classes, context_size: see `FlowModel`. Every conditioner sees the class or context.
      rematerialize: True to store only the inputs of the couplings' networks for the backward pass and run the networks
        again: a fraction of the memory for about 4/3 of the time, without second derivatives, see
        `networks.Rematerialized`.
      seed: int, the seed of the initialization and the dequantization noise; None draws one.
      dtype: Keras dtype policy of the networks. The flow has the dtype of their weights: under "mixed_bfloat16" the
        networks compute in bfloat16 and the flow in float32. Such networks train fast. The two directions of the flow
        give them inputs that differ in the last bits, and bfloat16 amplifies the difference. So `decode` inverts
        `encode` exactly only in float32: `with_dtype("float32")` is the same flow with exact networks.
      name: as for `keras.Model`.

    Attributes:
      latent: the class of the distribution of each entry of the latents.

    Example:

    ```python
    @rnvp.register
    class Shifts(rnvp.Architecture):
        def __init__(self, event_shape, units=32, seed=None, dtype=None, name="shifts"):
            super().__init__(locals())

        def flow(self, layers):
            make = functools.partial(rnvp.networks.MLP, 1, (self.options.units,))
            split = rnvp.bijectors.masks.Split([1, 0])
            conditioner = layers.conditioner("coupling", make, (1,))
            return [rnvp.bijectors.Coupling(split, conditioner, rnvp.bijectors.additive)]

    Shifts((2,)).log_likelihood(points)
    ```
    """

    latent = tfd.Normal

    # The values of arguments that a family lacks.
    defaults: dict[str, Any] = dict(
        num_bins=None,
        alpha=None,
        dequantization="uniform",
        num_classes=None,
        context_size=None,
        rematerialize=False,
    )

    def __init__(self, arguments: dict[str, Any]) -> None:
        arguments = {key: value for key, value in arguments.items() if key not in ("self", "__class__")}
        policy = keras.dtype_policies.get(arguments.pop("dtype") or keras.config.dtype_policy())
        name = arguments.pop("name")
        shape = _checked_event_shape(arguments["event_shape"])
        arguments.update(event_shape=shape, seed=draw_seed(arguments["seed"]))
        options = types.SimpleNamespace(**{**self.defaults, **arguments})
        options.num_bins = num_bins = checked_num_bins(options.num_bins, shape)
        contexts = Contexts(options.num_classes, options.context_size, tf.as_dtype(policy.variable_dtype))
        store = LayerStore(policy, options.seed, contexts.size or 0, options.rematerialize)
        self._arguments, self.options, self._store = arguments, options, store

        super().__init__(
            self.distribution_over(self.flow, shape, contexts.size),
            num_bins=num_bins,
            seed=options.seed,
            dequantization=options.dequantization,
            num_classes=options.num_classes,
            context_size=options.context_size,
            networks=store.layers,  # A view: a conditional flow makes its layers later.
            dtype=policy,
            name=name,
        )
        self._frozen_when_new = self._frozen_when_compiled = self._frozen()

    def distribution_over(
        self, flow: Callable[[LayerStore], list[tfb.Bijector]], shape: tuple[int, ...], context_size: int | None
    ) -> Any:
        """The distribution of events of a shape by a flow of this model's layers; with contexts a function of one.

        Args:
          flow: function like the method `flow`.
          shape: the shape of an event.
          context_size: size of the contexts, or None.

        Example: `self.distribution_over(self.flow, self.event_shape, None)`
        """
        options, store = self.options, self._store

        def distribution(context: tf.Tensor | None = None) -> tfd.Distribution:
            pixels = options.num_bins is not None
            layers = self.from_pixels(options.num_bins, options.alpha, store.dtype) if pixels else []
            layers += flow(store.with_context(context))
            base = tfd.Sample(self.latent(tf.zeros([], store.dtype), 1.0), shape)
            if context is not None:
                batch_shape = tf.shape(context)[:-1]
                base = _PerContext(base, batch_shape)
                layers = [Broadcast(batch_shape, len(shape)), *layers]
            return tfd.TransformedDistribution(base, tfb.Invert(Sequential(layers)))

        return distribution if context_size else distribution()

    def flow(self, layers: LayerStore) -> list[tfb.Bijector]:
        """The layers of the flow in the papers' direction, data → latent, without the logit.

        Args:
          layers: `LayerStore`, to make each network once.
        """
        raise NotImplementedError(f"{type(self).__name__} must define flow(layers)")

    @staticmethod
    def from_pixels(num_bins: int, alpha: float | None, dtype: str) -> list[tfb.Bijector]:
        """The layers in front of `flow`, over pixel values in [0, num_bins): a logit, or x / num_bins − ½."""
        if alpha is not None:
            return [Logit(num_bins, alpha)]
        return [tfb.Scale(tf.constant(1 / num_bins, dtype)), tfb.Shift(tf.constant(-0.5, dtype))]

    def factor_outs(self) -> list[tuple[tfb.Bijector, int | None]]:
        """The `(squeeze, num_kept)` at each place where latents leave, the finest first; see `FactorOut`."""
        return []

    def with_dtype(self, dtype: Any) -> "Architecture":
        """A copy of the flow and its optimizer with another dtype policy of the networks.

        Example: `model.with_dtype("float32").encode(images)`
        """
        config = {**self.get_config(), "dtype": dtype}
        if isinstance(config.get("dequantization"), dict):
            config["dequantization"]["config"]["dtype"] = dtype
        other = type(self).from_config(config)
        other.set_weights(self.get_weights())
        if self.compiled:
            other.compile_from_config(self.get_compile_config())
            for copied, variable in zip(other.optimizer.variables, self.optimizer.variables, strict=True):
                copied.assign(variable)
        return other

    def latents_by_scale(self, z: Any) -> list[np.ndarray]:
        z, latents = self.events.checked_latents(z), []
        for squeeze, num_kept in self.factor_outs():
            z, left = first_channels(squeeze.forward(z), num_kept)
            latents.append(left.numpy())
        return [*latents, tf.convert_to_tensor(z).numpy()]

    def join_latents(self, latents: Sequence[Any]) -> np.ndarray:
        *latents, z = latents
        for left, (squeeze, _) in zip(reversed(latents), reversed(self.factor_outs()), strict=True):
            z = squeeze.inverse(tf.concat([z, left], axis=-1))
        return self.events.checked_latents(z)

    def networks_by_scale(self) -> list[list[keras.layers.Layer]]:
        return self._store.by_scale(self.networks)

    def get_config(self) -> dict[str, Any]:
        config = {**self._arguments, "dtype": keras.dtype_policies.serialize(self.dtype_policy), "name": self.name}
        if not isinstance(config.get("dequantization", ""), str):
            config["dequantization"] = keras.saving.serialize_keras_object(self.dequantization)
        if self._frozen() != self._frozen_when_new:
            config["frozen"] = self._frozen()
        return {**config, "format_version": FORMAT_VERSION}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Architecture":
        config = checked_config(config, cls.oldest_format(config))
        frozen = config.pop("frozen", None)
        model = cls(**config)
        if frozen is not None:
            model._freeze(frozen)
        return model

    @classmethod
    def oldest_format(cls, config: dict[str, Any]) -> int:
        """The oldest `format_version` of a flow with this config that can be read."""
        return 1

    # The layers and weights that a user has frozen, by `trainable = False`, are data of the file. The optimizer has the
    # state of the weights that were trainable when the model was compiled.

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        self._frozen_when_compiled = self._frozen()

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if config is not None and self._frozen_when_compiled != self._frozen():
            config["frozen"] = self._frozen_when_compiled
        return config

    def compile_from_config(self, config: Any) -> None:
        now = self._frozen()
        self._freeze(config.get("frozen", now))
        super().compile_from_config({key: value for key, value in config.items() if key != "frozen"})
        self._freeze(now)

    def _parts(self) -> list[Any]:
        """All layers, each before those inside it, then all weights."""
        return [*sublayers(self), *self.weights]

    def _frozen(self) -> tuple[int, ...]:
        """The positions of the parts that are not trainable."""
        return tuple(position for position, part in enumerate(self._parts()) if not part.trainable)

    def _freeze(self, positions: Sequence[int]) -> None:
        """Makes these parts not trainable, and all others trainable."""
        frozen = frozenset(positions)
        for position, part in enumerate(self._parts()):
            part.trainable = position not in frozen


class _PerContext(tfd.BatchBroadcast):
    """The latents of a flow given contexts. A slice of it would leave the contexts of the networks as they are."""

    def __getitem__(self, slices: Any) -> Any:
        raise ValueError("given(context) has no slices: take a slice of the context, given(context[...])")


def inside(squeeze: tfb.Bijector, layers: Sequence[tfb.Bijector]) -> list[tfb.Bijector]:
    """The `layers` between a squeeze and its inverse.

    Example: `inside(Squeeze(), [coupling])`
    """
    return [squeeze, *layers, tfb.Invert(squeeze)]


def _checked_event_shape(event_shape: Any) -> tuple[int, ...]:
    shape = tuple(event_shape) if np.iterable(event_shape) else ()
    if len(shape) not in (1, 3) or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(f"event_shape must be (height, width, channels) or (size,); got {event_shape!r}")
    return shape


def check_counts(options: types.SimpleNamespace, *names: str) -> None:
    """Raises a ValueError if one of these options is not a positive int.

    Example: `check_counts(self.options, "filters", "num_blocks")`
    """
    check_positive(**{name: getattr(options, name) for name in names})


def check_divisible(event_shape: tuple, divisor: int, because: str) -> None:
    """Raises a ValueError if the sides of an image are not divisible by `divisor`.

    Args:
      event_shape: (height, width, channels); vectors always pass.
      divisor: int.
      because: the formula of the divisor, for the message.

    Example: `check_divisible((28, 28, 1), 2**num_scales, "2^num_scales")`
    """
    if len(event_shape) == 3 and (event_shape[0] % divisor or event_shape[1] % divisor):
        raise ValueError(
            f"event_shape must have a height and width divisible by {because} = {divisor}; got {event_shape}"
        )
