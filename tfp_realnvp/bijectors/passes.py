"""Passes: the cache that lets a bijector compute its value and its log-det together, and never gives a stale answer.

TFP's own cache for such bijectors, `BijectorCacheWithGreedyAttrs`, cannot serve here, for three reasons. The log-det
that it remembers keeps a graph alive. It runs a network twice if the log-det is the first request to a bijector that
is not built yet. It ignores the weights: after a training step it would repeat the answers of the step before.

A pass is found again only in the state of its computation. The state consists of the graph, Keras's training mode, the
gradient tapes that listen, and the values of the weights. Bijectors of TFP that contain ours, such as `tfb.Chain` and
`tfb.Invert`, remember answers as well. `StatefulCache` adds the state of the contained bijectors to their keys. So the
hash and the equality of a bijector depend on its parameters alone.
"""

import contextvars
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.internals import (
    BijectorCache,
    EagerTensor,
    FuncGraph,
    in_training,
    is_recorded,
    set_bijector_cache,
    tapes_listen,
    watched_variables,
)

# Whether a pass may set weights from its data, see `networks.initializing`. The state of a pass includes this mode.
initialization: contextvars.ContextVar[bool] = contextvars.ContextVar("initialization", default=False)
_tape_versions = itertools.count(1)


class Pass:
    """One evaluation of a bijector.

    Args:
      x, y: the tensors at its two ends.
      log_det: log|det dy/dx|.
      state: int, the `Passes.state` of its computation.
      start: "x" or "y", the end at which the computation began.

    Example: `Pass(x, y, log_det, state=passes.state(), start="x")`
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
        # The replicas of a strategy take turns, each in a thread of its own with a tape of its own.
        self._tapes: dict[int, tuple[Callable[[], tf.Tensor | None], int]] = {}

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        """The tensor y of the pass from x."""
        return self._other_end("x", x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        """The tensor x of the pass from y."""
        return self._other_end("y", y)

    def forward_attributes(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """The inverse log-det of the pass from x, under TFP's name for it."""
        found, _y = self._find_or_compute("x", x)  # The name `_y` keeps y, and with it the pass, alive.
        return {"ildj": -found.log_det()}

    def inverse_attributes(self, y: tf.Tensor) -> dict[str, tf.Tensor]:
        """The inverse log-det of the pass from y, under TFP's name for it."""
        found, _x = self._find_or_compute("y", y)
        return {"ildj": -found.log_det()}

    def state(self) -> int:
        """A hash of the graph, the mode, the tapes and the weights now; in equal states passes are equal."""
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        # A variable of a distribution strategy consists of one variable per replica.
        variables = [v for weight in self._bijector().weights for v in getattr(weight, "values", (weight,))]
        version = self._version_of(variables) if graph is None else sum(_num_writes(graph, v) for v in variables)
        return hash((graph and id(graph), in_training(), initialization.get(), self._listening_tapes(), version))

    def _version_of(self, variables: Sequence[tf.Variable]) -> int:
        """A number that counts the changes of the variables' values."""
        weights = [np.asarray(tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype)) for v in variables]
        if len(weights) != len(self._seen_weights) or not all(map(_same, weights, self._seen_weights)):
            self._seen_weights = weights
            self._weights_version += 1
        return self._weights_version

    def _listening_tapes(self) -> int:
        """A number that changes with the set of listening gradient tapes; 0 if no tape listens."""
        if not tapes_listen():
            return 0
        trainable = next((v for v in self._bijector().weights if v.trainable), None)
        probe, version = self._tapes.get(threading.get_ident(), (lambda: None, 0))
        if trainable is not None and (probe() is None or not is_recorded(probe())):
            # Only the tapes that listen now record this tensor.
            recorded, version = tf.identity(trainable), next(_tape_versions)
            probe = (lambda: recorded) if isinstance(recorded, EagerTensor) else weakref.ref(recorded)
            self._tapes[threading.get_ident()] = probe, version
        return 1 + version

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
        if found and getattr(found, end)() is tensor and found.state == self.state():
            return found, getattr(found, other_end)()
        other, log_det = self._run(end, tensor)
        x, y = (tensor, other) if end == "x" else (other, tensor)
        found = Pass(x, y, log_det, self.state(), end)
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


class StatefulCache(BijectorCache):
    """TFP's cache of its own bijectors; each key includes the state of the passes inside the bijector.

    Example: `set_bijector_cache(lambda storage: StatefulCache(storage=storage))`
    """

    def _lookup(self, input: Any, forward_name: str, inverse_name: str, **kwargs: Any) -> Any:
        return super()._lookup(input, forward_name, inverse_name, passes=_state_inside(self.bijector), **kwargs)

    def _attributes(self, input: Any, fn_name: str, **kwargs: Any) -> dict:
        return super()._attributes(input, fn_name, passes=_state_inside(self.bijector), **kwargs)

    def _invoke(self, input: Any, fn_name: str, kwargs: dict, attributes: dict) -> Any:
        kwargs = {name: value for name, value in kwargs.items() if name != "passes"}
        return super()._invoke(input, fn_name, kwargs, attributes)


set_bijector_cache(lambda storage: StatefulCache(storage=storage))


def _state_inside(bijector: tfb.Bijector) -> int:
    """The state of all bijectors with passes inside a bijector of TFP; 0 if there are none."""
    states = [inner._cache.state() for inner in _with_passes(bijector)]
    return hash(tuple(states)) if states else 0


def _with_passes(bijector: tfb.Bijector) -> list[tfb.Bijector]:
    """The outermost bijectors with passes in a bijector; their weights include the weights of their inner bijectors."""
    if isinstance(bijector._cache, Passes):
        return [bijector]
    parts = [part for part in tf.nest.flatten(bijector.parameters) if isinstance(part, tfb.Bijector)]
    return [inner for part in parts for inner in _with_passes(part)]


def _num_writes(graph: tf.Graph, variable: tf.Variable) -> int:
    """The number of operations of `graph` so far that may have changed `variable`."""
    handle = graph.capture(variable.handle) if isinstance(graph, FuncGraph) else variable.handle
    return sum(operation.type != "ReadVariableOp" for operation in handle.consumers())


def _same(weight: np.ndarray, seen: np.ndarray) -> bool:
    # An unchanged variable gives out the same memory, so equal addresses save the comparison of the values.
    if weight.__array_interface__["data"] == seen.__array_interface__["data"]:
        return True
    return np.array_equal(weight, seen)
