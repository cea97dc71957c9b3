"""Stacks: the layers of equal residual blocks, with one variable for each kind of weight.

The first axis of such a variable is the block. Fewer variables make the first training step faster. Weight norm,
penalties, moving averages and the optimizer then run once for all blocks. Two more optimizations live here. Outside of
training a norm is folded into the convolution before it. When a backward pass runs the blocks again
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
    """The leading shape of the weights in a stack of layers; () for a single layer.

    Example: `stack_shape(4)` is (4,).
    """
    return () if copies is None else (copies,)


def unstack(weights: Sequence[tf.Tensor]) -> list[Weights]:
    """The weights of each layer of a stack, one tuple per layer.

    Args:
      weights: tensors [copies, ...].

    Example: `unstack([tf.zeros([4, 3]), tf.zeros([4, 5])])` has 4 tuples with the shapes [3] and [5].
    """
    return list(zip(*map(tf.unstack, weights), strict=True))


def check_single(copies: int | None) -> None:
    """Raises a ValueError for a stack that is called like a single layer.

    Example: `check_single(None)` passes; `check_single(4)` raises.
    """
    if copies is not None:
        raise ValueError(
            f"copies must be None for a layer that is called; got {copies}. Use the unstacked() weights of a stack"
        )


class BlockStack:
    """The layers x ↦ conv(relu(norm(x))) of equal residual blocks, for one call.

    Args:
      norms: the stacked norm at each place of a block; empty for blocks without norms.
      convs: the stacked convolution at each place of a block.
      training: bool, whether the norms use the moments of the batch.

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
        # Outside of training norms are affine and fold into the convolution before them. The first norm has none.
        uses_batch = any(norm.moments.uses_batch(training) for norm in norms)
        self._unfolded = norms if uses_batch else norms[:1]
        self._batch_moments: list[list[Weights]] = [[] for _ in self._unfolded]

    def blocks(self, x: tf.Tensor) -> Iterator[list[Callable[[tf.Tensor], tf.Tensor]]]:
        """The layers of each block.

        Args:
          x: tensor of the shape and dtype of every layer's input.
        """
        folds = [norm.affine() for norm in self._norms[len(self._unfolded) :]]
        convs = [conv.unstacked(fold) for conv, fold in itertools.zip_longest(self._convs, folds)]
        num_blocks = len(convs[0])
        layers = [self._after_norms(*each, x) for each in zip(self._unfolded, self._batch_moments, strict=True)]
        layers += [[_conv_relu] * num_blocks] * (len(convs) - len(layers))
        for block in range(num_blocks):
            yield [functools.partial(layer[block], conv[block]) for layer, conv in zip(layers, convs, strict=True)]

    def update_moving(self, x: tf.Tensor) -> None:
        """Moves the averages of all norms towards the moments of their batch.

        Args:
          x: tensor of the shape of that batch.
        """
        for norm, moments in zip(self._unfolded, self._batch_moments, strict=True):
            norm.update_moving(x, *map(tf.stack, zip(*moments, strict=True)))

    def _after_norms(self, norm: "BatchNormalization", batch_moments: list[Weights], x: tf.Tensor) -> list[Layer]:
        """One function per norm of a stack: (weights of a convolution, x) ↦ conv(relu(norm(x)))."""
        if norm.is_affine(x, self._training):
            return [functools.partial(_conv_relu_affine, weights) for weights in unstack(norm.affine())]
        recomputes = is_recomputing() and norm.is_fused(x, self._training)
        normalize = norm.normalization(x, self._training)

        def conv_relu_norm(norm_weights: Weights, conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
            if recomputes:
                return recomputed_norm_relu(convolve, x, norm_weights[0], norm.epsilon, conv_weights)
            y, moments = normalize(x, *norm_weights)
            batch_moments.append(moments)
            return _conv_relu(conv_weights, y)

        return [functools.partial(conv_relu_norm, weights) for weights in norm.unstacked()]


def _conv_relu_affine(affine: Weights, conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
    scale, offset = affine
    return _conv_relu(conv_weights, x * scale + offset)


def _conv_relu(conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
    return convolve(tf.nn.relu(x), *conv_weights)
