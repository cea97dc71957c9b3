"""Threads that share a model: graphs that are safe to call at once, and methods that wait for each other."""

import functools
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import tensorflow as tf

from tfp_realnvp.internals import in_training


class HasTurn(Protocol):
    """An object whose methods `one_thread_at_a_time` guards.

    Attributes:
      turn: `threading.RLock`, held by the thread that runs one of them.
    """

    turn: threading.RLock


Self = TypeVar("Self", bound=HasTurn)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def one_thread_at_a_time(
    method: Callable[Concatenate[Self, Parameters], Result],
) -> Callable[Concatenate[Self, Parameters], Result]:
    """Decorator of methods: each waits for those of the same object that run in other threads.

    Args:
      method: a method of a class whose objects have an attribute `turn`.

    Example: `@one_thread_at_a_time` above `def fit(self, ...)`.
    """

    @functools.wraps(method)
    def waiting(self: Self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with self.turn:
            return method(self, *args, **kwargs)

    return waiting


def unfused(x: tf.Tensor) -> tf.Tensor:
    """Returns `x`, which TensorFlow does not fuse with the next operation, unless in Keras's training mode.

    TensorFlow 2.21 fuses a convolution or a matrix product with its bias and a following addition. Two concurrent calls
    of one graph with oneDNN's kernel of this fusion give wrong numbers, or end the process. The fusions with the bias
    alone, and with a ReLU, are right. See docs/reliability.md. The steps of a training wait for each other, so a
    training keeps the fusion: in bfloat16 it saves 8% of a step.

    Args:
      x: tensor, the output of a layer with a bias, in front of an addition.

    Example: `y = x + unfused(dense(h))`
    """
    return x if in_training() else tf.ensure_shape(x, x.shape)


def unfused_sum(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum of the outputs of layers with biases, see `unfused`.

    Args:
      terms: tensors of one shape.

    Example: `h = unfused_sum([h, convolve(h, kernel, bias)])`
    """
    if in_training():
        return functools.reduce(operator.add, terms)
    return tf.add_n([unfused(term) for term in terms])
