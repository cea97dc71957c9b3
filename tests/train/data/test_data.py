"""Data sets by name: their splits, their batches, and the errors for missing data."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from train import data
from train.configs import celeb_a, cifar10, cifar10_small, default, fashion_mnist, imagenet32, mnist
from train.data import toy

AUGMENTATIONS = [{}, {"flip": True}, {"flip": True, "shift": 0.5}]


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


SCENES = [(20, 30), (41, 24), (16, 16), (33, 17), (24, 24)]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def scenes(tfds_dir):
    """The images of the test split of "scenes", without preprocessing."""
    images = [example["image"] for example in tfds.load("scenes", split="test", data_dir=tfds_dir).as_numpy_iterator()]
    assert sorted(image.shape[:2] for image in images) == sorted(SCENES)
    return images


def write_pictures(folder, names, size=(8, 8), mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new(mode, size, 10 * number if mode == "L" else (10 * number, 0, 200)).save(folder / name)


# The embedded data.


def test_digits_are_8_by_8_with_17_levels():
    examples = load("digits", "train")
    assert (examples.event_shape, examples.num_bins, examples.size) == ((8, 8, 1), 17, 1397)
    assert examples.dataset.element_spec == tf.TensorSpec([8, 8, 1], tf.uint8)
    levels = {level for row in rows(examples) for level in row}
    assert levels == set(range(17))


def test_the_end_of_an_iterator_waits_for_no_tuning():
    examples = load("digits", "test")
    for batches in (data.training_batches(examples, 8, seed=0), data.evaluation_batches(examples, 8)):
        assert batches.options().autotune.enabled is False


def test_the_splits_of_the_digits_are_disjoint_and_hold_all():
    splits = {split: rows(load("digits", split)) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in splits.items()} == {"train": 1397, "validation": 100, "test": 300}
    every_row = [row for found in splits.values() for row in found]
    assert len(every_row) == 1797 and len(set(every_row)) == 1797  # scikit-learn's digits are distinct.


@pytest.mark.parametrize("dataset", sorted({*toy.SETS} - {"gaussian_linear"}))
def test_a_split_is_the_same_every_time(dataset):
    assert rows(load(dataset, "test")) == rows(load(dataset, "test"))


def test_slices_of_a_split_are_tfdss():
    whole = rows(load("digits", "test"))
    assert rows(load("digits", "test[:100]")) == whole[:100]
    assert rows(load("digits", "test[-30:]")) == whole[-30:]
    assert rows(load("digits", "test[50%:]")) == whole[150:]
    assert rows(load("digits", "validation+test[:5]")) == rows(load("digits", "validation")) + whole[:5]


def test_moons_are_points_of_the_plane_other_in_test_than_in_training():
    train, test = load("moons", "train"), load("moons", "test")
    assert (train.event_shape, train.num_bins, train.size, test.size) == ((2,), None, 20_000, 5_000)
    assert train.dataset.element_spec == tf.TensorSpec([2], tf.float32)
    assert not set(rows(train)) & set(rows(test))


def test_digits_come_with_what_they_are():
    found = sklearn.datasets.load_digits()
    which = {image.astype(np.uint8).tobytes(): label for image, label in zip(found.images, found.target, strict=True)}
    examples = load("digits", "test", conditional=True)
    assert (examples.num_classes, examples.context_size, examples.size) == (10, None, 300)
    images, labels = columns(examples)
    assert [which[image.tobytes()] for image in images] == labels.tolist()
    np.testing.assert_array_equal(images, columns(load("digits", "test")))  # The order is the same.


TOYS = [
    ("moons", (2,), 20_000, 5_000, 2),
    ("eight_gaussians", (2,), 20_000, 5_000, 8),
    ("pinwheel", (2,), 20_000, 5_000, 5),
    ("checkerboard", (2,), 20_000, 5_000, None),
    ("breast_cancer", (30,), 398, 114, 2),
]


@pytest.mark.parametrize(("dataset", "shape", "num_training", "num_test", "num_classes"), TOYS)
def test_toy_sets_are_vectors_with_labels(dataset, shape, num_training, num_test, num_classes):
    train, test = load(dataset, "train"), load(dataset, "test")
    for examples, size in [(train, num_training), (test, num_test)]:
        found = (examples.event_shape, examples.num_bins, examples.size, examples.num_classes, examples.context_size)
        assert found == (shape, None, size, None, None)
        assert examples.dataset.element_spec == tf.TensorSpec(shape, tf.float32)
    assert not set(rows(train)) & set(rows(test))
    if num_classes:
        examples = load(dataset, "test", conditional=True)
        assert (examples.num_classes, examples.context_size) == (num_classes, None)
        events, labels = columns(examples)
        assert set(labels) == set(range(num_classes))
        np.testing.assert_array_equal(events, columns(test))


def test_the_eight_gaussians_are_on_a_circle():
    points, labels = columns(load("eight_gaussians", "train", conditional=True))
    means = np.stack([points[labels == label].mean(0) for label in range(8)])
    np.testing.assert_allclose(means @ [1, 1j], 2 * np.sqrt(2) * np.exp(1j * np.pi / 4 * np.arange(8)), atol=0.05)
    np.testing.assert_allclose((points - means[labels]).std(0), np.sqrt(2) / 4, rtol=0.02)


def test_the_arms_of_the_pinwheel_are_one_turned():
    points, labels = columns(load("pinwheel", "train", conditional=True))
    turned = (points @ [1, 1j]) * np.exp(2j * np.pi / 5 * labels)
    means = np.array([turned[labels == label].mean() for label in range(5)])
    np.testing.assert_allclose(means, turned.mean(), atol=0.05)
    assert abs(turned.mean()) > 1 and abs(points.mean(0)).max() < 0.05


def test_the_checkerboard_is_uniform_on_every_other_square():
    points = columns(load("checkerboard", "train"))
    assert abs(points).max() <= 4
    squares = np.minimum(np.floor((points + 4) / 2).astype(int), 3)
    assert not (squares.sum(1) % 2).any()
    np.testing.assert_allclose(np.unique(squares, axis=0, return_counts=True)[1], [20_000 / 8] * 8, rtol=0.1)


def test_the_tumors_are_scikit_learns():
    found = sklearn.datasets.load_breast_cancer()
    splits = [columns(load("breast_cancer", split, conditional=True)) for split in ("train", "validation", "test")]
    assert [len(events) for events, _ in splits] == [398, 57, 114]
    events, labels = (np.concatenate(column) for column in zip(*splits, strict=True))
    assert sorted(zip(events.tolist(), labels, strict=True)) == sorted(
        zip(found.data.astype(np.float32).tolist(), found.target, strict=True)
    )


def test_the_parameters_have_the_posterior_given_what_is_seen_of_them():
    train, test = (load("gaussian_linear", split, conditional=True) for split in ("train", "test"))
    assert (train.event_shape, train.num_bins, train.num_classes, train.context_size) == ((3,), None, None, 4)
    assert (train.size, test.size) == (50_000, 5_000)
    assert train.dataset.element_spec == (tf.TensorSpec([3], tf.float32), tf.TensorSpec([4], tf.float32))
    theta, y = columns(train)
    mean, covariance = toy.gaussian_linear_posterior(y)
    assert (mean.shape, covariance.shape) == ((50_000, 3), (3, 3))
    np.testing.assert_allclose(np.cov((theta - mean).T), covariance, atol=0.01)
    np.testing.assert_allclose(
        y.T @ (theta - mean) / len(y), np.zeros([4, 3]), atol=0.03
    )  # The residual does not depend on y.
    np.testing.assert_allclose(np.cov(theta.T), np.eye(3), atol=0.03)


# Folders of pictures.


def test_a_folder_with_train_and_test_below_it_has_these_splits(tmp_path):
    write_pictures(tmp_path / "train", ["a.png", "b.jpg", "deeper.jpeg"])
    write_pictures(tmp_path / "test", ["c.png"], size=(40, 20))
    train = load("folder", "train", str(tmp_path), image_size=(6, 4))
    test = load("folder", "test", str(tmp_path), image_size=(6, 4))
    assert (train.size, test.size, train.event_shape, train.num_bins) == (3, 1, (6, 4, 3), 256)
    assert train.dataset.element_spec == tf.TensorSpec([6, 4, 3], tf.uint8)
    first = next(train.dataset.as_numpy_iterator())
    np.testing.assert_array_equal(first, np.broadcast_to([0, 0, 200], [6, 4, 3]))  # A PNG file keeps its colors.


def test_a_folder_without_them_holds_a_tenth_out(tmp_path):
    write_pictures(tmp_path, [f"{number:02d}.png" for number in range(20)])
    train, test = (rows(load("folder", split, str(tmp_path))) for split in ("train", "test"))
    assert (len(train), len(test), len(set(train) | set(test))) == (18, 2, 20)
    assert train == rows(load("folder", "train", str(tmp_path)))


def test_a_folder_of_gray_pictures_has_one_channel(tmp_path):
    suffixes = ["png", "bmp", "png", "bmp", "png", "png", "png", "png", "png", "png"]
    write_pictures(tmp_path, [f"{number}.{suffix}" for number, suffix in enumerate(suffixes)], mode="L")
    examples = load("folder", "train", str(tmp_path), grayscale=True, image_size=(8, 8))
    assert examples.event_shape == (8, 8, 1)
    assert [row[0] for row in rows(examples)] == [10 * number for number in range(9)]


@pytest.mark.parametrize("grayscale", [False, True])
def test_a_picture_of_a_folder_that_cannot_be_read_is_named(tmp_path, grayscale):
    write_pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    with pytest.raises(ValueError, match="data_dir must hold pictures that can be read; of .*b.png the picture"):
        load("folder", "train", str(tmp_path), grayscale=grayscale)


def test_a_folder_is_read_as_keras_does(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in [("a.png", (9, 13)), ("b.JPG", (20, 8)), ("c.bmp", (8, 6))]:
        Image.fromarray(rng.integers(0, 256, [*size, 3], np.uint8)).save(tmp_path / name)
    examples = load("folder", "train", str(tmp_path), image_size=(8, 6))
    expected = keras.utils.image_dataset_from_directory(
        str(tmp_path), labels=None, image_size=(8, 6), crop_to_aspect_ratio=True, shuffle=False, verbose=False
    )
    (expected,) = expected.as_numpy_iterator()
    np.testing.assert_array_equal(np.stack(list(examples.dataset.as_numpy_iterator())), np.round(expected))


def test_slices_of_a_folder_are_tfdss(tmp_path):
    write_pictures(tmp_path, [f"{number:02d}.png" for number in range(20)])
    reds = lambda split: [row[0] // 10 for row in rows(load("folder", split, str(tmp_path)))]
    others = [number for number in range(20) if number % 10 < 9]  # In a folder of classes, some of each are held out.
    assert reds("train") == others and reds("test") == [9, 19]
    assert reds("train[:-5]") + reds("train[-5:]") == others
    assert reds("train[:50%]") == others[:9]
    assert reds("test[1:]+train[3:5]") == [19, 3, 4]
    assert load("folder", "train[-5:]", str(tmp_path)).size == 5
    with pytest.raises(ValueError, match=r"split 'test\[:0\]' of dataset 'folder' is empty"):
        load("folder", "test[:0]", str(tmp_path))


def test_a_folder_with_train_alone_below_it_holds_a_tenth_out_too(tmp_path):
    write_pictures(tmp_path / "train", [f"{number:02d}.png" for number in range(20)])
    train, test = (rows(load("folder", split, str(tmp_path))) for split in ("train", "test"))
    assert (len(train), len(test)) == (18, 2) and not set(train) & set(test)


# TFDS.


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


@pytest.mark.parametrize(
    ("dataset", "conditional", "message"),
    [
        ("folder", True, "conditional must be False for dataset=folder, which has no labels; got True"),
        ("checkerboard", True, "conditional must be False for dataset=checkerboard, .*; got True"),
        ("gaussian_linear", False, "conditional must be True for dataset=gaussian_linear, .*; got False"),
        ("celeb_a", True, 'dataset must have a "label" feature that is a ClassLabel .*; celeb_a has .*image'),
        ("ratings", True, 'dataset must have a "label" feature that is a ClassLabel .*; ratings has .*label'),
    ],
)
def test_data_that_cannot_be_conditioned_on_are_refused(dataset, conditional, message, tfds_dir):
    with pytest.raises(ValueError, match=message):
        load(dataset, "train", str(tfds_dir / "folder" if dataset == "folder" else tfds_dir), conditional=conditional)


# Preprocessing.


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


def test_evaluation_crops_the_middle(tfds_dir, scenes):
    examples = load("scenes", "test", tfds_dir, shorter_side=12, crop=9)
    batches = data.evaluation_batches(examples, 2)
    assert batches.element_spec == tf.TensorSpec([None, 9, 9, 3], tf.uint8)
    expected = [middle(resized(scene, 12, antialias=True), 9) for scene in scenes]
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(batches.as_numpy_iterator())), expected)


def test_training_crops_at_random():
    images, examples = landscapes(10)
    assert data.training_batches(examples, 4, seed=0).element_spec == tf.TensorSpec([4, 4, 4, 1], tf.int32)
    corners = [corner(crop, images) for batch in stream(examples, 250) for crop in batch]
    assert sorted(number for number, _, _ in corners[:10]) == list(range(10))  # each pass holds every image
    for number, image in enumerate(images):
        places = {(i, j) for which, i, j in corners if which == number}
        assert len(places) > 0.8 * (image.shape[0] - 3) * (image.shape[1] - 3)  # in 100 passes most windows


@pytest.mark.parametrize("options", AUGMENTATIONS)
def test_the_stream_of_crops_depends_on_the_seed_alone_and_can_be_entered_at_any_step(options):
    _, examples = landscapes(10)
    whole = stream(examples, 8, seed=3, **options)
    np.testing.assert_array_equal(stream(examples, 8, seed=3, **options), whole)
    np.testing.assert_array_equal(stream(examples, 5, seed=3, start_step=3, **options), whole[3:])
    assert not np.array_equal(stream(examples, 8, seed=4, **options), whole)


def test_crops_are_mirrored_and_then_moved():
    images, examples = landscapes(10)
    plain, mirrored, moved = (stream(examples, 25, **options) for options in AUGMENTATIONS)
    kept = {"flip": 0, "shift": 0}
    for crops in zip(*(np.concatenate(batches) for batches in (plain, mirrored, moved)), strict=True):
        corner(crops[0], images)
        assert any(np.array_equal(crops[1], either) for either in (crops[0], crops[0][:, ::-1]))
        padded = np.pad(crops[1], [(1, 1), (1, 1), (0, 0)])
        assert any(np.array_equal(crops[2], padded[i : i + 4, j : j + 4]) for i in range(3) for j in range(3))
        kept["flip"] += np.array_equal(*crops[:2])
        kept["shift"] += np.array_equal(*crops[1:])
    assert 30 < kept["flip"] < 70 and 35 < kept["shift"] < 75  # 100 / 2, and 100 · (0.5 + 0.5 / 9)


@pytest.mark.parametrize(
    ("side", "size", "buffer_size", "cached"),
    [(32, 1000, 1000, True), (32, 10**5, 2**16, True), (32, 2**20, 2**16, False), (128, 10**6, 2**15 + 1, False)],
)
def test_what_is_held_in_memory_is_limited(side, size, buffer_size, cached, monkeypatch):
    seen = {"cached": False}
    shuffle, cache = tf.data.Dataset.shuffle, tf.data.Dataset.cache
    monkeypatch.setattr(
        tf.data.Dataset, "shuffle", lambda self, size, **kw: seen.update(size=size) or shuffle(self, 2, **kw)
    )
    monkeypatch.setattr(tf.data.Dataset, "cache", lambda self: seen.update(cached=True) or cache(self))
    spec = tf.TensorSpec([None, None, 1], tf.uint8)
    image = np.zeros([side, side, 1], np.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: [image], output_signature=spec)
    data.training_batches(data.Examples(dataset, (8, 8, 1), 256, size), 4, seed=0)
    assert seen == {"size": buffer_size, "cached": cached}


@pytest.mark.parametrize(
    ("dataset", "fields", "message"),
    [
        ("pictures", {"central_crop": 5}, "^central_crop must not be larger than the image.* side is 4; got 5"),
        ("pictures", {"crop": 5}, "^crop must not be larger than the image, whose shorter side is 4; got 5"),
        ("pictures", {"central_crop": 3, "crop": 4}, "^crop must not be larger.* side is 3; got 4"),
        ("pictures", {"shorter_side": 3, "crop": 4}, "^crop must not be larger.* side is 3; got 4"),
        ("scenes", {"shorter_side": 8, "crop": 9}, "^crop must not be larger.* side is 8; got 9"),
        (
            "scenes",
            {},
            r"config.shorter_side and config.crop .*scenes.*\(None, None, 3\); got shorter_side=0 and crop=0",
        ),
        ("scenes", {"shorter_side": 8}, "config.shorter_side and config.crop .*; got shorter_side=8 and crop=0"),
        ("pictures", {"central_crop": -1}, "central_crop must not be negative; got -1"),
        ("pictures", {"shorter_side": -2}, "shorter_side must not be negative; got -2"),
        ("digits", {"crop": -3}, "crop must not be negative; got -3"),
        ("digits", {"central_crop": 4}, "central_crop must be 0 for dataset=digits.*; got 4"),
        ("moons", {"shorter_side": 8}, "shorter_side must be 0 for dataset=moons.*; got 8"),
        ("pictures", {"grayscale": True}, "grayscale must be False for dataset=pictures: .*; got True"),
        ("folder", {"crop": 8}, "crop must be 0 for dataset=folder.*; got 8"),
    ],
    ids=str,
)
def test_preprocessing_that_cannot_be_is_refused(dataset, fields, message, tfds_dir):
    with pytest.raises(ValueError, match=message):
        load(dataset, "test", tfds_dir, **fields)


# Batches.


@pytest.mark.parametrize("options", AUGMENTATIONS)
def test_the_stream_can_be_entered_at_any_step(options):
    whole = stream(numbered(10), 10, **options)
    for start_step in (1, 2, 3, 7):  # a pass over ten examples ends within the third batch of four
        entered = stream(numbered(10), 10 - start_step, start_step=start_step, **options)
        np.testing.assert_array_equal(entered, whole[start_step:])


@pytest.mark.parametrize("options", AUGMENTATIONS)
def test_contexts_stay_with_their_events(options):
    plain = stream(numbered(10), 6, start_step=2, **options)
    batches = stream(labelled(numbered(10)), 6, start_step=2, **options)
    np.testing.assert_array_equal([images for images, _ in batches], plain)
    for images, labels in batches:
        assert numbers([images + 6 * (images == 0) * labels[:, None, None, None]]) == labels.tolist()


def test_contexts_are_batched_with_their_events():
    examples = labelled(landscapes(10)[1])
    spec = (tf.TensorSpec([4, 4, 4, 1], tf.int32), tf.TensorSpec([4], tf.int64))
    assert data.training_batches(examples, 4, seed=0).element_spec == spec
    for batches in (stream(examples, 10), data.evaluation_batches(examples, 4).as_numpy_iterator()):
        for images, labels in batches:
            np.testing.assert_array_equal(images[:, 0, 0, 0] // 1000, labels)


@pytest.mark.parametrize("options", AUGMENTATIONS)
def test_the_stream_depends_on_the_seed_alone(options):
    first, again, other = (stream(numbered(10), 5, seed=seed, **options) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_each_pass_holds_every_example_once_in_another_order():
    order = numbers(stream(numbered(10), 5))
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


def test_a_split_of_less_than_a_batch_repeats_within_it():
    batches = stream(numbered(3), 2, batch_size=7)
    assert [len(batch) for batch in batches] == [7, 7]
    assert set(numbers(batches)) == {0, 1, 2}
    assert data.steps_per_pass(numbered(3), 7) == 1


def test_about_half_of_the_images_are_mirrored_left_to_right():
    images = np.concatenate(stream(numbered(100), 25, flip=True))
    ascending, descending = (np.all(sign * np.diff(images, axis=2) == 1, axis=(1, 2, 3)) for sign in (1, -1))
    assert np.all(ascending ^ descending)
    assert 30 < ascending.sum() < 70


def test_images_are_moved_by_up_to_a_pixel():
    image = np.arange(1, 7).reshape(2, 3, 1)
    examples = data.Examples(tf.data.Dataset.from_tensors(image), (2, 3, 1), None, 1)
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    moves = {(i, j): padded[i : i + 2, j : j + 3] for i in range(3) for j in range(3)}
    counts = dict.fromkeys(moves, 0)
    for seen in np.concatenate(stream(examples, 100, shift=0.9)):
        (move,) = (move for move, moved in moves.items() if np.array_equal(seen, moved))
        counts[move] += 1
    stayed = counts.pop((1, 1))
    assert 40 < stayed < 120  # 400 · (0.1 + 0.9 / 9) = 80
    assert all(15 < count < 75 for count in counts.values())  # 400 · 0.9 / 9 = 40


@pytest.mark.parametrize("options", [{"flip": True}, {"shift": 0.5}])
def test_augmenting_vectors_is_refused(options):
    with pytest.raises(ValueError, match=r"flip and shift must be off for vectors.*\(2,\)"):
        data.training_batches(load("moons", "test"), 4, seed=0, **options)


def test_evaluation_covers_every_example_once_in_order():
    batches = [batch.numpy() for batch in data.evaluation_batches(numbered(10), 4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert numbers(batches) == list(range(10))


# Errors for missing data.


@pytest.mark.parametrize("dataset", ["nope", "", "no such:name", "cifar10:9.9.9"])
def test_an_unknown_data_set_is_named(dataset):
    with pytest.raises(ValueError) as caught:
        load(dataset, "train")
    assert str(caught.value) == (
        f"dataset must be {', '.join(toy.SETS)}, folder or the name of a TFDS data set; got {dataset!r}"
    )


def test_a_data_set_without_images_is_refused():
    with pytest.raises(ValueError, match=r'"image" feature; imdb_reviews has \[.label., .text.\]'):
        load("imdb_reviews", "train")


@pytest.mark.parametrize("split", ["nope", "", "test[", "test[a:b]", "test[:10000]", "test[:200%]"])
def test_an_unknown_split_is_named_with_those_there_are(split, tfds_dir):
    with pytest.raises(ValueError) as caught:
        load("digits", split)
    assert f"one of ['test', 'train', 'validation'], or a slice of them; got {split!r} of digits" in str(caught.value)
    with pytest.raises(ValueError) as caught:
        load("pictures", split, tfds_dir)
    assert f"one of ['test', 'train'], or a slice of them; got {split!r} of pictures" in str(caught.value)


def test_a_folder_has_no_other_splits_than_train_and_test(tmp_path):
    write_pictures(tmp_path, ["a.png"])
    message = r"split must be one of \['test', 'train'\], or a slice of them; got 'validation' of folder"
    with pytest.raises(ValueError, match=message):
        load("folder", "validation", str(tmp_path))


@pytest.mark.parametrize("dataset", ["digits", "moons"])
def test_an_empty_split_is_refused(dataset):
    with pytest.raises(ValueError, match=rf"split 'test\[:0\]' of dataset '{dataset}' is empty"):
        load(dataset, "test[:0]")


@pytest.mark.parametrize("data_dir", [None, "", "/no/such/folder"])
def test_a_folder_that_is_not_there_is_named(data_dir):
    with pytest.raises(ValueError, match="data_dir must be the folder of the pictures.*got") as caught:
        load("folder", "train", data_dir)
    assert repr(data_dir) in str(caught.value)


def test_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="data_dir must hold pictures") as caught:
        load("folder", "train", str(tmp_path))
    assert str(tmp_path) in str(caught.value)


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
