"""The checkpoints of a run, and when they are saved: every so often, after each epoch, and when it is terminated."""

import contextlib
import signal
import threading
import time

import keras
from absl import logging

import tfp_realnvp as rnvp


class Checkpoints:
    """Numbered checkpoints in a folder, of which the last few are kept.

    Each is a `.keras` file, named by its step, with the weights, the optimizer's state and the sums of the epoch's
    means; the position in the data and the seeds of all noise are functions of the step. A file is there as a whole or
    not at all; older ones go when it is there.

    Args:
      folder: `pathlib.Path`, made at the first `save`.
      keep: int, how many are kept.

    Example: `Checkpoints(workdir / "checkpoints", keep=3).load()`
    """

    def __init__(self, folder, keep):
        self._folder, self._keep = folder, keep

    def paths(self):
        """The files, the oldest first."""
        return sorted(self._folder.glob("step_*.keras"))

    def load(self):
        """The model of the last checkpoint that can be loaded, or None where there are no checkpoints.

        Raises:
          ValueError: where there are checkpoints, but none can be loaded.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return rnvp.load_model(path)
            except ValueError as error:
                logging.warning(f"{error}: falling back to the checkpoint before it")
        if paths:
            raise ValueError(
                f"workdir must hold a checkpoint that can be loaded; none of {', '.join(map(str, paths))} can. Nothing "
                "was deleted: bring one back from a copy, or begin anew in another --workdir"
            )
        return None

    def save(self, model):
        """Saves a checkpoint of the model's step.

        Raises:
          OSError: where it cannot be written, such as on a full disk; those before it are as they were.
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


class Saving(keras.callbacks.Callback):
    """Saves checkpoints, and enters an epoch in the middle where its model was saved there.

    There is one after each epoch, and within it after so many steps or minutes; none after a step that was skipped,
    unless it is the last of all, since the weights may be why. It is to be the last of the callbacks, so that what the
    others do at the end of an epoch comes before.

    Args:
      checkpoints: `Checkpoints`.
      steps_per_epoch: int, as for `fit`.
      steps: int, the most steps between two checkpoints; 0 for any number.
      minutes: float, the most minutes between two, then at the next step; 0 for any number.
      termination: `threading.Event`: once it is set, the next step or epoch is saved and the last. It is asked after
        every step.

    Raises:
      SystemExit: with the code 0, after the checkpoint that `termination` asks for.

    Example: `model.fit(batches, steps_per_epoch=50, callbacks=[Saving(checkpoints, 50, 0, 10.0, termination)])`
    """

    def __init__(self, checkpoints, steps_per_epoch, steps, minutes, termination):
        super().__init__()
        self._checkpoints, self._steps_per_epoch, self._termination = checkpoints, steps_per_epoch, termination
        self._steps, self._seconds = steps or float("inf"), 60 * minutes or float("inf")

    def on_train_begin(self, logs=None):
        self._sums = [(variable, variable.numpy()) for metric in self.model.metrics for variable in metric.variables]
        self._note()

    def on_epoch_begin(self, epoch, logs=None):
        if step_of(self.model) % self._steps_per_epoch:  # Keras has just reset what the epoch had come to
            for variable, value in self._sums:
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        step = step_of(self.model)
        if step % self._steps_per_epoch == 0:  # saved at the epoch's end, after the validation
            self.model.stop_training = batch + 1 < self._steps_per_epoch  # the end of an epoch entered in the middle
            return
        is_due = step - self._last_step >= self._steps or time.monotonic() - self._last_time >= self._seconds
        is_terminated = self._termination.is_set()
        if is_due or is_terminated:
            self._save(is_terminated)

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = False
        self._save(self._termination.is_set(), is_last=epoch + 1 == self.params["epochs"])

    def _save(self, is_terminated, is_last=False):
        if is_last or not int(self.model.progress.skipped_in_a_row.numpy()):
            self._checkpoints.save(self.model)
            self._note()
        if is_terminated:
            print(f"terminated; saved is step {self._last_step}: the same command goes on from there")
            raise SystemExit(0)

    def _note(self):
        self._last_step, self._last_time = step_of(self.model), time.monotonic()


@contextlib.contextmanager
def termination():
    """A `threading.Event` that SIGTERM sets, instead of ending the process, as long as the context lasts.

    A SystemExit on its way through the context ends the process: another SIGTERM no longer changes how.
    """
    event = threading.Event()
    then = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    try:
        yield event
    except SystemExit:
        then = signal.SIG_IGN
        raise
    finally:
        signal.signal(signal.SIGTERM, then)


def step_of(model):
    """The number of steps that the model has been trained for."""
    return int(model.optimizer.iterations.numpy())


def load_best(path):
    """The model of the checkpoint of the best epoch.

    Raises:
      ValueError: where it cannot be loaded.
    """
    try:
        return rnvp.load_model(path)
    except ValueError as error:
        raise ValueError(
            f"{error}. Bring it back from a copy; or remove it, and the run ends with its last epoch, not its best"
        ) from error
