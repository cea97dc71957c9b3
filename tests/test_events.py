"""Events and Contexts: the forms that a flow's data may have, and what is said of any other."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp.events import Contexts, Events, value_errors

tfd = tfp.distributions

IMAGE = (4, 4, 1)
IMAGES = np.random.default_rng(0).integers(17, size=(6, *IMAGE)).astype(np.uint8)
LABELS = np.arange(6) % 3
POINTS = np.random.default_rng(1).standard_normal([6, 2]).astype(np.float32)
VECTORS = np.random.default_rng(2).standard_normal([6, 3]).astype(np.float32)

NONE = Contexts(None, None, tf.float32)
CLASSES = Contexts(3, None, tf.float32)
GIVEN = Contexts(None, 3, tf.float32)


def of_images(contexts=NONE, num_bins=17):
    return Events(IMAGE, tf.float32, num_bins, contexts)


def of_points(contexts=NONE):
    return Events((2,), tf.float32, None, contexts)


def in_batches(data):
    return tf.data.Dataset.from_tensor_slices(data).batch(4)


# What they are.


def normal(event_shape, batch_shape=(), dtype="float32"):
    return tfd.Independent(tfd.Normal(tf.zeros([*batch_shape, *event_shape], dtype), 1.0), len(event_shape))


@pytest.mark.parametrize(
    "distribution, num_bins, contexts, expected",
    [
        (normal(IMAGE), "auto", NONE, Events(IMAGE, tf.float32, 256, NONE)),
        (normal(IMAGE, dtype="float64"), 17, NONE, Events(IMAGE, tf.float64, 17, NONE)),
        (normal([2]), "auto", NONE, Events((2,), tf.float32, None, NONE)),
        (normal([2], [1]), None, GIVEN, Events((2,), tf.float32, None, GIVEN)),
    ],
)
def test_they_are_those_of_the_distribution(distribution, num_bins, contexts, expected):
    assert Events.of(distribution, num_bins, contexts) == expected


@pytest.mark.parametrize(
    "distribution, contexts, message",
    [
        (normal([2], [3]), NONE, r"distribution must have no batch shape; got \(3,\)"),
        (normal([2]), GIVEN, r"distribution must have the context’s batch shape; got \(\)"),
    ],
)
def test_a_distribution_of_another_batch_shape_is_refused(distribution, contexts, message):
    with pytest.raises(ValueError, match=message):
        Events.of(distribution, None, contexts)


def test_nothing_changes_them():
    with pytest.raises(dataclasses.FrozenInstanceError):
        of_images().num_bins = 256
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLASSES.num_classes = 4


@pytest.mark.parametrize("num_bins, dtype", [(2, "uint8"), (256, "uint8"), (257, "uint16"), (None, "float32")])
def test_samples_have_the_smallest_dtype_that_holds_the_levels(num_bins, dtype):
    assert of_images(num_bins=num_bins).data_dtype == dtype


@pytest.mark.parametrize(
    "contexts, size, name, shape, dtype",
    [
        (CLASSES, 3, "labels", (), "int64"),
        (Contexts(None, 2, tf.float64), 2, "context", (2,), "float64"),
    ],
)
def test_contexts_are_labels_or_vectors(contexts, size, name, shape, dtype):
    assert (contexts.size, contexts.name, contexts.shape, contexts.dtype.name) == (size, name, shape, dtype)


# What Keras hands over.

FORMS = {
    "arrays": (IMAGES, LABELS),
    "tensors": (tf.constant(IMAGES), tf.constant(LABELS)),
    "lists": (IMAGES.tolist(), LABELS.tolist()),
    "a frame of labels": (IMAGES, pd.Series(LABELS)),
    "as predict has them": ((IMAGES, LABELS),),
    "a dictionary": {"image": IMAGES, "label": LABELS},
    "a dictionary of tensors": {"image": tf.constant(IMAGES), "label": tf.constant(LABELS, tf.int32)},
    "a dictionary and labels": ({"image": IMAGES}, LABELS),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_unpacked_alike(form):
    x, context = of_images(CLASSES).unpack(FORMS[form])
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(context, LABELS)
    x, context = of_images().unpack(FORMS[form])
    np.testing.assert_array_equal(x, IMAGES)
    assert context is None


@pytest.mark.parametrize(
    "data, message",
    [
        ((IMAGES, LABELS, np.ones(6)), "sample_weight must be None: every example counts the same"),
        (IMAGES, "y must hold the labels of a class-conditional flow, ints from 0 to 2; got none"),
        ({"label": LABELS}, r"a dictionary of data must hold \"image\"; got the keys \['label'\]"),
    ],
)
def test_what_is_missing_or_too_much_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        of_images(CLASSES).unpack(data)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return IMAGES[:4], LABELS[:4]


@pytest.mark.parametrize(
    "make",
    [
        lambda: in_batches((IMAGES, LABELS)),
        lambda: in_batches({"image": IMAGES, "label": LABELS}),
        lambda: ((IMAGES[i : i + 4], LABELS[i : i + 4]) for i in (0, 4)),
        lambda: Batches(),
    ],
)
def test_the_first_of_the_batches_is_still_fitted(make):
    events, data = of_images(CLASSES), make()
    data, batch = events.first_batch(data, None, batch_size=2, seed=0)
    first = next(iter(data)) if not isinstance(data, Batches) else data[0]
    for part, expected in zip(events.unpack(batch), events.unpack(first), strict=True):
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(events.unpack(first)[0], IMAGES[:4])


@pytest.mark.parametrize("contexts", [NONE, CLASSES])
def test_a_first_batch_of_arrays_is_a_random_one(contexts):
    x, (events, labels) = of_images(contexts).first_batch(IMAGES, LABELS, batch_size=4, seed=0)
    assert x is IMAGES and events.shape == (4, *IMAGE)
    places = [int(np.flatnonzero((IMAGES == event).all((1, 2, 3)))[0]) for event in events]
    assert len(set(places)) == 4 and places != [0, 1, 2, 3]
    np.testing.assert_array_equal(labels, None if contexts is NONE else LABELS[places])
    again = of_images(contexts).first_batch(IMAGES, LABELS, batch_size=4, seed=0)[1][0]
    np.testing.assert_array_equal(again, events)


@pytest.mark.parametrize("make", [lambda: in_batches(IMAGES).take(0), lambda: (batch for batch in ())])
def test_nothing_has_no_first_batch(make):
    with pytest.raises(ValueError, match="x must not be empty; got a data set without batches"):
        of_images().first_batch(make(), None, batch_size=4, seed=0)


# Contexts.


@pytest.mark.parametrize("batch", [(), (6,), (2, 3)])
def test_labels_are_seen_one_hot_and_vectors_as_they_are(batch):
    shape = batch or (1,)
    labels, vectors = LABELS[: np.prod(shape)].reshape(batch), VECTORS[: np.prod(shape)].reshape(*batch, 3)
    np.testing.assert_array_equal(CLASSES.vectors(labels), np.eye(3)[labels])
    np.testing.assert_array_equal(GIVEN.vectors(vectors), vectors)
    assert CLASSES.vectors(labels).dtype == GIVEN.vectors(vectors.astype(np.float64)).dtype == tf.float32


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range_are_refused_also_in_a_graph(label):
    with pytest.raises(ValueError, match="y must hold labels from 0 to 2"):
        CLASSES.vectors([0, label])
    in_graph = tf.function(CLASSES.vectors, input_signature=[tf.TensorSpec([None], tf.int64)])
    with pytest.raises(ValueError, match="^y must hold labels from 0 to 2$"), value_errors():
        in_graph([0, label])


@pytest.mark.parametrize("contexts, one, each", [(CLASSES, LABELS[1], LABELS), (GIVEN, VECTORS[1], VECTORS)])
def test_samples_have_a_context_each_or_one_for_all(contexts, one, each):
    other = {"labels": "context", "context": "labels"}[contexts.name]
    given = lambda context: contexts.of_samples(6, **{contexts.name: context, other: None})
    (values,) = given(each)
    np.testing.assert_array_equal(values, each)
    assert values.dtype == contexts.dtype.as_numpy_dtype
    np.testing.assert_array_equal(given(one)[0], np.broadcast_to(one, each.shape))
    np.testing.assert_array_equal(contexts.of_events(6, each)[0], each)


def test_without_contexts_there_are_none():
    assert NONE.of_events(6, None) == NONE.of_samples(6, None, None) == []


# Tensors.

BAD = {
    "NaN": (np.full([2, *IMAGE], np.nan, np.float32), "x must be finite; got NaN or infinity"),
    "fractions": (np.full([2, *IMAGE], 0.5, np.float32), "x must hold integers from 0 to 16"),
    "negative": (np.full([2, *IMAGE], -1, np.int32), "x must hold integers from 0 to 16"),
    "too large": (np.full([2, *IMAGE], 17, np.uint8), "x must hold integers from 0 to 16"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("in_graph", [True, False])
def test_bad_tensors_are_the_value_errors_of_arrays(name, in_graph):
    values, message = BAD[name]
    check = tf.function(of_images().checked_tensor) if in_graph else of_images().checked_tensor
    with pytest.raises(ValueError, match=f"^{message}"), value_errors():
        check(tf.constant(values))
    with pytest.raises(ValueError, match=f"^{message}"):
        of_images().checked_array("x", values)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int64, tf.float32, tf.float64])
def test_good_tensors_are_let_through(dtype):
    np.testing.assert_array_equal(of_images().checked_tensor(tf.cast(IMAGES, dtype)), IMAGES)


def test_other_errors_stay_what_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError, match="something else"), value_errors():
        tf.debugging.assert_equal(1, 2, "something else")


def test_latents_have_the_dtype_of_the_flow():
    z = of_points().checked_latents(POINTS.astype(np.float64).tolist())
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, POINTS)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
