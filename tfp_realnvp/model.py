"""`FlowModel`: where Keras meets TFP. Keras's fit, evaluate, predict and save over a TFP distribution."""

import contextlib
import functools
import math
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp import dequantization as dequantizations
from tfp_realnvp import export
from tfp_realnvp.bijectors import FusedBijector
from tfp_realnvp.events import Contexts, Events, as_array, value_errors
from tfp_realnvp.guard import either, is_finite
from tfp_realnvp.networks import Given, Rematerialized
from tfp_realnvp.networks.actnorm import initializing, uninitialized
from tfp_realnvp.networks.layers import check_positive, draw_seed, register
from tfp_realnvp.optimizers import Adam, ClipsGlobally
from tfp_realnvp.progress import Progress
from tfp_realnvp.replicas import num_replicas, share, sum_over_replicas, take_from_the_first_replica

tfb = tfp.bijectors
tfd = tfp.distributions


@register
class FlowModel(keras.Model):
    """A Keras model of any TFP distribution made of this package's bijectors and TFP's own.

    `fit` maximizes the log-likelihood. For images it takes raw pixel levels and adds the uniform noise that makes the
    density a bound on the probability of the discrete image:

    ```none
    loss = E[−log p(x + u) + log q(u)] nats an event,    bits_per_dim = loss / (D log 2)
    ```

    so that a uniform model scores exactly log2(num_bins) bits/dim. For vectors the data are continuous and
    `bits_per_dim` is that of the density.

    A conditional flow, p(x | class) or p(x | context), is a function of the context: `given(context)` is its
    distribution, and `fit`, `evaluate` and `predict` take the labels or contexts as Keras takes labels, as `y`.

    Args:
      distribution: `tfd.Distribution` over pixel values in [0, num_bins), or over vectors; for `encode`, `decode` and
        `bijector` a `tfd.TransformedDistribution`. Its networks are found and become this model's. Of a conditional
        flow a function of the context, a float tensor [batch, size] (of classes: one-hot), that makes the distribution
        of batch shape [batch] from networks that it does not make anew (see `networks.Given`).
      num_bins: number of pixel levels, or None for continuous data. "auto": 256 for events of rank 3, None otherwise.
      seed: int, the seed of the dequantization noise; None draws one.
      dequantization: "uniform", "variational", or a layer from `dequantization`, also in Keras's serialized form; what
        `fit`, `evaluate` and `predict` add to pixel levels, its log q part of the bound.
      num_classes: number of classes, for a flow conditioned on one; the contexts are then labels, ints.
      context_size: size of the vector that the flow is conditioned on.
      networks: Keras layers that the distribution uses otherwise than in its bijectors, so that they are trained.
      name: as for `keras.Model`.

    Raises:
      ValueError: where the distribution has trainable variables that are no Keras network's (Keras would not train
        them), or a batch shape, or an event shape that is not known; for both `num_classes` and `context_size`.

    Example:

    ```python
    coupling = rnvp.bijectors.Coupling([1, 0], rnvp.networks.TanhScale(rnvp.networks.MLP(4)))
    model = rnvp.FlowModel(
        tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(coupling)))
    model.compile()
    model.fit(points, epochs=10)
    ```
    """

    def __init__(
        self,
        distribution,
        num_bins="auto",
        seed=None,
        dequantization="uniform",
        num_classes=None,
        context_size=None,
        networks=(),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        contexts = Contexts(num_classes, context_size, tf.as_dtype(self.variable_dtype))
        self._distribution = distribution
        example = distribution(tf.zeros([1, contexts.size], contexts.vector_dtype)) if contexts.size else distribution
        self._events = Events.of(example, num_bins, contexts)
        self.seed = draw_seed(seed)
        self.dequantization = None
        if self.num_bins is not None:
            self.dequantization = dequantizations.get(dequantization, self.seed, self.dtype_policy)
            if not self.dequantization.built:
                self.dequantization.build((None, *self.event_shape))
        self._nats = Progress()
        found = find_networks(example)
        networks = found + [network for network in networks if not any(network is other for other in found)]
        if not all(network.built for network in networks):
            example.log_prob(tf.zeros([1, *self.event_shape], example.dtype))
        self.networks = networks
        own = {id(weight.value) for weight in self.weights}
        self._refuse_untrained([v for v in example.trainable_variables if id(v) not in own])
        self.built = True
        # One graph for batches of every size, not inlined where their size is known: another would round differently.
        specs = [tf.TensorSpec([None, *self.event_shape], example.dtype), tf.TensorSpec([], tf.int64)]
        if contexts.size:
            specs.append(tf.TensorSpec([None, *contexts.shape], contexts.dtype))
        self._inference = tf.function(
            lambda x, draw, context=None: self(x, context, training=False, draw=draw),
            input_signature=specs,
            experimental_attributes={"_noinline": True},
        )

    # The distribution and what it is made of.

    @property
    def distribution(self):
        """The `tfd.Distribution` over pixel values in [0, num_bins) or over vectors; of a flow without a context."""
        if self.context_size:
            raise ValueError("the flow is conditional: its distribution is given(context)")
        return self._distribution

    def given(self, context):
        """The distribution of a conditional flow, p(x | context).

        Args:
          context: labels, ints of shape [...], or vectors of shape [..., context_size].

        Returns:
          `tfd.Distribution` over pixel values in [0, num_bins) or over vectors, of batch shape [...]. Its `log_prob`
          takes x of batch shape [..., *that], or one that broadcasts to it: each of N events under each of K contexts
          is x of [N, 1] + event_shape.

        Raises:
          ValueError: for a flow without a context, or labels or vectors that do not fit it, or are NaN.

        Example: `model.given([3, 5]).sample()` has shape [2] + event_shape: a three and a five.
        """
        return self._distribution(self._events.contexts.vectors(context))

    def _flow(self, context):
        """The distribution with the context in it, if there is one."""
        return self.given(context) if self.context_size else self._distribution

    @property
    def bijector(self):
        """The `tfb.Bijector` of the flow, forward: latent → data; of a flow without a context."""
        return getattr(self.distribution, "bijector", tfb.Identity())

    @property
    def base_distribution(self):
        """The `tfd.Distribution` of the latents."""
        return getattr(self.distribution, "distribution", self.distribution)

    @property
    def event_shape(self):
        """Tuple, the shape of one image or vector, and of its latent."""
        return self._events.shape

    @property
    def num_bins(self):
        """The number of pixel levels, None for continuous data."""
        return self._events.num_bins

    @property
    def num_classes(self):
        """The number of classes of a class-conditional flow, None for any other."""
        return self._events.contexts.num_classes

    @property
    def context_size(self):
        """The size of the vectors that a conditional flow sees, `num_classes` of labels; None for any other flow."""
        return self._events.contexts.size

    @property
    def is_convolutional(self):
        """Whether it may draw images of another size than those of the training, `sample(image_size=)`."""
        return not self.context_size and len(self.event_shape) == 3 and isinstance(self.base_distribution, tfd.Sample)

    def latents_by_scale(self, z):
        """The latents of each scale, the finest first; a flow of one scale has one.

        Args:
          z: latents, of shape [batch] + event_shape.

        Returns:
          List of arrays of shape [batch, ...], with together as many entries as `z`.

        Raises:
          ValueError: for another shape of `z`.
        """
        return [self._events.checked_latents(z)]

    def join_latents(self, latents):
        """The inverse of `latents_by_scale`: an array of shape [batch] + event_shape."""
        return self._events.checked_latents(latents[0])

    def networks_by_scale(self):
        """The networks in the order that data pass them, one list a scale, the finest first."""
        return [self.networks]

    # Training.

    def compile(self, optimizer=None, **kwargs):
        """Keras's `compile`, with the paper's optimizer by default.

        Args:
          optimizer: Keras optimizer; default Adam with learning rate 1e-3, the gradients clipped at global norm 100
            (of the loss in nats). With `use_ema=True` it keeps moving averages of the weights, begun with those of the
            first step: `fit` ends with them as the weights, and `keras.callbacks.SwapEMAWeights` evaluates them before.
          **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile` as for `keras.Model.compile`. The loss is the
            flow's own.

        Raises:
          ValueError: for a `loss` or `metrics`; for an optimizer that scales the loss, as Keras's does for networks in
            float16; under a strategy of several replicas for one that clips before it sums their gradients, see
            `optimizers.ClipsGlobally`.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} must be left out: a flow's loss is its negative log-likelihood")
        if optimizer is None:
            optimizer = Adam(1e-3, epsilon=1e-8, global_clipnorm=100.0)
        super().compile(optimizer=optimizer, **kwargs)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):  # it would keep the count of steps from us
            raise ValueError(
                'optimizer must not scale the loss, as Keras makes it for dtype="mixed_float16": "mixed_bfloat16" has '
                f"the range of float32; got a LossScaleOptimizer of {self.optimizer.inner_optimizer.name}"
            )
        self._check_clipping()
        # Otherwise the first step creates its slots while tracing, and tf.function traces the whole step twice.
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, context=None, training=False, draw=None):
        """The log-likelihood in nats of each image (with its noise) or vector: a tensor of shape [batch].

        `context` holds the labels or vectors of a conditional flow. `draw`, an int of 0 or more, tells an evaluation's
        draws of the noise apart; an image has the same noise at the same draw. Without it training draws new noise at
        each step, and evaluation is at draw 0.
        """
        x, log_q = self._events.checked_tensor(inputs), 0.0
        if self.num_bins is not None:
            in_step = training and self.compiled and draw is None
            # The first variable counts every batch, also those that gradients are accumulated over.
            step = self.optimizer.variables[0].value if in_step else -1 - tf.cast(0 if draw is None else draw, tf.int64)
            seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])
            x, log_q = self.dequantization(x, num_bins=self.num_bins, seed=seed)
        log_p = self._flow(context).log_prob(tf.cast(tf.identity(x), self._events.dtype))
        return log_p - tf.cast(log_q, log_p.dtype)

    def log_likelihood(self, inputs, context=None, draw=0):
        """The log-likelihood in nats of a batch at a draw of the noise (see `call`): a tensor of shape [batch]."""
        x = tf.cast(self._events.of_known_shape(inputs), self._events.dtype)
        draw = tf.constant(draw, tf.int64)
        context = [tf.cast(context, self._events.contexts.dtype)] if self.context_size else []
        if self.run_eagerly:
            return self(x, *context, training=False, draw=draw)
        return self._inference(x, draw, *context)

    def initialize(self, x, y=None):
        """Data-dependent initialization: sets every `ActNorm` that is not initialized yet from a batch.

        After it each of them gives channels of mean 0 and variance 1 on this batch. `fit` and `train_on_batch` do it
        by themselves with their first batch; a flow without `ActNorm` stays as it is.

        Args:
          x, y: a batch, as for `train_on_batch`, or `(x, y)` or a TFDS dictionary as `x`.

        Raises:
          ValueError: as for `fit`.

        References: arXiv 1807.03039, section 3.1.
        """
        if self.needs_initialization:
            self._events.check("x", x, y)
            x, context = self._events.unpack((x, y))
            with self.distribute_strategy.scope(), initializing(), value_errors():
                self(x, context)
                take_from_the_first_replica(self.weights)

    @property
    def needs_initialization(self):
        """Whether there is an `ActNorm` that `initialize`, or `fit` by its first batch, is still to set."""
        return any(uninitialized(network) for network in self.networks)

    def train_step(self, data):
        averages = [tf.convert_to_tensor(weight.value) for weight in self._averages]
        with share(*self._events.unpack(data)) as (size, x, context):
            with tf.GradientTape() as tape:
                nats = -self(x, context, training=True)[:size]
                mean, count = _mean_over_replicas(nats)
                # This replica's part of the loss: the gradients of the replicas are summed.
                loss = tf.reduce_sum(nats) / tf.cast(count, nats.dtype)
                if penalties := [tf.cast(penalty, nats.dtype) for penalty in self.losses]:
                    loss += tf.add_n(penalties) / num_replicas()
                loss = self.optimizer.scale_loss(loss)
            own = {id(weight.value) for weight in self.weights}
            self._refuse_untrained([v for v in tape.watched_variables() if id(v) not in own])
            gradients = tape.gradient(loss, self.trainable_variables)
        step = gradients, mean, count, averages
        if self._takes_conditions():
            self._learn_if(is_finite(loss, gradients), *step)
        else:
            either(is_finite(loss, gradients), self._learn, self._skip, *step)
        return self._logs()

    def _takes_conditions(self):
        return getattr(self.optimizer, "takes_conditions", False) and not tf.distribute.has_strategy()

    def _learn_if(self, condition, gradients, mean, count, averages):
        """Ends a step, as `_learn` or `_skip` do: for a graph of half the size, which has no branches."""
        self.optimizer.apply_if(condition, gradients, self.trainable_variables)
        for weight, average in zip(self._averages, averages, strict=True):
            weight.assign(tf.where(condition, weight.value, average))
        self._nats.ended(condition, mean, count)

    def _learn(self, gradients, mean, count, averages):
        """Ends a step."""
        del averages
        self.optimizer.apply(gradients, self.trainable_variables)
        self._nats.ended(True, mean, count)

    def _skip(self, gradients, mean, count, averages):
        """Ends a step whose loss or gradient is not finite: nothing is changed but the counts."""
        del gradients
        for weight, average in zip(self._averages, averages, strict=True):
            weight.assign(average)
        self.optimizer.variables[0].assign_add(1)
        self._nats.ended(False, mean, count)

    @property
    def _averages(self):
        """What a training step changes beside the trainable weights: it takes the replicas together."""
        if num_replicas() == 1:
            return self.non_trainable_weights
        return [weight for weight in self.non_trainable_weights if weight.aggregation != "none"]

    def test_step(self, data):
        with share(*self._events.unpack(data)) as (size, x, context):
            mean, count = _mean_over_replicas(-self(x, context, training=False)[:size])
        # A count that is known beforehand would be added even where the data turn out to have ended.
        with tf.control_dependencies([mean]):
            self._nats.update_state(mean, sample_weight=count)
        return self._logs()

    def predict_step(self, data):
        with share(*self._events.unpack(data)) as (size, x, context):
            return self.log_likelihood(x, context)[:size]

    @property
    def progress(self):
        """`Progress`: the mean loss of the epoch so far, and how many steps were skipped as not finite."""
        return self._nats

    @property
    def metrics(self):
        return [self._nats]

    def get_metrics_result(self):
        nats = self._nats.result()
        return {"loss": nats, "bits_per_dim": nats / (math.prod(self.event_shape) * math.log(2))}

    def _logs(self):
        logs = self.get_metrics_result()
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Keras takes the mean over the workers along an axis that there has to be.
            logs = {name: value[tf.newaxis] for name, value in logs.items()}
        return logs

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: there is nothing left to build, and Keras would read a batch, so that the data are shuffled anew."""

    # Keras's methods, with the data checked before any work is done.

    def fit(self, x=None, y=None, validation_data=None, **kwargs):
        """Keras's `fit`. A step whose loss or gradient is not finite changes nothing, and `progress` counts it.

        Args:
          x: pixel levels of shape [N] + event_shape (uint8, or integers in any dtype), vectors (floats), a
            `tf.data.Dataset` of batches of them or of `(x, y)`, or either as TFDS dictionaries holding "image" and,
            for a class-conditional flow, "label". Of vectors also a pandas DataFrame. Under a distribution strategy
            the batches are the global ones; or what the strategy has made a distributed data set of.
          y: labels, ints [N], or contexts, [N, context_size], of a conditional flow; ignored by any other.
          validation_data: as `x`, or a tuple that begins with it.
          **kwargs: as for `keras.Model.fit`.

        Raises:
          ValueError: for a wrong shape, levels that are no integers in [0, num_bins), NaN, no data, labels or contexts
            that are missing or wrong, or weights of the examples.
        """
        _check_batch_size(kwargs)
        self._events.check("x", x, y)
        if validation_data is not None:
            self._events.check("validation_data", validation_data)
        x, y, validation_data = as_array(x), as_array(y), as_array(validation_data)
        if self.needs_initialization:
            x, batch = self._events.first_batch(x, y, kwargs.get("batch_size") or 32, self.seed)
            self.initialize(*batch)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # as it is in any case; True makes Keras warn
        with value_errors():
            history = super().fit(x, y, validation_data=validation_data, **kwargs)
        if history.epoch and not history.history:
            raise ValueError("x must not be empty; got a data set without batches")
        return history

    def evaluate(self, x=None, y=None, **kwargs):
        """Keras's `evaluate`: {"loss": nats, "bits_per_dim": ...} with `return_dict=True`; data as for `fit`."""
        _check_batch_size(kwargs)
        if not kwargs.get("_use_cached_eval_dataset"):
            self._events.check("x", x, y)
        with value_errors():
            logs = super().evaluate(as_array(x), as_array(y), **kwargs)
        if not self._nats.count.numpy():
            raise ValueError("x must not be empty; got a data set without batches")
        return logs

    def predict(self, x, y=None, **kwargs):
        """Keras's `predict`: the log-likelihood in nats of each image or vector, [N]; data as for `fit`."""
        _check_batch_size(kwargs)
        self._events.check("x", x, y)
        with value_errors():
            return super().predict(as_array(x) if y is None else (as_array(x), as_array(y)), **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        """Keras's `train_on_batch`; data as for `fit`."""
        self._events.check("x", x, y)
        x, y = as_array(x), as_array(y)
        self.initialize(x, y)
        with value_errors():
            return super().train_on_batch(x, y, **kwargs)

    def batches(self, data, batch_size=256):
        """Checks `data`, as for `fit`, and yields it in tensors.

        Args:
          data: as `x` for `fit`, or `(x, y)`.
          batch_size: how many at a time, where `data` is no data set.

        Yields:
          `(x, context)`: [batch] + event_shape, and labels [batch], contexts [batch, context_size], or None.
        """
        check_positive(batch_size=batch_size)
        self._events.check("data", data)
        if not isinstance(data, tf.data.Dataset):
            x, context = self._events.unpack(data)
            data = tf.data.Dataset.from_tensor_slices(x if context is None else (x, context)).batch(batch_size)
        with value_errors():
            for batch in data:
                yield self._events.unpack(batch)

    # Classes.

    def class_probabilities(self, images, batch_size=64, num_draws=1):
        """Bayes' rule over the classes of a class-conditional flow, each as likely as the others beforehand.

        ```none
        P(class | x) = p(x | class) / Σ p(x | other class),    log p(x | class) the mean over the draws of the noise
        ```

        All classes of a batch of images are evaluated in one pass, with the same noise. The mean is that of the bounds,
        not the importance-weighted one, which a single draw decides.

        Args:
          images: as for `fit`, without data sets.
          batch_size: how many at a time.
          num_draws: how many draws of the dequantization noise.

        Returns:
          float array [N, num_classes].

        Raises:
          ValueError: for a flow that is not class-conditional, images that do not fit it, or a `num_draws` below 1.
        """
        if not self.num_classes:
            raise ValueError("num_classes must be given to a flow for it to classify; got None")
        check_positive(num_draws=num_draws)
        images = self._events.checked_array("images", images)
        draws = tf.range(num_draws, dtype=tf.int64)
        nats = [_in_batches(functools.partial(self._nats_of_classes, draw=d), batch_size, images) for d in draws]
        return tf.nn.softmax(np.mean(nats, axis=0)).numpy()

    def classify(self, images, batch_size=64, num_draws=1):
        """The most likely class of each image: int array [N]; see `class_probabilities`."""
        return np.argmax(self.class_probabilities(images, batch_size, num_draws), axis=-1)

    @tf.function(reduce_retracing=True)
    def _nats_of_classes(self, images, draw):
        every = tf.tile(tf.range(self.num_classes), tf.shape(images)[:1])
        nats = self(tf.repeat(images, self.num_classes, axis=0), every, training=False, draw=draw)
        return tf.reshape(nats, [-1, self.num_classes])

    # Sampling and the latent space.

    def sample(
        self,
        num_samples,
        temperature=1.0,
        seed=None,
        batch_size=256,
        image_size=None,
        labels=None,
        context=None,
    ):
        """Draws images or vectors.

        Args:
          num_samples: int.
          temperature: non-negative float T, draws the latents from their mean + T · (their deviation).
          seed: int; None draws one.
          batch_size: how many are decoded at a time.
          image_size: (height, width) of the images, where other than in training: for flows that are fully
            convolutional, such as `RealNVP`, over latents that are independent and equally distributed.
          labels: the classes of a class-conditional flow, an int or ints [num_samples]; None draws them.
          context: the context of a flow that is conditioned on a vector, [context_size] or [num_samples, context_size].

        Returns:
          Array of shape [num_samples] + event_shape: pixel levels (uint8 up to 256 bins), or floats.

        Raises:
          ValueError: for a `num_samples` below 1, a `temperature` below 0, or so high that the flow overflows, an
            `image_size` the flow cannot draw, or `labels` or a `context` that do not fit it.

        Example: `model.sample(16, temperature=0.7, seed=0)`
        """
        if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
            raise ValueError(f"num_samples must be a positive int; got {num_samples!r}")
        if not isinstance(temperature, (int, float, np.number)) or not 0 <= temperature < math.inf:
            raise ValueError(f"temperature must be a non-negative number; got {temperature!r}")
        seed = draw_seed(seed)
        if self.num_classes and labels is None:
            labels = np.random.default_rng(seed).integers(self.num_classes, size=num_samples)
        contexts = self._events.contexts.of_samples(num_samples, labels, context)
        base = self._base(*contexts)
        if image_size is not None:
            base = base.copy(sample_shape=self._image_shape(image_size))
        z = self._draw(base, num_samples, temperature, seed)
        return _in_batches(self._decode, batch_size, z, *contexts)

    def _image_shape(self, image_size):
        """The shape of images of this height and width, if the flow can draw such."""
        if not self.is_convolutional:
            raise ValueError(f"image_size must be None for a flow that is not convolutional; got {image_size}")
        sides = tuple(image_size) if np.iterable(image_size) else ()
        if len(sides) != 2 or any(not isinstance(side, (int, np.integer)) or side < 1 for side in sides):
            raise ValueError(f"image_size must be (height, width), two positive ints; got {image_size!r}")
        divisor = self._divisor_of_sides()
        if any(side % divisor for side in sides):
            raise ValueError(f"image_size must have a height and width divisible by {divisor}; got {image_size!r}")
        return *sides, self.event_shape[-1]

    def _divisor_of_sides(self):
        """What the squeezes ask the height and width of an image to be divisible by, a power of 2."""
        *sides, channels = self.event_shape
        for divisor in (2**halvings for halvings in range(max(sides).bit_length())):
            with contextlib.suppress(ValueError):
                self.bijector.inverse_event_shape((divisor, divisor, channels))
                return divisor
        return 1  # what is made for images of one size says so itself

    def _base(self, context=None):
        """The distribution of a latent, or with contexts of one latent each."""
        return getattr(self._flow(context), "distribution", self._distribution)

    def _draw(self, base, num_samples, temperature, seed):
        """The latents of samples."""
        seed = tf.bitcast(tf.convert_to_tensor(seed, tf.int64), tf.int32)  # [seed, 0] where it is not a large one
        z = base.sample([] if self.context_size else num_samples, seed=seed)
        if not tf.is_tensor(temperature) and temperature == 1:  # also where the base has no mean
            return z
        mean = base.mean()
        return mean + temperature * (z - mean)

    def encode(self, images, context=None, batch_size=256):
        """The latents of images (each pixel at the middle of its bin) or vectors.

        Args:
          images: as for `fit`, without data sets.
          context: the labels or contexts of a conditional flow, [N, ...].
          batch_size: how many are encoded at a time.

        Returns:
          Array of shape [N] + event_shape. `decode` gives the images back.

        Raises:
          ValueError: as for `fit`.
        """
        images = self._events.checked_array("images", images)
        return _in_batches(self._encode, batch_size, images, *self._events.contexts.of_events(len(images), context))

    def decode(self, z, context=None, batch_size=256):
        """The images or vectors of latents: the inverse of `encode`.

        Args:
          z: latents, of shape [N] + event_shape.
          context: the labels or contexts of a conditional flow, [N, ...].
          batch_size: how many are decoded at a time.

        Returns:
          Array of shape [N] + event_shape: pixel levels (uint8 up to 256 bins), or floats.

        Raises:
          ValueError: for another shape of `z`, or NaN, or latents so far from 0 that the flow overflows.
        """
        z = self._events.checked_latents(z)
        return _in_batches(self._decode, batch_size, z, *self._events.contexts.of_events(len(z), context))

    @tf.function(reduce_retracing=True)
    def _encode(self, images, context=None):
        x = tf.cast(images, self._events.dtype)
        return self._flow(context).bijector.inverse(x if self.num_bins is None else x + 0.5)

    @tf.function(reduce_retracing=True)
    def _decode(self, z, context=None):
        x = self._flow(context).bijector.forward(z)
        # As a pixel level a NaN would look like any other.
        x = tf.debugging.assert_all_finite(x, "z must be closer to 0, or the temperature lower: the flow overflows")
        if self.num_bins is None:
            return x
        return tf.cast(tf.clip_by_value(tf.floor(x), 0, self.num_bins - 1), self._events.data_dtype)

    # Saving.

    def save(self, filepath, overwrite=True, **kwargs):
        """Keras's `save`; a `.keras` file is replaced as a whole, so that a crash leaves the old one intact."""
        path = pathlib.Path(filepath)
        if path.suffix != ".keras" or (path.exists() and not overwrite):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        draft = path.with_name(f"draft.{path.name}")
        try:
            super().save(draft, **kwargs)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)

    def export(self, filepath):
        """Writes the flow as a SavedModel, for processes that have TensorFlow and nothing else, such as TF Serving.

        Its signatures take batches of any size and answer what the methods of the same names do; `serving_default` is
        `log_prob`. Images are uint8 (uint16 of more than 256 levels), and where the events are vectors they are called
        `vectors`. Of a conditional flow every signature takes its `labels`, int64 [N], or `context`, [N, context_size],
        as well; `sample` one for each sample, or one for them all.

        | signature  | inputs                                 | outputs                                              |
        |------------|----------------------------------------|------------------------------------------------------|
        | `log_prob` | `images` [N] + event_shape             | `nats` [N], of `predict`; `bits_per_dim` [N]         |
        | `encode`   | `images`                               | `latents` [N] + event_shape                          |
        | `decode`   | `latents`                              | `images`                                             |
        | `sample`   | `num_samples`, `temperature`, `seed`   | `images`, of `sample`                                |

        Args:
          filepath: the folder, new or empty; it is there as a whole or not at all.

        Raises:
          ValueError: for a folder that holds something, or a flow that is no `tfd.TransformedDistribution`.

        Example: `model.export("flow/1"); tf.saved_model.load("flow/1").signatures["log_prob"](images=images)["nats"]`
        """
        export.write(self, filepath)

    def get_compile_config(self):
        if not self.compiled:
            return None
        options = {name: getattr(self, name) for name in ("run_eagerly", "steps_per_execution", "jit_compile")}
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer), **options}

    def compile_from_config(self, config):
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self):
        raise NotImplementedError(
            "a FlowModel of an arbitrary distribution has no configuration to be rebuilt from: save its weights with "
            "save_weights(), or write a subclass whose __init__ builds the distribution and which defines get_config()"
        )

    # Checks.

    def _check_clipping(self):
        clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self.optimizer, name, None)]
        replicas = self.distribute_strategy.num_replicas_in_sync
        if clips and replicas > 1 and not isinstance(self.optimizer, ClipsGlobally):
            raise ValueError(
                f"optimizer must not have {clips[0]} under a strategy of {replicas} replicas, each of whose gradients "
                f"Keras clips alone; got a {type(self.optimizer).__name__}. Take rnvp.optimizers.Adam, or make yours a "
                "subclass of rnvp.optimizers.ClipsGlobally as well"
            )

    def _refuse_untrained(self, variables):
        if variables:
            raise ValueError(
                "distribution has trainable variables that belong to no Keras network of its bijectors, so that Keras "
                f"would not train them: {sorted(v.name for v in variables)}. Put them into a Keras layer that the "
                "bijector calls, or make them non-trainable"
            )


