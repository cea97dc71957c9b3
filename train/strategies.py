"""Where a run computes: on one device, on several of a machine, on several machines, or on a TPU (`tf.distribute`)."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import tempfile

import tensorflow as tf


def auto():
    """Several machines where there is TF_CONFIG, a TPU or several GPUs where they are found, otherwise one device."""
    if "TF_CONFIG" in os.environ:
        return multi_worker()
    if tf.config.list_physical_devices("TPU"):
        return tpu()
    return mirrored() if len(tf.config.list_physical_devices("GPU")) > 1 else none()


def none():
    """One device: TensorFlow's default."""
    return tf.distribute.get_strategy()


def mirrored():
    """A replica on every GPU of the machine; without a GPU, on every logical CPU."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def multi_worker():
    """A process on each machine, which TF_CONFIG tells of the others; to be made before TensorFlow computes anything.

    Raises:
      ValueError: where TF_CONFIG does not name the cluster's workers and the task of this process.
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
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # TensorFlow has taken it, and lets it pass unheard
    return strategy


def tpu():
    """A replica on every core of the TPU that the machine has.

    Raises:
      ValueError: where there is none.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect("local")
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"strategy must be another than tpu on a machine without a TPU; got tpu ({error})") from error
    return tf.distribute.TPUStrategy(resolver)


def is_chief(strategy):
    """Whether this process is the one of the workers that writes and evaluates; True where it is the only one."""
    if not _has_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    chief = ("chief", 0) if "chief" in resolver.cluster_spec().jobs else ("worker", 0)
    return (resolver.task_type, resolver.task_id) == chief


def _has_workers(strategy):
    is_multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return is_multi_worker and bool(strategy.cluster_resolver.cluster_spec())


def mean_over_workers(strategy, number):
    """The mean of the numbers that the workers have; every one of them has to ask, as often as the others."""
    if not _has_workers(strategy):
        return number
    return float(_mean_function(strategy)(tf.constant(float(number))))


@functools.cache
def _mean_function(strategy):
    return tf.function(lambda number: strategy.reduce("MEAN", strategy.run(tf.identity, [number]), axis=None))


@contextlib.contextmanager
def all_workers(strategy):
    """What the workers of a run do together: none leaves before the others are through.

    Raises:
      ConnectionError: where one of the others has died.
    """
    end = None
    try:
        try:
            yield
        except SystemExit as error:  # of all of them
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
def own_folder(strategy, workdir):
    """The folder that this worker writes to: the chief's is the workdir, another's a temporary one that is removed."""
    if is_chief(strategy):
        yield workdir
        return
    with tempfile.TemporaryDirectory(prefix="worker_") as folder:
        yield pathlib.Path(folder)


class AnyWorker:
    """A `threading.Event` that is set where that of any worker is: they all ask for it after the same step.

    Args:
      strategy: `tf.distribute.Strategy`.
      event: this worker's `threading.Event`.
    """

    def __init__(self, strategy, event):
        self._strategy, self._event = strategy, event

    def is_set(self):
        """Whether the event of any worker is set."""
        return mean_over_workers(self._strategy, self._event.is_set()) > 0


def check_batch_size(strategy, batch_size):
    """Raises a ValueError where the replicas cannot have equal shares of a batch."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ValueError(f"batch_size must be a multiple of the number of replicas, {replicas}; got {batch_size}")


def check_steps_per_execution(strategy, steps_per_execution):
    """Raises a ValueError for what Keras 3.15 cannot do with any model: its loop over steps fails with replicas."""
    is_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if steps_per_execution > 1 and strategy.num_replicas_in_sync > 1 and not is_tpu:
        raise ValueError(
            f"steps_per_execution must be 1 for {strategy.num_replicas_in_sync} replicas that are not a TPU's; got "
            f"{steps_per_execution}"
        )


def check_workdir_is_shared(strategy, workdir, step):
    """Raises a ValueError where the workers would begin at different steps."""
    if mean_over_workers(strategy, step) != step:
        raise ValueError(
            f"workdir must be a folder that all workers share; {workdir} holds the checkpoint of step {step} here, and "
            "that of another step elsewhere"
        )
