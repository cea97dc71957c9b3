"""Passes: the cache that lets a bijector compute its value and its log-det together, and never gives a stale answer.

TFP's own cache for such bijectors, `BijectorCacheWithGreedyAttrs`, cannot serve here, for three reasons. The log-det
that it remembers keeps a graph alive. It runs a network twice if the log-det is the first request to a bijector that
is not built yet. It ignores the weights: after a training step it would repeat the answers of the step before.

A pass is found again only in the state of its computation. The state consists of the graph, Keras's training mode, the
gradient tapes that listen, and the values of the weights. TFP's own bijectors remember answers as well, those that
contain ours and those beside ours in a chain. `StatefulCache` keeps the state with each of their answers. So the hash
and the equality of a bijector depend on its parameters alone.
"""

import contextvars
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors.solves import scope
from tfp_realnvp.internals import (
    BijectorCache,
    EagerTensor,
    FuncGraph,
    before_log_prob,
    in_training,
    listening_tapes,
    set_bijector_cache,
    watched_variables,
)
from tfp_realnvp.representation import DescribedBijector

# Whether a pass may set weights from its data, see `networks.initializing`. The state of a pass includes this mode.
initialization: contextvars.ContextVar[bool] = contextvars.ContextVar("initialization", default=False)


class Pass:
    """One evaluation of a bijector.

    Args:
      x, y: the tensors at its two ends.
      log_det: log|det dy/dx|.
      state: int, the state of its computation.
      start: "x" or "y", the end at which the computation began.

    Example: `Pass(x, y, log_det, state_of([passes]), start="x")`
    """

    def __init__(self, x: tf.Tensor, y: tf.Tensor, log_det: tf.Tensor, state: int, start: str) -> None:
        self.x, self.y = weakref.ref(x), weakref.ref(y)
        # The tensors of a graph live as long as the graph; a reference from here must not prolong its life.
        self.log_det: Callable[[], Any] = (lambda: log_det) if isinstance(y, EagerTensor) else weakref.ref(log_det)
        self.state = state
        self.start = start
        self.kept: tf.Tensor | None = None
        self.guard: weakref.ref | None = None


