"""Graphs without TensorFlow's optimizations, which take nearly as long as tracing, for graphs that run a few times."""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def as_they_are():
    """A scope in which TensorFlow runs graphs as they were traced."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})
