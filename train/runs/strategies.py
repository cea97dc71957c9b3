"""The devices of a run: one, several of a machine, several machines, or a TPU (`tf.distribute`)."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf

from .checkpoints import Event


def auto() -> tf.distribute.Strategy:
    """Several machines if there is TF_CONFIG; else a TPU or several GPUs if they are found; else one device."""
    if "TF_CONFIG" in os.environ:
        return multi_worker()
    if tf.config.list_physical_devices("TPU"):
        return tpu()
    return mirrored() if len(tf.config.list_physical_devices("GPU")) > 1 else none()


def none() -> tf.distribute.Strategy:
    """One device: TensorFlow's default."""
    return tf.distribute.get_strategy()


def mirrored() -> tf.distribute.MirroredStrategy:
    """A replica on every GPU of the machine; without a GPU, on every logical CPU."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    """One process per machine; TF_CONFIG names them all. Call it before TensorFlow computes anything.

    Raises:
      ValueError: if TF_CONFIG does not name the cluster's workers and the task of this process.
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG", ""))
        address = config["cluster"][config["task"]["type"]][config["task"]["index"]]
    except (ValueError, KeyError, IndexError, TypeError):
        address = None
    if not isinstance(address, str):
        raise ValueError(
            'TF_CONFIG must be {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, '
            f"with this process's index, for strategy=multi_worker; got {os.environ.get('TF_CONFIG')!r}"
        )
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # TensorFlow has replaced Python's handler of SIGTERM, and would swallow the signal.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return strategy


def tpu() -> tf.distribute.TPUStrategy:
    """A replica on every core of the machine's TPU.

    Raises:
      ValueError: if there is none.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect("local")
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"strategy must be another than tpu on a machine without a TPU; got tpu ({error})") from error
    return tf.distribute.TPUStrategy(resolver)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the worker that writes and evaluates; True for a single process."""
    if not has_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    chief = ("chief", 0) if "chief" in resolver.cluster_spec().jobs else ("worker", 0)
    return (resolver.task_type, resolver.task_id) == chief


def mean_over_workers(strategy: tf.distribute.Strategy, number: float) -> float:
    """The mean of the workers' numbers. All workers have to call it equally often."""
    if not has_workers(strategy):
        return number
    return float(_mean_function(strategy)(tf.constant(float(number))))


@contextlib.contextmanager
def all_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """The common work of a run's workers: none leaves the context before the others are through.

    Raises:
      ConnectionError: if another worker has died.
    """
    end = None
    try:
        try:
            yield
        except SystemExit as error:  # All workers raise it after the same step.
            end = error
        mean_over_workers(strategy, 0)
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        reason = error.message.rpartition("Collective ops is aborted by: ")[2].splitlines()[0]
        raise ConnectionError(
            f"another worker of this run has stopped or cannot be reached ({reason}); its own output says why. Start "
            "all workers again with the same command: the run goes on from its last checkpoint"
        ) from error
    if end is not None:
        raise end


@contextlib.contextmanager
def own_folder(strategy: tf.distribute.Strategy, workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder for this worker's files: the workdir for the chief, a temporary folder for the others."""
    if is_chief(strategy):
        yield workdir
        return
    with tempfile.TemporaryDirectory(prefix="worker_") as folder:
        yield pathlib.Path(folder)


class AnyWorker:
    """A `threading.Event` that is set if any worker's event is set. All workers read it after the same step.

    Args:
      strategy: `tf.distribute.Strategy`.
      event: this worker's `threading.Event`.
    """

    def __init__(self, strategy: tf.distribute.Strategy, event: Event) -> None:
        self._strategy, self._event = strategy, event

    def is_set(self) -> bool:
        """Whether the event of any worker is set."""
        return mean_over_workers(self._strategy, self._event.is_set()) > 0


def check_replicas(strategy: tf.distribute.Strategy, batch_size: int, steps_per_execution: int) -> None:
    """Raises a ValueError if the replicas cannot have equal parts of a batch, or several steps per execution.

    With several replicas, Keras 3.15 fails in its loop over the steps of an execution, for every model.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(f"batch_size must be a multiple of the number of replicas, {replicas}; got {batch_size}")
    is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if steps_per_execution > 1 and replicas > 1 and not is_tpu:
        raise ValueError(
            f"steps_per_execution must be 1 for {replicas} replicas that are not a TPU's; got {steps_per_execution}"
        )


def check_workdir_is_shared(strategy: tf.distribute.Strategy, workdir: pathlib.Path, step: int) -> None:
    """Raises a ValueError if the workers would begin at different steps."""
    if mean_over_workers(strategy, step) != step:
        raise ValueError(
            f"workdir must be a folder that all workers share; {workdir} holds the checkpoint of step {step} here, and "
            "that of another step elsewhere"
        )


def has_workers(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether several processes train together; False for None, a single process."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return bool(strategy.cluster_resolver.cluster_spec())


@functools.cache
def _mean_function(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda number: strategy.reduce("MEAN", strategy.run(tf.identity, [number]), axis=None))
