"""`FusedBijector`: a bijector that computes its value and its log-det in one pass."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from tfp_realnvp.bijectors.passes import Passes
from tfp_realnvp.internals import tf_variable
from tfp_realnvp.representation import DescribedBijector

_numbers = itertools.count()


class FusedBijector(DescribedBijector):
    """A bijector that computes its value and its log-det together, running each of its networks once.

    A subclass writes one method per direction:

    ```none
    _forward_and_log_det(x) -> y, log|det dy/dx|
    _inverse_and_log_det(y) -> x, log|det dx/dy|
    ```

    One pass then answers `forward`, `inverse` and both log-dets. The first request computes the pass; later requests
    find it by the tensor at either of its ends. For example, `TransformedDistribution.log_prob` asks for the inverse,
    then for the log-det. So it evaluates each network once, in a graph and eagerly.

    A pass is found again only if repeating it would give the same tensors. The graph, the weights, the mode (Keras's
    `training`) and the gradient tape that records must be the same. Eagerly a pass lives as long as the tensor that
    the caller holds.

    Args:
      parameters: the subclass's `dict(locals())`, as for any `tfb.Bijector`.
      event_ndims: int, the rank of an event; the log-det has one value per event.
      networks: callables or modules with the weights that this bijector depends on. Their variables appear in
        `variables` and `trainable_variables` of the bijector and of every distribution that contains it. A function
        contributes the trainable variables that its first call reads.
      validate_args, name: as for `tfb.Bijector`.

    Attributes:
      number: int, counts the fused bijectors in the order of their construction.
      weights: list of all `tf.Variable`s of the networks.

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
        self._hash: int | None = None
        self._networks = self._no_dependency(tuple(networks))
        self._cache = Passes(self)  # It answers all public methods of `tfb.Bijector`.
        self.weights: list[tf.Variable] = []
        self._list_weights()

    def __hash__(self) -> int:
        """TFP's hash of the parameters, which never change; TFP's caches ask for it many times per pass."""
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict[str, Any]:
        return {}

    @property
    def networks(self) -> tuple[Any, ...]:
        """The callables or modules (conditioners, moments, inner flows) with the weights of this bijector."""
        return self._networks

    def _forward_and_log_det(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define _forward_and_log_det(x) -> y, log_det")

    def _inverse_and_log_det(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define _inverse_and_log_det(y) -> x, log_det")

    # The log-det of a pass has one value per event. TFP would sum it over no axes.

    def forward_log_det_jacobian(
        self, x: Any, event_ndims: Any = None, name: str = "forward_log_det_jacobian", **kwargs: Any
    ) -> tf.Tensor:
        if self._are_events(x, event_ndims, kwargs):
            return self._cache.log_det("x", tf.convert_to_tensor(x))  # A graph takes in an eager tensor.
        return super().forward_log_det_jacobian(x, event_ndims, name, **kwargs)

    def inverse_log_det_jacobian(
        self, y: Any, event_ndims: Any = None, name: str = "inverse_log_det_jacobian", **kwargs: Any
    ) -> tf.Tensor:
        if self._are_events(y, event_ndims, kwargs):
            return -self._cache.log_det("y", tf.convert_to_tensor(y))
        return super().inverse_log_det_jacobian(y, event_ndims, name, **kwargs)

    def _are_events(self, tensor: Any, event_ndims: Any, kwargs: dict[str, Any]) -> bool:
        """Whether the log-det has one value per event of a tensor of this bijector's dtype."""
        is_whole = isinstance(event_ndims, (int, np.integer)) and event_ndims == self.forward_min_event_ndims
        if not tf.is_tensor(tensor) or not is_whole or kwargs:
            return False
        return tensor.shape.rank is not None and self.dtype in (None, tensor.dtype)

    def collect_weights(self, watched: Sequence[tf.Variable] = ()) -> None:
        """Lists the variables of networks that the first pass has built in `weights`, so that `tf.Module` finds them.

        Args:
          watched: further variables, from the first call of networks that are functions.
        """
        for network in self._networks:
            if isinstance(network, FusedBijector):  # Its pass was a part of this one.
                network.collect_weights()
        self._list_weights(watched)

    def _list_weights(self, watched: Sequence[tf.Variable] = ()) -> None:
        variables = [tf_variable(v) for network in self._networks for v in _variables_of(network)]
        self.weights = list({id(v): v for v in (*variables, *self.weights, *watched)}.values())


def _variables_of(network: Any) -> Sequence[Any]:
    return network.weights if isinstance(network, FusedBijector) else getattr(network, "variables", ())


def forward_and_log_det(bijector: tfb.Bijector, x: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The value of a part of a fused bijector, and its log-det; a fused part has both at once and remembers neither.

    Args:
      bijector: `tfb.Bijector`.
      x: tensor [batch] + event.
      event_ndims: rank of an event.

    Returns:
      The value, and the log-det: a tensor [batch], or one number for the whole batch.

    Example: `forward_and_log_det(tfb.Scale(2.0), tf.ones([8, 2]), 1)`
    """
    if isinstance(bijector, FusedBijector) and bijector.forward_min_event_ndims == event_ndims:
        return bijector._forward_and_log_det(x)
    return bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims)


def inverse_and_log_det(bijector: tfb.Bijector, y: tf.Tensor, event_ndims: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The same in the direction of the inverse, see `forward_and_log_det`.

    Example: `inverse_and_log_det(tfb.Scale(2.0), tf.ones([8, 2]), 1)`
    """
    if isinstance(bijector, FusedBijector) and bijector.forward_min_event_ndims == event_ndims:
        return bijector._inverse_and_log_det(y)
    return bijector.inverse(y), bijector.inverse_log_det_jacobian(y, event_ndims)
