"""Fixtures of more than one file."""

import contextlib
import functools
import gc
import importlib
import os
import random
import resource
import sys
import typing

gc.set_threshold(100_000, 50, 100)  # tracing makes many objects, nearly all of which live as long as the graph
if sys.version_info < (3, 12):  # older Pythons list a protocol's attributes at each `isinstance` of TensorFlow's
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
    typing._is_callable_members_only = functools.cache(typing._is_callable_members_only)
if "tensorflow" not in sys.modules:  # a test file that is run as a program has imported it, with the default
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as train/main.py does
    # About a process per core, so a thread per process.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
import pytest
from absl import app, flags, logging

# TensorFlow is imported where it is used, by the processes that run tests and not by the one that hands them out.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """A process more than there are cores: tests that start processes wait for them."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Every test, and every fixture that it is the first to ask for, draws what it draws in any other run.

    A draw without a seed takes one from Python's generator or from NumPy's. TensorFlow's own generator is seeded once
    for each file: with a new seed TensorFlow forgets its kernels, and makes them anew for as long as many tests last.
    """
    random.seed(0)
    np.random.seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Where TensorFlow cannot compute in the dtype that a test is marked by, the package's error must end the test."""
    for mark in pyfuncitem.iter_markers("dtype"):
        import keras

        from tfp_realnvp.precision import is_computable

        dtype = keras.DTypePolicy(*mark.args).compute_dtype
        if not is_computable(dtype):
            with pytest.raises(ValueError, match=f"dtype must be .* where TensorFlow cannot compute in {dtype}; got"):
                yield
            return True
    return (yield)


@pytest.fixture(scope="module", autouse=True)
def seed_of_the_file():
    """TensorFlow's generator begins each file in the same state."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def heap_of_the_file():
    """The garbage collector goes through the objects of one file, not through those of the files before it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The long files first: one that begins last would keep one process busy alone."""
    items.sort(key=lambda item: "long" not in item.keywords)


@contextlib.contextmanager
def _functions_run_eagerly(eagerly):
    import tensorflow as tf

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


@pytest.fixture
def small_disk():
    """A context in which no file grows beyond this number of bytes."""

    @contextlib.contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def command_line(monkeypatch):
    """Runs a program in this process, as `python -m` does in one of its own; the flags are its own."""
    known, verbosity = {*flags.FLAGS}, logging.get_verbosity()

    def run(*arguments, program="train.main"):
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        for name in (program, "config_config"):  # the latter is the config file, as ml_collections calls it
            sys.modules.pop(name, None)
        main = importlib.import_module(program)
        main.main(getattr(main, "parse_flags", app.parse_flags_with_usage)(sys.argv))

    yield run
    for name in {*flags.FLAGS} - known:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    logging.set_verbosity(verbosity)
