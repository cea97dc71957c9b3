"""The common part of the contestants in TFP's own bijectors: the training step around a distribution."""

import tensorflow as tf
import tf_keras

from benchmarks import flops
from benchmarks.peers import BATCH, TRAINING_BATCH, random_data


class TfpFlow:
    """A `tfd.Distribution` as a contestant, trained by tf_keras's Adam.

    Args:
      distribution: over pixel values in [0, 256), or over vectors.
      kind: "images" or "vectors", the kind of its events.
      number: number of events a call; by default `TRAINING_BATCH` and `BATCH`.
    """

    def __init__(self, distribution, kind, number=None):
        size = distribution.event_shape[0]
        training, self.number = number or TRAINING_BATCH[kind], number or BATCH[kind]
        self.events = {
            "train_step": tf.constant(random_data.batch(kind, training, size)),
            "log_prob": tf.constant(random_data.batch(kind, self.number, size)),
        }
        optimizer = tf_keras.optimizers.Adam(1e-3, global_clipnorm=100.0)
        optimizer.build(distribution.trainable_variables)

        def log_prob(events):
            x = tf.cast(events, tf.float32)
            return distribution.log_prob(x + tf.random.uniform(tf.shape(x)) if kind == "images" else x)

        def train_step(events):
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(log_prob(events))
            variables = distribution.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        def sample():
            x = distribution.sample(self.number)
            return tf.cast(tf.clip_by_value(x, 0, 255), tf.uint8) if kind == "images" else x

        self._functions = {
            name: tf.function(function, autograph=False)
            for name, function in dict(train_step=train_step, log_prob=log_prob, sample=sample).items()
        }

    def train_step(self):
        return self._run("train_step")

    def log_prob(self):
        return self._run("log_prob")

    def sample(self):
        return self._run("sample")

    def size(self, method):
        return len(self.events[method]) if method in self.events else self.number

    def flops(self, method):
        return flops.of_graph(self._functions[method], *self._arguments(method))

    def _run(self, method):
        return self._functions[method](*self._arguments(method)).numpy()

    def _arguments(self, method):
        return [self.events[method]] if method in self.events else []
