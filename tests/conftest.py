"""Fixtures of more than one file."""

import contextlib

import pytest
import tensorflow as tf


@contextlib.contextmanager
def _functions_run_eagerly(eagerly):
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eagerly)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@pytest.fixture
def eagerly():
    """Runs without tracing, which is quicker for a few steps."""
    with _functions_run_eagerly(True):
        yield


@pytest.fixture(scope="module")
def module_eagerly():
    """The same for all tests of a file and the fixtures that they share."""
    with _functions_run_eagerly(True):
        yield


@pytest.fixture
def in_graphs():
    """Runs as users do, in a file that runs eagerly otherwise."""
    with _functions_run_eagerly(False):
        yield
