"""Folders of pictures as data sets."""

import os
import pathlib
import re
import struct
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.train.data.sets import load, rows, write_pictures
from train.data import folder


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
    images = list(load("folder", "train", str(tmp_path), image_size=(8, 6)).dataset.as_numpy_iterator())
    with Image.open(tmp_path / "b.JPG") as picture:  # TensorFlow's own decoding of JPEG is less accurate.
        picture.save(tmp_path / "b.bmp")
    (tmp_path / "b.JPG").unlink()
    expected = keras.utils.image_dataset_from_directory(
        str(tmp_path), labels=None, image_size=(8, 6), crop_to_aspect_ratio=True, shuffle=False, verbose=False
    )
    (expected,) = expected.as_numpy_iterator()
    np.testing.assert_array_equal(np.stack(images), np.round(expected))


def test_pictures_are_decoded_as_pillow_decodes_them(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, [24, 16, 3], np.uint8)
    options = [
        ("png", "RGB", {}),
        ("bmp", "RGB", {}),
        ("gif", "P", {}),
        ("jpg", "L", {}),
        ("jpg", "CMYK", {}),
        *[("jpg", "RGB", dict(quality=q, subsampling=s)) for q in (30, 75, 100) for s in (0, 1, 2)],
        ("jpg", "RGB", dict(quality=75, progressive=True)),
    ]
    for number, (suffix, mode, how) in enumerate(options):
        path = tmp_path / f"{number}.{suffix}"
        Image.fromarray(noise).convert(mode).save(path, **how)
        for channels, converted in ((3, "RGB"), (1, "L")):
            with Image.open(path) as picture:
                expected = np.asarray(picture.convert("RGB").convert(converted)).reshape(24, 16, channels)
            found = folder.read_picture(str(path), (24, 16, channels), 256, max_pixels=24 * 16)
            np.testing.assert_array_equal(found, expected, err_msg=f"{suffix} {mode} {how}")


def test_links_to_folders_are_followed_and_each_folder_counts_once(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    write_pictures(root / "z", ["a.png"])
    write_pictures(other / "deeper", ["b.png"])
    (root / "a").symlink_to(root / "z")  # its own path is the other one
    (root / "c").symlink_to(other)
    (other / "d").symlink_to(other / "deeper")
    (other / "back").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "e.png").symlink_to(other / "deeper/b.png")  # files are files
    found = [str(pathlib.Path(path).relative_to(root)) for path in folder.picture_paths(root)]
    assert found == ["c/deeper/b.png", "e.png", "z/a.png"]


def hostile(folder, name):
    """A path that must not be read as a whole, and the reason that is given."""
    path = folder / f"{name}.png"
    limit = "the picture must have at most 100 pixels (config.max_pixels); got "
    match name:
        case "fifo":
            os.mkfifo(path)
        case "zeros":
            path.symlink_to("/dev/zero")
        case "nowhere":
            path.symlink_to(folder / "nothing")
        case "bomb":
            Image.new("1", (20_000, 5_000)).save(path)
            return limit + "5000 × 20000"
        case "vast":
            chunks = {b"IHDR": struct.pack(">2I5B", 23_000, 23_000, 8, 0, 0, 0, 0), b"IDAT": b"", b"IEND": b""}
            parts = [
                struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                for kind, data in chunks.items()
            ]
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
            return "the picture must have at most 100 pixels (config.max_pixels): Image size (529000000 pixels)"
        case "frames":
            images = [Image.new("L", (5, 5), number) for number in range(9)]
            images[0].save(path, "GIF", save_all=True, append_images=images[1:])
            return limit + "5 × 5 in 9 frames"
        case "sparse":
            Image.new("L", (5, 5)).save(path)
            os.truncate(path, 2**40)
            return "the picture's file must have at most 16778016 bytes; got 1099511627776"
    return "the picture must be a regular file, or a link to one"


@pytest.mark.parametrize("name", ["fifo", "zeros", "nowhere", "bomb", "vast", "frames", "sparse"])
def test_what_never_ends_or_is_too_large_is_not_read(name, tmp_path):
    message = re.escape(hostile(tmp_path, name))
    with pytest.raises(ValueError, match=message):
        folder.read_picture(str(tmp_path / f"{name}.png"), (5, 5, 1), 256, max_pixels=100)
    write_pictures(tmp_path, ["a.png"])
    with pytest.raises(ValueError, match=f"of .*{name}.png {message}"):
        load("folder", "train", str(tmp_path), max_pixels=100)


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
