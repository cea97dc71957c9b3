"""Every private name of Keras, TensorFlow and TFP that the package uses, with the reason for each.

`tests/test_internals.py` fails on the name that a new version drops or renames. Elsewhere the package uses public
names, and TFP's own extension points for bijectors: `_parameter_properties`, `_is_permutation`, `_is_increasing`,
`_no_dependency` and `_TF_MODULE_IGNORED_PROPERTIES`.
"""

import contextvars
import functools
import itertools
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from keras.src.backend.common import global_state  # Keras's calls and scopes, see in_training().
from keras.src.trainers import compile_utils  # The metrics that Keras's callbacks look at, see lower_is_better().
from tensorflow.python.eager import record, tape  # The gradient tapes that listen, see listening_tapes().
from tensorflow.python.ops import control_flow_util  # Graphs that XLA compiles, see in_xla().
from tensorflow_probability.python.internal import cache_util  # TFP's cache of bijectors, see bijectors/passes.py.

from tfp_realnvp.scopes import setting

# The types of an eager tensor and of the graph of a tf.function. TensorFlow exports them under these names only.
EagerTensor = tf.__internal__.EagerTensor
FuncGraph = tf.__internal__.FuncGraph

BijectorCache = cache_util.BijectorCache


# Keras's calls and weights.


def in_training() -> bool:
    """Whether a Keras layer or model is being called in training mode.

    Keras tells this to layers alone, as the argument `training`; a bijector within a layer's call has to ask.
    """
    call = global_state.get_global_attribute("current_call_ctx")
    return bool(call and call.get_value("training"))


def weights_are_substituted() -> bool:
    """Whether Keras substitutes other values for its weights, as in `stateless_call`."""
    return global_state.get_global_attribute("stateless_scope") is not None


def tf_variable(weight: Any) -> tf.Variable:
    """The `tf.Variable` of a Keras weight; a `tf.Variable` is returned as it is.

    The public `weight.value` is a copy in lower precision during a call under a mixed policy.
    """
    return weight if isinstance(weight, tf.Variable) else weight._value


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and all layers inside it; Keras has no public name for the recursion."""
    return list(layer._flatten_layers())


_bytes_left: contextvars.ContextVar[int | None] = contextvars.ContextVar("bytes_left", default=None)


def limited_variables(num_bytes: int) -> AbstractContextManager[None]:
    """A scope in which Keras makes variables of at most so many bytes; a ValueError says so before memory is taken."""
    return setting(_bytes_left, num_bytes)


_initialize = keras.Variable._initialize_with_initializer


@functools.wraps(_initialize)
def _initialize_within_limit(self: keras.Variable, initializer: Any) -> None:
    left = _bytes_left.get()
    if left is not None:
        left -= math.prod(self.shape) * tf.as_dtype(self.dtype).size
        if left < 0:
            raise ValueError(
                f"the variable {self.path} of shape {tuple(self.shape)} is larger than all that are allowed"
            )
        _bytes_left.set(left)
    _initialize(self, initializer)


keras.Variable._initialize_with_initializer = _initialize_within_limit


# Gradient tapes and replicas of TensorFlow.


def watched_variables(function: Callable[[], Any]) -> tuple[Any, tuple[tf.Variable, ...]]:
    """Calls `function` and returns its result with the trainable variables that it read.

    A public `tf.GradientTape` would record every operation for that.
    """
    with record.VariableWatcher() as watcher:
        result = function()
    return result, watcher.watched_variables()


class _Listening(threading.local):
    """The tapes and forward accumulators that listen in this thread, by their id, with the number of their last change.

    TensorFlow keeps them to itself. So the functions that begin or end one, or let it watch a tensor, report it here.
    """

    changes = itertools.count(1)

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}

    def begins(self, tape: Any) -> None:
        self.numbers[id(tape)] = next(self.changes)

    def watches(self, tape: Any) -> None:
        if id(tape) in self.numbers:
            self.begins(tape)

    def ends(self, tape: Any) -> None:
        self.numbers.pop(id(tape), None)

    def hear(self, owner: Any, name: str, happens: str) -> None:
        """Lets the function `name` of `owner` report its tape: its first argument, or its result."""
        function, report = getattr(owner, name), getattr(type(self), happens)

        @functools.wraps(function)
        def reports(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            report(self, result if result is not None else args[0])
            return result

        setattr(owner, name, reports)


_listening = _Listening()
_listening.hear(tape, "push_new_tape", "begins")
_listening.hear(tape, "push_tape", "begins")
_listening.hear(tape, "watch", "watches")
_listening.hear(tape, "watch_variable", "watches")
_listening.hear(tape, "pop_tape", "ends")
_listening.hear(tf.autodiff.ForwardAccumulator, "__enter__", "begins")
_listening.hear(tf.autodiff.ForwardAccumulator, "__exit__", "ends")


def listening_tapes() -> tuple[int, ...]:
    """A number for each gradient tape that listens in this thread, a new one when it begins or watches a tensor."""
    return tuple(_listening.numbers.values()) if record.could_possibly_record() else ()


def in_xla() -> bool:
    """Whether the code runs in the graph of a `tf.function(jit_compile=True)`."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def merge_replicas(function: Callable[..., None], *args: Any) -> None:
    """Calls `function(strategy, *args)` once for all replicas, also where the strategy forbids a merge call.

    The public `merge_call` raises outside of a replica and in strategies that need no merging.
    """
    tf.__internal__.distribute.interim.maybe_merge_call(function, tf.distribute.get_strategy(), *args)


