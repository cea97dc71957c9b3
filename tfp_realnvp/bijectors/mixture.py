"""The mixture of logistics as an elementwise map, the triangular map of channels before it, and both as one."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors import bins
from tfp_realnvp.bijectors.fused import FusedBijector
from tfp_realnvp.bijectors.volume_preserving import VolumePreserving

# Of a component, in units of an image's range: a sixteenth of one of 256 levels. A surprising pixel costs its distance
# over the scale, so that without a bound a few pixels of sharp edges would rule the gradient.
SMALLEST_SCALE = 2.0**-12
LARGEST_LOG_SCALE = 20.0  # of a component: far beyond an image, far below float32's end


class LogisticMixture(FusedBijector):
    """Maps a mixture of logistics to a standard logistic variable, elementwise.

    ```none
    y = logit F(x),    F(x) = Σ_k π_k σ((x − μ_k) / s_k)
    log|dy/dx| = log F'(x) − log F(x) − log(1 − F(x))
    ```

    If y ~ Logistic(0, 1), then x has exactly the density F' of the mixture. All values are computed from log F and
    log(1 − F), which stay exact far out in the tails.

    The inverse has no formula. It lies between the smallest and the largest quantile μ_k + s_k y of the components. A
    bracketing search finds x there. A step of Newton's method then adds the last digits and the gradients.

    Forward is data → latent, as in the papers.

    Args:
      logits: tensor [..., K], unnormalized log π.
      locs: tensor [..., K], μ.
      log_scales: tensor [..., K], log s.

    Example: `LogisticMixture(tf.zeros([2]), tf.constant([-1.0, 1.0]), tf.zeros([2])).forward(0.0)` is 0.

    References: Ho et al., Flow++, arXiv 1902.00275, section 3.2.1, without the affine map after the logit.
    """

    def __init__(
        self,
        logits: tf.Tensor,
        locs: tf.Tensor,
        log_scales: tf.Tensor,
        validate_args: bool = False,
        name: str = "logistic_mixture",
    ) -> None:
        parameters = dict(locals())
        params = tf.nn.log_softmax(logits), tf.convert_to_tensor(locs), tf.convert_to_tensor(log_scales)
        self._params = tuple(map(_components_first, params))
        super().__init__(parameters, event_ndims=0, validate_args=validate_args, name=name)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        properties = tfp.util.ParameterProperties
        return {name: properties(event_ndims=1) for name in ("logits", "locs", "log_scales")}

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_weights, locs, log_scales = self._params_for(x)
        u = (x - locs) * tf.exp(-log_scales)
        below = log_weights - tf.nn.softplus(-u)  # log π σ(u)
        above = below - u  # log π (1 − σ(u))
        density = below + above - log_weights - log_scales  # log π σ'(u) / s
        log_cdf, log_survival, log_density = (tf.reduce_logsumexp(terms, 0) for terms in (below, above, density))
        return log_cdf - log_survival, log_density - log_cdf - log_survival

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _, locs, log_scales = self._params_for(y)
        quantiles = tf.stop_gradient(locs + tf.exp(log_scales) * y)
        low, high = tf.reduce_min(quantiles, 0), tf.reduce_max(quantiles, 0)
        excess = lambda x: self._forward_and_log_det(x)[0] - y
        root = tfp.math.find_root_chandrupatla(excess, low, high).estimated_root
        # The root finder loses the static shape of axes of size 1.
        root = tf.stop_gradient(tf.ensure_shape(root, low.shape))
        y_at_root, log_slope = self._forward_and_log_det(tf.clip_by_value(root, low, high))
        x = root - (y_at_root - y) * tf.stop_gradient(tf.exp(-log_slope))
        return x, -self._forward_and_log_det(x)[1]

    def _params_for(self, x: tf.Tensor) -> list[tf.Tensor]:
        """The parameters [K, ...] with an axis for each axis of x behind the first."""
        rank, params = tf.rank(x) if x.shape.rank is None else x.shape.rank, []
        for param in self._params:
            if x.shape.rank is None or x.shape.rank + 1 > param.shape.rank:
                ones = tf.ones([tf.maximum(rank + 1 - param.shape.rank, 0)], tf.int32)
                param = tf.reshape(param, tf.concat([tf.shape(param)[:1], ones, tf.shape(param)[1:]], 0))
            params.append(param)
        return params


def _components_first(param: tf.Tensor) -> tf.Tensor:
    """[..., K] ↦ [K, ...]: sums over a few components are quick over whole arrays and slow along the last axis."""
    last = param.shape.rank - 1
    return tf.transpose(param, [last, *range(last)])


class ChannelAutoregressive(VolumePreserving):
    """The unit lower triangular map y_c = x_c − Σ_{b<c} a_cb x_b over the last axis; log-det 0.

    Forward is data → latent, as in the papers.

    Args:
      coefficients: tensor [..., C (C − 1) / 2], the entries a of each row in turn, for C channels.

    Example: `ChannelAutoregressive(tf.constant([1.0, 0.0, 1.0])).forward([2.0, 3.0, 4.0])` is [2, 1, 1].

    References: Salimans et al., PixelCNN++, arXiv 1701.05517, section 2.2, for the dependence between channels.
    """

    def __init__(
        self, coefficients: tf.Tensor, validate_args: bool = False, name: str = "channel_autoregressive"
    ) -> None:
        parameters = dict(locals())
        coefficients = tf.convert_to_tensor(coefficients)
        self._coefficients = tf.unstack(coefficients, axis=-1)
        super().__init__(parameters, 1, validate_args, name, dtype=coefficients.dtype)

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {"coefficients": tfp.util.ParameterProperties(event_ndims=1)}

    def _predicted(self, channels: Sequence[tf.Tensor]) -> tf.Tensor:
        """The prediction Σ_{b<c} a_cb x_b of channel c from the channels before it."""
        first = len(channels) * (len(channels) - 1) // 2
        return sum(a * x for a, x in zip(self._coefficients[first:], channels, strict=False))

    def predictions(self, x: tf.Tensor) -> tf.Tensor:
        """The predictions Σ_{b<c} a_cb x_b of all channels.

        Example: `ChannelAutoregressive(tf.constant([0.5])).predictions([2.0, 3.0])` is [0, 1].
        """
        x = tf.unstack(x, axis=-1)
        return tf.stack([tf.zeros_like(x[0]), *(self._predicted(x[:c]) for c in range(1, len(x)))], axis=-1)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return x - self.predictions(x)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        x: list[tf.Tensor] = []
        for channel in tf.unstack(y, axis=-1):
            x.append(channel + self._predicted(x))
        return tf.stack(x, axis=-1)

    def forward_bins(self, events: bins.Bins) -> bins.Bins:
        """The bins less the predictions from the middles of the channels before, see `bins`."""
        predictions = self.predictions(events.middle)
        return events.mapped(lambda x: x - predictions, differs=True)


@dataclasses.dataclass(frozen=True)
class ResidualMixture:
    """The map of a pixel as a function of its parameters: a mixture of logistics for its difference from a prediction.

    ```none
    y = mixture(triangular((x − shift) / unit))
    ```

    If all parameters are 0, the locations of the components spread over [−1, 1], so that training can separate them.
    From the difference of each channel, the map then subtracts the difference of the channel before.

    Args:
      channels: int, channels of a pixel.
      num_components: int, logistics per mixture.
      unit: float, the typical size of the difference before training.

    Call arguments:
      params: tensor [..., `num_params`]. The last axis holds the shift of each channel, the coefficients of
        `ChannelAutoregressive`, and the logits, locations and log-scales of `LogisticMixture`. A scale is at least
        `SMALLEST_SCALE` in units of x, and its logarithm in units of `unit` at most `LARGEST_LOG_SCALE`.

    Returns:
      `tfb.Bijector`; its forward direction is data → latent.

    Example: `ResidualMixture(channels=3, num_components=5, unit=0.01)(tf.zeros([8, 51]))`

    References: arXiv 1902.00275, section 3.2; arXiv 1701.05517, section 2.2.
    """

    channels: int
    num_components: int
    unit: float

    @property
    def num_params(self) -> int:
        """The number of parameters of a pixel."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        channels = self.channels
        return [channels, channels * (channels - 1) // 2, 3 * channels * self.num_components]

    def __call__(self, params: tf.Tensor) -> tfb.Bijector:
        shift, coefficients, components = self._split(params)
        logits, locs, log_scales = tf.unstack(components, axis=-3)
        log_scales = tf.clip_by_value(log_scales, math.log(SMALLEST_SCALE / self.unit), LARGEST_LOG_SCALE)
        apart = tf.linspace(tf.constant(-1.0, params.dtype), 1.0, self.num_components)
        return tfb.Chain(
            [
                LogisticMixture(logits, locs + apart, log_scales),
                ChannelAutoregressive(coefficients),
                tfb.Scale(tf.constant(1 / self.unit, params.dtype)),
                tfb.Shift(-shift),
            ]
        )

    def of_channel(self, params: tf.Tensor, x: tf.Tensor, channel: Any) -> tuple["ResidualMixture", tf.Tensor]:
        """The map of one channel, given those before it.

        ```none
        shift'_c = shift_c + Σ_{b<c} a_cb (x_b − shift_b)
        ```

        Args:
          params: as of a call.
          x: tensor [..., channels], the values of the pixel, of which those before `channel` count.
          channel: int or tensor, number of the channel.

        Returns:
          The function of one channel, and its parameters.

        Example: `mixture, of_green = ResidualMixture(3, 5, 0.01).of_channel(params, pixels, 1)`
        """
        shift, coefficients, components = self._split(params)
        predictions = ChannelAutoregressive(coefficients).predictions(x - shift)
        shift = bins.channel_of(shift + predictions, channel)
        components = tf.gather(components, channel, axis=-2)
        components = tf.reshape(components, tf.concat([tf.shape(params)[:-1], [3 * self.num_components]], 0))
        components = tf.broadcast_to(components, tf.concat([tf.shape(shift)[:-1], [3 * self.num_components]], 0))
        return dataclasses.replace(self, channels=1), tf.concat([shift, components], axis=-1)

    def _split(self, params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The shifts, the coefficients, and the numbers [..., 3, channels, components] of the mixtures."""
        shift, coefficients, components = tf.split(params, self._sizes, axis=-1)
        shape = [3, self.channels, self.num_components]
        components = tf.reshape(components, tf.concat([tf.shape(params)[:-1], shape], 0))
        previous = [float(b == c - 1) for c in range(self.channels) for b in range(c)]
        return shift, coefficients + tf.constant(previous, params.dtype), components
