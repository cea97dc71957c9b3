"""Data sets by name: their splits, the stream of training batches, and what is said where data are missing."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from train import data
from train.configs import cifar10, cifar10_small, default, fashion_mnist, mnist

AUGMENTATIONS = [{}, {"flip": True}, {"flip": True, "shift": 0.5}]


def config_of(dataset, **fields):
    config = default.get_config()
    config.update(dataset=dataset, **fields)
    return config


def load(dataset, split, data_dir=None, **fields):
    return data.load(config_of(dataset, **fields), split, data_dir)


def rows(examples):
    """The examples as a list of tuples of numbers, which can be sorted and compared."""
    batches = examples.dataset.batch(1000).as_numpy_iterator()
    return [tuple(row) for batch in batches for row in batch.reshape(len(batch), -1).tolist()]


def numbered(size):
    """Examples of two by three pixels, number i holding 6 i, 6 i + 1, ...: no two share a pixel."""
    images = np.arange(6 * size, dtype=np.int32).reshape(size, 2, 3, 1)
    return data.Examples(tf.data.Dataset.from_tensor_slices(images), (2, 3, 1), None, size)


def stream(examples, batches, **options):
    options = {"batch_size": 4, "seed": 0, **options}
    return [batch.numpy() for batch in data.training_batches(examples, **options).take(batches)]


def numbers(batches):
    return [int(image.min()) // 6 for batch in batches for image in batch]


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A folder that holds a TFDS data set, "pictures": number i of each split is all of level i."""

    class Pictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(shape=(4, 6, 3)), "label": tfds.features.ClassLabel(num_classes=2)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(25), "test": self._generate_examples(7)}

        def _generate_examples(self, size):
            for number in range(size):
                yield number, {"image": np.full([4, 6, 3], number, np.uint8), "label": number % 2}

    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    Pictures(data_dir=folder).download_and_prepare()
    return folder


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


def test_the_splits_of_the_digits_are_disjoint_and_hold_all():
    splits = {split: rows(load("digits", split)) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in splits.items()} == {"train": 1397, "validation": 100, "test": 300}
    every_row = [row for found in splits.values() for row in found]
    assert len(every_row) == 1797 and len(set(every_row)) == 1797  # no digit is there twice in scikit-learn's data


@pytest.mark.parametrize("dataset", ["digits", "moons"])
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


# Folders of pictures.


def test_a_folder_with_train_and_test_below_it_has_these_splits(tmp_path):
    write_pictures(tmp_path / "train", ["a.png", "b.jpg", "deeper.jpeg"])
    write_pictures(tmp_path / "test", ["c.png"], size=(40, 20))
    train = load("folder", "train", str(tmp_path), image_size=(6, 4))
    test = load("folder", "test", str(tmp_path), image_size=(6, 4))
    assert (train.size, test.size, train.event_shape, train.num_bins) == (3, 1, (6, 4, 3), 256)
    assert train.dataset.element_spec == tf.TensorSpec([6, 4, 3], tf.uint8)
    first = next(train.dataset.as_numpy_iterator())
    np.testing.assert_array_equal(first, np.broadcast_to([0, 0, 200], [6, 4, 3]))  # a PNG file keeps its colors


def test_a_folder_without_them_holds_a_tenth_out(tmp_path):
    write_pictures(tmp_path, [f"{number:02d}.png" for number in range(20)])
    train, test = (rows(load("folder", split, str(tmp_path))) for split in ("train", "test"))
    assert (len(train), len(test), len(set(train) | set(test))) == (18, 2, 20)
    assert train == rows(load("folder", "train", str(tmp_path)))


def test_a_folder_of_gray_pictures_has_one_channel(tmp_path):
    write_pictures(tmp_path, [f"{number}.png" for number in range(10)], mode="L")
    examples = load("folder", "train", str(tmp_path), grayscale=True, image_size=(8, 8))
    assert examples.event_shape == (8, 8, 1)
    assert [row[0] for row in rows(examples)] == [10 * number for number in range(9)]


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


# Batches.


@pytest.mark.parametrize("options", AUGMENTATIONS)
@pytest.mark.parametrize("start_step", [1, 2, 3, 7])  # a pass over ten examples ends within the third batch of four
def test_the_stream_can_be_entered_at_any_step(start_step, options):
    whole = stream(numbered(10), 10, **options)
    entered = stream(numbered(10), 10 - start_step, start_step=start_step, **options)
    np.testing.assert_array_equal(entered, whole[start_step:])


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


# What is said where data are missing.


@pytest.mark.parametrize("dataset", ["nope", "", "no such:name", "cifar10:9.9.9"])
def test_an_unknown_data_set_is_named(dataset):
    with pytest.raises(ValueError) as caught:
        load(dataset, "train")
    assert str(caught.value) == (
        f"dataset must be digits, moons, folder or the name of a TFDS data set; got {dataset!r}"
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
    with pytest.raises(ValueError, match="'train' or 'test' for dataset=folder; got 'validation'"):
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
