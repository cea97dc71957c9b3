"""Stacks: the layers of equal residual blocks, each kind of weight of all blocks in one variable.

The first axis of such a variable is the block. Fewer variables make the first training step faster, and weight norm,
penalties, moving averages and the optimizer run once for all blocks. Two more optimizations live here: outside of
training a norm is folded into the convolution before it, and where a backward pass runs the blocks again
(`networks.Rematerialized`), each layer keeps its input alone.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfp_realnvp.networks.kernels import recomputed_norm_relu
from tfp_realnvp.networks.rematerialization import is_recomputing

if TYPE_CHECKING:
    from tfp_realnvp.networks.batch_norm import BatchNormalization
    from tfp_realnvp.networks.weight_norm import WeightNormConv2D

Weights = tuple[tf.Tensor, ...]


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
    for block in stack.blocks():
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
        self._batch_moments: list[list[Weights]] = [[] for _ in convs]

    def blocks(self) -> Iterator[list[Callable[[tf.Tensor], tf.Tensor]]]:
        """The layers of each block."""
        folded = [norm.affine() for norm in self._norms[len(self._unfolded) :]]
        folds = [*folded, *[None] * (len(self._convs) - len(folded))]
        convs = [conv.unstacked(fold) for conv, fold in zip(self._convs, folds, strict=True)]
        norms: list[list[Weights] | None] = [norm.unstacked() for norm in self._unfolded]
        norms += [None] * (len(convs) - len(norms))
        for block in range(len(convs[0])):
            yield [
                functools.partial(self._layer, place, norm and norm[block], conv[block])
                for place, (norm, conv) in enumerate(zip(norms, convs, strict=True))
            ]

    def update_moving(self, x: tf.Tensor) -> None:
        """Moves the averages of all norms towards the moments of the batch that they have seen.

        Args:
          x: tensor of the shape that the norms have seen.
        """
        for norm, moments in zip(self._norms, self._batch_moments, strict=False):
            norm.update_moving(x, *map(tf.stack, zip(*moments, strict=True)))

    def _layer(self, place: int, norm_weights: Weights | None, conv_weights: Weights, x: tf.Tensor) -> tf.Tensor:
        convolve = self._convs[place].convolve
        if norm_weights is None:
            return convolve(tf.nn.relu(x), conv_weights)
        norm: Any = self._norms[place]
        if is_recomputing() and norm.is_fused(x, self._training):
            beta, *_ = norm_weights
            function = lambda x, *weights: convolve(x, weights)
            return recomputed_norm_relu(function, x, beta, norm.epsilon, conv_weights)
        y, moments = norm.normalize(x, norm_weights, self._training)
        self._batch_moments[place].append(moments)
        return convolve(tf.nn.relu(y), conv_weights)
