"""`Architecture`: a flow that its arguments build anew, so that it is saved, copied and conditioned like all others."""

import copy
import functools
import itertools
import re
import types

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import Broadcast, Logit
from tfp_realnvp.bijectors.masks import first_channels
from tfp_realnvp.events import Contexts, checked_num_bins
from tfp_realnvp.model import FlowModel
from tfp_realnvp.networks import Constant, ContextMaps, Given, Rematerialized
from tfp_realnvp.networks.layers import check_positive, draw_seed, spawn_seeds
from tfp_realnvp.saving import FORMAT_VERSION, checked_config

tfb = tfp.bijectors
tfd = tfp.distributions


class Architecture(FlowModel):
    """A `FlowModel` whose distribution follows from its constructor's arguments.

    A subclass defines its `__init__` with all arguments by name, which ends in `super().__init__(locals())`, and
    `flow(networks)`; that is all there is to a family of flows. Its arguments are `self.options`. There must be
    `event_shape`, `seed`, `dtype` and `name`; `num_bins`, `alpha`, `dequantization`, `num_classes`, `context_size` and
    `rematerialize` mean the same in every family:

    Args:
      event_shape: (height, width, channels) or (size,).
      num_bins: number of pixel levels, or None for continuous data; "auto": 256 for images, None for vectors.
      alpha: see `bijectors.Logit`, which is in front of the flow where there are pixel levels. None: x / num_bins − ½
        instead of a logit.
      dequantization, num_classes, context_size: see `FlowModel`. The class or context is seen by every conditioner.
      rematerialize: True to keep the inputs of the couplings' networks alone for the backward pass and to run the
        networks again in it, see `networks.Rematerialized`: a fraction of the memory for about 4/3 of the time.
      seed: int, the seed of initialization and dequantization noise; None draws one.
      dtype: Keras dtype policy of the networks. The flow has the dtype of their weights: under "mixed_bfloat16" the
        networks compute in bfloat16 and the flow in float32. Such networks are fast to train; but as what they see
        differs in the last bits between the two directions, so does what bfloat16 rounds it to, and `decode` gives
        back what `encode` got only in float32: `with_dtype("float32")` is the same flow with exact networks.
      name: as for `keras.Model`.

    Attributes:
      latent: the distribution of each entry of the latents.
    """

    latent = tfd.Normal

    def __init__(self, arguments):
        arguments = {key: value for key, value in arguments.items() if key not in ("self", "__class__")}
        policy = keras.dtype_policies.get(arguments.pop("dtype") or keras.config.dtype_policy())
        name = arguments.pop("name")
        shape = _checked_event_shape(arguments["event_shape"])
        arguments.update(event_shape=shape, seed=draw_seed(arguments["seed"]))
        options = types.SimpleNamespace(**{"num_bins": None, "alpha": None, **arguments})
        num_bins = checked_num_bins(options.num_bins, shape)
        context = {key: arguments[key] for key in ("num_classes", "context_size") if key in arguments}
        dequantization = {key: arguments[key] for key in ("dequantization",) if key in arguments}
        contexts = Contexts(context.get("num_classes"), context.get("context_size"), tf.as_dtype(policy.variable_dtype))
        networks = Networks(policy, options.seed, contexts.size or 0, getattr(options, "rematerialize", False))
        self._arguments, self.options = arguments, options

        def distribution(context=None):
            layers = [] if num_bins is None else _from_pixels(num_bins, options.alpha, policy.variable_dtype)
            layers += self.flow(networks.given(context))
            base = tfd.Sample(self.latent(tf.zeros([], policy.variable_dtype), 1.0), shape)
            if context is not None:
                batch_shape = tf.shape(context)[:-1]
                base = tfd.BatchBroadcast(base, batch_shape)
                layers = [Broadcast(batch_shape, len(shape)), *layers]
            return tfd.TransformedDistribution(base, tfb.Invert(sequential(layers)))

        super().__init__(
            distribution if contexts.size else distribution(),
            num_bins=num_bins,
            seed=options.seed,
            networks=networks.layers,
            dtype=policy,
            name=name,
            **context,
            **dequantization,
        )

    def flow(self, networks):
        """The layers of the flow as the papers write them, data → latent, but for the logit.

        Args:
          networks: `Networks`, which makes and remembers the networks.

        Returns:
          List of `tfb.Bijector`s.
        """
        raise NotImplementedError(f"{type(self).__name__} must define flow(networks)")

    def factor_outs(self):
        """Where the latents of a scale leave: a list of `(squeeze, num_kept)`, see `FactorOut`, the finest first."""
        return []

    def with_dtype(self, dtype):
        """A copy of the flow, optimizer included, whose networks have another dtype policy, such as "float32"."""
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

    def latents_by_scale(self, z):
        z, latents = self._events.checked_latents(z), []
        for squeeze, num_kept in self.factor_outs():
            z, left = first_channels(squeeze.forward(z), num_kept)
            latents.append(left.numpy())
        return [*latents, tf.convert_to_tensor(z).numpy()]

    def join_latents(self, latents):
        *latents, z = latents
        for left, (squeeze, _) in zip(reversed(latents), reversed(self.factor_outs()), strict=True):
            z = squeeze.inverse(tf.concat([z, left], axis=-1))
        return self._events.checked_latents(z)

    def networks_by_scale(self):
        scale = lambda network: re.match(r"scale_\d+", network.name).group()
        return [list(networks) for _, networks in itertools.groupby(self.networks, scale)]

    def get_config(self):
        config = {**self._arguments, "dtype": keras.dtype_policies.serialize(self.dtype_policy), "name": self.name}
        if not isinstance(config.get("dequantization", ""), str):
            config["dequantization"] = keras.saving.serialize_keras_object(self.dequantization)
        return {**config, "format_version": FORMAT_VERSION}

    @classmethod
    def from_config(cls, config):
        return cls(**checked_config(config))