# Keras's trainer and optimizers call these methods; the subclasses below give them public names.


class TrainerHooks(keras.Model):
    """A `keras.Model` that is built before `fit`, and names the private argument of `evaluate`."""

    CACHED_EVALUATION = "_use_cached_eval_dataset"  # `fit` marks validation data of earlier epochs by it.

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Does nothing: the model is built. Keras would read a batch here, and so change the order of the data."""


def lower_is_better(name: str) -> keras.metrics.Metric:
    """A member of a model's `metrics` by which Keras's callbacks know the direction of a log, in their mode "auto".

    They read it from a private attribute, of compiled metrics alone. It has no state.
    """
    metric = keras.metrics.Metric(name=name)
    metric._direction = "down"
    return compile_utils.MetricsList([metric])


class OptimizerHooks:
    """The steps of a Keras optimizer's update under public names, to be overridden by a mixin or subclass."""

    def clip_gradients(self, gradients: list) -> list:
        """The clipped gradients, None among them."""
        return super()._clip_gradients(gradients)  # type: ignore[misc]

    def sum_gradients(self, gradients_and_variables: list) -> list:
        """The gradients summed over the replicas, each with its variable."""
        return super()._all_reduce_sum_gradients(gradients_and_variables)  # type: ignore[misc]

    def learning_rate_now(self) -> Any:
        """The learning rate of this step."""
        return super()._get_current_learning_rate()  # type: ignore[misc]

    def update_averages(self, variables: list) -> None:
        """Moves the averages of the weights."""
        super()._update_model_variables_moving_average(variables)  # type: ignore[misc]

    def update_variables(self, gradients: list, variables: list, learning_rate: Any) -> None:
        """Updates every variable."""
        super()._backend_update_step(gradients, variables, learning_rate)  # type: ignore[misc]

    def averages(self) -> list:
        """The averages of the weights, in the order of the weights."""
        return self._model_variables_moving_average  # type: ignore[attr-defined]

    def moments_of_gradient(self, variable: Any) -> tuple[Any, Any]:
        """Adam's two moving averages of the gradient of a variable."""
        slot = self.index_of(variable)
        return self._momentums[slot], self._velocities[slot]  # type: ignore[attr-defined]

    def index_of(self, variable: Any) -> int:
        """The place of a variable, or of its copy on a replica, among those of `build`."""
        return self._get_variable_index(variable)  # type: ignore[attr-defined]

    def _clip_gradients(self, grads: list) -> list:
        return self.clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars: list) -> list:
        return self.sum_gradients(grads_and_vars)

    def _get_current_learning_rate(self) -> Any:
        return self.learning_rate_now()

    def _update_model_variables_moving_average(self, trainable_variables: list) -> None:
        self.update_averages(trainable_variables)

    def _backend_update_step(self, grads: list, trainable_variables: list, learning_rate: Any) -> None:
        self.update_variables(grads, trainable_variables, learning_rate)


# TFP's cache of bijectors, and the distributions that ask it.


def set_bijector_cache(make: Callable[[Any], Any]) -> None:
    """Replaces the cache that all bijectors of TFP share by `make(storage)`."""
    tfp.bijectors.Bijector._cache = make(tfp.bijectors.Bijector._cache.storage)


def before_log_prob(prepare: Callable[[Any, Any], Any]) -> None:
    """Lets every `tfd.TransformedDistribution` compute its log-probabilities at `prepare(distribution, value)`."""
    name = "experimental_local_measure"  # All that evaluate the density call it.
    owner = next(cls for cls in tfp.distributions.TransformedDistribution.__mro__ if name in vars(cls))
    function = getattr(owner, name)

    @functools.wraps(function)
    def prepared(self: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, prepare(self, value), *args, **kwargs)

    setattr(owner, name, prepared)
