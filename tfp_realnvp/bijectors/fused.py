"""`FusedBijector`: a bijector that computes its value and its log-det in one pass."""

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors.passes import Passes
from tfp_realnvp.internals import tf_variable, watched_variables
from tfp_realnvp.representation import DescribedBijector

tfb = tfp.bijectors
_numbers = itertools.count()


class FusedBijector(DescribedBijector):
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

    _TF_MODULE_IGNORED_PROPERTIES = tfb.Bijector._TF_MODULE_IGNORED_PROPERTIES.union(("_networks", "_passes"))

    def __init__(
        self,
        parameters: dict[str, Any],
        event_ndims: int,
        networks: Sequence[Any] = (),
        validate_args: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            forward_min_event_ndims=event_ndims, validate_args=validate_args, parameters=parameters, name=name
        )
        self.number = next(_numbers)
        self._networks = self._no_dependency(tuple(networks))
        bijector = weakref.proxy(self)  # The passes must not keep the bijector alive.
        self._passes = Passes(lambda **end: bijector._compute(**end), lambda: bijector._weights)
        self._has_run = False
        self._collect_weights()

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    @property
    def networks(self) -> tuple[Any, ...]:
        """The callables or modules (conditioners, moments, inner flows) whose weights this bijector depends on."""
        return self._networks

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define _forward_and_log_det(x) -> y, log_det")

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define _inverse_and_log_det(y) -> x, log_det")

    @property
    def _cache(self) -> Passes:
        """The object that answers TFP's public methods."""
        return self._passes

    def _compute(self, x: tf.Tensor | None = None, y: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        """Runs the pass from x or from y; returns x, y and log|det dy/dx|."""
        direction = self._forward_and_log_det if y is None else self._inverse_and_log_det
        start = x if y is None else y
        (end, log_det), watched = watched_variables(lambda: direction(start))
        if not self._has_run:  # Networks may have been built just now.
            self._collect_weights(watched)
            self._has_run = True
        end = tf.identity(end) if end is start else end
        return (start, end, log_det) if y is None else (end, start, -log_det)

    def _collect_weights(self, more: Sequence[tf.Variable] = ()) -> None:
        """Makes the networks' weights visible to tf.Module, which knows tf.Variables but not Keras's."""
        variables = [tf_variable(v) for network in self._networks for v in getattr(network, "variables", ())]
        self._weights = list({id(v): v for v in (*variables, *more)}.values())
