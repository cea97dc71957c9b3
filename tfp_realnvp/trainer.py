"""`FlowTrainer`: Keras's compile, fit, evaluate and predict for a model that computes a log-likelihood."""

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_realnvp.common import check_positive, value_errors
from tfp_realnvp.discovery import refuse_untrained
from tfp_realnvp.events import Events
from tfp_realnvp.guard import StepGuard, step_counter
from tfp_realnvp.internals import TrainerHooks, lower_is_better
from tfp_realnvp.networks.actnorm import initializing, uninitialized
from tfp_realnvp.optimizers import Adam, check_clipping
from tfp_realnvp.progress import MeanOfReplica, Progress
from tfp_realnvp.replicas import (
    logs_of_replica,
    nonempty_share,
    num_replicas,
    sum_over_replicas,
    take_from_the_first_replica,
)
from tfp_realnvp.threads import one_thread_at_a_time

_BITS_PER_DIM = lower_is_better("bits_per_dim")


class FlowTrainer(TrainerHooks):
    """A Keras model trained by its log-likelihood, with Keras's methods and checks of their data before any work.

    A subclass defines `call(x, context, training)`, the log-likelihood in nats of each event; `log_likelihood(x,
    context)`, the same as one graph for inference; and the attributes.

    Attributes:
      events: `Events`, the data of the model.
      networks: list of Keras layers.
      seed: int.
      turn: lock of the methods that count in `progress`.
    """

    events: Events
    networks: list[keras.layers.Layer]
    seed: int

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._nats = Progress()
        self._evaluations: MeanOfReplica | None = None
        self.turn = threading.RLock()

    # The optimizer and the first values of the weights.

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Keras's `compile`, with the paper's optimizer by default.

        Args:
          optimizer: Keras optimizer. The default is Adam with learning rate 1e-3, with gradients clipped at global norm
            100 (of the loss in nats). With `use_ema=True` it keeps moving averages of the weights, from the weights of
            the first step on. `fit` ends with the averages as the weights; `keras.callbacks.SwapEMAWeights` evaluates
            them earlier.
          **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile` as for `keras.Model.compile`. The loss is the
            negative log-likelihood.

        Raises:
          ValueError: for a `loss` or `metrics`; for an optimizer that scales the loss, as Keras's does for networks in
            float16; under a strategy of several replicas, for an optimizer that clips before it sums their gradients
            (see `optimizers.ClipsGlobally`).

        Example: `model.compile(rnvp.optimizers.Adam(1e-3), steps_per_execution=10)`

        References: arXiv 1605.08803, section 4.1.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} must be left out: a flow's loss is its negative log-likelihood")
        if optimizer is None:
            optimizer = Adam(1e-3, epsilon=1e-8, global_clipnorm=100.0)
        super().compile(optimizer=optimizer, **kwargs)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):  # The wrapper hides the step count.
            raise ValueError(
                'optimizer must not scale the loss, as Keras makes it for dtype="mixed_float16": "mixed_bfloat16" has '
                f"the range of float32; got a LossScaleOptimizer of {self.optimizer.inner_optimizer.name}"
            )
        check_clipping(self.optimizer, self.distribute_strategy.num_replicas_in_sync)
        # Otherwise the first step would create its slots while tracing, and tf.function would trace the step twice.
        self.optimizer.build(self.trainable_variables)

    def initialize(self, x: Any, y: Any = None) -> None:
        """Data-dependent initialization: sets every uninitialized `ActNorm` and `networks.Whitening` from a batch.

        Each `ActNorm` then outputs channels of mean 0 and variance 1 on this batch, and each whitening has the
        covariance 1. `fit` and `train_on_batch` call this method with their first batch. A flow without such layers
        does not change.

        Args:
          x, y: a batch, as for `train_on_batch`, or `(x, y)` or a TFDS dictionary as `x`. Weights play no part.

        Raises:
          ValueError: as for `fit`, and for a batch with fewer pixels than channels to whiten.

        Example: `model.initialize(images[:256])`

        References: arXiv 1807.03039, section 3.1.
        """
        if self.needs_initialization:
            x, context, _ = self.events.checked("x", x, y)
            with self.distribute_strategy.scope(), initializing(), value_errors():
                self(x, context)
                take_from_the_first_replica(self.weights)

    @property
    def needs_initialization(self) -> bool:
        """Whether there is an `ActNorm` or a whitening that no batch has set yet."""
        return any(uninitialized(network) for network in self.networks)

    # The steps.

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of training on a batch, as Keras calls it."""
        guard = StepGuard(self.optimizer, self.progress, self.trainable_variables, self._state_of_forward_pass)
        with nonempty_share(*self.events.unpack(data), self.events.weights(data)) as (size, x, context, weights):
            with tf.GradientTape() as tape:
                nats = _weighted(-self(x, context, training=True), weights)[:size]
                mean, count = _mean_over_replicas(nats)
                # This replica's part of the loss: the gradients of the replicas are summed.
                loss = tf.reduce_sum(nats) / tf.cast(count, nats.dtype)
                if penalties := [tf.cast(penalty, nats.dtype) for penalty in self.losses]:
                    loss += tf.add_n(penalties) / num_replicas()
                loss = self.optimizer.scale_loss(loss)
            refuse_untrained(tape.watched_variables(), self.weights)
            gradients = tape.gradient(loss, self.trainable_variables)
        guard.apply_or_skip(loss, gradients, mean, count)
        return self._logs()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of evaluation on a batch, as Keras calls it."""
        with nonempty_share(*self.events.unpack(data), self.events.weights(data)) as (size, x, context, weights):
            # A call counts the evaluations of its solves; the graph for inference does not.
            nats = self.log_likelihood(x, context) if self._evaluations is None else self(x, context, training=False)
            mean, count = _mean_over_replicas(_weighted(-nats, weights)[:size])
        # Without this order TensorFlow could add a constant count although the data have ended.
        with tf.control_dependencies([mean]):
            self._nats.update_state(mean, sample_weight=count)
        return self._logs()

    def predict_step(self, data: Any) -> tf.Tensor:
        """The log-likelihoods of a batch, as Keras calls it."""
        with nonempty_share(*self.events.unpack(data)) as (size, x, context):
            return self.log_likelihood(x, context)[:size]

    def log_likelihood(self, inputs: Any, context: Any = None, draw: Any = 0) -> tf.Tensor:
        """The log-likelihood in nats of a batch: a tensor of shape [batch]."""
        raise NotImplementedError(f"{type(self).__name__} must define log_likelihood(inputs, context, draw)")

    @property
    def steps(self) -> tf.Tensor:
        """The number of training steps so far, skipped ones included: an int64 tensor."""
        return step_counter(self.optimizer).value

    @property
    def _state_of_forward_pass(self) -> list[keras.Variable]:
        """The non-trainable weights that a training step changes for all replicas together."""
        if num_replicas() == 1:
            return self.non_trainable_weights
        return [weight for weight in self.non_trainable_weights if weight.aggregation != "none"]

    @property
    def progress(self) -> Progress:
        """The mean loss of the epoch so far, and the number of steps that were skipped as not finite."""
        return self._nats

    def count_evaluations(self) -> None:
        """Lets `fit` show the mean number of evaluations of a solve, for a flow that solves differential equations."""
        self._evaluations = MeanOfReplica(name="evaluations")

    def record_evaluations(self, evaluations: Sequence[tf.Tensor]) -> None:
        """Records the numbers of evaluations of the solves of a step."""
        if self._evaluations is not None:
            self._evaluations.update_state(tf.stack(evaluations))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self._nats, _BITS_PER_DIM, *filter(None, [self._evaluations])]

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        nats = self._nats.result()
        logs = {"loss": nats, "bits_per_dim": nats / (math.prod(self.events.shape) * math.log(2))}
        return logs if self._evaluations is None else {**logs, "evaluations": self._evaluations.result()}

    def _logs(self) -> dict[str, tf.Tensor]:
        return logs_of_replica(self.get_metrics_result())

    # Keras's methods. They check arrays before any work; the steps check all other data batch by batch.

    @one_thread_at_a_time
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> keras.callbacks.History:
        """Keras's `fit`. A step whose loss or gradient is not finite changes nothing, and `progress` counts it.

        Args:
          x: pixel levels of shape [N] + event_shape (uint8, or integers in any dtype), vectors (floats), a
            `tf.data.Dataset` of batches of them, of `(x, y)` or of `(x, y, sample_weight)`, in which y may be None.
            Also a generator or a `keras.utils.PyDataset` of such tuples, or one such tuple. TFDS dictionaries must
            hold "image" and, for a class-conditional flow, "label". Vectors may also be a pandas DataFrame. Under a
            distribution strategy a data set holds global batches, unless the strategy has distributed it.
          y: labels, ints [N], or contexts, [N, context_size], of a conditional flow; ignored by any other. The label −1
            is that of an event of unknown class: its loss is −log Σ_c p(x | c) / C.
          batch_size: number of events per step, if `x` is not a data set; None for 32.
          validation_data: as `x`.
          class_weight: {label: weight} for a class-conditional flow; other labels count 1.
          sample_weight: the weights of the examples, not negative, [N]. As in Keras the loss is Σ weight · nats / N:
            bits_per_dim is a mean where the weights have the mean 1.
          shuffle: whether to shuffle arrays before each epoch; data sets come in their own order.
          epochs and all others: as for `keras.Model.fit`.

        Returns:
          `keras.callbacks.History` with "loss" in nats and "bits_per_dim", of the validation with the prefix "val_".

        Raises:
          ValueError: for a wrong shape, levels that are not integers in [0, num_bins), NaN, no data, missing or wrong
            labels or contexts, or weights that are negative or not finite.

        Example: `model.fit(images, batch_size=64, epochs=10, validation_data=held_out)`
        """
        _check_batch_size(batch_size)
        x, y, sample_weight = self.events.checked("x", x, y, sample_weight)
        if class_weight is not None:
            x, class_weight = self.events.weighed_by_class(x, sample_weight, class_weight)
        if validation_data is not None:
            validation_data = self.events.checked("validation_data", validation_data)
        if self.needs_initialization:
            x, batch = self.events.first_batch(x, y, batch_size or 32, self.seed)
            self.initialize(*batch)
        if isinstance(x, tf.data.Dataset):
            shuffle = False  # Keras never shuffles a data set, and warns of True.
        with value_errors():
            history = super().fit(
                x,
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                validation_data,
                shuffle,
                class_weight,
                sample_weight,
                initial_epoch,
                steps_per_epoch,
                validation_steps,
                validation_batch_size,
                validation_freq,
            )
        if history.epoch and not history.history:
            raise ValueError("x must not be empty; got a data set without batches")
        return history

    @one_thread_at_a_time
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Keras's `evaluate`: {"loss": nats, "bits_per_dim": ...} with `return_dict=True`; data as for `fit`.

        Raises:
          ValueError: as for `fit`.

        Example: `model.evaluate(held_out, batch_size=200, return_dict=True)`
        """
        _check_batch_size(batch_size)
        if not kwargs.get(self.CACHED_EVALUATION):
            x, y, sample_weight = self.events.checked("x", x, y, sample_weight)
        with value_errors():
            logs = super().evaluate(x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict, **kwargs)
        if not self._nats.count.numpy():
            raise ValueError("x must not be empty; got a data set without batches")
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        labels: Any = None,
        context: Any = None,
    ) -> np.ndarray:
        """Keras's `predict`: the log-likelihood in nats of each image or vector, [N].

        Args:
          x: data as for `fit`; for a conditional flow also `(x, y)`.
          batch_size, verbose, steps, callbacks: as for `keras.Model.predict`.
          labels: the labels [N] of a class-conditional flow, −1 for an unknown class, unless `x` holds them.
          context: the contexts [N, context_size] of a flow given vectors, unless `x` holds them.

        Raises:
          ValueError: as for `fit`, and for labels where a context belongs, or the other way round.

        Example: `model.predict(images, batch_size=200, labels=labels)`
        """
        _check_batch_size(batch_size)
        x = self._with_context(x, labels, context)
        with value_errors():
            return super().predict(x, batch_size, verbose, steps, callbacks)

    @one_thread_at_a_time
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Keras's `train_on_batch`; data as for `fit`.

        Raises:
          ValueError: as for `fit`.

        Example: `model.train_on_batch(images[:64], return_dict=True)["bits_per_dim"]`
        """
        x, y, sample_weight = self.events.checked("x", x, y, sample_weight)
        if class_weight is not None:
            x, class_weight = self.events.weighed_by_class(x, sample_weight, class_weight)
        self.initialize(x, y)
        with value_errors():
            return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    @one_thread_at_a_time
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Keras's `test_on_batch`; data as for `fit`.

        Raises:
          ValueError: as for `fit`.

        Example: `model.test_on_batch(images[:64], return_dict=True)["bits_per_dim"]`
        """
        x, y, sample_weight = self.events.checked("x", x, y, sample_weight)
        with value_errors():
            return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Any, *, labels: Any = None, context: Any = None) -> np.ndarray:
        """Keras's `predict_on_batch`: the log-likelihood in nats of each event of one batch; data as for `predict`.

        Raises:
          ValueError: as for `predict`.

        Example: `model.predict_on_batch(images[:64])`
        """
        x = self._with_context(x, labels, context)
        with value_errors():
            return super().predict_on_batch(x)

    def batches(self, data: Any, batch_size: int = 256) -> Iterator[tuple]:
        """Checks `data`, as `fit` does, and yields batches of tensors.

        Args:
          data: as `x` for `fit`; weights of the examples play no part.
          batch_size: number of events per batch, if `data` is not a data set.

        Yields:
          `(x, context)`: [batch] + event_shape, and labels [batch], contexts [batch, context_size], or None.

        Example: `nats = [model.log_likelihood(x, context) for x, context in model.batches(images)]`
        """
        check_positive(batch_size=batch_size)
        x, context, _ = self.events.checked("data", data)
        if not isinstance(x, tf.data.Dataset):
            x = tf.data.Dataset.from_tensor_slices((x, context)).batch(batch_size)
        with value_errors():
            for batch in x:
                yield self.events.unpack(batch)

    # Checks.

    def _with_context(self, x: Any, labels: Any, context: Any) -> Any:
        """The checked data of a prediction: x, or `(x, context)`."""
        arguments = {"labels": labels, "context": context}
        for name, value in arguments.items():
            if value is not None and not (self.events.contexts.size and name == self.events.contexts.name):
                raise ValueError(f"{name} must be None for this flow")
        x, y, _ = self.events.checked("x", x, arguments[self.events.contexts.name])
        return x if y is None else (x, y)


def _weighted(nats: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    return nats if weights is None else nats * tf.cast(weights, nats.dtype)


def _mean_over_replicas(nats: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean over the global batch, in double precision, and the number of its examples."""
    nats = tf.cast(nats, tf.float64)
    total, count = sum_over_replicas([tf.reduce_sum(nats), tf.cast(tf.size(nats), tf.float64)])
    return total / count, count


def _check_batch_size(batch_size: Any) -> None:
    """Validates `batch_size`. Keras reads None as 32 and accepts 0."""
    if batch_size is not None:
        check_positive(batch_size=batch_size)
