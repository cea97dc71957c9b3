"""Real NVP (Dinh, Sohl-Dickstein and Bengio, arXiv 1605.08803), as in the authors' code."""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors import BatchNormalization, Coupling, FactorOut, Logit, Squeeze, affine
from tfp_realnvp.bijectors.masks import Channel, Checkerboard, Dense
from tfp_realnvp.model import FlowModel
from tfp_realnvp.networks import MLP, Moments, ResNet, TanhScale
from tfp_realnvp.networks.layers import draw_seed, register, spawn_seeds

tfb = tfp.bijectors
tfd = tfp.distributions


@register
class RealNVP(FlowModel):
    """The multi-scale flow of the paper's figure 4, with the masks, networks and norms of the authors' code.

    At each scale, data → latent, for images:

    ```none
    checkerboard couplings with masks 1, 0, 1
    but at the last scale:  squeeze, channel couplings keeping the first, the second, the first half, un-squeeze;
                            squeeze by diagonals, factor half out, the next scale for the rest, un-squeeze
    at the last scale:      a fourth checkerboard coupling, mask 0
    ```

    Each coupling is followed by batch norm of what it changed. The width of the networks doubles from scale to scale,
    and channel couplings have twice the width of checkerboard ones. The latents are standard normal and have the shape
    of the image.

    For vectors (`event_shape` of rank 1) a scale is four couplings whose masks alternate between even and odd entries,
    conditioned by MLPs with `num_blocks` hidden layers of `filters` units, and nothing is factored out.

    Args:
      event_shape: (height, width, channels) or (size,).
      num_scales: number of scales; the paper: CIFAR-10 2, ImageNet 32×32 4, 64×64 5.
      filters: width of the networks at the first scale; the paper: CIFAR-10 64, otherwise 32.
      num_blocks: residual blocks a network; the paper: CIFAR-10 8, otherwise 2 or 4.
      num_bins: number of pixel levels, or None for continuous data; "auto": 256 for images, None for vectors.
      alpha: see `Logit`.
      l2: the penalty l2 · Σ g², in nats, on the magnitudes of the weight norm and the checkerboard couplings' scales.
      seed: int, the seed of initialization and dequantization noise; None draws one.
      dtype: Keras dtype policy of the networks. The flow has the dtype of their weights: under "mixed_bfloat16" the
        networks compute in bfloat16 and the flow in float32.
      name: as for `keras.Model`.

    Raises:
      ValueError: for an `event_shape` of rank other than 1 or 3, a height or width not divisible by
        2^(num_scales − 1), or sizes below 1.

    Example:

    ```python
    model = rnvp.RealNVP(event_shape=(32, 32, 3), num_scales=2, filters=64, num_blocks=8)
    model.compile()
    model.fit(images, batch_size=64, epochs=10)     # uint8 [N, 32, 32, 3]
    model.evaluate(images, return_dict=True)        # {"loss": nats, "bits_per_dim": ...}
    model.sample(16, seed=0)                        # uint8 [16, 32, 32, 3]
    ```

    References: arXiv 1605.08803, sections 3.4 to 3.7 and 4.1.
    """

    def __init__(
        self,
        event_shape,
        num_scales=2,
        filters=32,
        num_blocks=4,
        num_bins="auto",
        alpha=0.05,
        l2=5e-5,
        seed=None,
        dtype=None,
        name="real_nvp",
    ):
        event_shape = tuple(event_shape)
        _check_arguments(event_shape, num_scales, filters, num_blocks)
        seed = draw_seed(seed)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self._config = dict(
            event_shape=event_shape,
            num_scales=num_scales,
            filters=filters,
            num_blocks=num_blocks,
            num_bins=num_bins,
            alpha=alpha,
            l2=l2,
            seed=seed,
        )
        flow = _image_flow if len(event_shape) == 3 else _vector_flow
        layers = flow(event_shape, num_scales, filters, num_blocks, l2, seed, policy)
        if num_bins == "auto":
            num_bins = 256 if len(event_shape) == 3 else None
        if num_bins is not None:
            layers = [Logit(num_bins, alpha), *layers]
        base = tfd.Sample(tfd.Normal(tf.zeros([], policy.variable_dtype), 1.0), event_shape)
        distribution = tfd.TransformedDistribution(base, tfb.Invert(sequential(layers)))
        super().__init__(distribution, num_bins=num_bins, seed=seed, dtype=policy, name=name)

    def latents_by_scale(self, z):
        z = self._check_latents(z)
        latents = []
        if len(self.event_shape) == 3:
            for _ in range(self._config["num_scales"] - 1):
                z, left = tf.split(Squeeze(diagonal_first=True).forward(z), 2, axis=-1)
                latents.append(left.numpy())
            z = tf.convert_to_tensor(z).numpy()
        return [*latents, z]

    def get_config(self):
        return {**self._config, "dtype": keras.dtype_policies.serialize(self.dtype_policy), "name": self.name}


