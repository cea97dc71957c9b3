"""Keras's methods have Keras's signatures: names, order and defaults, and data in Keras's places."""

import inspect

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfp_realnvp as rnvp
from tfp_realnvp.parts import BATCHES

POINTS = np.random.default_rng(0).normal(size=[8, 2]).astype("float32")
LABELS = np.arange(8) % 3
CONTEXTS = np.random.default_rng(1).normal(size=[8, 2]).astype("float32")

pytestmark = pytest.mark.usefixtures("module_eagerly")


def compiled(**options):
    model = rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=(2,), norm=None, seed=0, **options)
    model.compile(run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def flow():
    return compiled()


METHODS = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_of_keras(name):
    ours = inspect.signature(getattr(rnvp.FlowModel, name)).parameters
    kerass = inspect.signature(getattr(keras.Model, name)).parameters
    positional = {key: each.default for key, each in ours.items() if each.kind is not each.KEYWORD_ONLY}
    assert list(positional.items()) == [(key, each.default) for key, each in kerass.items()]
    assert {key for key in ours if key not in positional} <= {"labels", "context"}


def test_arguments_by_position_mean_what_they_mean_to_keras(flow, monkeypatch):
    sizes = []
    log_likelihood = flow.log_likelihood
    monkeypatch.setattr(
        flow, "log_likelihood", lambda x, *args: (sizes.append(x.shape[0]), log_likelihood(x, *args))[1]
    )
    nats = flow.predict(POINTS, 4, 0)
    assert sizes == [4, 4] and nats.shape == (8,)
    logs = flow.evaluate(POINTS, None, 4, 0, return_dict=True)
    np.testing.assert_allclose(logs["loss"], -nats.mean(), rtol=1e-5)
    history = flow.fit(POINTS, None, 4, 2, 0)
    assert history.epoch == [0, 1] and int(flow.optimizer.iterations.numpy()) == 4


@pytest.mark.parametrize(
    "options, name, values",
    [(dict(num_classes=3), "labels", LABELS), (dict(context_size=2), "context", CONTEXTS)],
)
def test_the_contexts_of_a_prediction_come_in_a_tuple_or_by_name(options, name, values):
    model = compiled(**options)
    expected = model.predict((POINTS, values), verbose=0)
    np.testing.assert_array_equal(model.predict(POINTS, verbose=0, **{name: values}), expected)
    for actual in (
        model.predict_on_batch((POINTS, values)),
        model.predict_on_batch(POINTS, **{name: values}),
        model.log_likelihood(POINTS, values),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-5)
    logs = model.test_on_batch(POINTS, values, return_dict=True)
    np.testing.assert_allclose(logs["loss"], -expected.mean(), rtol=1e-5)
    other = ({"labels", "context"} - {name}).pop()
    for method in (model.predict, model.predict_on_batch):
        with pytest.raises(ValueError, match=f"{other} must be None for this flow"):
            method(POINTS, **{other: values})
        with pytest.raises(ValueError, match="y must hold the"):
            method(POINTS)


@pytest.mark.parametrize("name", ["predict", "predict_on_batch"])
def test_a_flow_without_a_context_takes_neither(flow, name):
    for argument in ("labels", "context"):
        with pytest.raises(ValueError, match=f"{argument} must be None for this flow"):
            getattr(flow, name)(POINTS, **{argument: LABELS})


@pytest.mark.parametrize("name", METHODS)
def test_wrong_events_are_refused_before_any_work(flow, name):
    with pytest.raises(ValueError, match=r"x must have shape \[N\] \+ \(2,\); got \(8, 3\)"):
        getattr(flow, name)(np.zeros([8, 3], "float32"))


@pytest.mark.parametrize("name", ["loss", "bits_per_dim", "val_loss", "val_bits_per_dim"])
def test_callbacks_know_that_lower_is_better(flow, name, tmp_path):
    callbacks = [
        keras.callbacks.EarlyStopping(monitor=name, patience=2),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor=name, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(monitor=name, patience=1, factor=0.5),
    ]
    logs = [3.0, 1.0, 2.0, 2.5]
    assert callbacks[0].mode == callbacks[1].mode == callbacks[2].mode == "auto"
    for callback in callbacks:
        callback.set_model(flow)
        callback.on_train_begin()
    rate = float(flow.optimizer.learning_rate.numpy())
    flow.stop_training = False
    for epoch, value in enumerate(logs):
        for callback in callbacks:
            callback.on_epoch_end(epoch, {name: value})
    assert [callback.best for callback in callbacks] == [1.0] * 3
    assert flow.stop_training and float(flow.optimizer.learning_rate.numpy()) == pytest.approx(rate / 4)
    flow.optimizer.learning_rate.assign(rate)


def test_they_run_in_fit(tmp_path):
    stopping = keras.callbacks.EarlyStopping(monitor="val_bits_per_dim", patience=1, min_delta=100.0)
    history = compiled().fit(POINTS, validation_data=POINTS, epochs=9, callbacks=[stopping], verbose=0).history
    assert len(history["val_bits_per_dim"]) == 2 and list(history) == [
        "bits_per_dim",
        "loss",
        "val_bits_per_dim",
        "val_loss",
    ]


# Weights of the examples.

WEIGHTS = np.random.default_rng(2).uniform(size=8).astype("float32")
CLASS_WEIGHT = {0: 2.0, 1: 0.5}
OF_CLASSES = np.array([2.0, 0.5, 1.0], "float32")[LABELS]


class Batches(keras.utils.PyDataset):
    """Batches of 3 of the parts of a data set; without any parts, none."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 3 if self.parts else 0

    def __getitem__(self, index):
        return tuple(part[3 * index : 3 * index + 3] for part in self.parts)


def in_batches(parts):
    return tf.data.Dataset.from_tensor_slices(parts).batch(3)


def generated(*parts):
    return (tuple(part if part is None else part[at : at + 3] for part in parts) for at in (0, 3, 6))


WEIGHTED = {
    "arguments": lambda weights: dict(x=POINTS, sample_weight=weights),
    "lists": lambda weights: dict(x=POINTS.tolist(), sample_weight=weights.tolist()),
    "frames": lambda weights: dict(x=pd.DataFrame(POINTS), sample_weight=pd.Series(weights)),
    "tensors": lambda weights: dict(x=tf.constant(POINTS), sample_weight=tf.constant(weights)),
    "with an ignored y": lambda weights: dict(x=POINTS, y=LABELS, sample_weight=weights),
    "a tuple": lambda weights: dict(x=(POINTS, None, weights)),
    "a data set": lambda weights: dict(x=in_batches((POINTS, LABELS, weights))),
    "a data set without y": lambda weights: dict(x=in_batches((POINTS, None, weights))),
    "a generator": lambda weights: dict(x=generated(POINTS, None, weights)),
    "a PyDataset": lambda weights: dict(x=Batches(POINTS, LABELS, weights)),
}


def with_batch_size(data):
    return dict(data, batch_size=None if isinstance(data["x"], BATCHES) else 3)


@pytest.mark.filterwarnings("ignore:.*(ran out of data|shuffle=True)")
@pytest.mark.parametrize("form", WEIGHTED)
def test_weights_weigh_the_loss_that_keras_reports(form, flow):
    nats = -flow.predict(POINTS, verbose=0)
    keras_itself = keras.Sequential([keras.layers.Identity()])
    keras_itself.compile(loss=lambda y, predicted: predicted[:, 0])
    expected = keras_itself.evaluate(nats[:, None], nats, batch_size=3, sample_weight=WEIGHTS, verbose=0)
    assert expected == pytest.approx(np.sum(WEIGHTS * nats) / 8, rel=1e-5)
    logs = flow.evaluate(**with_batch_size(WEIGHTED[form](WEIGHTS)), verbose=0, return_dict=True)
    assert logs == pytest.approx({"loss": expected, "bits_per_dim": expected / (2 * np.log(2))}, rel=1e-5)
    if form in ("arguments", "lists", "frames", "tensors"):
        assert flow.test_on_batch(**WEIGHTED[form](WEIGHTS), return_dict=True) == pytest.approx(logs, rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*(ran out of data|shuffle=True)")
@pytest.mark.parametrize("form", WEIGHTED)
def test_weights_weigh_what_is_learned(form, eagerly):
    """An example of weight 2 is learned from as if it were there twice, one of weight 0 not at all."""
    numbers = np.array([2, 0, 1, 1, 0, 2, 2, 1])  # 3 in each batch
    model, expected = compiled(), compiled()
    expected.fit(np.repeat(POINTS, numbers, axis=0), batch_size=3, shuffle=False, verbose=0)
    weights = numbers * np.array([1, 1, 1, 1, 1, 1, 2 / 3, 2 / 3])  # The last batch has two examples.
    history = model.fit(
        **with_batch_size(WEIGHTED[form](weights)), shuffle=False, validation_data=(POINTS, None, WEIGHTS), verbose=0
    ).history
    for weight, other in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-7)
    assert history["val_loss"][0] == pytest.approx(np.mean(WEIGHTS * -model.predict(POINTS, verbose=0)), rel=1e-5)


def test_a_part_for_validation_keeps_its_weights():
    model = compiled()
    history = model.fit(POINTS, sample_weight=WEIGHTS, validation_split=0.25, verbose=0).history
    nats = -model.predict(POINTS[6:], verbose=0)
    assert history["val_loss"][0] == pytest.approx(np.mean(WEIGHTS[6:] * nats), rel=1e-5)


BY_CLASS = {
    "arguments": lambda: dict(x=POINTS, y=LABELS),
    "a tuple": lambda: dict(x=(POINTS, LABELS)),
    "a dictionary": lambda: dict(x={"image": POINTS, "label": LABELS}),
    "a data set": lambda: dict(x=in_batches((POINTS, LABELS))),
    "a data set of dictionaries": lambda: dict(x=in_batches({"image": POINTS, "label": LABELS})),
    "a PyDataset": lambda: dict(x=Batches(POINTS, LABELS)),
}


@pytest.mark.parametrize("form", BY_CLASS)
def test_weights_of_classes_are_those_of_their_examples(form, eagerly):
    models = [compiled(num_classes=3), compiled(num_classes=3)]
    models[0].fit(POINTS, LABELS, batch_size=3, sample_weight=OF_CLASSES, shuffle=False, verbose=0)
    models[1].fit(**with_batch_size(BY_CLASS[form]()), class_weight=CLASS_WEIGHT, shuffle=False, verbose=0)
    logs = [models[0].train_on_batch(POINTS, LABELS, OF_CLASSES)]
    logs.append(models[1].train_on_batch(POINTS, LABELS, class_weight=CLASS_WEIGHT))
    assert logs[0] == logs[1]
    for weight, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(weight, other)


WRONG = {
    "too few": (WEIGHTS[:7], r"of shape \(8,\); got float32 of shape \(7,\)"),
    "a column": (WEIGHTS[:, None], r"of shape \(8,\); got float32 of shape \(8, 1\)"),
    "one": (1.0, r"of shape \(8,\); got float64 of shape \(\)"),
    "words": (["a"] * 8, "must hold numbers"),
    "negative": (WEIGHTS - 0.5, "must be finite and not negative; got values such as -"),
    "NaN": (WEIGHTS * np.nan, "must be finite and not negative; got values such as nan"),
    "infinite": (WEIGHTS * np.inf, "must be finite and not negative; got values such as inf"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_weights_are_refused_before_any_work(flow, name):
    weights, message = WRONG[name]
    before = flow.get_weights()
    calls = [
        lambda: flow.fit(POINTS, sample_weight=weights),
        lambda: flow.fit(POINTS, validation_data=(POINTS, None, weights)),
        lambda: flow.evaluate(POINTS, sample_weight=weights),
        lambda: flow.train_on_batch(POINTS, sample_weight=weights),
        lambda: flow.test_on_batch(POINTS, sample_weight=weights),
        lambda: flow.fit(part for part in [(POINTS, None, weights)]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"sample_weight .*{message}"):
            call()
    for weight, other in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    "weights, message",
    [
        (WEIGHTS[:, None], r"must hold batches of shape \[batch\] \+ \(\); got \(None, 1\)"),
        (-WEIGHTS, "must be finite and not negative"),
        (np.full(8, np.nan), "must be finite and not negative"),
        (np.full(8, "a"), "must hold numbers; got string"),
    ],
)
def test_wrong_weights_of_a_data_set_are_refused(flow, weights, message, in_graphs):
    for method in (flow.fit, flow.evaluate):
        with pytest.raises(ValueError, match=f"^sample_weight {message}"):
            method(in_batches((POINTS, None, weights)), verbose=0)


def test_another_number_of_weights_than_examples_is_refused(flow):
    fewer = in_batches((POINTS, None, WEIGHTS)).map(lambda x, y, weights: (x, y, weights[:1]))
    with pytest.raises(ValueError, match="^sample_weight must have as many entries as x$"):
        flow.evaluate(fewer, verbose=0)


@pytest.mark.parametrize(
    "options, data, class_weight, message",
    [
        ({}, dict(x=POINTS), CLASS_WEIGHT, "class_weight must be None for a flow without labels"),
        (dict(context_size=2), dict(x=POINTS, y=CONTEXTS), CLASS_WEIGHT, "class_weight must be None for a flow"),
        (dict(num_classes=3), dict(x=POINTS, y=LABELS), {3: 1.0}, "keys among the labels .* from 0 to 2; got {3: 1.0}"),
        (dict(num_classes=3), dict(x=POINTS, y=LABELS), [1.0, 2.0, 3.0], "class_weight must be a dictionary"),
        (dict(num_classes=3), dict(x=POINTS, y=LABELS), {0: -1.0}, "class_weight must hold finite numbers"),
        (dict(num_classes=3), dict(x=POINTS, y=LABELS), {0: np.nan}, "class_weight must hold finite numbers"),
        (
            dict(num_classes=3),
            dict(x=POINTS, y=LABELS, sample_weight=WEIGHTS),
            CLASS_WEIGHT,
            "class_weight must be None where the examples have a sample_weight",
        ),
        (
            dict(num_classes=3),
            dict(x=in_batches((POINTS, LABELS, WEIGHTS))),
            CLASS_WEIGHT,
            "class_weight must be None where the examples have a sample_weight",
        ),
    ],
)
def test_wrong_weights_of_classes_are_refused(options, data, class_weight, message):
    model = compiled(**options)
    methods = [model.fit] if isinstance(data["x"], BATCHES) else [model.fit, model.train_on_batch]
    for method in methods:
        with pytest.raises(ValueError, match=message):
            method(**data, class_weight=class_weight)


def test_a_generator_has_weights_of_examples_only():
    with pytest.raises(ValueError, match="class_weight must be None for the batches of a generator"):
        compiled(num_classes=3).fit(generated(POINTS, LABELS), class_weight=CLASS_WEIGHT)


def test_what_keras_cannot_read_from_a_py_dataset_is_named(flow):
    unlabelled = type("Unlabelled", (Batches,), {"__getitem__": lambda *_: (POINTS, None, WEIGHTS)})
    with pytest.raises(ValueError, match="y must not be None in the batches of x: Keras reads no None from a PyDat"):
        flow.fit(unlabelled(POINTS))
    with pytest.raises(ValueError, match="x must not be empty; got a data set without batches"):
        flow.fit(Batches())
