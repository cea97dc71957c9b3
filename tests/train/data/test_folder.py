"""Folders of pictures as data sets."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.train.data.sets import load, rows, write_pictures


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


def test_a_folder_has_no_other_splits_than_train_and_test(tmp_path):
    write_pictures(tmp_path, ["a.png"])
    message = r"split must be one of \['test', 'train'\], or a slice of them; got 'validation' of folder"
    with pytest.raises(ValueError, match=message):
        load("folder", "validation", str(tmp_path))


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


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
