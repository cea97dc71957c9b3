"""The images of pipeline and time to quality: those of CIFAR-10 where they are prepared, else what there is."""

import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from train import data
from train.configs import default

BATCHES = 200  # of one repetition
SIDE = 32  # of the images to be learned


class Data:
    """A data set as a contestant, in a process with TensorFlow.

    Args:
      data_dir: folder of TFDS's data sets, None for TFDS's own.
    """

    def __init__(self, data_dir):
        self._data_dir, self._config = data_dir, default.get_config()
        prepared = [name for name in ("cifar10", "fashion_mnist") if _is_prepared(name, data_dir)]
        self._config.dataset = self._name = [*prepared, "digits"][0]
        self._batches = None

    def name(self):
        """ "cifar10", "fashion_mnist" or "digits", the first that is there without a download."""
        return self._name

    def batches(self):
        """Takes `BATCHES` batches of training, shuffled and mirrored at random."""
        if self._batches is None:
            examples = data.load(self._config, "train", self._data_dir)
            self._batches = iter(data.training_batches(examples, self._config.batch_size, seed=0, flip=True))
        for _ in itertools.islice(self._batches, BATCHES):
            pass

    def size(self):
        """Images of a call of `batches`."""
        return BATCHES * self._config.batch_size

    def save(self, folder):
        """Writes train.npy and the first 1,000 test images, test.npy: uint8 [N, 32, 32, channels], padded by 0."""
        for split in ("train", "test"):
            batches = data.evaluation_batches(data.load(self._config, split, self._data_dir), 1000)
            images = np.concatenate(list(batches.take(1) if split == "test" else batches))
            missing = SIDE - images.shape[1]
            np.save(pathlib.Path(folder) / f"{split}.npy", np.pad(images, [(0, 0), (0, missing), (0, missing), (0, 0)]))


def _is_prepared(name, data_dir):
    return tfds.builder(name, data_dir=data_dir).is_prepared()
