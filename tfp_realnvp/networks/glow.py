"""The three-layer network that conditions Glow's couplings."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.networks.kernels import conv_layer
from tfp_realnvp.networks.tracing import TracedOnce
from tfp_realnvp.representation import Described


@register
class GlowNet(TracedOnce, Described, keras.layers.Layer):
    """Glow's three convolutions; the last begins at zero, so a coupling begins as the identity.

    ```none
    output = conv3×3(relu(conv1×1(relu(conv3×3(x)))))
    ```

    The network is fully convolutional: it takes images of any size.

    Args:
      out_channels: int, channels of the output, for an affine coupling twice the changed channels.
      filters: int, width of the two hidden layers.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `GlowNet(out_channels=12, filters=512)(images)`

    References: Kingma and Dhariwal, Glow, arXiv 1807.03039, section 3.3 and appendix B. The hidden kernels begin as
    N(0, 0.05²), as in the authors' code.
    """

    def __init__(self, out_channels: int, filters: int = 512, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(out_channels=out_channels, filters=filters)
        self.out_channels = out_channels
        self.filters = filters
        self.seed = seed
        normal = [keras.initializers.RandomNormal(0.0, 0.05, seed=s) for s in spawn_seeds(seed, 2)]
        sizes = [(filters, 3, normal[0]), (filters, 1, normal[1]), (out_channels, 3, "zeros")]
        self.convs = [
            conv_layer(width, size, kernel_initializer=initializer, name=f"conv_{i}", dtype=self.dtype_policy)
            for i, (width, size, initializer) in enumerate(sizes)
        ]

    def build(self, input_shape: tuple) -> None:
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        *hidden, last = self.convs
        for conv in hidden:
            x = ops.relu(conv(x))
        return last(recorded(self, x))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "seed": self.seed,
        }
