"""The vision transformer that conditions Jet's couplings."""

from typing import Any

import keras
import tensorflow as tf
from keras import initializers, ops

from tfp_realnvp.common import check_positive, register, spawn_seeds
from tfp_realnvp.networks.activations import recorded
from tfp_realnvp.networks.kernels import gelu, standardize
from tfp_realnvp.networks.tracing import TracedOnce
from tfp_realnvp.representation import Described


@register
class LayerNorm(keras.layers.LayerNormalization):
    """Keras's layer norm over the last axis, in half of the time; see `kernels.standardize`.

    Args:
      epsilon: float, added to the variance.
      **kwargs: as for `keras.layers.LayerNormalization`.

    Example: `LayerNorm()(tokens)`
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        y = standardize(ops.cast(inputs, self.variable_dtype), self.epsilon)
        return ops.cast(y * self.gamma + self.beta, self.compute_dtype)


@register
class TransformerBlock(Described, keras.layers.Layer):
    """A block of a transformer: every token attends to all tokens.

    ```none
    h ← h + attention(norm(h)),    h ← h + W₂ gelu(W₁ norm(h) + b₁) + b₂
    attention: of each head, softmax(q kᵀ / √size) v;  q, k and v are dense layers of norm(h)
    ```

    Args:
      width: int, size of the tokens.
      num_heads: int, number of heads; it divides the width.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, or a `num_heads` that does not divide `width`.

    Call arguments:
      h: tensor [batch, tokens, width].

    Returns:
      Tensor of the shape of h.

    Example: `TransformerBlock(width=128, num_heads=4)(tokens)`

    References: Vaswani et al., arXiv 1706.03762, section 3; Dosovitskiy et al., arXiv 2010.11929, equations 2 and 3.
    """

    def __init__(self, width: int, num_heads: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive(width=width, num_heads=num_heads)
        if width % num_heads:
            raise ValueError(f"num_heads must divide width = {width}; got {num_heads}")
        self.width, self.num_heads, self.seed = width, num_heads, seed
        seeds = spawn_seeds(seed, 4)
        glorot, options = initializers.GlorotUniform, dict(dtype=self.dtype_policy)
        self.attention_norm = LayerNorm(name="attention_norm", **options)
        # Queries, keys and values are one layer. The limit of LeCun's initialization is Glorot's for each of them.
        self.attention_in = keras.layers.Dense(
            3 * width, kernel_initializer=initializers.LecunUniform(seeds[0]), name="attention_in", **options
        )
        self.attention_out = keras.layers.Dense(
            width, kernel_initializer=glorot(seeds[1]), name="attention_out", **options
        )
        self.mlp_norm = LayerNorm(name="mlp_norm", **options)
        self.mlp_in = keras.layers.Dense(4 * width, kernel_initializer=glorot(seeds[2]), name="mlp_in", **options)
        self.mlp_out = keras.layers.Dense(width, kernel_initializer=glorot(seeds[3]), name="mlp_out", **options)

    def build(self, input_shape: tuple) -> None:
        for layer in (self.attention_norm, self.attention_in, self.attention_out, self.mlp_norm, self.mlp_in):
            layer.build(input_shape)
        self.mlp_out.build((*input_shape[:-1], 4 * self.width))

    def call(self, h: tf.Tensor) -> tf.Tensor:
        h = h + self.attention_out(self._attention(self.attention_in(self.attention_norm(h))))
        return h + self.mlp_out(gelu(self.mlp_in(self.mlp_norm(h))))

    def _attention(self, heads: tf.Tensor) -> tf.Tensor:
        """The sums of values by attention: queries, keys and values [batch, tokens, 3 · width] ↦ the shape of h."""
        num_tokens, size = heads.shape[1], self.width // self.num_heads
        # Keras's `dot_product_attention` transposes each of the three.
        heads = tf.transpose(tf.reshape(heads, [-1, num_tokens, 3, self.num_heads, size]), [2, 0, 3, 1, 4])
        queries, keys, values = tf.unstack(heads)
        logits = tf.matmul(queries * size**-0.5, keys, transpose_b=True)
        weights = ops.cast(tf.nn.softmax(ops.cast(logits, self.variable_dtype)), values.dtype)
        return tf.reshape(tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3]), [-1, num_tokens, self.width])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "num_heads": self.num_heads, "seed": self.seed}


@register
class VisionTransformer(TracedOnce, Described, keras.layers.Layer):
    """A transformer over the pixels of an image: each pixel is a token.

    ```none
    h = W₀ x + b₀ + positions,    h ← block(h), num_blocks times,    output = W₁ norm(h) + b₁
    ```

    W₁ and b₁ begin at 0, so a coupling begins as the identity. Each place has a learned position, so the network takes
    images of one size.

    Args:
      out_channels: int, channels of the output, for an affine coupling twice the changed channels.
      width: int, size of the tokens.
      num_blocks: int, number of `TransformerBlock`s.
      num_heads: int, number of heads of their attention; it divides the width.
      seed: int or None.

    Raises:
      ValueError: for sizes below 1, or a `num_heads` that does not divide `width`.

    Call arguments:
      x: images [batch, height, width, channels].

    Returns:
      Tensor [batch, height, width, out_channels].

    Example: `VisionTransformer(out_channels=48, width=128, num_blocks=1, num_heads=4)(tf.zeros([8, 8, 8, 24]))`

    References: Kolesnikov et al., Jet, arXiv 2412.15129, section 3; Dosovitskiy et al., arXiv 2010.11929. The weights
    begin as in the authors' code.
    """

    def __init__(
        self,
        out_channels: int,
        width: int = 512,
        num_blocks: int = 2,
        num_heads: int = 8,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive(out_channels=out_channels, width=width, num_blocks=num_blocks, num_heads=num_heads)
        self.out_channels, self.width, self.num_blocks, self.num_heads = out_channels, width, num_blocks, num_heads
        self.seed = seed
        seeds = spawn_seeds(seed, 2 + num_blocks)
        self._position_initializer = initializers.RandomNormal(0.0, width**-0.5, seed=seeds[0])
        options = dict(dtype=self.dtype_policy)
        self.dense_in = keras.layers.Dense(
            width, kernel_initializer=initializers.LecunNormal(seeds[1]), name="dense_in", **options
        )
        self.blocks = [
            TransformerBlock(width, num_heads, block_seed, name=f"block_{i}", **options)
            for i, block_seed in enumerate(seeds[2:])
        ]
        self.norm_out = LayerNorm(name="norm_out", **options)
        self.dense_out = keras.layers.Dense(out_channels, kernel_initializer="zeros", name="dense_out", **options)

    def build(self, input_shape: tuple) -> None:
        _, self._rows, self._columns, self._channels = input_shape
        num_tokens = self._rows * self._columns
        self.dense_in.build((None, num_tokens, self._channels))
        self.positions = self.add_weight(
            name="positions",
            shape=(num_tokens, self.width),
            initializer=self._position_initializer,
        )
        for layer in (*self.blocks, self.norm_out, self.dense_out):
            layer.build((None, num_tokens, self.width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        h = self.dense_in(tf.reshape(x, [-1, self._rows * self._columns, self._channels])) + self.positions
        for block in self.blocks:
            h = block(h)
        h = tf.reshape(self.norm_out(h), [-1, self._rows, self._columns, self.width])
        return self.dense_out(recorded(self, h))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "out_channels": self.out_channels,
            "width": self.width,
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "seed": self.seed,
        }
