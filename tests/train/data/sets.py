"""Small data sets, and helpers to read them."""

import dataclasses
import math

import numpy as np
import tensorflow as tf
from PIL import Image

from train import data
from train.configs import default

AUGMENTATIONS = [{}, {"flip": True}, {"flip": True, "shift": 0.5}]

SCENES = [(20, 30), (41, 24), (16, 16), (33, 17), (24, 24)]


def config_of(dataset, **fields):
    config = default.get_config()
    config.update(dataset=dataset, **fields)
    return config


def load(dataset, split, data_dir=None, **fields):
    return data.load(config_of(dataset, **fields), split, data_dir)


def rows(examples):
    """The examples as a list of tuples of numbers, for sorting and comparing."""
    batches = examples.dataset.batch(1000).as_numpy_iterator()
    return [tuple(row) for batch in batches for row in batch.reshape(len(batch), -1).tolist()]


def numbered(size):
    """Examples of two by three pixels, number i holding 6 i, 6 i + 1, ...: no two share a pixel."""
    images = np.arange(6 * size, dtype=np.int32).reshape(size, 2, 3, 1)
    return data.Examples(tf.data.Dataset.from_tensor_slices(images), (2, 3, 1), None, size)


def labelled(examples):
    """The same examples, each with its number in the stream as its label."""
    dataset = tf.data.Dataset.zip(examples.dataset, tf.data.Dataset.range(examples.size))
    return dataclasses.replace(examples, dataset=dataset, num_classes=examples.size)


def columns(examples):
    """The events and the contexts of conditional examples, as arrays."""
    (batch,) = data.evaluation_batches(examples, examples.size).as_numpy_iterator()
    return batch


def landscapes(size, crop=4):
    """Examples of several sizes around 7 by 9 pixels, to be cropped; number i holds 1000 i, 1000 i + 1, ..."""
    sides = lambda number: (6 + number % 3, 9 - number % 2)
    images = [1000 * i + np.arange(math.prod(sides(i)), dtype=np.int32).reshape(*sides(i), 1) for i in range(size)]
    dataset = tf.data.Dataset.from_generator(lambda: images, output_signature=tf.TensorSpec([None, None, 1], tf.int32))
    return images, data.Examples(dataset, (crop, crop, 1), None, size)


def corner(crop, images):
    """The number of a crop's image, and the row and the column of its first pixel there."""
    number, place = divmod(int(crop[0, 0, 0]), 1000)
    i, j = divmod(place, images[number].shape[1])
    np.testing.assert_array_equal(crop, images[number][i : i + crop.shape[0], j : j + crop.shape[1]])
    return number, i, j


def middle(image, size):
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def resized(image, shorter_side, antialias):
    size = [round(side * shorter_side / min(image.shape[:2])) for side in image.shape[:2]]
    return np.round(tf.image.resize(image, size, antialias=antialias))


def stream(examples, batches, **options):
    options = {"batch_size": 4, "seed": 0, **options}
    return list(data.training_batches(examples, **options).take(batches).as_numpy_iterator())


def numbers(batches):
    return [int(image.min()) // 6 for batch in batches for image in batch]


def write_pictures(folder, names, size=(8, 8), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new(mode, size, 10 * number if mode == "L" else (10 * number, 0, 200)).save(folder / name)
