"""`FlowModel`: where Keras meets TFP. Keras's fit, evaluate, predict and save over a TFP distribution."""

import contextlib
import math
import os
import pathlib
import re

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp import dequantization
from tfp_realnvp.bijectors import FusedBijector
from tfp_realnvp.networks.layers import draw_seed, register
from tfp_realnvp.optimizers import Adam

tfb = tfp.bijectors
tfd = tfp.distributions


@register
class FlowModel(keras.Model):
    """A Keras model of any TFP distribution made of this package's bijectors and TFP's own.

    `fit` maximizes the log-likelihood. For images it takes raw pixel levels and adds the uniform noise that makes the
    density a bound on the probability of the discrete image:

    ```none
    loss = E[−log p(x + u)] nats an event,    bits_per_dim = loss / (D log 2)
    ```

    so that a uniform model scores exactly log2(num_bins) bits/dim. For vectors the data are continuous and
    `bits_per_dim` is that of the density.

    Args:
      distribution: `tfd.Distribution` over pixel values in [0, num_bins), or over vectors; for `encode`, `decode` and
        `bijector` a `tfd.TransformedDistribution`. Its networks are found and become this model's.
      num_bins: number of pixel levels, or None for continuous data. "auto": 256 for events of rank 3, None otherwise.
      seed: int, the seed of the dequantization noise; None draws one.
      name: as for `keras.Model`.

    Raises:
      ValueError: where the distribution has trainable variables that are no Keras network's (Keras would not train
        them), or a batch shape, or an event shape that is not known.

    Example:

    ```python
    coupling = rnvp.bijectors.Coupling([1, 0], rnvp.networks.TanhScale(rnvp.networks.MLP(4)))
    model = rnvp.FlowModel(
        tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), tfb.Invert(coupling)))
    model.compile()
    model.fit(points, epochs=10)
    ```
    """

    def __init__(self, distribution, num_bins="auto", seed=None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._event_shape = _checked_event_shape(distribution)
        if num_bins == "auto":
            num_bins = 256 if len(self._event_shape) == 3 else None
        if num_bins is not None and (not isinstance(num_bins, int) or not 1 <= num_bins <= 65536):
            raise ValueError(f"num_bins must be None or an int from 1 to 65536; got {num_bins!r}")
        self.num_bins = num_bins
        self.seed = draw_seed(seed)
        self._distribution = distribution
        self._nats = keras.metrics.Mean("loss", dtype="float64")
        networks = find_networks(distribution)
        if not all(network.built for network in networks):
            distribution.log_prob(tf.zeros([1, *self._event_shape], distribution.dtype))
        self.networks = networks
        own = {id(weight.value) for weight in self.weights}
        self._refuse_untrained([v for v in distribution.trainable_variables if id(v) not in own])
        self.built = True
        # One graph for batches of every size, not inlined where their size is known: another would round differently.
        self._inference = tf.function(
            lambda x, draw: self(x, training=False, draw=draw),
            input_signature=[
                tf.TensorSpec([None, *self._event_shape], distribution.dtype),
                tf.TensorSpec([], tf.int64),
            ],
            experimental_attributes={"_noinline": True},
        )

    # The distribution and what it is made of.

    @property
    def distribution(self):
        """The `tfd.Distribution` over pixel values in [0, num_bins) or over vectors."""
        return self._distribution

    @property
    def bijector(self):
        """The `tfb.Bijector` of the flow, forward: latent → data."""
        return getattr(self._distribution, "bijector", tfb.Identity())

    @property
    def base_distribution(self):
        """The `tfd.Distribution` of the latents."""
        return self._distribution.distribution if hasattr(self._distribution, "bijector") else self._distribution

    @property
    def event_shape(self):
        """Tuple, the shape of one image or vector, and of its latent."""
        return self._event_shape

    def latents_by_scale(self, z):
        """The latents of each scale, the finest first; a flow of one scale has one.

        Args:
          z: latents, of shape [batch] + event_shape.

        Returns:
          List of arrays of shape [batch, ...], with together as many entries as `z`.

        Raises:
          ValueError: for another shape of `z`.
        """
        return [self._check_latents(z)]

    def join_latents(self, latents):
        """The inverse of `latents_by_scale`: an array of shape [batch] + event_shape."""
        return self._check_latents(latents[0])

    def networks_by_scale(self):
        """The networks in the order that data pass them, one list a scale, the finest first."""
        return [self.networks]

    # Training.

    def compile(self, optimizer=None, **kwargs):
        """Keras's `compile`, with the paper's optimizer by default.

        Args:
          optimizer: Keras optimizer; default Adam with learning rate 1e-3, the gradients clipped at global norm 100
            (of the loss in nats).
          **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile` as for `keras.Model.compile`. The loss is the
            flow's own.

        Raises:
          ValueError: for a `loss` or `metrics`.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} must be left out: a flow's loss is its negative log-likelihood")
        if optimizer is None:
            optimizer = Adam(1e-3, epsilon=1e-8, global_clipnorm=100.0)
        super().compile(optimizer=optimizer, **kwargs)
        # Otherwise the first step creates its slots while tracing, and tf.function traces the whole step twice.
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=False, draw=None):
        """The log-likelihood in nats of each image (with its noise) or vector: a tensor of shape [batch].

        `draw`, an int of 0 or more, tells an evaluation's draws of the noise apart; an image has the same noise at the
        same draw. Without it training draws new noise at each step, and evaluation is at draw 0.
        """
        x = self._checked_event(inputs)
        if self.num_bins is not None:
            in_step = training and self.compiled and draw is None
            step = self.optimizer.iterations.value if in_step else -1 - tf.cast(0 if draw is None else draw, tf.int64)
            seed = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(step, tf.int64)])
            x = dequantization.uniform(x, self.num_bins, seed)
        return self._distribution.log_prob(tf.cast(tf.identity(x), self._distribution.dtype))

    def log_likelihood(self, inputs, draw=0):
        """The log-likelihood in nats of a batch at a draw of the noise (see `call`): a tensor of shape [batch]."""
        x = tf.cast(_event(inputs), self._distribution.dtype)
        draw = tf.constant(draw, tf.int64)
        return self(x, training=False, draw=draw) if self.run_eagerly else self._inference(x, draw)

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        x = _event(x)
        with tf.GradientTape() as tape:
            nats = -self(x, training=True)
            loss = tf.reduce_mean(nats) + tf.add_n([tf.cast(penalty, nats.dtype) for penalty in self.losses] or [0.0])
            # Keras sums the gradients of the replicas.
            loss = self.optimizer.scale_loss(loss) / tf.distribute.get_strategy().num_replicas_in_sync
        own = {id(weight.value) for weight in self.weights}
        self._refuse_untrained([v for v in tape.watched_variables() if id(v) not in own])
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
        )
        self._nats.update_state(nats)
        return self.get_metrics_result()

    def test_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self._nats.update_state(-self(_event(x), training=False))
        return self.get_metrics_result()

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.log_likelihood(x)

    @property
    def metrics(self):
        return [self._nats]

    def get_metrics_result(self):
        nats = self._nats.result()
        return {"loss": nats, "bits_per_dim": nats / (math.prod(self._event_shape) * math.log(2))}

    # Keras's methods, with the data checked before any work is done.

    def fit(self, x=None, y=None, validation_data=None, **kwargs):
        """Keras's `fit`.

        Args:
          x: pixel levels of shape [N] + event_shape (uint8, or integers in any dtype), vectors (floats), a
            `tf.data.Dataset` of batches of them, or either as TFDS dictionaries holding "image".
          y: ignored, for data sets that come with labels.
          validation_data: as `x`, or a tuple that begins with it.
          **kwargs: as for `keras.Model.fit`.

        Raises:
          ValueError: for a wrong shape, levels that are no integers in [0, num_bins), NaN, or no data.
        """
        self._check_data("x", x)
        if validation_data is not None:
            self._check_data("validation_data", validation_data)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # as it is in any case; True makes Keras warn
        with _value_errors():
            history = super().fit(x, y, validation_data=validation_data, **kwargs)
        if history.epoch and not history.history:
            raise ValueError("x must not be empty; got a data set without batches")
        return history

    def evaluate(self, x=None, y=None, **kwargs):
        """Keras's `evaluate`: {"loss": nats, "bits_per_dim": ...} with `return_dict=True`; data as for `fit`."""
        if not kwargs.get("_use_cached_eval_dataset"):
            self._check_data("x", x)
        with _value_errors():
            logs = super().evaluate(x, y, **kwargs)
        if not int(self._nats.count):
            raise ValueError("x must not be empty; got a data set without batches")
        return logs

    def predict(self, x, **kwargs):
        """Keras's `predict`: the log-likelihood in nats of each image or vector, [N]; data as for `fit`."""
        self._check_data("x", x)
        with _value_errors():
            return super().predict(x, **kwargs)

    def train_on_batch(self, x, y=None, **kwargs):
        """Keras's `train_on_batch`; data as for `fit`."""
        self._check_data("x", x)
        with _value_errors():
            return super().train_on_batch(x, y, **kwargs)

    def batches(self, data, batch_size=256):
        """Checks `data`, as for `fit`, and yields its images or vectors as tensors of shape [batch] + event_shape."""
        self._check_data("data", data)
        if not isinstance(data, tf.data.Dataset):
            data = tf.data.Dataset.from_tensor_slices(_event(data)).batch(batch_size)
        with _value_errors():
            for batch in data:
                yield _event(keras.utils.unpack_x_y_sample_weight(batch)[0])

    # Sampling and the latent space.

    def sample(self, num_samples, temperature=1.0, seed=None, batch_size=256, image_size=None):
        """Draws images or vectors.

        Args:
          num_samples: int.
          temperature: non-negative float T, draws the latents from their mean + T · (their deviation).
          seed: int; None draws one.
          batch_size: how many are decoded at a time.
          image_size: (height, width) of the images, where other than in training: for flows that are fully
            convolutional, such as `RealNVP`, over latents that are independent and equally distributed.

        Returns:
          Array of shape [num_samples] + event_shape: pixel levels (uint8 up to 256 bins), or floats.

        Raises:
          ValueError: for a `num_samples` below 1, a `temperature` below 0, or an `image_size` the flow cannot draw.

        Example: `model.sample(16, temperature=0.7, seed=0)`
        """
        if not isinstance(num_samples, (int, np.integer)) or num_samples < 1:
            raise ValueError(f"num_samples must be a positive int; got {num_samples!r}")
        if not (np.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature must be a non-negative number; got {temperature!r}")
        seed, base = draw_seed(seed), self.base_distribution
        if image_size is not None:
            if not isinstance(base, tfd.Sample) or len(self._event_shape) != 3:
                raise ValueError(f"image_size must be None for a flow without independent latents; got {image_size}")
            base = base.copy(sample_shape=(*image_size, self._event_shape[-1]))
        z = base.sample(num_samples, seed=tf.constant([seed, 0]))
        if temperature != 1:
            mean = base.mean()
            z = mean + temperature * (z - mean)
        return _in_batches(self._decode, z, batch_size)

    def encode(self, images, batch_size=256):
        """The latents of images (each pixel at the middle of its bin) or vectors.

        Args:
          images: as for `fit`, without data sets.
          batch_size: how many are encoded at a time.

        Returns:
          Array of shape [N] + event_shape. `decode` gives the images back.

        Raises:
          ValueError: as for `fit`.
        """
        images = _event(images)
        self._check_data("images", images)
        return _in_batches(self._encode, images, batch_size)

    def decode(self, z, batch_size=256):
        """The images or vectors of latents: the inverse of `encode`.

        Args:
          z: latents, of shape [N] + event_shape.
          batch_size: how many are decoded at a time.

        Returns:
          Array of shape [N] + event_shape: pixel levels (uint8 up to 256 bins), or floats.

        Raises:
          ValueError: for another shape of `z`, or NaN.
        """
        return _in_batches(self._decode, self._check_latents(z), batch_size)

    @tf.function(reduce_retracing=True)
    def _encode(self, images):
        x = tf.cast(images, self._distribution.dtype)
        return self.bijector.inverse(x if self.num_bins is None else x + 0.5)

    @tf.function(reduce_retracing=True)
    def _decode(self, z):
        x = self.bijector.forward(z)
        if self.num_bins is None:
            return x
        levels = tf.clip_by_value(tf.floor(x), 0, self.num_bins - 1)
        return tf.cast(levels, tf.uint8 if self.num_bins <= 256 else tf.uint16)

    # Saving.

    def save(self, filepath, overwrite=True, **kwargs):
        """Keras's `save`; a `.keras` file is replaced as a whole, so that a crash leaves the old one intact."""
        path = pathlib.Path(filepath)
        if path.suffix != ".keras" or (path.exists() and not overwrite):
            return super().save(filepath, overwrite=overwrite, **kwargs)
        draft = path.with_name(f"draft.{path.name}")
        super().save(draft, **kwargs)
        os.replace(draft, path)

    def get_compile_config(self):
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer)} if self.compiled else None

    def compile_from_config(self, config):
        self.compile(**{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})

    def get_config(self):
        raise NotImplementedError(
            "a FlowModel of an arbitrary distribution has no configuration to be rebuilt from: save its weights with "
            "save_weights(), or write a subclass whose __init__ builds the distribution and which defines get_config()"
        )

    # Checks.

    def _refuse_untrained(self, variables):
        if variables:
            raise ValueError(
                "distribution has trainable variables that belong to no Keras network of its bijectors, so that Keras "
                f"would not train them: {sorted(v.name for v in variables)}. Put them into a Keras layer that the "
                "bijector calls, or make them non-trainable"
            )

    def _checked_event(self, x):
        """`x` as a tensor, with the checks that need its values made part of the graph."""
        x = _event(x)
        if tuple(x.shape[1:]) != self._event_shape:
            raise ValueError(f"x must have shape [batch] + {self._event_shape}; got {tuple(x.shape)}")
        if x.dtype.is_floating:
            x = tf.debugging.assert_all_finite(x, "x must be finite; got NaN or infinity")
        if self.num_bins is None or (x.dtype == tf.uint8 and self.num_bins >= 256):
            return x
        message = f"x must hold integers from 0 to {self.num_bins - 1}"
        checks = [
            tf.debugging.assert_non_negative(x, message),
            tf.debugging.assert_less(x, tf.cast(self.num_bins, x.dtype), message),
        ]
        if x.dtype.is_floating:
            checks.append(tf.debugging.assert_equal(x, tf.floor(x), message))
        with tf.control_dependencies([check for check in checks if check is not None]):
            return tf.identity(x)

    def _check_data(self, argument, data):
        """What can be known of `data` before it is read: shapes, and, of arrays, the values too."""
        if isinstance(data, tuple):
            data = data[0]
        if isinstance(data, tf.data.Dataset):
            return self._check_dataset(argument, data)
        data = _event(data)
        if not hasattr(data, "shape"):
            return  # a generator: checked batch by batch
        if tuple(data.shape[1:]) != self._event_shape:
            raise ValueError(f"{argument} must have shape [N] + {self._event_shape}; got {tuple(data.shape)}")
        if not data.shape[0]:
            raise ValueError(f"{argument} must not be empty; got shape {tuple(data.shape)}")
        values = np.asarray(data)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{argument} must be finite; got NaN or infinity")
        if self.num_bins is None or (values.dtype == np.uint8 and self.num_bins >= 256):
            return
        if values.min() < 0 or values.max() >= self.num_bins:
            raise ValueError(
                f"{argument} must hold integers from 0 to {self.num_bins - 1}; got values from {values.min()} to "
                f"{values.max()}"
            )
        if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
            raise ValueError(
                f"{argument} must hold integers from 0 to {self.num_bins - 1}; got fractions such as "
                f"{values[values != np.floor(values)][0]}"
            )

    def _check_dataset(self, argument, dataset):
        spec = dataset.element_spec
        shape = _event(spec[0] if isinstance(spec, tuple) else spec).shape
        if not shape[1:].is_compatible_with(self._event_shape) or shape.rank != len(self._event_shape) + 1:
            raise ValueError(f"{argument} must hold batches of shape [batch] + {self._event_shape}; got {shape}")
        if dataset.cardinality() == 0:
            raise ValueError(f"{argument} must not be empty; got a data set without batches")

    def _check_latents(self, z):
        z = np.asarray(z)
        if tuple(z.shape[1:]) != self._event_shape:
            raise ValueError(f"z must have shape [N] + {self._event_shape}; got {tuple(z.shape)}")
        if np.isnan(z).any():
            raise ValueError("z must not hold NaN")
        return z.astype(self._distribution.dtype.as_numpy_dtype)