def sequential(layers):
    """`layers` one after the other as the papers write them, data → latent (`tfb.Chain` counts from the end)."""
    return tfb.Chain(list(reversed(layers)))


def _image_flow(shape, num_scales, filters, num_blocks, l2, seed, policy, scale=0):
    """The recursion over the scales: a list of layers, data → latent."""
    height, width, channels = shape
    here, below = spawn_seeds(seed, 2)
    seeds = iter(spawn_seeds(here, 7))

    # Numbered as in the authors' code.
    def checkerboard(number, top_left):
        network = ResNet(2 * channels, filters, num_blocks, top_left, l2, next(seeds), dtype=policy)
        conditioner = TanhScale(network, 0.0, l2, name=f"scale_{scale}_coupling_{number}", dtype=policy)
        conditioner.build((None, height, width, channels))
        return _coupling(Checkerboard(top_left), conditioner, channels)

    def channel(number, keep_first):
        network = ResNet(4 * channels, 2 * filters, num_blocks, None, l2, next(seeds), dtype=policy)
        conditioner = TanhScale(network, 1.0, name=f"scale_{scale}_coupling_{number}", dtype=policy)
        conditioner.build((None, height // 2, width // 2, 2 * channels))
        return _coupling(Channel(keep_first), conditioner, 2 * channels)

    layers = [*checkerboard(0, 1), *checkerboard(1, 0), *checkerboard(2, 1)]
    if num_scales == 1:
        return [*layers, *checkerboard(3, 0)]
    layers += _inside(Squeeze(), [*channel(4, True), *channel(5, False), *channel(6, True)])
    next_shape = (height // 2, width // 2, 2 * channels)
    coarser = _image_flow(next_shape, num_scales - 1, 2 * filters, num_blocks, l2, below, policy, scale + 1)
    return [*layers, *_inside(Squeeze(diagonal_first=True), [FactorOut(sequential(coarser))])]


def _vector_flow(shape, num_scales, filters, num_blocks, l2, seed, policy):
    """Couplings over vectors, their masks alternating between even and odd entries: a list of layers, data → latent."""
    del l2  # a penalty on magnitudes, which MLPs have none of
    (size,) = shape
    layers = []
    for number, layer_seed in enumerate(spawn_seeds(seed, 4 * num_scales)):
        mask = Dense([(entry + number) % 2 for entry in range(size)])
        network = MLP(2 * size, [filters] * num_blocks, seed=layer_seed, dtype=policy)
        conditioner = TanhScale(network, name=f"coupling_{number}", dtype=policy)
        conditioner.build((None, size))
        layers += _coupling(mask, conditioner, size)
    return layers


def _coupling(mask, conditioner, channels):
    """A coupling and the batch norm of what it changed."""
    moments = Moments(dtype=conditioner.dtype_policy, name=f"{conditioner.name}_moments")
    moments.build((None, channels))
    return [Coupling(mask, conditioner, affine), BatchNormalization(moments, mask)]


def _inside(squeeze, layers):
    return [squeeze, *layers, tfb.Invert(squeeze)]


def _check_arguments(event_shape, num_scales, filters, num_blocks):
    if len(event_shape) not in (1, 3) or any(not isinstance(size, int) or size < 1 for size in event_shape):
        raise ValueError(f"event_shape must be (height, width, channels) or (size,); got {event_shape}")
    for name, value in dict(num_scales=num_scales, filters=filters, num_blocks=num_blocks).items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int; got {value!r}")
    divisor = 2 ** (num_scales - 1)
    if len(event_shape) == 3 and (event_shape[0] % divisor or event_shape[1] % divisor):
        raise ValueError(
            f"event_shape must have a height and width divisible by 2^(num_scales - 1) = {divisor}; got {event_shape}"
        )
