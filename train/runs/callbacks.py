"""Keras callbacks of a training run: throughput, skipped steps, metrics and pictures."""

import json
import pathlib
import time
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from tfp_realnvp.common import file_errors

from ..figures import panels, pictures
from .checkpoints import ADVICE, step_of
from .workdir import write_text


class Throughput(keras.callbacks.Callback):
    """Adds images per second to the logs, for the progress bar and later callbacks."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._batches, self._start = 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Adds the mean rate of the epoch so far."""
        self._batches = batch + 1
        logs["images_per_s"] = self._rate = self._batches * self._batch_size / (time.perf_counter() - self._start)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds the rate of the training alone, without the validation."""
        logs["images_per_s"] = self._rate


class SkippedSteps(keras.callbacks.Callback):
    """Adds the number of skipped steps, over all epochs, to the logs, and ends a run with too many in a row.

    Args:
      limit: number of skipped steps in a row that ends the run.

    Raises:
      ValueError: at that step, before any later callback saves a checkpoint.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Adds the number and checks it."""
        progress = self.model.progress
        logs["skipped"] = int(progress.skipped.numpy())
        if int(progress.skipped_in_a_row.numpy()) >= self._limit:
            raise ValueError(
                f"the loss or its gradient is not finite at {self._limit} steps in a row, the last of them step "
                f"{step_of(self.model)}. They were skipped, and the last good checkpoint is kept. {ADVICE}"
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds the number to the epoch's metrics."""
        logs["skipped"] = int(self.model.progress.skipped.numpy())


class MetricsFile(keras.callbacks.Callback):
    """Writes one line of JSON per epoch, and first drops the lines of epochs that a resumed run repeats.

    A line that a crash of the machine has cut or damaged is dropped as well, with a warning.
    """

    def __init__(self, path: pathlib.Path, first_epoch: int) -> None:
        super().__init__()
        self._path = path
        kept = []
        for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
            try:
                if json.loads(line)["epoch"] <= first_epoch:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                logging.warning(f"a line of {path} is cut or damaged, and left out: {line[:80]!r}")
        write_text(path, "".join(kept))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Writes the epoch's line."""
        rate = float(self.model.optimizer.learning_rate)
        line = {"epoch": epoch + 1, "step": step_of(self.model), "learning_rate": rate}
        line.update({name: value if isinstance(value, int) else float(value) for name, value in logs.items()})
        with file_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class SamplePictures(keras.callbacks.Callback):
    """Saves a picture of samples every few epochs and after the last one, as a PNG file and for TensorBoard."""

    def __init__(self, folder: pathlib.Path, tensorboard_dir: pathlib.Path, every: int, epochs: int) -> None:
        super().__init__()
        self._folder, self._every, self._epochs = folder, every, epochs
        self._writer = tf.summary.create_file_writer(str(tensorboard_dir))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves a picture that is due."""
        if (epoch + 1) % self._every and epoch + 1 < self._epochs:
            return
        pixels = None
        with pictures.warn_if_not_drawn():
            pixels = pictures.of_samples(self.model)
        if pixels is None:
            return
        panels.save_png(pixels, self._folder / f"epoch_{epoch + 1:04d}.png")
        with self._writer.as_default():
            tf.summary.image("samples", pixels[None], step=epoch + 1)
        self._writer.flush()
