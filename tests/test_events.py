"""Events and Contexts: the forms that a flow's data may have, and what is said of any other."""

import dataclasses
import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_realnvp import FlowModel, VectorRealNVP, evaluation
from tfp_realnvp.bijectors import Coupling
from tfp_realnvp.bijectors.masks import Checkerboard
from tfp_realnvp.common import value_errors
from tfp_realnvp.contexts import Contexts
from tfp_realnvp.events import Events
from tfp_realnvp.export import endpoints
from tfp_realnvp.networks import TanhScale

tfb = tfp.bijectors
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
        (((IMAGES, LABELS), LABELS), "y and sample_weight must be None where x is a tuple that holds them"),
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


def generated(*batches, shape):
    """A data set of these batches of images, of whose shape no more than this is known."""
    signature = tf.TensorSpec(shape, tf.uint8)
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def one_convolution(num_bins=17):
    """A flow whose graphs are quickly traced."""
    coupling = Coupling(
        Checkerboard(), TanhScale(keras.layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros"))
    )
    base = tfd.Sample(tfd.Normal(0.0, 10.0), IMAGE)
    model = FlowModel(tfd.TransformedDistribution(base, tfb.Invert(coupling)), num_bins, seed=0)
    model.compile()
    return model


OPEN = [[None, None, None, 1], [None, None, None, None], [None, 4, None, 1], [None, None, 4, None]]


@pytest.fixture(scope="module")
def of_arrays():
    """A flow, the log-likelihoods that it predicts of four images, and the history of another one's fit to them."""
    model = one_convolution()
    nats = model.predict(IMAGES[:4], batch_size=2, verbose=0)
    arrays = dict(batch_size=2, shuffle=False, validation_data=IMAGES[:4])
    return model, nats, one_convolution().fit(IMAGES[:4], **arrays, verbose=0).history


@pytest.mark.parametrize("shape", OPEN, ids=str)
def test_sides_that_a_data_set_leaves_open_are_taken_for_those_of_an_event(of_arrays, shape):
    (model, nats, expected), dataset = of_arrays, generated(IMAGES[:2], IMAGES[2:4], shape=shape)
    np.testing.assert_array_equal(model.predict(dataset, verbose=0), nats)
    np.testing.assert_array_equal(evaluation.log_likelihood(model, dataset), nats)
    assert model.evaluate(dataset, verbose=0)[0] == pytest.approx(-nats.mean(), rel=1e-6)
    history = one_convolution().fit(dataset, validation_data=dataset, verbose=0).history
    for name, losses in expected.items():
        assert history[name] == pytest.approx(losses, rel=1e-6), name


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_a_later_batch_of_other_sides_is_refused(method):
    dataset = generated(IMAGES[:2], IMAGES[:2, :2], shape=[None] * 4)
    with pytest.raises(ValueError, match=r"^x must hold events of shape \(4, 4, 1\); got a batch of others$"):
        getattr(one_convolution(), method)(dataset, verbose=0)


def test_sides_that_only_a_graph_knows_are_checked_there():
    check = tf.function(of_images().checked_tensor).get_concrete_function(tf.TensorSpec([None] * 4, tf.uint8))
    assert check.output_shapes == tf.TensorShape([None, *IMAGE])
    np.testing.assert_array_equal(check(tf.constant(IMAGES)), IMAGES)
    message = r"^x must hold events of shape \(4, 4, 1\); got a batch of others$"
    for other in (IMAGES[:, :2], IMAGES[:, :, :2], np.repeat(IMAGES, 2, axis=-1)):
        with pytest.raises(ValueError, match=message), value_errors():
            check(tf.constant(other))


@pytest.mark.parametrize(
    "dataset, message",
    [
        (
            generated(IMAGES, shape=None),
            "x must hold batches of shape [batch] + (4, 4, 1); got a data set of unknown rank: tf.ensure_shape(x, "
            "[None, 4, 4, 1]) in dataset.map makes it known",
        ),
        (generated(*IMAGES, shape=[None] * 3), "shape [batch] + (4, 4, 1); got (None, None, None)"),
        (generated(IMAGES, shape=[None, 5, None, 1]), "shape [batch] + (4, 4, 1); got (None, 5, None, 1)"),
        (
            generated(*IMAGES, shape=[None, None, 1]).ragged_batch(2),
            "x must hold batches that are tensors; got RaggedTensorSpec(",
        ),
    ],
)
def test_a_data_set_whose_known_shape_does_not_fit_is_refused(dataset, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        of_images().checked("x", dataset)


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
    with pytest.raises(ValueError, match=rf"y must hold the labels .* from 0 to 2; got int64 from {min(label, 0)}"):
        CLASSES.checked("y", np.array([0, label]))
    in_graph = tf.function(CLASSES.vectors, input_signature=[tf.TensorSpec([None], tf.int64)])
    with pytest.raises(ValueError, match="^y must hold labels from 0 to 2$"), value_errors():
        in_graph([0, label])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused_also_in_a_graph(value):
    vectors = VECTORS.copy()
    vectors[4, 1] = value
    with pytest.raises(ValueError, match="y must be finite; got NaN or infinity"):
        GIVEN.vectors(vectors)
    in_graph = tf.function(GIVEN.vectors, input_signature=[tf.TensorSpec([None, 3])])
    with pytest.raises(ValueError, match="^y must be finite; got NaN or infinity$"), value_errors():
        in_graph(vectors)


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_contexts_of_a_data_set_that_are_not_finite_are_refused(method):
    model = VectorRealNVP((2,), num_couplings=2, hidden_units=[2], norm=None, context_size=3, seed=0)
    model.compile()
    contexts = VECTORS.copy()
    contexts[5, 0] = np.nan
    with pytest.raises(ValueError, match="^y must be finite; got NaN or infinity$"):
        getattr(model, method)(in_batches((POINTS, contexts)), verbose=0)
    assert int(model.optimizer.iterations) == (method == "fit")  # the batch before it is learned from


@pytest.mark.parametrize("contexts, one, each", [(CLASSES, LABELS[1], LABELS), (GIVEN, VECTORS[1], VECTORS)])
def test_samples_have_a_context_each_or_one_for_all(contexts, one, each):
    other = {"labels": "context", "context": "labels"}[contexts.name]
    given = lambda context: contexts.of_samples(6, **{contexts.name: context, other: None})
    (values,) = given(each)
    np.testing.assert_array_equal(values, each)
    assert values.dtype == contexts.dtype.as_numpy_dtype
    np.testing.assert_array_equal(given(one)[0], np.broadcast_to(one, each.shape))
    np.testing.assert_array_equal(contexts.of_events(6, each)[0], each)


def test_labels_of_a_data_set_are_not_cut_off_to_ints():
    with pytest.raises(ValueError, match="y must hold the labels of a class-conditional flow, ints .*; got float32"):
        of_points(CLASSES).unpack((tf.constant(POINTS), tf.fill([len(POINTS)], 1.5)))


WRONG_LABELS = {
    "a column": (LABELS[:, None], r"y must hold batches of shape \[batch\] \+ \(\); got \(None, 1\)"),
    "one-hot": (np.eye(3, dtype=int)[LABELS], r"y must hold batches of shape \[batch\] \+ \(\); got \(None, 3\)"),
    "floats": (LABELS.astype(np.float32), "y must hold the labels of a class-conditional flow, ints .*; got float32"),
    "words": (LABELS.astype(str), "y must hold numbers; got string"),
    "nothing": (None, "y must hold the labels of a class-conditional flow, ints from 0 to 2; got none"),
}


@pytest.fixture(scope="module")
def of_classes():
    model = VectorRealNVP((2,), num_couplings=1, hidden_units=[2], norm=None, num_classes=3, seed=0)
    model.compile()
    return model


@pytest.mark.parametrize("name", WRONG_LABELS)
def test_wrong_labels_of_a_data_set_are_refused_before_a_graph_is_traced(of_classes, name):
    labels, message = WRONG_LABELS[name]
    wrong, right = in_batches((POINTS, labels)), in_batches((POINTS, LABELS))
    for method in (of_classes.evaluate, of_classes.predict, of_classes.fit):
        with pytest.raises(ValueError, match=f"^{message}"):
            method(wrong, verbose=0)
    with pytest.raises(ValueError, match=f"^{message}"):
        of_classes.fit(right, validation_data=wrong, verbose=0)
    for function in (of_classes.train_function, of_classes.test_function, of_classes.predict_function):
        assert function is None


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[:, None], r"y must have shape \[N\] \+ \(\); got \(6, 1\)"),
        (np.eye(3, dtype=int)[LABELS], "y must have"),
    ],
)
@pytest.mark.parametrize("make", [lambda *batch: (each for each in [batch]), lambda *batch: SingleBatch(batch)])
def test_wrong_labels_of_a_first_batch_are_refused_before_a_graph_is_traced(of_classes, make, labels, message):
    for method in (of_classes.evaluate, of_classes.predict, of_classes.fit):
        with pytest.raises(ValueError, match=f"^{message}"):
            method(make(POINTS, labels), verbose=0)
    assert of_classes.train_function is of_classes.test_function is of_classes.predict_function is None


