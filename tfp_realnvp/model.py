"""`FlowModel`: a Keras model of a TFP distribution."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_realnvp import dequantization as dequantizations
from tfp_realnvp import export, features, sampling
from tfp_realnvp.bijectors import ContinuousFlow, bins
from tfp_realnvp.bijectors.solves import Solves, solving
from tfp_realnvp.common import draw_seed, register, replacing
from tfp_realnvp.contexts import Contexts
from tfp_realnvp.discovery import find_networks, refuse_untrained
from tfp_realnvp.events import Events
from tfp_realnvp.internals import sublayers
from tfp_realnvp.networks.activations import recording
from tfp_realnvp.networks.moments import fixed_averages
from tfp_realnvp.precision import check_computable
from tfp_realnvp.replicas import with_stand_in
from tfp_realnvp.representation import describe, layers_of
from tfp_realnvp.trainer import FlowTrainer


@register
class FlowModel(FlowTrainer):
    """A Keras model of any TFP distribution made of this package's bijectors and TFP's own.

    `fit` maximizes the log-likelihood. For images it takes pixel levels and adds noise u ~ q, so that the density
    bounds the probability of the discrete image:

    ```none
    loss = E[−log p(x + u) + log q(u)] nats per event,    bits_per_dim = loss / (D log 2)
    ```

    A uniform model scores exactly log2(num_bins) bits/dim. Vectors are continuous: they get no noise, and p is their
    density. A conditional flow, p(x | class) or p(x | context), is a function of the context: `given(context)` is its
    distribution, and `fit` and `evaluate` take the labels or contexts as `y`, as Keras takes labels.

    For log p(x) use `predict` with a data set, `log_likelihood` with one batch, `call` in training, `distribution`'s
    `log_prob` with values that need no noise, and `evaluation.log_likelihood` for a bound over several draws of it.

    Args:
      distribution: `tfd.Distribution` over pixel values in [0, num_bins), or over vectors. `encode`, `decode` and
        temperatures need a `tfd.TransformedDistribution`: a mixture, for example, has no single latent. The networks of
        its bijectors become the model's. For a conditional flow, a function of the context, a float tensor [batch,
        size] (one-hot for classes). It returns a distribution of batch shape [batch], from the same networks at each
        call (see `networks.WithContext`).
      num_bins: number of pixel levels, or None for continuous data. "auto": 256 for events of rank 3, None otherwise.
      seed: int, the seed of the dequantization noise; None draws one.
      dequantization: the noise that `fit`, `evaluate` and `predict` add to pixel levels: "uniform", "variational", or a
        layer from `dequantization`, also in Keras's serialized form. "exact" adds none: their log-likelihoods, and the
        samples, are those of the levels themselves; `distribution` stays a density.
      num_classes: number of classes of a class-conditional flow; its contexts are labels, ints. Events of unknown class
        have the label −1. If the function returns the same bijector for every class, one pass serves all classes.
      context_size: size of the vectors that condition the flow.
      networks: Keras layers that the distribution uses outside of its bijectors, so that they are trained too.
      name: as for `keras.Model`.

    Attributes:
      has_estimates: bool, whether log-likelihoods depend on random probes, see `bijectors.divergence.Hutchinson`.
      shares_bijector: bool, whether the bijector is the same for every context, so that latents do not depend on it.

    Raises:
      ValueError: for trainable variables that belong to no Keras network, since Keras would not train them; for a batch
        shape or an unknown event shape; for both `num_classes` and `context_size`; for networks in a dtype that
        TensorFlow cannot compute on this machine; for `dequantization="exact"` of a flow that has only a density.

    Example:

    ```python
    coupling = rnvp.bijectors.Coupling([1, 0], rnvp.networks.TanhScale(rnvp.networks.MLP(4)))
    model = rnvp.FlowModel(tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(coupling)))
    model.compile()
    model.fit(points, epochs=10)
    ```

    References: arXiv 1605.08803, section 3.1; arXiv 1511.01844, section 3.1, on the noise.
    """

    def __init__(
        self,
        distribution: tfd.Distribution | Callable[[tf.Tensor], tfd.Distribution],
        num_bins: int | str | None = "auto",
        seed: int | None = None,
        dequantization: Any = "uniform",
        num_classes: int | None = None,
        context_size: int | None = None,
        networks: Iterable[keras.layers.Layer] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        contexts = Contexts(num_classes, context_size, tf.as_dtype(self.variable_dtype))
        self._distribution = distribution
        example = self.example_distribution(contexts)
        self.events = Events.of(example, num_bins, contexts)
        self.has_latents = hasattr(example, "bijector")  # TFP makes instances of several classes of that name.
        self.latent_shape = tuple(example.distribution.event_shape) if self.has_latents else self.event_shape
        self.shares_bijector = self.has_latents and self.example_distribution(contexts).bijector is example.bijector
        self.seed = draw_seed(seed)
        self.dequantization: Any = None
        if self.num_bins is not None:
            self.dequantization = dequantizations.get(dequantization, self.seed, self.dtype_policy)
            if not self.dequantization.built:
                self.dequantization.build((None, *self.event_shape))
        found = find_networks(example)
        networks = found + [network for network in networks if not any(network is other for other in found)]
        check_computable(filter(None, (*networks, self.dequantization)))
        if not all(network.built for network in networks):
            example.log_prob(tf.zeros([1, *self.event_shape], example.dtype))
        self.networks = networks
        refuse_untrained(example.trainable_variables, self.weights)
        if self.is_exact:
            self.dequantization.check(example, self.event_shape)
        continuous = [module for module in example.submodules if isinstance(module, ContinuousFlow)]
        self.has_estimates = any(flow.is_estimate for flow in continuous)
        if continuous:
            self.count_evaluations()
        # XLA knows no batch whose size depends on the labels, see `_log_prob_of_classes`.
        sizes_are_known = num_classes is None or self.shares_bijector
        self.supports_jit = sizes_are_known and all(flow.supports_jit for flow in continuous)
        self.built = True
        # One graph for batches of every size, never inlined: a graph of a known size would round differently.
        specs = [tf.TensorSpec([None, *self.event_shape], example.dtype), tf.TensorSpec([], tf.int64)]
        if contexts.size:
            specs.append(tf.TensorSpec([None, *contexts.shape], contexts.dtype))
        graph = functools.partial(
            tf.function, input_signature=specs, experimental_attributes={"_noinline": True}, autograph=False
        )
        self._inference = graph(lambda x, draw, context=None: self._infer(x, draw, context, batch_moments=False))
        self._inference_of_batch = graph(
            lambda x, draw, context=None: self._infer(x, draw, context, batch_moments=True)
        )

    def __repr__(self) -> str:
        bijector: Any = getattr(self.example_distribution(self.events.contexts), "bijector", None)
        if not hasattr(bijector, "bijector"):
            return describe(type(self).__name__, distribution=self._distribution)
        return describe(type(self).__name__, *layers_of(bijector.bijector))  # Data → latent, inside the tfb.Invert.

    # The distribution and its parts.

    @property
    def distribution(self) -> tfd.Distribution:
        """The `tfd.Distribution` of a flow without a context, over pixel values in [0, num_bins) or vectors."""
        if self.context_size:
            raise ValueError("the flow is conditional: its distribution is given(context)")
        return self._distribution

    def given(self, context: Any) -> tfd.Distribution:
        """The `tfd.Distribution` p(x | context) of a conditional flow, over pixel values in [0, num_bins) or vectors.

        Args:
          context: labels, ints of shape [...], or vectors of shape [..., context_size]. Their batch shape [...] is the
            distribution's. In `log_prob(x)` it broadcasts with the batch shape of x: for K contexts and x of shape
            [N, 1] + event_shape the result is [N, K].

        Raises:
          ValueError: for a flow without a context, or labels or vectors that do not fit it, or are NaN.

        Example: `model.given([3, 5]).sample()` has shape [2] + event_shape: a three and a five.
        """
        return self._distribution(self.events.contexts.vectors(context))

    def distribution_given(self, context: Any = None) -> tfd.Distribution:
        """`given(context)` for a conditional flow, `distribution` for any other."""
        return self.given(context) if self.context_size else self._distribution

    def base_given(self, context: Any = None) -> tfd.Distribution:
        """The distribution of a latent; for a conditional flow, of one latent per context."""
        distribution: Any = self.distribution_given(context)
        return distribution.distribution if self.has_latents else distribution

    @property
    def bijector(self) -> tfb.Bijector:
        """The `tfb.Bijector` of a flow without a context; its forward direction is latent → data."""
        return getattr(self.distribution, "bijector", tfb.Identity())

    @property
    def base_distribution(self) -> tfd.Distribution:
        """The `tfd.Distribution` of the latents of a flow without a context."""
        distribution: Any = self.distribution
        return distribution.distribution if self.has_latents else distribution

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one image or vector, and of its latent."""
        return self.events.shape

    @property
    def num_bins(self) -> int | None:
        """The number of pixel levels, None for continuous data."""
        return self.events.num_bins

    @property
    def num_classes(self) -> int | None:
        """The number of classes of a class-conditional flow, None for any other."""
        return self.events.contexts.num_classes

    @property
    def context_size(self) -> int | None:
        """The size of the vectors that condition the flow, `num_classes` for labels; None without a context."""
        return self.events.contexts.size

    @property
    def is_exact(self) -> bool:
        """Whether log-likelihoods are exact log-probabilities of pixel levels, see `dequantization.Exact`."""
        return isinstance(self.dequantization, dequantizations.Exact)

    @property
    def is_convolutional(self) -> bool:
        """Whether `sample(image_size=...)` may draw images of another size than in training."""
        if self.context_size or not self.has_latents or len(self.event_shape) != 3:
            return False
        return isinstance(self.base_distribution, tfd.Sample)

    def latents_by_scale(self, z: Any) -> list[np.ndarray]:
        """Splits latents by scale: an array [batch] + event_shape into a list of arrays [batch, ...], the finest first.

        Raises:
          ValueError: for another shape of `z`.

        Example: `*fine, coarsest = model.latents_by_scale(model.encode(images))`
        """
        return [self.events.checked_latents(z, self.latent_shape)]

    def join_latents(self, latents: Sequence[Any]) -> np.ndarray:
        """The inverse of `latents_by_scale`: an array of shape [batch] + event_shape."""
        return self.events.checked_latents(latents[0], self.latent_shape)

    def networks_by_scale(self) -> list[list[keras.layers.Layer]]:
        """The networks in the order of the data's path, one list per scale, the finest first."""
        return [self.networks]

    # The log-likelihood.

    def call(self, inputs: Any, context: Any = None, training: bool = False, draw: Any = None) -> tf.Tensor:
        """The log-likelihood in nats of each image (with its noise) or vector: a tensor of shape [batch].

        An event with the label −1 may be of any class: log p(x) = log Σ_c p(x | c) / C.

        Args:
          inputs: events [batch] + event_shape.
          context: labels [batch], −1 for an unknown class, or contexts [batch, context_size] of a conditional flow.
          training: whether batch norms use the moments of the batch, and each step has new noise.
          draw: int, 0 or more, the number of the noise: an image has the same noise at the same draw. None is new noise
            at each step in training, and draw 0 otherwise.
        """
        x = self.events.checked_tensor(inputs)
        if not self.num_classes:
            return self._log_prob(x, context, training, draw)
        possible = self.events.contexts.possible_classes(context)
        nats = self._log_prob_of_classes(x, possible, training, draw)
        return tf.reduce_logsumexp(nats, axis=1) - tf.math.log(tf.math.count_nonzero(possible, 1, dtype=nats.dtype))

    def _log_prob_of_classes(self, x: tf.Tensor, possible: tf.Tensor, training: bool, draw: Any) -> tf.Tensor:
        """log p(x | class) of each event and class, −∞ for a class that the event cannot have: [batch, num_classes].

        Classes with a common bijector take one pass. Otherwise each event is repeated for its possible classes, and all
        of them see the same noise.

        Args:
          x: checked events [batch] + event_shape.
          possible: bool tensor [batch, num_classes].
          training, draw: as for `call`.
        """
        impossible = tf.fill(tf.shape(possible), tf.constant(-np.inf, self.events.dtype))
        if self.shares_bijector:
            classes = tf.range(self.num_classes)[:, tf.newaxis]
            return tf.where(possible, tf.transpose(self._log_prob(x, classes, training, draw)), impossible)
        pairs = tf.where(possible)
        event, label = tf.unstack(pairs, axis=1)
        nats = self._log_prob(tf.gather(x, event), label, training, draw)
        return tf.tensor_scatter_nd_update(impossible, pairs, nats)

    def _log_prob(self, x: tf.Tensor, context: Any, training: bool, draw: Any) -> tf.Tensor:
        """log p(x | context), with noise for images: a tensor of the batch shapes of x and the context, broadcast.

        Args:
          x: checked events [batch] + event_shape.
          context: known labels, contexts, or None.
          training, draw: as for `call`.
        """
        in_step = training and self.compiled and draw is None
        seed = self.noise_seed(0 if draw is None else draw, self.steps if in_step else None)
        with solving(Solves(x, seed)) as solves:
            distribution: Any = self.distribution_given(context)
            if self.num_bins is None:
                log_p = distribution.log_prob(tf.cast(tf.identity(x), self.events.dtype))
            else:
                log_p = dequantizations.log_prob(self.dequantization, distribution, x, self.num_bins, seed)
        if solves.evaluations and draw is None:
            self.record_evaluations(solves.evaluations)
        for penalty in solves.penalties:
            self.add_loss(penalty)
        return log_p

    def noise_seed(self, draw: Any, step: tf.Tensor | None = None) -> tf.Tensor:
        """The seed of the noise of a draw, or of a step of training: an int64 tensor [2].

        Steps count up from 0 and draws count down from −1, so that they never share their noise.
        """
        number = -1 - tf.cast(draw, tf.int64) if step is None else tf.cast(step, tf.int64)
        return tf.stack([tf.constant(self.seed, tf.int64), number])

    def log_likelihood(self, inputs: Any, context: Any = None, draw: Any = 0, batch_moments: bool = False) -> tf.Tensor:
        """The log-likelihood in nats of a batch, as one graph for inference: a tensor [batch]. No weight changes.

        Args:
          inputs, context, draw: as for `call`.
          batch_moments: whether batch norms use the moments of this batch instead of the moving averages.

        Example: `model.log_likelihood(images[:8], draw=3)`
        """
        x = tf.cast(self.events.of_known_shape(inputs), self.events.dtype)
        draw = tf.constant(draw, tf.int64)
        context = tf.cast(context, self.events.contexts.dtype) if self.context_size else None
        if self.run_eagerly:
            return self._infer(x, draw, context, batch_moments=batch_moments)
        contexts = [] if context is None else [context]
        if not batch_moments:
            return self._inference(x, draw, *contexts)
        with self.turn:  # A graph in training mode is not for concurrent calls, see `threads.unfused`.
            return self._inference_of_batch(x, draw, *contexts)

    def _infer(self, x: tf.Tensor, draw: tf.Tensor, context: tf.Tensor | None, *, batch_moments: bool) -> tf.Tensor:
        with fixed_averages():
            return with_stand_in(lambda *batch: self(*batch, training=batch_moments, draw=draw), x, context)

    # Classes, samples and latents.

    def class_probabilities(self, images: Any, batch_size: int = 64, num_draws: int = 1) -> np.ndarray:
        """The probabilities of the classes, by Bayes' rule with equal priors: a float array [N, num_classes].

        P(class | x) = p(x | class) / Σ p(x | each class), and log p(x | class) is the mean over the draws of the noise.
        All classes of an image get the same noise. An importance-weighted mean would depend on a single draw.

        Args:
          images, batch_size: as for `encode`.
          num_draws: number of draws of the dequantization noise.

        Raises:
          ValueError: for a flow that is not class-conditional, images that do not fit it, or a `num_draws` below 1.

        Example: `model.class_probabilities(images[:8]).sum(axis=1)` is 1 for each image.
        """
        return sampling.class_probabilities(self, images, batch_size, num_draws)

    def classify(self, images: Any, batch_size: int = 64, num_draws: int = 1) -> np.ndarray:
        """The most likely class of each image: int array [N]; see `class_probabilities`."""
        return np.argmax(self.class_probabilities(images, batch_size, num_draws), axis=-1)

    def sample(
        self,
        num_samples: int,
        temperature: float = 1.0,
        seed: int | None = None,
        batch_size: int | None = None,
        image_size: tuple[int, int] | None = None,
        labels: Any = None,
        context: Any = None,
    ) -> np.ndarray:
        """Draws images (pixel levels, uint8 up to 256 bins) or vectors (floats): an array [num_samples] + event_shape.

        A flow may overflow at a latent, rarely at its own and often at a high temperature. That sample is then drawn
        again, and a warning counts these; so the samples are those of the latents at which the flow is finite.

        Args:
          num_samples: int.
          temperature: non-negative float T: the latents are mean + T · (z − mean), with z from their distribution. 1
            for a distribution without latents, such as a mixture.
          seed: int; None draws one.
          batch_size: number of latents to decode at a time; None for 256 images or 4,096 vectors.
          image_size: (height, width) of the images, if other than in training. The flow must be fully convolutional,
            such as `RealNVP`, and its latents independent and identically distributed.
          labels: the classes for a class-conditional flow, an int or ints [num_samples]; None draws them.
          context: the context for a flow conditioned on vectors, [context_size] or [num_samples, context_size].

        Raises:
          ValueError: for numbers out of range, a `temperature` so high that the flow overflows again and again, or an
            `image_size`, `labels` or a `context` that do not fit the flow.

        Example: `model.sample(16, temperature=0.7, seed=0)`
        """
        return sampling.sample(self, num_samples, temperature, seed, batch_size, image_size, labels, context)

    def encode(self, images: Any, context: Any = None, batch_size: int | None = None) -> np.ndarray:
        """The latents of images (each pixel at the middle of its bin) or vectors: an array [N] + event_shape.

        Args:
          images: as for `fit`, without data sets.
          context: labels [N] or contexts [N, context_size] of a conditional flow.
          batch_size: number of events per pass; None for 256 images or 4,096 vectors.

        Raises:
          ValueError: as for `fit`, and for a distribution without latents.

        Example: `z = model.encode(images)`
        """
        return sampling.encode(self, images, context, batch_size)

    def decode(self, z: Any, context: Any = None, batch_size: int | None = None) -> np.ndarray:
        """The inverse of `encode`: images (pixel levels, uint8 up to 256 bins) or vectors, an array [N] + event_shape.

        Args:
          z: latents of shape [N] + event_shape.
          context, batch_size: as for `encode`.

        Raises:
          ValueError: for another shape of `z`, for NaN, for latents so far from 0 that the flow overflows, or for a
            distribution without latents.

        Example: `model.decode(0.5 * (z[:1] + z[1:2]))` is halfway between two images.
        """
        return sampling.decode(self, z, context, batch_size)

    @tf.function(reduce_retracing=True, autograph=False)
    def encode_batch(self, images: tf.Tensor, context: Any = None) -> tf.Tensor:
        """The graph behind `encode`: the latents of a batch of checked events."""
        return self._latents(images, context)

    def _latents(self, images: tf.Tensor, context: Any) -> tf.Tensor:
        x = tf.cast(images, self.events.dtype)
        inverse = lambda x, context: self.distribution_given(context).bijector.inverse(x)
        with solving(Solves(with_log_det=False)):
            return with_stand_in(inverse, x if self.num_bins is None else x + 0.5, context)

    def features(
        self, images: Any, kind: str = "activations", scale: int | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Features of images or vectors for other learners, such as scikit-learn's: a float array [N, size].

        "latents" are the latents f(x). "activations" are the last hidden activations of the couplings' networks. Those
        of images are averaged over the four quadrants; odd sides share their middle.

        Args:
          images: as for `encode`.
          kind: "activations" or "latents".
          scale: the number of a scale of `networks_by_scale` or of `latents_by_scale`, 0 for the finest; None for all.
          batch_size: number of events per pass.

        Raises:
          ValueError: for another kind or scale, events that do not fit the flow, a flow whose bijector depends on a
            context, or activations of networks that record none (see `networks.recorded`).

        Example: `LogisticRegression().fit(model.features(images), labels).score(model.features(held_out), truth)`
        """
        return features.features(self, images, kind, scale, batch_size)

    @tf.function(reduce_retracing=True, autograph=False)
    def activations_batch(self, images: tf.Tensor, context: Any = None) -> list[tuple[tf.Tensor, ...]]:
        """The graph behind `features`: the recorded activations of a batch of checked events, a tuple per scale."""
        with recording() as activations:
            self._latents(images, context)
        layers = [{id(part) for each in scale for part in sublayers(each)} for scale in self.networks_by_scale()]
        return [tuple(hidden for layer, hidden in activations if id(layer) in scale) for scale in layers]

    @tf.function(reduce_retracing=True, autograph=False)
    def latents_of_samples(
        self,
        num_samples: tf.Tensor,
        temperature: Any,
        seed: tf.Tensor,
        attempt: tf.Tensor,
        image_shape: tuple[int, int, int] | None = None,
        context: Any = None,
    ) -> tf.Tensor:
        """The graph behind the draws of `sample`, see `sampling.latents`; one latent for each context."""
        base: Any = self.base_given(context)
        if image_shape is not None:
            base = base.copy(sample_shape=image_shape)
        return sampling.latents(base, num_samples if context is None else [], temperature, seed, attempt)

    @tf.function(reduce_retracing=True, autograph=False)
    def decode_batch(self, z: tf.Tensor, context: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The graph behind `decode` and `sample`: the events of a batch of latents, and whether each is finite."""

        def forward(z: tf.Tensor, context: Any) -> tf.Tensor:
            distribution = self.distribution_given(context)
            if self.is_exact:
                assert self.num_bins is not None
                return bins.decode(distribution, z, self.num_bins)
            return distribution.bijector.forward(z)

        with solving(Solves(with_log_det=False)):
            return self.as_data(with_stand_in(forward, z, context))

    def as_data(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Values that the distribution draws as events, pixel levels or vectors, and whether each event is finite."""
        is_finite = tf.reduce_all(tf.math.is_finite(x), axis=range(1, x.shape.rank))
        if self.num_bins is None:
            return x, is_finite
        # The cast turns NaN into an ordinary pixel level.
        return tf.cast(tf.clip_by_value(tf.floor(x), 0, self.num_bins - 1), self.events.data_dtype), is_finite

    @tf.function(reduce_retracing=True, autograph=False)
    def nats_of_classes(self, images: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        """The graph behind `class_probabilities`: log p(x | class) of each image and class, [batch, num_classes]."""
        x = self.events.checked_tensor(images)
        every = tf.fill([tf.shape(x)[0], self.num_classes], True)
        return self._log_prob_of_classes(x, every, training=False, draw=draw)

    # Files.

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Keras's `save`; a `.keras` file is replaced as a whole, so that a crash leaves the old one intact.

        Raises:
          ValueError: for an HDF5 file, which no loader could read.
        """
        path = pathlib.Path(filepath)
        if path.suffix in (".h5", ".hdf5"):
            raise ValueError(
                "filepath must end in .keras: flows have no HDF5 format. save_weights() writes .weights.h5, and "
                f"export() a SavedModel; got {str(filepath)!r}"
            )
        if path.suffix != ".keras" or (path.exists() and not overwrite):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        with replacing(path) as draft:
            super().save(draft, **kwargs)

    def export(self, filepath: Any) -> None:
        """Writes the flow as a SavedModel into a new or empty folder, for processes with TensorFlow alone (TF Serving).

        Its signatures take batches of any size and return the results of the methods of the same names;
        `serving_default` is `log_prob`. Images are uint8 (uint16 above 256 levels); vectors are called `vectors`. With
        a context they also take `labels` [N] (int64) or `context` [N, context_size]; in `sample` also one for all. In
        `log_prob` the label −1 is that of an unknown class. The folder appears whole or not at all.

        | signature  | inputs                                 | outputs                                              |
        |------------|----------------------------------------|------------------------------------------------------|
        | `log_prob` | `images` [N] + event_shape             | `nats` [N], of `predict`; `bits_per_dim` [N]         |
        | `encode`   | `images`                               | `latents` [N] + event_shape                          |
        | `decode`   | `latents`                              | `images`                                             |
        | `sample`   | `num_samples`, `temperature`, `seed`   | `images`, of `sample`                                |

        Raises:
          ValueError: for a folder that holds something, the current folder, or a flow that is not a
            `tfd.TransformedDistribution`.
          OSError: where a file cannot be written, such as on a full disk.

        Example: `model.export("flow/1"); tf.saved_model.load("flow/1").signatures["log_prob"](images=images)["nats"]`
        """
        export.write(self, filepath)

    def get_compile_config(self) -> dict[str, Any] | None:
        if not self.compiled:
            return None
        options = {name: getattr(self, name) for name in ("run_eagerly", "steps_per_execution", "jit_compile")}
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer), **options}

    def compile_from_config(self, config: Any) -> None:
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(
            "a FlowModel has no config to rebuild it from: use save_weights(), or a subclass that defines get_config()"
        )

    def example_distribution(self, contexts: Contexts) -> Any:
        """The distribution; for a conditional flow, given one context of zeros.

        Args:
          contexts: `Contexts` of the flow.
        """
        if not contexts.size:
            return self._distribution
        return self._distribution(tf.zeros([1, contexts.size], contexts.vector_dtype))
