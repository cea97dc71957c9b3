"""This package's flows."""

import importlib

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from benchmarks import flops
from benchmarks.peers import BATCH, CONFIG_A, TRAINING_BATCH, VECTOR_SIZE, VECTORS, random_data
from train.runs import precision

tfb = tfp.bijectors
tfd = tfp.distributions


def real_nvp(dtype, **options):
    """Config A with its networks in this precision."""
    return Ours(rnvp.RealNVP(**CONFIG_A, dtype=dtype, seed=0, **options))


def vector_real_nvp(size=VECTOR_SIZE, number=None):
    """Couplings over vectors of this size, conditioned by MLPs; `number` of them a call."""
    return Ours(rnvp.VectorRealNVP((size,), **VECTORS, seed=0), "vectors", number)


def of_family(config):
    """The flow of a module of train/configs for CIFAR-10, in float32."""
    config = importlib.import_module(config).get_config()
    config.model.dtype = "float32"
    return Ours(getattr(rnvp, config.architecture)(CONFIG_A["event_shape"], num_bins=256, seed=0, **config.model))


def deep(copies, rematerialize):
    """A chain of `copies` copies of config A's couplings, with one block, each copy with weights of its own."""
    config = {**CONFIG_A, "num_blocks": 1}  # With four blocks, four copies would take minutes to trace.
    flows = [
        rnvp.RealNVP(**config, num_bins=None if copy else 256, rematerialize=rematerialize, seed=copy, dtype="float32")
        for copy in range(copies)
    ]
    base = tfd.Sample(tfd.Normal(0.0, 1.0), CONFIG_A["event_shape"])
    bijector = tfb.Chain([flow.bijector for flow in flows])
    return Ours(rnvp.FlowModel(tfd.TransformedDistribution(base, bijector), seed=0))


class Ours:
    """A `FlowModel` as a contestant.

    Args:
      model: `FlowModel`.
      kind: "images" or "vectors", the kind of its events.
      number: number of events a call; by default `TRAINING_BATCH` and `BATCH`.
    """

    def __init__(self, model, kind="images", number=None):
        self.model = model
        self.model.compile()
        training, self.number = number or TRAINING_BATCH[kind], number or BATCH[kind]
        self.events = {
            "train_step": random_data.batch(kind, training, model.event_shape[0]),
            "log_prob": random_data.batch(kind, self.number, model.event_shape[0]),
        }

    def fit_a_step(self):
        """Keras's `fit` with one batch."""
        self.model.fit(self.events["train_step"], batch_size=self.size("train_step"), verbose=0)

    def fit_first(self, number=None):
        """Keras's `fit` with one batch of the first events, traced for any number of events."""
        batch = self.events["train_step"][:number]
        self.model.fit(tf.data.Dataset.from_tensor_slices(batch).batch(len(batch)), verbose=0)

    def train_step(self):
        self.model.train_on_batch(self.events["train_step"])

    def log_prob(self):
        return self.model.log_likelihood(self.events["log_prob"]).numpy()

    def sample(self):
        return self.model.sample(self.number, seed=0)

    def size(self, method):
        return len(self.events[method]) if method in self.events else self.number

    def flops(self, method):
        functions = {
            "train_step": self.model.train_step,
            "log_prob": lambda x: self.model(x, training=False),
            "sample": self.model.decode_batch.python_function,  # Its own graph may be for any number of events.
        }
        events = tf.constant(self.events.get(method, self.events["log_prob"]))
        events = tf.cast(events, tf.float32) if method == "sample" else events
        return flops.of_graph(tf.function(functions[method], autograph=False), events)


def of_config(config, dtype, event_shape):
    """The flow of a module of train/configs, with networks of this dtype, and its optimizer, for another schedule."""
    config = importlib.import_module(config).get_config()
    config.model.dtype = dtype
    return Trained(config, event_shape)


class Precision:
    """The machine's support of bfloat16."""

    def is_emulated(self):
        """Whether a convolution and its gradients are slower than in float32."""
        return precision.slowdown("bfloat16") > precision.EMULATED


class Trained:
    """A config's flow for time to quality.

    Args:
      config: the config; only its architecture, model and optimizer count.
      event_shape: the shape of the images.
    """

    def __init__(self, config, event_shape):
        flow = getattr(rnvp, config.architecture)
        self.model = flow(event_shape, num_bins=256, seed=0, **config.model)
        self.batch_size, self.learning_rate = config.batch_size, config.learning_rate
        options = dict(beta_2=config.beta_2, epsilon=1e-8, global_clipnorm=config.clip_norm)
        options.update(use_ema=config.ema_momentum > 0, ema_momentum=config.ema_momentum)
        self.model.compile(rnvp.optimizers.Adam(config.learning_rate, **options))

    def train(self, images, learning_rate):
        """One step on these uint8 images."""
        self.model.optimizer.learning_rate = learning_rate
        self.model.train_on_batch(images)

    def bits_per_dim(self, images):
        """The bits/dim of uint8 images; the call ends the training."""
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)  # It sets the averages, if any.
        return self.model.evaluate(images, batch_size=200, verbose=0, return_dict=True)["bits_per_dim"]


class Saved:
    """The file of a flow, and the first question to the flow that it holds.

    Args:
      options: the arguments of `rnvp.RealNVP`.
      path: the file.
    """

    def __init__(self, options, path):
        self._options, self._path = options, path
        self._images = np.zeros([8, *options["event_shape"]], np.uint8)

    def write(self):
        """Writes the flow, with its optimizer."""
        model = rnvp.RealNVP(**self._options)
        model.compile()
        model.save(self._path)

    def load(self):
        """Loads the file."""
        return rnvp.load_model(self._path)

    def load_without_optimizer(self):
        """Loads the file for inference alone."""
        return rnvp.load_model(self._path, compile=False)

    def predict(self):
        self.load().predict(self._images, verbose=0)

    def evaluate(self):
        self.load().evaluate(self._images, verbose=0)

    def log_likelihood(self):
        self.load().log_likelihood(self._images)

    def sample(self):
        self.load().sample(4, seed=0)

    def encode(self):
        self.load().encode(self._images)

    def decode(self):
        self.load().decode(np.zeros([8, *self._options["event_shape"]], np.float32))
