"""Data sets by name: their splits, and the errors for wrong names and settings."""

import pytest

from tests.train.data.sets import load, rows
from train import data
from train.data import toy


def test_the_end_of_an_iterator_waits_for_no_tuning():
    examples = load("digits", "test")
    for batches in (data.training_batches(examples, 8, seed=0), data.evaluation_batches(examples, 8)):
        assert batches.options().autotune.enabled is False


def test_slices_of_a_split_are_tfdss():
    whole = rows(load("digits", "test"))
    assert rows(load("digits", "test[:100]")) == whole[:100]
    assert rows(load("digits", "test[-30:]")) == whole[-30:]
    assert rows(load("digits", "test[50%:]")) == whole[150:]
    assert rows(load("digits", "validation+test[:5]")) == rows(load("digits", "validation")) + whole[:5]


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


@pytest.mark.parametrize("dataset", ["nope", "", "no such:name", "cifar10:9.9.9"])
def test_an_unknown_data_set_is_named(dataset):
    with pytest.raises(ValueError) as caught:
        load(dataset, "train")
    assert str(caught.value) == (
        f"dataset must be {', '.join(toy.SETS)}, folder or the name of a TFDS data set; got {dataset!r}"
    )


@pytest.mark.parametrize("split", ["nope", "", "test[", "test[a:b]", "test[:10000]", "test[:200%]"])
def test_an_unknown_split_is_named_with_those_there_are(split, tfds_dir):
    with pytest.raises(ValueError) as caught:
        load("digits", split)
    assert f"one of ['test', 'train', 'validation'], or a slice of them; got {split!r} of digits" in str(caught.value)
    with pytest.raises(ValueError) as caught:
        load("pictures", split, tfds_dir)
    assert f"one of ['test', 'train'], or a slice of them; got {split!r} of pictures" in str(caught.value)


@pytest.mark.parametrize("dataset", ["digits", "moons"])
def test_an_empty_split_is_refused(dataset):
    with pytest.raises(ValueError, match=rf"split 'test\[:0\]' of dataset '{dataset}' is empty"):
        load(dataset, "test[:0]")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
