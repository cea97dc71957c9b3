"""The stream of training batches, and the batches of evaluation."""

import numpy as np
import pytest
import tensorflow as tf

from tests.train.data.sets import (
    AUGMENTATIONS,
    corner,
    labelled,
    landscapes,
    load,
    middle,
    numbered,
    numbers,
    resized,
    stream,
)
from train import data


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


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