class Networks:
    """The networks of a flow by their names, each made when it is first asked for.

    A flow is built for each context anew, always from the same networks.

    Args:
      policy: their Keras dtype policy.
      seed: int, of what the contexts add to them.
      context_size: how many more channels the conditioners have, 0 without a context.
      rematerialize: whether the conditioners' activations are computed again for the backward pass.

    Attributes:
      context_size: as given.
      context: the tensor [..., context_size] that the conditioners see, or None.
    """

    def __init__(self, policy, seed, context_size=0, rematerialize=False):
        self._policy, self._seed, self._rematerialize, self._by_name = policy, seed, rematerialize, {}
        self.context_size, self.context = context_size, None

    @property
    def layers(self):
        """All of them, in the order they were made in; an iterator that can be asked for again."""
        return self._by_name.values()

    def given(self, context):
        """The same networks for this context, a tensor [..., context_size] or None."""
        networks = copy.copy(self)
        networks.context = context
        return networks

    def layer(self, name, make, shape):
        """The layer of this name, or `make(name=, dtype=)` built for events of this shape. A name tells the scale.

        Example: `networks.layer("scale_0_step_3_act_norm", ChannelAffine, (32, 32, 12))`
        """
        if name not in self._by_name:
            layer = make(name=name, dtype=self._policy)
            layer.build((None, *shape))
            self._by_name[name] = layer
        return self._by_name[name]

    def conditioner(self, name, make, shape):
        """As `layer`, for a network that sees the context as well: of images as maps, see `networks.ContextMaps`."""
        if self.context_size and len(shape) == 3:
            make = functools.partial(self._with_maps, make)
        network = self.layer(name, make, (*shape[:-1], shape[-1] + self.context_size))
        network = Rematerialized(network) if self._rematerialize else network
        return network if self.context is None else Given(network, self.context)

    def _with_maps(self, make, name, dtype):
        seed = spawn_seeds(self._seed, len(self._by_name) + 1)[-1]
        return ContextMaps(make(name=name, dtype=dtype), self.context_size, seed=seed, name=name, dtype=dtype)

    def prior(self, name, shape):
        """The conditioner of a coupling that keeps nothing, with parameters of this shape an event.

        Without a context they are learned for each channel, and fit images of any size; given one, for each entry:
        where a class has its strokes tells more than how many it has.
        """
        if not self.context_size:
            return self.layer(name, functools.partial(Constant, shape[-1]), (*shape[:-1], 0))
        axes = "hw"[: len(shape) - 1]
        equation, options = f"b{axes}k,{axes}kc->b{axes}c", dict(bias_axes=f"{axes}c", kernel_initializer="zeros")
        make = functools.partial(keras.layers.EinsumDense, equation, shape, **options)
        network = self.layer(name, make, (*shape[:-1], self.context_size))
        return network if self.context is None else Given(network, self.context)


def sequential(layers):
    """`layers` one after the other as the papers write them, data → latent (`tfb.Chain` counts from the end)."""
    # TFP would join all their names, and begin the name of every operation in the graph with the result.
    return tfb.Chain(list(reversed(layers)), name="chain")


def inside(squeeze, layers):
    """`layers` between a squeeze and its inverse."""
    return [squeeze, *layers, tfb.Invert(squeeze)]


def _from_pixels(num_bins, alpha, dtype):
    """The layers from pixel values in [0, num_bins) to what a flow begins with."""
    if alpha is not None:
        return [Logit(num_bins, alpha)]
    return [tfb.Scale(tf.constant(1 / num_bins, dtype)), tfb.Shift(tf.constant(-0.5, dtype))]


def _checked_event_shape(event_shape):
    shape = tuple(event_shape) if np.iterable(event_shape) else ()
    if len(shape) not in (1, 3) or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(f"event_shape must be (height, width, channels) or (size,); got {event_shape!r}")
    return shape


def check_counts(options, *names):
    """Raises a ValueError where one of these options is no positive int."""
    check_positive(**{name: getattr(options, name) for name in names})


def check_divisible(event_shape, divisor, because):
    """Raises a ValueError where an image's sides cannot be squeezed as often as there are scales."""
    if len(event_shape) == 3 and (event_shape[0] % divisor or event_shape[1] % divisor):
        raise ValueError(
            f"event_shape must have a height and width divisible by {because} = {divisor}; got {event_shape}"
        )
