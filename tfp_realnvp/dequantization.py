"""Dequantization: from pixel levels to continuous values, so that a density bounds a probability.

```none
log P(pixel) ≥ E log p(x) − log q(x − pixel | pixel),    x − pixel ~ q in [0, 1)^D
```

A flow whose entries pass one map each needs no noise: its probabilities of the levels are exact, see `Exact`.

References: arXiv 1511.01844, section 3.1, for uniform noise; arXiv 1902.00275, section 3.1, for learned noise.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import noise
from tfp_realnvp.bijectors import Coupling, Logit, Sequential, affine, bins
from tfp_realnvp.bijectors.masks import Checkerboard
from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks import ChannelTanhScale, GatedConvNet, WithContext
from tfp_realnvp.representation import Described


def uniform(images: tf.Tensor, num_bins: int, seed: Any) -> tf.Tensor:
    """Adds uniform noise: x = pixel + U[0, 1), so that E log p(x) ≤ log P(pixel).

    The noise of an image is a random multiply-add hash of its pixels. It depends on `seed` and the image alone, not on
    the batch, the device or the worker.

    Args:
      images: integer-valued tensor of shape [batch] + event_shape.
      num_bins: number of pixel levels.
      seed: int64 tensor of shape [2].

    Returns:
      float32 tensor like `images`; each value stays within its own pixel's bin.

    Example: `uniform(tf.constant([[3]], tf.uint8), 256, seed=[0, 0])` is in [3, 4).

    References: arXiv 1511.01844, section 3.1.
    """
    return _add(images, _noise(images, seed), num_bins)


@register
class UniformDequantization(Described, keras.layers.Layer):
    """Uniform noise with the density q = 1 on [0, 1)^D, see `uniform`.

    Call arguments:
      images: integer-valued tensor of shape [batch] + event_shape.
      num_bins: number of pixel levels.
      seed: int64 tensor of shape [2].

    Returns:
      `(x, log_q)`: float32 images, each value within its own pixel's bin, and log q of their noise, [batch].

    Example: `x, log_q = UniformDequantization()(images, num_bins=256, seed=[0, 0])`

    References: arXiv 1511.01844, section 3.1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: Any) -> None:
        pass

    def call(self, images: tf.Tensor, num_bins: int, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return uniform(images, num_bins, seed), tf.zeros(tf.shape(images)[:1])

    def compute_output_shape(self, input_shape: Any) -> list:
        return [input_shape, input_shape[:1]]


@register
class VariationalDequantization(Described, keras.layers.Layer):
    """Noise from a flow that is conditioned on the image and trained together with the density.

    ```none
    ε ~ logistic,    u = σ(f(ε; image)),    log q(u | image) = log p(ε) − log|det du/dε|
    ```

    f is a chain of affine couplings with alternating checkerboard masks. Their `GatedConvNet`s see ε and the image,
    scaled to [−1, 1]. ε depends on the seed and the image alone, as in `uniform`.

    Args:
      num_couplings: number of couplings of f.
      filters: width of their networks.
      num_blocks: number of gated blocks per network.
      seed: int, the seed of the networks' initialization; None draws one.

    Call arguments, returns: as for `UniformDequantization`.

    Raises:
      ValueError: for sizes below 1, or events that are not images.

    Example: `rnvp.UvA((28, 28, 1), dequantization=VariationalDequantization(filters=32))`

    References: arXiv 1902.00275, section 3.1; P. Lippe, UvA deep learning tutorial 11, for the network.
    """

    def __init__(
        self, num_couplings: int = 4, filters: int = 16, num_blocks: int = 3, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_positive(num_couplings=num_couplings, filters=filters, num_blocks=num_blocks)
        self.num_couplings = num_couplings
        self.filters = filters
        self.num_blocks = num_blocks
        self.seed = seed
        self._seeds = spawn_seeds(seed, num_couplings)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 4:
            raise ValueError(f"variational dequantization is for images; got a batch of shape {tuple(input_shape)}")
        channels, policy = input_shape[-1], self.dtype_policy
        self.networks: list[keras.layers.Layer] = []
        for number, seed in enumerate(self._seeds):
            network = GatedConvNet(2 * channels, self.filters, self.num_blocks, seed, name="network", dtype=policy)
            self.networks.append(ChannelTanhScale(network, dtype=policy, name=f"dequantization_coupling_{number}"))
            self.networks[-1].build((*input_shape[:-1], 2 * channels))

    def call(self, images: tf.Tensor, num_bins: int, seed: Any) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(images, tf.float32) * (2 / max(num_bins - 1, 1)) - 1
        couplings = [
            Coupling(Checkerboard(number % 2), WithContext(network, pixels, event_ndims=3), affine)
            for number, network in enumerate(self.networks)
        ]
        # Between 0 and 1, both excluded, so that its logit is finite.
        pixel_noise = tf.cast(_noise(images, seed), self.variable_dtype) * (1 - 2**-22) + 2.0**-23
        epsilon = tf.math.log(pixel_noise) - tf.math.log1p(-pixel_noise)
        log_p = tf.reduce_sum(tfd.Logistic(tf.zeros([], epsilon.dtype), 1.0).log_prob(epsilon), axis=[1, 2, 3])
        sigmoid = tfb.Invert(Logit(num_bins=1, alpha=0.0))  # The slope of TFP's is NaN where exp(ε) is infinite.
        flow = Sequential([*couplings, sigmoid], name="flow_of_noise")
        u, log_det = flow.forward(epsilon), flow.forward_log_det_jacobian(epsilon, 3)
        return _add(images, u, num_bins), log_p - log_det

    def compute_output_shape(self, input_shape: Any) -> list:
        return [input_shape, input_shape[:1]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_couplings": self.num_couplings,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "seed": self.seed,
        }


@register
class Exact(Described, keras.layers.Layer):
    """No noise: the exact probability of the pixel levels, for flows whose entries pass one increasing map each.

    ```none
    log P(level) = Σ log (F(y(k + 1)) − F(y(k)))    over all entries, see `bijectors.bins`
    ```

    Example: `rnvp.SubpixelFlow((32, 32, 3), num_scales=5, dequantization="exact")`

    References: PixelCNN++, arXiv 1701.05517, section 2.1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: Any) -> None:
        pass

    def check(self, distribution: tfd.Distribution, event_shape: tuple[int, ...]) -> None:
        """Raises a ValueError for a distribution that gives only densities.

        Args:
          distribution: `tfd.Distribution`.
          event_shape: shape of an event.

        Example: `Exact().check(model.distribution, model.event_shape)`
        """
        try:
            bins.check(distribution, event_shape)
        except ValueError as error:
            raise ValueError(f'dequantization must not be "exact" for this flow: {error}') from None


def log_prob(
    layer: keras.layers.Layer, distribution: tfd.Distribution, images: tf.Tensor, num_bins: int, seed: Any
) -> tf.Tensor:
    """The log-probability of pixel levels by `Exact`, and its bound with one draw of noise by any other layer.

    Args:
      layer: as of `get`.
      distribution: `tfd.Distribution` over [0, num_bins).
      images: integer-valued tensor of shape [batch] + event_shape.
      num_bins: number of pixel levels.
      seed: int64 tensor of shape [2].

    Returns:
      Tensor [batch], nats.

    Example: `log_prob(get("uniform"), model.distribution, images, 256, seed=[0, 0])`
    """
    if isinstance(layer, Exact):
        return bins.log_prob(distribution, tf.cast(images, distribution.dtype), num_bins)
    x, log_q = layer(images, num_bins=num_bins, seed=seed)
    log_p = distribution.log_prob(tf.cast(tf.identity(x), distribution.dtype))
    return log_p - tf.cast(log_q, log_p.dtype)


def get(identifier: Any, seed: int | None = None, dtype: Any = None) -> keras.layers.Layer:
    """The dequantization layer of a name or of a serialized form; a layer is returned as it is.

    Args:
      identifier: "uniform", "variational" (with its default sizes), "exact", a layer with the call arguments of
        `UniformDequantization`, or such a layer in Keras's serialized form, as in
        `{"class_name": "tfp_realnvp>VariationalDequantization", "config": {"num_couplings": 2}}`.
      seed: int, the seed of the networks' initialization, unless `identifier` has its own; None draws one.
      dtype: Keras dtype policy of the networks, unless `identifier` has its own.

    Raises:
      ValueError: for another name, or a dictionary of another form.

    Example: `get("variational", seed=0)` is `VariationalDequantization(seed=0)`.
    """
    if isinstance(identifier, keras.layers.Layer):
        return identifier
    if isinstance(identifier, dict):
        options = {"dtype": dtype, "name": "dequantization", **identifier.get("config", {})}
        try:
            layer = keras.layers.deserialize({"class_name": None, **identifier, "config": options})
            if getattr(layer, "seed", 0) is None:
                layer = type(layer).from_config({**layer.get_config(), "seed": seed})
            return layer
        except (TypeError, ValueError) as error:
            raise ValueError(f"dequantization must be a layer in Keras's form; got {identifier!r}") from error
    if identifier == "uniform":
        return UniformDequantization(name="dequantization")
    if identifier == "variational":
        return VariationalDequantization(seed=seed, dtype=dtype, name="dequantization")
    if identifier == "exact":
        return Exact(name="dequantization")
    raise ValueError(f'dequantization must be "uniform", "variational", "exact" or a Keras layer; got {identifier!r}')


def _noise(images: tf.Tensor, seed: Any) -> tf.Tensor:
    """U[0, 1) in float32 for each pixel, by the seed and the image."""
    weights, *others = tf.unstack(noise.coefficients([3, np.prod(images.shape[1:])], seed))
    uniform = noise.uniform(noise.keys(images, weights), *others)
    return tf.ensure_shape(tf.reshape(uniform, tf.shape(images)), images.shape)


def _add(images: tf.Tensor, added: tf.Tensor, num_bins: int) -> tf.Tensor:
    below_one = 1 - num_bins * 2.0**-24  # The largest noise that rounding does not carry into the next bin.
    return tf.cast(images, tf.float32) + tf.minimum(tf.cast(added, tf.float32), below_one)
