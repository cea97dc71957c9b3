"""Stacks: the layers of equal residual blocks, each kind of weight of all blocks in one variable.

The first axis of such a variable is the block. Fewer variables make the first training step faster, and weight norm,
penalties, moving averages and the optimizer run once for all blocks. Two more optimizations live here: outside of
training a norm is folded into the convolution before it, and where a backward pass runs the blocks again
(`networks.Rematerialized`), each layer keeps its input alone.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from tfp_realnvp.networks.kernels import convolve, recomputed_norm_relu
from tfp_realnvp.networks.rematerialization import is_recomputing

if TYPE_CHECKING:
    from tfp_realnvp.networks.batch_norm import BatchNormalization
    from tfp_realnvp.networks.weight_norm import WeightNormConv2D

Weights = tuple[tf.Tensor, ...]
Layer = Callable[[Weights, tf.Tensor], tf.Tensor]


def stack_shape(copies: int | None) -> tuple[int, ...]:
    """The first axis of the weights of a stack of layers; no axis for a single layer."""
    return () if copies is None else (copies,)


def unstack(weights: Sequence[tf.Tensor]) -> list[Weights]:
    """The weights of each layer of a stack, one tuple per layer.

    Args:
      weights: tensors [copies, ...].
    """
    return list(zip(*map(tf.unstack, weights), strict=True))


def check_single(copies: int | None) -> None:
    """Raises a ValueError for a stack that is called as if it were one layer."""
    if copies is not None:
        raise ValueError(
            f"copies must be None for a layer that is called; got {copies}. Call the layers of its unstacked() weights"
        )


class BlockStack:
    """The layers x ↦ conv(relu(norm(x))) of equal residual blocks, for one call.

    Args:
      norms: the stacked norm at each place of a block; empty for blocks without norms.
      convs: the stacked convolution at each place of a block.
      training: whether the norms use the moments of the batch.

    Example:

    ```python
    stack = BlockStack(norms, convs, training)
    for block in stack.blocks(h):
        residual = h
        for layer in block:
            residual = layer(residual)
        h = h + residual
    stack.update_moving(h)
    ```
    """

    def __init__(
        self, norms: "Sequence[BatchNormalization]", convs: "Sequence[WeightNormConv2D]", training: bool
    ) -> None:
        self._norms, self._convs, self._training = norms, convs, training
        # Outside of training norms are affine: only the first of a block has no convolution before it to fold it into.
        uses_batch = any(norm.moments.uses_batch(training) for norm in norms)
        self._unfolded = norms if uses_batch else norms[:1]
        self._batch_moments: list[list[Weights]] = [[] for _ in self._unfolded]

    def blocks(self, x: tf.Tensor) -> Iterator[list[Callable[[tf.Tensor], tf.Tensor]]]:
        """The layers of each block.

        Args:
          x: tensor of the shape and dtype that all layers see.
        """
        folds = [norm.affine() for norm in self._norms[len(self._unfolded) :]]
        convs = [conv.unstacked(fold) for conv, fold in itertools.zip_longest(self._convs, folds)]
        num_blocks = len(convs[0])
        layers = [self._after_norms(*each, x) for each in zip(self._unfolded, self._batch_moments, strict=True)]
        layers += [[_conv_relu] * num_blocks] * (len(convs) - len(layers))
        for block in range(num_blocks):
            yield [functools.partial(layer[block], conv[block]) for layer, conv in zip(layers, convs, strict=True)]

    def update_moving(self, x: tf.Tensor) -> None:
        """Moves the averages of all norms towards the moments of the batch that they have seen.

        Args:
          x: tensor of the shape that the norms have seen.
        """
        for norm, moments in zip(self._unfolded, self._batch_moments, strict=True):
            norm.update_moving(x, *map(tf.stack, zip(*moments, strict=True)))

    def _after_norms(self, norm: "BatchNormalization", batch_moments: list[Weights], x: tf.Tensor) -> list[Layer]:
        """For each norm of a stack, (weights of a convolution, x) ↦ conv(relu(norm(x)))."""
        recomputes = is_recomputing() and norm.is_fused(x, self._training)
        normalize = norm.normalization(x, self._training)

        def conv_relu_norm(norm_weights: Weights, conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
            if recomputes:
                return recomputed_norm_relu(convolve, x, norm_weights[0], norm.epsilon, conv_weights)
            y, moments = normalize(x, *norm_weights)
            batch_moments.append(moments)
            return _conv_relu(conv_weights, y)

        return [functools.partial(conv_relu_norm, weights) for weights in norm.unstacked()]


def _conv_relu(conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
    return convolve(tf.nn.relu(x), *conv_weights)