def find_networks(distribution):
    """The Keras layers that the distribution's bijectors call, each once, in the order the bijectors were made in."""
    modules = (distribution, *distribution.submodules)
    bijectors = sorted((m for m in modules if isinstance(m, FusedBijector)), key=lambda bijector: bijector.number)
    layers = (network for b in bijectors for network in b.networks if isinstance(network, keras.layers.Layer))
    return list({id(layer): layer for layer in layers}.values())


def _checked_event_shape(distribution):
    if not distribution.event_shape.is_fully_defined():
        raise ValueError(f"distribution must have a known event shape; got {distribution.event_shape}")
    if distribution.batch_shape.rank:
        raise ValueError(
            f"distribution must have no batch shape; got {distribution.batch_shape}. "
            "tfd.Independent or tfd.Sample make it part of the event"
        )
    return tuple(distribution.event_shape)


def _event(data):
    """The images of a TFDS dictionary; anything else as it is."""
    if isinstance(data, dict):
        if "image" not in data:
            raise ValueError(f'a dictionary of data must hold "image"; got the keys {sorted(data)}')
        return data["image"]
    return np.asarray(data) if isinstance(data, list) else data


def _in_batches(function, x, batch_size):
    return np.concatenate([function(x[i : i + batch_size]) for i in range(0, len(x), batch_size)])


@contextlib.contextmanager
def _value_errors():
    """Turns the checks in the graph into the ValueErrors that they stand for."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        message = re.search(r"x must .*?(?=\]|$|\n| : Tensor)", error.message)
        if message is None:
            raise
        raise ValueError(message.group()) from None