class SingleBatch(keras.utils.PyDataset):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.batch


def test_contexts_of_a_data_set_are_checked_like_events():
    unknown = in_batches((POINTS, VECTORS)).map(lambda x, y: (x, tf.numpy_function(lambda y: y, [y], tf.float32)))
    for data, message in [
        (in_batches((POINTS, POINTS)), "y must hold batches of shape [batch] + (3,); got (None, 2)"),
        (in_batches((POINTS, LABELS)), "y must hold batches of shape [batch] + (3,); got (None,)"),
        (
            tf.data.Dataset.from_tensors((POINTS, VECTORS[:5])),
            "y must have as many entries as x; got (5, 3) and (6, 2)",
        ),
        (unknown, "got a data set of unknown rank: tf.ensure_shape(y, [None, 3]) in dataset.map makes it known"),
        (in_batches(POINTS), "y must hold the contexts of a conditional flow, vectors of size 3; got none"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            of_points(GIVEN).checked("x", data)
    known = unknown.map(lambda x, y: (x, tf.ensure_shape(y, [None, None])))  # The graph checks the open side.
    of_points(GIVEN).checked("x", known)
    with pytest.raises(ValueError, match=r"^y must hold events of shape \(3,\)"), value_errors():
        list(known.map(lambda x, y: GIVEN.of_batch(y[:, :2], tf.shape(x)[0])))


def test_another_number_of_labels_than_events_is_refused_in_the_graph(of_classes):
    fewer = in_batches((POINTS, LABELS)).map(lambda x, y: (x, y[:1]))  # It would broadcast.
    with pytest.raises(ValueError, match="^y must have as many entries as x$"):
        of_classes.evaluate(fewer, verbose=0)
    of_classes.evaluate(in_batches((POINTS, LABELS)), verbose=0)


def test_without_contexts_there_are_none():
    assert NONE.of_events(6, None) == NONE.of_samples(6, None, None) == []


COLUMNS = {
    "bool": pd.DataFrame({"a": [0.5, 2.0], "b": [True, False]}),
    "nullable": pd.DataFrame({"a": pd.array([0.5, 2.0], "Float32"), "b": pd.array([1, 0], "Int64")}),
    "nullable bool": pd.DataFrame({"a": [0.5, 2.0], "b": pd.array([True, False], "boolean")}),
    "objects": np.array([[0.5, True], [2.0, False]], object),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_numbers_of_any_type_are_numbers(name):
    expected = [[0.5, 1.0], [2.0, 0.0]]
    for values in (
        of_points().checked("x", COLUMNS[name])[0],
        of_points().checked_array("x", COLUMNS[name]),
        of_points().checked_latents(COLUMNS[name]),
        Contexts(None, 2, tf.float32).checked("y", COLUMNS[name]),
    ):
        assert values.dtype.kind == "f"
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("other", [[1, pd.NA], ["1", "2"], ["a", "b"], pd.to_datetime(["2020-01-01"] * 2)])
def test_columns_of_anything_else_are_refused(other):
    with pytest.raises(ValueError, match="x must hold numbers; got "):
        of_points().checked("x", pd.DataFrame({"a": [0.5, 2.0], "b": other}))


def test_the_error_shows_a_word_and_no_number_beside_it():
    with pytest.raises(ValueError, match=r"x must hold numbers; got <U\d+ such as \['red'\]"):
        of_points().checked("x", pd.DataFrame({"a": [0.5, 2.0], "b": ["red", "blue"]}))


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


WIDE = [
    ("int8", 200),
    ("int8", 256),
    ("int16", 40_000),
    ("uint16", 65_536),
    ("uint64", 65_536),
    ("float16", 40_000),
    ("bool", 2),
    ("bool", 256),
]


@pytest.mark.parametrize("dtype, num_bins", WIDE)
@pytest.mark.parametrize("in_graph", [True, False])
def test_levels_are_compared_in_a_type_that_holds_both(dtype, num_bins, in_graph):
    events, largest = of_images(num_bins=num_bins), {"bool": 1, "float16": 2048}.get(dtype) or np.iinfo(dtype).max
    check = tf.function(events.checked_tensor) if in_graph else events.checked_tensor
    images = np.full([2, *IMAGE], min(largest, num_bins - 1), dtype)
    np.testing.assert_array_equal(check(tf.constant(images)), images)
    np.testing.assert_array_equal(events.checked_array("x", images), images)
    for level in [-1] * (np.dtype(dtype).kind in "if") + [2 * num_bins] * (largest > 2 * num_bins):
        with pytest.raises(ValueError, match="^x must hold integers from 0 to"), value_errors():
            check(tf.constant(np.full([2, *IMAGE], level, dtype)))


@pytest.mark.parametrize("dtype, num_bins", [("int8", 200), ("int16", 40_000), ("uint16", 65_536), ("bool", 2)])
def test_a_flow_takes_levels_of_every_type(dtype, num_bins, eagerly):
    images = np.random.default_rng(0).integers(2 if dtype == "bool" else 100, size=[4, *IMAGE])
    model = one_convolution(num_bins)
    model.compile(run_eagerly=True)
    export = {name: function for name, (function, _) in endpoints(model).items()}
    expected = model.predict(images, verbose=0)
    for data in (images.astype(dtype), tf.data.Dataset.from_tensors(images.astype(dtype))):
        np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-6)
        assert model.evaluate(data, verbose=0)[0] == pytest.approx(-expected.mean(), rel=1e-6)
    z = model.encode(images.astype(dtype))
    np.testing.assert_array_equal(model.decode(z), images)
    x = tf.cast(images, model.events.data_dtype)
    np.testing.assert_allclose(export["log_prob"](x)["nats"], expected, rtol=1e-6)
    np.testing.assert_array_equal(export["decode"](export["encode"](x)["latents"])["images"], images)
    for data in (images.astype(dtype), tf.data.Dataset.from_tensors(images.astype(dtype))):
        model.fit(data, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 2


def test_other_errors_stay_what_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError, match="something else"), value_errors():
        tf.debugging.assert_equal(1, 2, "something else")


def test_latents_have_the_dtype_of_the_flow():
    z = of_points().checked_latents(POINTS.astype(np.float64).tolist())
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, POINTS)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
