"""The images for pipeline and time to quality: CIFAR-10 if it is prepared, otherwise a data set that is there."""

import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from train import data
from train.configs import default

BATCHES = 200  # The number of batches per repetition.
SIDE = 32  # The height and width of the images for training.


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
        """The name of the data set: the first of "cifar10", "fashion_mnist" and "digits" that needs no download."""
        return self._name

    def batches(self):
        """Takes `BATCHES` training batches, shuffled and mirrored at random."""
        if self._batches is None:
            examples = data.load(self._config, "train", self._data_dir)
            self._batches = iter(data.training_batches(examples, self._config.batch_size, seed=0, flip=True))
        for _ in itertools.islice(self._batches, BATCHES):
            pass

    def size(self):
        """The number of images per call of `batches`."""
        return BATCHES * self._config.batch_size

    def save(self, folder):
        """Writes train.npy, and test.npy with the first 1,000 test images: uint8 [N, 32, 32, channels], padded by 0."""
        for split in ("train", "test"):
            batches = data.evaluation_batches(data.load(self._config, split, self._data_dir), 1000)
            images = np.concatenate(list(batches.take(1) if split == "test" else batches))
            missing = SIDE - images.shape[1]
            np.save(pathlib.Path(folder) / f"{split}.npy", np.pad(images, [(0, 0), (0, missing), (0, missing), (0, 0)]))


def _is_prepared(name, data_dir):
    return tfds.builder(name, data_dir=data_dir).is_prepared()
