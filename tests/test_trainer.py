"""Keras's methods have Keras's signatures: names, order and defaults, and data in Keras's places."""

import inspect

import keras
import numpy as np
import pytest

import tfp_realnvp as rnvp

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
