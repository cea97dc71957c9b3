"""`FusedBijector`: value and log-det from one pass. The only file that touches the internals of TFP, TF and Keras."""

import contextvars
import itertools
import threading
import weakref

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from keras.src.backend.common import global_state
from tensorflow.python.eager import record
from tensorflow.python.framework import func_graph
from tensorflow.python.framework.ops import EagerTensor

tfb = tfp.bijectors
_numbers = itertools.count()
_tape_versions = itertools.count(1)
# Whether a pass may set weights from its data, see `networks.initializing`: no pass from outside is given out then.
initialization = contextvars.ContextVar("initialization", default=False)


def in_training():
    """Whether a Keras layer or model is being called in training mode."""
    call = global_state.get_global_attribute("current_call_ctx")
    return bool(call and call.get_value("training"))


def weights_are_substituted():
    """Whether Keras computes with values that it was given for its weights, as `stateless_call` is."""
    return global_state.get_global_attribute("stateless_scope") is not None


def tf_variable(weight):
    """The `tf.Variable` of a Keras weight, or the weight where it is one."""
    # Not Keras's `value`, which within a call under a mixed policy is a copy in the lower precision.
    return weight if isinstance(weight, tf.Variable) else weight._value


class FusedBijector(tfb.Bijector):
    """A bijector that computes its value and its log-det together, running each of its networks once.

    A subclass writes one method per direction:

    ```none
    _forward_and_log_det(x) -> y, log|det dy/dx|
    _inverse_and_log_det(y) -> x, log|det dx/dy|
    ```

    `forward`, `inverse` and both log-dets are then answered from one pass: whichever is asked first computes it, the
    others, on the same tensor or on the one at its other end, find it. `TransformedDistribution.log_prob` asks for the
    inverse and then for the log-det, and so evaluates each network once, in a graph and eagerly.

    A pass is found again only where repeating it would give the same tensors: in the graph it was computed in, with the
    weights and in the mode (Keras's `training`) it was computed with, and under the gradient tape that recorded it.
    Eagerly it lives as long as the tensor that was handed out.

    Args:
      parameters: the subclass's `dict(locals())`, as for any `tfb.Bijector`.
      event_ndims: int, the rank of an event; the log-det has one value an event.
      networks: the callables or modules whose weights this bijector depends on. Their variables appear in `variables`
        and `trainable_variables` of the bijector and of every distribution that holds it; of a function, the trainable
        variables that its first call reads.
      validate_args, name: as for `tfb.Bijector`.

    Attributes:
      number: int, counts the fused bijectors in the order they were made in.

    Example:

    ```python
    class Double(FusedBijector):
        def __init__(self, name="double"):
            super().__init__(dict(locals()), event_ndims=1, name=name)

        def _forward_and_log_det(self, x):
            return 2 * x, tf.fill(tf.shape(x)[:-1], np.log(2.) * x.shape[-1])

        def _inverse_and_log_det(self, y):
            return y / 2, tf.fill(tf.shape(y)[:-1], -np.log(2.) * y.shape[-1])
    ```
    """

    _TF_MODULE_IGNORED_PROPERTIES = tfb.Bijector._TF_MODULE_IGNORED_PROPERTIES.union(
        ("_networks", "_passes", "_seen_weights", "_tapes")
    )

    def __init__(self, parameters, event_ndims, networks=(), validate_args=False, name=None):
        super().__init__(
            forward_min_event_ndims=event_ndims, validate_args=validate_args, parameters=parameters, name=name
        )
        self.number = next(_numbers)
        self._networks = self._no_dependency(tuple(networks))
        self._passes = _Passes(self)
        self._seen_weights = self._no_dependency([])
        self._weights_version = 0
        # A strategy's replicas take turns, each in a thread of its own with a tape of its own.
        self._tapes = self._no_dependency({})
        self._has_run = False
        self._collect_weights()

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def networks(self):
        """The callables or modules (conditioners, moments, inner flows) whose weights this bijector depends on."""
        return self._networks

    def _forward_and_log_det(self, x):
        raise NotImplementedError(f"{type(self).__name__} must define _forward_and_log_det(x) -> y, log_det")

    def _inverse_and_log_det(self, y):
        raise NotImplementedError(f"{type(self).__name__} must define _inverse_and_log_det(y) -> x, log_det")

    def _collect_weights(self, more=()):
        """Makes the networks' weights visible to tf.Module, which knows tf.Variables but not Keras's."""
        variables = [tf_variable(v) for network in self._networks for v in getattr(network, "variables", ())]
        self._weights = list({id(v): v for v in (*variables, *more)}.values())

    # What tfb.Bijector's public methods ask for.

    @property
    def _cache(self):
        return self._passes

    def _compute(self, x=None, y=None):
        """Runs the pass from the end that is given; returns it and the tensor at its other end."""
        given = x if y is None else y
        with record.VariableWatcher() as watcher:
            if y is None:
                other, log_det = self._forward_and_log_det(x)
            else:
                other, inverse_log_det = self._inverse_and_log_det(y)
                log_det = -inverse_log_det
        if not self._has_run:  # networks that were not built before are now
            self._collect_weights(watcher.watched_variables())
            self._has_run = True
        other = tf.identity(other) if other is given else other
        ends = (x, other) if y is None else (other, y)
        return _Pass(*ends, log_det, state=hash(self), given="x" if y is None else "y"), other

    def __hash__(self):
        """Part of the key of every cache that TFP keeps for us and for what contains us (`tfb.Chain`, ...).

        It changes whenever a remembered pass may no longer be given out, so that those caches miss as well.
        """
        return hash((type(self), self._state()))

    def _state(self):
        """Where, in which mode and with which weights we compute, and who listens: equal states, equal passes."""
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        # A variable of a distribution strategy consists of one variable a replica.
        variables = [v for weight in self._weights for v in getattr(weight, "values", (weight,))]
        if graph is None:
            weights = [np.asarray(tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype)) for v in variables]
            if len(weights) != len(self._seen_weights) or not all(map(_same, weights, self._seen_weights)):
                self._seen_weights = self._no_dependency(weights)
                self._weights_version += 1
            version = self._weights_version
        else:
            version = sum(_num_writes(graph, v) for v in variables)
        return graph and id(graph), in_training(), initialization.get(), self._listening_tapes(), version

    def _listening_tapes(self):
        """A number that changes when other gradient tapes listen than before; 0 where none does."""
        if not record.could_possibly_record():
            return 0
        trainable = next((v for v in self._weights if v.trainable), None)
        probe, version = self._tapes.get(threading.get_ident(), (lambda: None, 0))
        if trainable is not None and (probe() is None or not record.should_record_backprop([probe()])):
            recorded, version = tf.identity(trainable), next(_tape_versions)  # by the tapes that listen now, no other
            probe = (lambda: recorded) if isinstance(recorded, EagerTensor) else weakref.ref(recorded)
            self._tapes[threading.get_ident()] = probe, version
        return 1 + version