class Passes:
    """The passes of one bijector: a `Pass` answers each of the four look-ups of TFP's `BijectorCache`.

    A pass lives as long as the tensor that the caller holds.

    Args:
      bijector: `FusedBijector`; it computes the passes and lists their variables. The cache does not keep it alive.

    Example: `Passes(bijector).forward(x)` is the tensor `bijector.forward(x)`.
    """

    def __init__(self, bijector: Any) -> None:
        self._bijector: Callable[[], Any] = weakref.ref(bijector)
        self._has_run = False
        self._by_end: dict[int, Pass] = {}  # By the id of the tensor at either end.
        self._seen_weights: list[np.ndarray] = []
        self._weights_version = 0

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """The tensor y of the pass from x."""
        return self._other_end("x", x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        """The tensor x of the pass from y."""
        return self._other_end("y", y)

    def forward_attributes(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """The inverse log-det of the pass from x, under TFP's name for it."""
        return {"ildj": -self.log_det("x", x)}

    def inverse_attributes(self, y: tf.Tensor) -> dict[str, tf.Tensor]:
        """The inverse log-det of the pass from y, under TFP's name for it."""
        return {"ildj": -self.log_det("y", y)}

    def log_det(self, end: str, tensor: tf.Tensor) -> tf.Tensor:
        """log|det dy/dx| of the pass with `tensor` at its `end`, "x" or "y"."""
        found, _other = self._find_or_compute(end, tensor)  # The name `_other` keeps the pass alive.
        return found.log_det()

    def version(self) -> int:
        """A number that changes with the values of the weights; in a graph, with the operations that may write them."""
        # A variable of a distribution strategy consists of one variable per replica.
        variables = [v for weight in self._bijector().weights for v in getattr(weight, "values", (weight,))]
        if tf.executing_eagerly():
            return self._version_of(variables)
        graph = tf.compat.v1.get_default_graph()
        return sum(_num_writes(graph, v) for v in variables)

    def _version_of(self, variables: Sequence[tf.Variable]) -> int:
        """A number that counts the changes of the variables' values."""
        weights = [np.asarray(tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype)) for v in variables]
        if len(weights) != len(self._seen_weights) or not all(map(_same, weights, self._seen_weights)):
            self._seen_weights = weights
            self._weights_version += 1
        return self._weights_version

    def _other_end(self, end: str, tensor: tf.Tensor) -> tf.Tensor:
        found, other = self._find_or_compute(end, tensor)
        # The result holds the input, never the other way round. TFP's caches of the containing bijectors hold them in
        # the same direction; with both directions the two ends would keep each other alive.
        if found.start == end:
            self._keep_while_alive(found, holder=other, other=tensor)
        return other

    def _find_or_compute(self, end: str, tensor: tf.Tensor) -> tuple[Pass, tf.Tensor]:
        """The pass with `tensor` at its `end`, "x" or "y", and the tensor at its other end."""
        found, other_end = self._by_end.get(id(tensor)), {"x": "y", "y": "x"}[end]
        if found and getattr(found, end)() is tensor and found.state == state_of([self]):
            return found, getattr(found, other_end)()
        other, log_det = self._run(end, tensor)
        x, y = (tensor, other) if end == "x" else (other, tensor)
        found = Pass(x, y, log_det, state_of([self]), end)
        self._keep_while_alive(found, holder=tensor, other=other)
        return found, other

    def _run(self, end: str, tensor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes a pass from `end`, "x" or "y"; returns the tensor at the other end, and log|det dy/dx|."""
        bijector = self._bijector()
        direction = bijector._forward_and_log_det if end == "x" else bijector._inverse_and_log_det
        if self._has_run:
            other, log_det = direction(tensor)
        else:  # The first pass builds the networks, and watches for the variables of functions.
            (other, log_det), watched = watched_variables(lambda: direction(tensor))
            bijector.collect_weights(watched)
            self._has_run = True
        return tf.identity(other) if other is tensor else other, log_det if end == "x" else -log_det

    def _keep_while_alive(self, found: Pass, holder: tf.Tensor, other: tf.Tensor) -> None:
        """Ties the life of the pass to one end; the pass in turn keeps the other end alive."""
        ends = id(holder), id(other)
        found.kept = other if isinstance(other, EagerTensor) else None
        found.guard = weakref.ref(holder, lambda _: self._forget(found, ends))
        self._by_end.update(dict.fromkeys(ends, found))

    def _forget(self, found: Pass, ends: tuple[int, int]) -> None:
        for end in ends:
            if self._by_end.get(end) is found:
                del self._by_end[end]
        found.kept = found.guard = None


def state_of(passes: Iterable[Passes]) -> int:
    """A hash of the graph, the modes, the tapes and the weights of `passes` now; in equal states answers are equal.

    Example: `state_of([passes]) == state_of([passes])` until a weight changes.
    """
    graph = None if tf.executing_eagerly() else id(tf.compat.v1.get_default_graph())
    versions = (each.version() for each in passes)
    return hash((graph, in_training(), initialization.get(), scope.get(), listening_tapes(), *versions))


class StatefulCache(BijectorCache):
    """TFP's cache of its own bijectors; an answer is found only in the state in which it was computed.

    A tensor has one answer at a time: that of a new state replaces the old one, so that answers do not pile up beside a
    tensor that lives long.

    Example: `set_bijector_cache(lambda storage: StatefulCache(storage=storage))`
    """

    def _state(self) -> int:
        return state_of(inner._cache for inner in _with_passes(self.bijector))

    def _get_or_create_edge(self, input: Any, forward_name: str, kwargs: dict) -> Any:
        edge, state = super()._get_or_create_edge(input, forward_name, kwargs), self._state()
        if edge.attributes.setdefault("state", state) != state:
            edge = edge._replace(output_ref=None, attributes={"state": state}, dependencies=None)
            self.storage[edge.input_ref] = edge
        return edge

    def _invoke(self, input: Any, fn_name: str, kwargs: dict, attributes: dict) -> Any:
        output = super()._invoke(input, fn_name, kwargs, attributes)
        attributes["state"] = self._state()  # The first run of a network has built its weights.
        return output


def own_copy(distribution: Any, x: Any) -> Any:
    """A copy of x, unknown to all passes, where the gradient of the log-probability at x may be asked for.

    The pass of a sample begins at the latents: from its answers no gradient finds the way back to x. Eagerly only a
    tape asks for gradients; in a graph `tf.gradients` may, and with it `tfp.mcmc`, after all is computed.
    """
    if tf.executing_eagerly() and not listening_tapes() or not _is_ours(distribution.bijector):
        return x
    return tf.identity(x)


set_bijector_cache(lambda storage: StatefulCache(storage=storage))
before_log_prob(own_copy)


def _with_passes(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    """The outermost bijectors with passes in a bijector; their weights include the weights of their inner bijectors."""
    if isinstance(bijector._cache, Passes):
        return [bijector]
    return [inner for part in _parts(bijector) for inner in _with_passes(part)]


def _is_ours(bijector: tfb.Bijector) -> bool:
    """Whether a bijector of this package is in it."""
    return isinstance(bijector, DescribedBijector) or any(map(_is_ours, _parts(bijector)))


def _parts(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    return [part for part in tf.nest.flatten(bijector.parameters) if isinstance(part, tfb.Bijector)]


def _num_writes(graph: tf.Graph, variable: tf.Variable) -> int:
    """The number of operations of `graph` so far that may have changed `variable`."""
    handle = graph.capture(variable.handle) if isinstance(graph, FuncGraph) else variable.handle
    return sum(operation.type != "ReadVariableOp" for operation in handle.consumers())


def _same(weight: np.ndarray, seen: np.ndarray) -> bool:
    # An unchanged variable gives out the same memory, so equal addresses save the comparison of the values.
    if weight.__array_interface__["data"] == seen.__array_interface__["data"]:
        return True
    return np.array_equal(weight, seen)
