"""Data sets of TFDS: their splits, their labels and their preprocessing."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.train.data.sets import columns, load, middle, resized, rows, stream
from train import data
from train.configs import celeb_a, cifar10, cifar10_small, fashion_mnist, imagenet32, mnist


def test_the_splits_of_a_tfds_data_set_are_tfdss(tfds_dir):
    levels = lambda split: sorted(row[0] for row in rows(load("pictures", split, tfds_dir)))
    assert levels("train") == list(range(25)) and levels("test") == list(range(7))
    assert sorted(levels("train[:-5]") + levels("train[-5:]")) == list(range(25))
    examples = load("pictures", "train[:20%]", tfds_dir)
    assert (examples.size, examples.event_shape, examples.num_bins) == (5, (4, 6, 3), 256)


@pytest.mark.parametrize(
    ("config_file", "shape"),
    [(mnist, (28, 28, 1)), (fashion_mnist, (28, 28, 1)), (cifar10, (32, 32, 3)), (cifar10_small, (32, 32, 3))],
)
def test_the_image_configs_give_uint8_batches_of_a_known_shape(config_file, shape):
    config = config_file.get_config()
    with tfds.testing.mock_data(num_examples=5):
        for split in filter(None, (config.train_split, config.validation_split, config.test_split)):
            examples = data.load(config, split)
            assert (examples.event_shape, examples.num_bins, examples.size) == (shape, 256, 5)
        training = data.training_batches(examples, 2, seed=0, flip=config.flip)
        assert training.element_spec == tf.TensorSpec([2, *shape], tf.uint8)
        assert next(iter(training)).shape == (2, *shape)
        assert [len(batch) for batch in data.evaluation_batches(examples, 2)] == [2, 2, 1]


def test_images_of_tfds_come_with_their_labels(tfds_dir):
    examples = load("pictures", "train", tfds_dir, conditional=True)
    assert (examples.size, examples.event_shape) == (25, (4, 6, 3))
    assert (examples.num_classes, examples.context_size) == (2, None)
    (images, labels), *_ = stream(examples, 1, batch_size=25, flip=True)
    assert sorted(images[:, 0, 2, 0]) == list(range(25))
    np.testing.assert_array_equal(images[:, 0, 2, 0] % 2, labels)


def test_images_that_are_cropped_keep_their_labels(tfds_dir):
    fields = dict(shorter_side=12, crop=9)
    plain = load("scenes", "test", tfds_dir, **fields)
    examples = load("scenes", "test", tfds_dir, conditional=True, **fields)
    assert (examples.event_shape, plain.num_classes) == ((9, 9, 3), None)
    images, labels = columns(examples)
    np.testing.assert_array_equal(images, columns(plain))
    alone = data.without_context(examples)
    assert (alone.num_classes, alone.event_shape) == (None, (9, 9, 3))
    np.testing.assert_array_equal(columns(alone), images)
    assert labels.shape == (5,) and set(labels) <= {0, 1}


def test_a_central_crop_is_the_middle(tfds_dir, scenes):
    examples = load("scenes", "test", tfds_dir, central_crop=15)
    assert (examples.event_shape, examples.num_bins, examples.size) == ((15, 15, 3), 256, 5)
    assert examples.dataset.element_spec == tf.TensorSpec([15, 15, 3], tf.uint8)
    for image, scene in zip(examples.dataset.as_numpy_iterator(), scenes, strict=True):
        np.testing.assert_array_equal(image, middle(scene, 15))


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shorter_side", [10, 37])
def test_resizing_keeps_the_aspect_ratio_and_rounds(tfds_dir, scenes, shorter_side, antialias):
    examples = load("scenes", "test", tfds_dir, shorter_side=shorter_side, antialias=antialias, crop=8)
    assert examples.event_shape == (8, 8, 3)
    assert examples.dataset.element_spec.dtype == tf.uint8
    for image, scene in zip(examples.dataset.as_numpy_iterator(), scenes, strict=True):
        assert min(image.shape[:2]) == shorter_side
        assert max(image.shape[:2]) == round(shorter_side * max(scene.shape[:2]) / min(scene.shape[:2]))
        np.testing.assert_array_equal(image, resized(scene, shorter_side, antialias))


@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_keeps_images_of_the_right_size(tfds_dir, scenes, antialias):
    examples = load("scenes", "test", tfds_dir, shorter_side=24, antialias=antialias, crop=24)
    kept = [
        np.array_equal(image, scene)
        for image, scene in zip(examples.dataset.as_numpy_iterator(), scenes, strict=True)
        if min(scene.shape[:2]) == 24
    ]
    assert kept == [True, True]


@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_images_of_one_size_needs_no_crop(tfds_dir, antialias):
    examples = load("pictures", "test", tfds_dir, shorter_side=6, antialias=antialias)
    assert examples.event_shape == (6, 9, 3)
    assert sorted(rows(examples)) == [(level,) * (6 * 9 * 3) for level in range(7)]
    assert data.training_batches(examples, 2, seed=0).element_spec == tf.TensorSpec([2, 6, 9, 3], tf.uint8)


def test_faces_are_cut_and_then_resized():
    with tfds.testing.mock_data(num_examples=3):
        examples = data.load(celeb_a.get_config(), "test")
        faces = [example["image"] for example in tfds.load("celeb_a", split="test").as_numpy_iterator()]
        images = list(examples.dataset.as_numpy_iterator())
    assert examples.event_shape == (64, 64, 3)
    for image, face in zip(images, faces, strict=True):
        assert face.shape == (218, 178, 3)
        np.testing.assert_array_equal(image, resized(middle(face, 148), 64, antialias=False))


def test_imagenet_passes_through_bit_for_bit():
    images = np.random.default_rng(0).integers(0, 256, [6, 32, 32, 3], np.uint8)

    def as_dataset(builder, *args, **kwargs):
        spec = {"image": tf.TensorSpec(builder.info.features["image"].shape, tf.uint8)}
        dataset = tf.data.Dataset.from_generator(lambda: ({"image": image} for image in images), output_signature=spec)
        return dataset.apply(tf.data.experimental.assert_cardinality(len(images)))

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        examples = data.load(imagenet32.get_config(), "validation")
        evaluated = np.concatenate(list(data.evaluation_batches(examples, 4).as_numpy_iterator()))
        (trained,) = stream(examples, 1, batch_size=6)
    np.testing.assert_array_equal(evaluated, images)
    assert sorted(image.tobytes() for image in trained) == sorted(image.tobytes() for image in images)


def test_a_data_set_without_images_is_refused():
    with pytest.raises(ValueError, match=r'"image" feature; imdb_reviews has \[.label., .text.\]'):
        load("imdb_reviews", "train")


def test_a_data_set_that_cannot_be_downloaded_is_named_with_what_to_do(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(ValueError) as caught:
        load("mnist", "train", str(tmp_path))
    message = str(caught.value)
    assert f"dataset mnist is not in {tmp_path}" in message and "ConnectionError" in message
    assert "tfds.load('mnist'" in message and "--data_dir" in message


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