class _Pass:
    """One evaluation of a bijector: its two ends and log|det dy/dx|, in which state it holds, and where it began."""

    def __init__(self, x, y, log_det, state, given):
        self.x, self.y = weakref.ref(x), weakref.ref(y)
        # The tensors of a graph live as long as the graph, and we must not prolong that.
        self.log_det = (lambda: log_det) if isinstance(y, EagerTensor) else weakref.ref(log_det)
        self.state = state
        self.given = given


class _Passes:
    """The cache of a `FusedBijector`: the four look-ups of TFP's `BijectorCache`, each answered from a `_Pass`."""

    def __init__(self, bijector):
        self._bijector = weakref.ref(bijector)
        self._by_end = {}  # id of the tensor at either end -> the pass

    def forward(self, x):
        return self._other_end("x", x)

    def inverse(self, y):
        return self._other_end("y", y)

    def forward_attributes(self, x):
        found, y = self._find_or_compute("x", x)
        return {"ildj": -found.log_det()}

    def inverse_attributes(self, y):
        found, x = self._find_or_compute("y", y)
        return {"ildj": -found.log_det()}

    def _other_end(self, end, tensor):
        found, other = self._find_or_compute(end, tensor)
        # What came out holds what went in, never the other way round: TFP's caches of what contains us do the same, and
        # the two ends would keep each other alive.
        if found.given == end:
            self._keep_while_alive(found, holder=other, other=tensor)
        return other

    def _find_or_compute(self, end, tensor):
        """The pass with `tensor` at its `end`, "x" or "y", and the tensor at its other end."""
        found, other_end = self._by_end.get(id(tensor)), {"x": "y", "y": "x"}[end]
        if found and getattr(found, end)() is tensor and found.state == hash(self._bijector()):
            return found, getattr(found, other_end)()
        found, other = self._bijector()._compute(**{end: tensor})
        self._keep_while_alive(found, holder=tensor, other=other)
        return found, other

    def _keep_while_alive(self, found, holder, other):
        """Ties the pass to one end, which in turn keeps the other end alive."""
        ends = id(holder), id(other)
        found.kept = other if isinstance(other, EagerTensor) else None
        found.guard = weakref.ref(holder, lambda _: self._forget(found, ends))
        self._by_end.update(dict.fromkeys(ends, found))

    def _forget(self, found, ends):
        for end in ends:
            if self._by_end.get(end) is found:
                del self._by_end[end]
        found.kept = found.guard = None


def _num_writes(graph, variable):
    """How many operations of `graph` so far may have changed `variable`."""
    handle = graph.capture(variable.handle) if isinstance(graph, func_graph.FuncGraph) else variable.handle
    return sum(operation.type != "ReadVariableOp" for operation in handle.consumers())


def _same(weight, seen):
    # An unchanged variable gives out the same memory; only a changed (or copied) one needs a look at its values.
    if weight.__array_interface__["data"] == seen.__array_interface__["data"]:
        return True
    return np.array_equal(weight, seen)
