"""The three-layer network that conditions Glow's couplings."""

import keras
from keras import ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.tracing import TracedOnce
from tfp_realnvp.representation import Described


@register
class GlowNet(TracedOnce, Described, keras.layers.Layer):
    """conv3×3, relu, conv1×1, relu, and a conv3×3 that begins at zero, so that a coupling begins as the identity.

    Fully convolutional: it takes images of any size.

    Args:
      out_channels: channels of the output, for an affine coupling twice those that change.
      filters: width of the two hidden layers.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1.

    Example: `GlowNet(out_channels=12, filters=512)(images)`

    References: arXiv 1807.03039, section 3.3 and appendix B; weights begin as N(0, 0.05²), as in its authors' code.
    """

    def __init__(self, out_channels, filters=512, seed=None, **kwargs):
        super().__init__(**kwargs)
        check_positive(out_channels=out_channels, filters=filters)
        self.out_channels = out_channels
        self.filters = filters
        self.seed = seed
        normal = [keras.initializers.RandomNormal(0.0, 0.05, seed=s) for s in spawn_seeds(seed, 2)]
        sizes = [(filters, 3, normal[0]), (filters, 1, normal[1]), (out_channels, 3, "zeros")]
        self.convs = [
            keras.layers.Conv2D(
                width, size, padding="same", kernel_initializer=initializer, name=f"conv_{i}", dtype=self.dtype_policy
            )
            for i, (width, size, initializer) in enumerate(sizes)
        ]

    def build(self, input_shape):
        for conv in self.convs:
            conv.build(input_shape)
            input_shape = conv.compute_output_shape(input_shape)

    def call(self, x):
        *hidden, last = self.convs
        for conv in hidden:
            x = ops.relu(conv(x))
        return last(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.out_channels)

    def get_config(self):
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "filters": self.filters,
            "seed": self.seed,
        }
