"""The checkpoints of a run, saved at intervals, after each epoch, and on termination."""

import contextlib
import math
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import keras
import tensorflow as tf
from absl import logging

import tfp_realnvp as rnvp

ADVICE = "Try a smaller learning_rate, more warmup_steps, or a smaller clip_norm"
# The loss in units of the first one. Moving moments that lag behind may multiply it, too, but by less.
EXPLODED = 1000.0


class Event(Protocol):
    """The part of `threading.Event` that callbacks need."""

    def is_set(self) -> bool: ...


class Checkpoints:
    """Numbered checkpoints in a folder; only the last few are kept.

    Each is a `.keras` file, named by its step, with the weights, the optimizer's state and the sums of the epoch's
    means. The position in the data and the seeds of all noise are functions of the step. A file exists as a whole or
    not at all, and older files are removed only afterwards.

    Args:
      folder: the folder, made at the first `save`.
      keep: number of checkpoints to keep.

    Example: `Checkpoints(workdir / "checkpoints", keep=3).load()`
    """

    def __init__(self, folder: pathlib.Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def paths(self) -> list[pathlib.Path]:
        """The files, the oldest first."""
        return sorted(self._folder.glob("step_*.keras"))

    def load(self) -> rnvp.FlowModel:
        """The model of the last checkpoint that can be loaded.

        Raises:
          ValueError: if there are no checkpoints, or if none can be loaded.
        """
        paths = self.paths()
        if not paths:
            raise ValueError(f"workdir must hold a checkpoint; there is none in {self._folder}")
        for path in reversed(paths):
            try:
                return rnvp.load_model(path)
            except ValueError as error:
                logging.warning(f"{error}: falling back to the checkpoint before it")
        raise ValueError(
            f"workdir must hold a checkpoint that can be loaded; none of {', '.join(map(str, paths))} can. Nothing "
            "was deleted: bring one back from a copy, or begin anew in another --workdir"
        )

    def save(self, model: rnvp.FlowModel) -> None:
        """Saves a checkpoint of the model's step.

        Raises:
          OSError: if it cannot be written, such as on a full disk; older checkpoints remain unchanged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for draft in self._folder.glob("draft.*"):  # of a process that was killed while it saved
            draft.unlink()
        path = self._folder / f"step_{step_of(model):010d}.keras"
        try:
            model.save(path)
        except OSError as error:
            kept = f"the last good one is {self.paths()[-1]}" if self.paths() else "there is none before it"
            raise OSError(error.errno, f"could not save a checkpoint ({error.strerror}); {kept}", str(path)) from error
        up_to_here = [other for other in self.paths() if other <= path]
        for old in up_to_here[: -self._keep]:
            old.unlink()


class Probe:
    """Tells whether a model has exploded, by its loss on a few events.

    A step with a finite loss can leave weights with any loss, and the loss of the next step comes too late.

    Args:
      model: `FlowModel` as the run finds it. Its loss is the measure.
      batch: a few events [N] + event_shape, or a tuple of them and their contexts.

    Example: `Probe(model, images[:16]).is_good(model)`
    """

    def __init__(self, model: rnvp.FlowModel, batch: Any) -> None:
        self._batch = tf.nest.flatten(batch)
        first = self._loss(model)
        self._limit = first + EXPLODED * max(abs(first), 1.0) if math.isfinite(first) else math.inf

    def is_good(self, model: rnvp.FlowModel) -> bool:
        """Whether the model's loss is finite and not far above the first one."""
        loss = self._loss(model)
        return math.isfinite(loss) and loss <= self._limit

    def _loss(self, model: rnvp.FlowModel) -> float:
        try:
            return -float(tf.reduce_mean(model.log_likelihood(*self._batch)))
        except tf.errors.InvalidArgumentError:  # An exploded continuous flow has no solution.
            return math.inf


class Best(keras.callbacks.ModelCheckpoint):
    """Saves the model of the best epoch so far, unless it has exploded.

    Args:
      path: of the file.
      monitor: name of the logs' value to compare; the least is the best.
      best: the best value so far.
      is_good: `Probe.is_good`.

    Example: `Best(path, "val_bits_per_dim", math.inf, probe.is_good)`
    """

    def __init__(
        self, path: pathlib.Path, monitor: str, best: float, is_good: Callable[[rnvp.FlowModel], bool]
    ) -> None:
        super().__init__(path, monitor, mode="min", save_best_only=True, initial_value_threshold=best)
        self._is_good = is_good

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the epoch if it is the best."""
        if self._is_good(self.model):
            super().on_epoch_end(epoch, logs)


class Saving(keras.callbacks.Callback):
    """Saves checkpoints, and resumes an epoch in its middle if the model was saved there.

    It saves after each epoch, and within an epoch at intervals of steps or minutes. It does not save after a skipped
    step, since the weights may be its cause, unless the step is the last of the run. Put it last among the callbacks,
    so that the others have ended their epoch before it saves.

    Args:
      checkpoints: `Checkpoints`.
      steps_per_epoch: as for `fit`.
      steps: the most steps between two checkpoints; 0 for no limit.
      minutes: the most minutes between two checkpoints, rounded up to the next step; 0 for no limit.
      termination: `threading.Event`, read after every step. Once it is set, the next step or epoch is saved and ends
        the run.
      is_good: whether a model may replace the last checkpoint, such as `Probe.is_good`.

    Raises:
      SystemExit: with the code 0, after the checkpoint on `termination`.

    Example: `model.fit(batches, steps_per_epoch=50, callbacks=[Saving(checkpoints, 50, 0, 10.0, termination)])`
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        steps_per_epoch: int,
        steps: int,
        minutes: float,
        termination: Event,
        is_good: Callable[[rnvp.FlowModel], bool] = lambda model: True,
    ) -> None:
        super().__init__()
        self._is_good = is_good
        self._checkpoints, self._steps_per_epoch, self._termination = checkpoints, steps_per_epoch, termination
        self._steps, self._seconds = steps or float("inf"), 60 * minutes or float("inf")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keeps the sums of the epoch's means, since Keras resets them."""
        self._sums = [(variable, variable.numpy()) for metric in self.model.metrics for variable in metric.variables]
        self._saved_step = step_of(self.model)
        self._restart_intervals()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores the sums of an epoch that is resumed in its middle: Keras has just reset them."""
        if step_of(self.model) % self._steps_per_epoch:
            for variable, value in self._sums:
                variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves a step that is due, or the last one before the termination."""
        step = step_of(self.model)
        if step % self._steps_per_epoch == 0:  # The end of an epoch is saved after the validation.
            self.model.stop_training = batch + 1 < self._steps_per_epoch  # An epoch resumed in its middle ends early.
            return
        is_due = step - self._last_step >= self._steps or time.monotonic() - self._last_time >= self._seconds
        is_terminated = self._termination.is_set()
        if is_due or is_terminated:
            self._save(is_terminated)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the epoch, if its losses are finite."""
        self.model.stop_training = False
        losses = [float(value) for name, value in (logs or {}).items() if name in ("loss", "val_loss")]
        self._save(self._termination.is_set(), losses, is_last=epoch + 1 == self.params["epochs"])

    def _save(self, is_terminated: bool, losses: Iterable[float] = (), is_last: bool = False) -> None:
        if is_last or not int(self.model.progress.skipped_in_a_row.numpy()):
            step = step_of(self.model)
            if all(map(math.isfinite, losses)) and self._is_good(self.model):
                self._checkpoints.save(self.model)
                self._saved_step = step
            else:
                logging.warning(f"step {step} is not saved: its loss is not finite, or has exploded. {ADVICE}")
            self._restart_intervals()
        if is_terminated:
            print(f"terminated; saved is step {self._saved_step}: the same command goes on from there")
            raise SystemExit(0)

    def _restart_intervals(self) -> None:
        self._last_step, self._last_time = step_of(self.model), time.monotonic()


@contextlib.contextmanager
def termination() -> Iterator[threading.Event]:
    """A `threading.Event` that SIGTERM or SIGINT sets, instead of ending the process, while the context lasts.

    A second SIGINT ends the process at once. A SystemExit that leaves the context ends the process, after a SIGINT with
    the code 130: further SIGTERMs are then ignored.
    """
    terminated, interrupted = threading.Event(), threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        terminated.set()
        interrupted.set()

    # Python calls the handlers when TensorFlow returns. The numbers of the signals are in the pipe at once.
    read, write = os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write)
    threading.Thread(target=_exit_at_the_second_interrupt, args=[read], daemon=True).start()
    then = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: terminated.set()),
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
    }
    try:
        yield terminated
    except SystemExit as end:
        then = {signal.SIGTERM: signal.SIG_IGN, signal.SIGINT: signal.SIG_DFL}
        raise SystemExit(128 + signal.SIGINT if interrupted.is_set() else end.code) from end
    finally:
        for number, handler in then.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(write)


def _exit_at_the_second_interrupt(signals: int) -> None:
    """Reads the numbers of signals from a pipe until its end, and ends the process at the second SIGINT."""
    interrupts = 0
    with open(signals, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            interrupts += number == bytes([signal.SIGINT])
            if interrupts == 2:
                os._exit(128 + signal.SIGINT)


def step_of(model: rnvp.FlowModel) -> int:
    """The number of steps that the model has been trained for."""
    return int(model.optimizer.iterations.numpy())


def load_best(path: pathlib.Path) -> rnvp.FlowModel:
    """The model of the checkpoint of the best epoch.

    Raises:
      ValueError: if it cannot be loaded.
    """
    try:
        return rnvp.load_model(path)
    except ValueError as error:
        raise ValueError(
            f"{error}. Bring it back from a copy; or remove it, and the run ends with the best of its later epochs, or "
            "with its last"
        ) from error


def best_so_far(path: pathlib.Path) -> float:
    """The bits/dim of the checkpoint of the best epoch, as it was validated (or trained, without a validation split).

    Returns:
      The number; infinity if there is no checkpoint, or one of an earlier version that does not hold the number.

    Raises:
      ValueError: if it cannot be loaded.
    """
    if not path.exists():
        return math.inf
    value = float(load_best(path).get_metrics_result()["bits_per_dim"])
    return value if math.isfinite(value) else math.inf
