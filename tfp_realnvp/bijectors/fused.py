"""`FusedBijector`: a bijector that computes its value and its log-det in one pass."""

import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.bijectors.passes import Passes
from tfp_realnvp.internals import tf_variable
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
      weights: list of the `tf.Variable`s that the bijector depends on.

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

    _TF_MODULE_IGNORED_PROPERTIES = tfb.Bijector._TF_MODULE_IGNORED_PROPERTIES.union(("_networks",))

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
        self._cache = Passes(self)  # It answers all public methods of `tfb.Bijector`.
        self.weights: list[tf.Variable] = []
        self.collect_weights()

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

    def collect_weights(self, more: Sequence[tf.Variable] = ()) -> None:
        """Lists the networks' variables, and `more`, in `weights`, where tf.Module finds them."""
        variables = [tf_variable(v) for network in self._networks for v in getattr(network, "variables", ())]
        self.weights = list({id(v): v for v in (*variables, *more)}.values())