def _mean_over_replicas(nats):
    """The mean over the global batch, in double precision, and the number of its examples."""
    nats = tf.cast(nats, tf.float64)
    total, count = sum_over_replicas([tf.reduce_sum(nats), tf.cast(tf.size(nats), tf.float64)])
    return total / count, count


def find_networks(distribution):
    """The Keras layers that the distribution's bijectors call, each once, in the order the bijectors were made in."""
    modules = (distribution, *distribution.submodules)
    bijectors = sorted((m for m in modules if isinstance(m, FusedBijector)), key=lambda bijector: bijector.number)
    networks = (_layer(network) for bijector in bijectors for network in bijector.networks)
    return list({id(n): n for n in networks if isinstance(n, keras.layers.Layer)}.values())


def _layer(network):
    while isinstance(network, Given | Rematerialized):
        network = network.network
    return network


def _check_batch_size(arguments):
    """That of Keras's methods, which take None for 32, and 0 as well."""
    if arguments.get("batch_size") is not None:
        check_positive(batch_size=arguments["batch_size"])


def _in_batches(function, batch_size, *arrays):
    check_positive(batch_size=batch_size)
    slices = [slice(i, i + batch_size) for i in range(0, len(arrays[0]), batch_size)]
    with value_errors():
        return np.concatenate([function(*(array[part] for array in arrays)) for part in slices])
