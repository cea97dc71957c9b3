"""Data sets of TFDS for more than one file."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.train.data.sets import SCENES, write_pictures


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory):
    """TFDS data sets: "pictures", number i all of level i, "scenes", noise of several sizes, "ratings", no classes."""

    class Pictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        SHAPE, SIZES = (4, 6, 3), {"train": 25, "test": 7}
        LABEL = tfds.features.ClassLabel(num_classes=2)

        def _info(self):
            features = {"image": tfds.features.Image(shape=self.SHAPE), "label": self.LABEL}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(size) for split, size in self.SIZES.items()}

        def _generate_examples(self, size):
            for number in range(size):
                yield number, {"image": self.image(number), "label": number % 2}

        def image(self, number):
            return np.full(self.SHAPE, number, np.uint8)

    class Scenes(Pictures):
        SHAPE, SIZES = (None, None, 3), {"train": 10, "test": 5}

        def image(self, number):
            return np.random.default_rng(number).integers(0, 256, [*SCENES[number % 5], 3], np.uint8)

    class Ratings(Pictures):
        SIZES, LABEL = {"train": 1}, tfds.features.Scalar(np.int64)

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    write_pictures(folder / "folder", ["a.png"])
    for builder in (Pictures, Scenes, Ratings):
        builder(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(scope="session")
def scenes(tfds_dir):
    """The images of the test split of "scenes", without preprocessing."""
    images = [example["image"] for example in tfds.load("scenes", split="test", data_dir=tfds_dir).as_numpy_iterator()]
    assert sorted(image.shape[:2] for image in images) == sorted(SCENES)
    return images
