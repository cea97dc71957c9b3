"""VectorRealNVP: standardized data, contexts, masks and norms."""

import math

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws
from tfp_realnvp.networks.moments import moments_of

RNG = np.random.default_rng(0)
DATA = RNG.normal([10.0, -3.0, 0.0], [5.0, 0.1, 100.0], size=(200, 3)).astype(np.float32)
CONTEXTS = RNG.normal([-7.0, 30.0], [0.01, 9.0], size=(200, 2)).astype(np.float32)
LABELS = np.arange(200) % 4


pytestmark = pytest.mark.usefixtures("module_eagerly")


def small(event_shape=(3,), **options):
    return rnvp.VectorRealNVP(event_shape, **{**dict(num_couplings=2, hidden_units=[4], seed=0), **options})


def randomized(**options):
    model = small(**options)
    laws.randomize_weights(model.trainable_weights)
    return model


@pytest.fixture(scope="module")
def posterior():
    """A flow given a context, adapted to the data."""
    model = randomized(context_size=2)
    model.adapt(DATA, CONTEXTS)
    return model


def network(model, name):
    return next(network for network in model.networks if network.name == name)


# The flow.


def by_hand(model, x, context=None):
    """The latents and log|det| of vectors, without norms: the couplings keep the odd and the even entries in turn."""
    moments = network(model, "scale_0_standardization")
    deviation = np.sqrt(moments.variance.numpy())
    h = (x - moments.mean.numpy()) / deviation
    log_det = np.full(len(x), -np.log(deviation).sum())
    if context is not None:
        of_context = network(model, "scale_0_context_standardization")
        context = (context - of_context.mean.numpy()) / np.sqrt(of_context.variance.numpy())
    for number in range(model.options.num_couplings):
        kept, changed = (slice(1, None, 2), slice(0, None, 2))[:: 1 if number % 2 == 0 else -1]
        parts = [h[:, kept]] if context is None else [h[:, kept], context]
        bounded = network(model, f"scale_0_coupling_{number}")
        kernel, bias, last_kernel, last_bias = (w.numpy() for w in bounded.network.weights)
        output = np.maximum(np.concatenate(parts, axis=-1) @ kernel + bias, 0) @ last_kernel + last_bias
        shift, raw = np.split(output, 2, axis=-1)
        log_scale = bounded.a.numpy() * np.tanh(raw)
        h[:, changed] = (h[:, changed] + shift) * np.exp(log_scale)
        log_det += log_scale.sum(-1)
        if model.options.norm == "act" and number < model.options.num_couplings - 1:
            norm = network(model, f"scale_0_coupling_{number}_norm")
            h = (h + norm.shift.numpy()) * np.exp(norm.log_scale.numpy())
            log_det += norm.log_scale.numpy().sum()
    return h, log_det


@pytest.mark.parametrize("norm", ["act", None])
@pytest.mark.parametrize("context_size", [2, None])
def test_the_flow_is_its_formulas(norm, context_size):
    model = randomized(num_couplings=3, norm=norm, context_size=context_size, dtype="float64")
    context = [CONTEXTS.astype(np.float64)] if context_size else []
    model.adapt(DATA.astype(np.float64), *context)
    z, log_det = by_hand(model, DATA.astype(np.float64), *context)
    np.testing.assert_allclose(model.encode(DATA, *context), z, rtol=1e-8, atol=1e-9)
    log_p = scipy.stats.norm.logpdf(z).sum(-1) + log_det
    distribution = model.given(*context) if context else model.distribution
    np.testing.assert_allclose(distribution.log_prob(DATA.astype(np.float64)), log_p, rtol=1e-9)


def num_parameters(size, num_couplings, hidden, context=0):
    total = 0
    for number in range(num_couplings):
        changed = (size + 1) // 2 if number % 2 == 0 else size // 2
        total += (size - changed + context + 1) * hidden + (hidden + 1) * 2 * changed + 1
    return total


@pytest.mark.parametrize("context", [dict(), dict(context_size=2), dict(num_classes=4)], ids=str)
@pytest.mark.parametrize("norm, of_norms", [("act", 2 * 2 * 5), ("batch", 0), (None, 0)])
def test_the_number_of_its_parameters(context, norm, of_norms):
    model = small((5,), num_couplings=3, norm=norm, **context)
    expected = num_parameters(5, 3, 4, sum(context.values())) + of_norms
    assert sum(math.prod(w.shape) for w in model.trainable_weights) == expected


# The standardization.

DATA_SETS = {
    "array": DATA,
    "list": DATA.tolist(),
    "frame": pd.DataFrame(DATA, columns=list("abc")),
    "data set": tf.data.Dataset.from_tensor_slices(DATA).batch(64),
}


def assert_standardizes(moments, values):
    values = np.float64(values)
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moments.variance, values.var(0), rtol=1e-5)


@pytest.mark.parametrize("form", DATA_SETS)
def test_adapt_takes_the_moments_of_the_data_in_every_form(form):
    model = small()
    model.adapt(DATA_SETS[form])
    assert_standardizes(network(model, "scale_0_standardization"), DATA)


@pytest.mark.parametrize(
    "data",
    [
        (DATA, CONTEXTS),
        (pd.DataFrame(DATA), pd.DataFrame(CONTEXTS)),
        (tf.data.Dataset.from_tensor_slices((DATA, CONTEXTS)).batch(64),),
    ],
    ids=["arrays", "frames", "data set"],
)
def test_adapt_standardizes_the_context_as_well(data):
    model = small(context_size=2)
    model.adapt(*data)
    assert_standardizes(network(model, "scale_0_standardization"), DATA)
    assert_standardizes(network(model, "scale_0_context_standardization"), CONTEXTS)


def test_adapt_leaves_labels_alone():
    model = small(num_classes=4)
    model.adapt(DATA, LABELS)
    assert_standardizes(network(model, "scale_0_standardization"), DATA)
    assert [n.name for n in model.networks if "standardization" in n.name] == ["scale_0_standardization"]


def test_what_the_couplings_see_is_standardized():
    model = small(num_couplings=1, norm=None)
    for weight in network(model, "scale_0_coupling_0").trainable_weights:
        weight.assign(tf.zeros(weight.shape))
    model.adapt(DATA)
    z = model.encode(DATA)
    np.testing.assert_allclose(z.mean(0), np.zeros(3), atol=1e-4)
    np.testing.assert_allclose(z.std(0), np.ones(3), rtol=1e-4)


def test_an_adapted_flow_is_that_of_standardized_data_and_contexts():
    model, plain = randomized(context_size=2), randomized(context_size=2)
    model.adapt(DATA, CONTEXTS)
    x, context = ((values - np.float64(values).mean(0)) / np.float64(values).std(0) for values in (DATA, CONTEXTS))
    expected = plain.predict((x, context), batch_size=200, verbose=0) - np.log(np.float64(DATA).std(0)).sum()
    np.testing.assert_allclose(
        model.predict(DATA, batch_size=200, verbose=0, context=CONTEXTS), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("norm", ["act", "batch", None])
def test_training_changes_nothing_of_the_standardization(norm):
    model = small(norm=norm)
    model.adapt(DATA)
    model.compile()
    model.fit(2 * DATA + 1, batch_size=100, verbose=0)
    assert_standardizes(network(model, "scale_0_standardization"), DATA)


@pytest.mark.parametrize(
    "value, dtype",
    [(0.0, np.float32), (0.1, np.float32), (7.0, np.float64), (0.1, np.float64)],
)
def test_constant_columns_are_refused_by_name(value, dtype):
    data, contexts = DATA.astype(dtype), CONTEXTS.astype(dtype)
    data[:, 1], contexts[:, 0] = value, value
    with pytest.raises(ValueError, match=r"x must vary in every column; got constants in columns \[1\]"):
        small().adapt(data)
    with pytest.raises(ValueError, match=r"y must vary in every column; got constants in columns \[0\]"):
        small(context_size=2).adapt(DATA, contexts)


@pytest.mark.parametrize(
    "data, message",
    [
        ((DATA[:, :2],), r"data must have shape \[N\] \+ \(3,\); got \(200, 2\)"),
        ((DATA[:0],), "data must not be empty"),
        ((np.full([4, 3], np.nan),), "data must be finite; got NaN or infinity"),
        ((tf.data.Dataset.from_tensors(np.full([4, 3], np.nan)),), "x must be finite; got NaN or infinity"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        small().adapt(*data)


def test_contexts_of_a_data_set_that_are_not_finite_are_refused():
    model, contexts = small(context_size=2), CONTEXTS.copy()
    contexts[150, 1] = np.inf
    before = model.get_weights()
    with pytest.raises(ValueError, match="y must be finite; got NaN or infinity"):
        model.adapt(tf.data.Dataset.from_tensor_slices((DATA, contexts)).batch(64))
    np.testing.assert_equal(model.get_weights(), before)


def test_levels_are_refused():
    with pytest.raises(ValueError, match="num_bins must be None: the data are continuous; got 17"):
        small(num_bins=17)


@pytest.mark.parametrize("norm", ["act", "batch", None])
def test_a_recalibration_changes_nothing_of_the_standardization(norm):
    model = small(norm=norm)
    model.adapt(DATA)
    rnvp.evaluation.recalibrate(model, 2 * DATA + 1)
    assert_standardizes(network(model, "scale_0_standardization"), DATA)


@pytest.mark.parametrize("norm", ["act", None])
def test_a_flow_without_batch_norm_has_no_moments_to_evaluate_by(norm):
    assert not rnvp.evaluation.has_moments(small(norm=norm))


def test_adapt_needs_the_contexts():
    with pytest.raises(ValueError, match="y must hold the contexts of a conditional flow, vectors of size 2; got none"):
        small(context_size=2).adapt(DATA)


# Data and contexts.


def test_one_number_has_a_density_given_a_context():
    model = small((1,), context_size=2)
    assert model.sample(4, context=CONTEXTS[:4]).shape == (4, 1)


def test_fit_takes_a_frame_as_its_array():
    losses = []
    for data in (DATA, pd.DataFrame(DATA, columns=list("abc"))):
        model = small()
        model.adapt(data)
        model.compile()
        losses.append(model.fit(data, batch_size=100, shuffle=False, verbose=0).history["loss"])
        np.testing.assert_array_equal(model.encode(data), model.encode(DATA))
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(*(model.predict(x, batch_size=200, verbose=0) for x in (DATA, pd.DataFrame(DATA))))


def test_fit_takes_frames_of_contexts():
    losses = []
    for x, y in ((DATA, CONTEXTS), (pd.DataFrame(DATA), pd.DataFrame(CONTEXTS))):
        model = small(context_size=2)
        model.adapt(x, y)
        model.compile()
        losses.append(model.fit(x, y, batch_size=100, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_a_given_context_makes_a_distribution_of_its_batch(posterior, batch):
    contexts = CONTEXTS[: math.prod(batch)].reshape(*batch, 2)
    distribution = posterior.given(contexts)
    assert distribution.batch_shape == batch and distribution.event_shape == (3,)
    x = distribution.sample(5, seed=[0, 0])
    assert x.shape == (5, *batch, 3)
    contexts = np.broadcast_to(contexts, [5, *batch, 2]).reshape(-1, 2)
    expected = posterior.predict(x.numpy().reshape(-1, 3), context=contexts, batch_size=200, verbose=0)
    np.testing.assert_allclose(tf.reshape(distribution.log_prob(x), [-1]), expected, rtol=1e-4)


def test_one_context_is_that_of_every_event(posterior):
    log_prob = posterior.given(CONTEXTS[0]).log_prob(DATA[:5])
    expected = posterior.predict(DATA[:5], context=np.repeat(CONTEXTS[:1], 5, axis=0), batch_size=200, verbose=0)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_events_are_broadcast_against_a_batch_of_contexts_as_tfp_does(posterior, number):
    log_prob = posterior.given(CONTEXTS[:2]).log_prob(DATA[:number, np.newaxis])
    expected = [posterior.given(context).log_prob(DATA[:number]) for context in CONTEXTS[:2]]
    np.testing.assert_allclose(log_prob, np.stack(expected, axis=-1), rtol=1e-4)


def test_contexts_that_would_meet_other_events_are_refused(posterior):
    with pytest.raises(tf.errors.InvalidArgumentError, match="the batch shape of the context as the last axes"):
        posterior.given(CONTEXTS[:2, np.newaxis]).log_prob(DATA[:3])  # [2, 1] and [3]
    one = posterior.given(CONTEXTS[:1, np.newaxis]).log_prob(DATA[:3])
    np.testing.assert_allclose(one, [posterior.given(CONTEXTS[0]).log_prob(DATA[:3])], rtol=1e-5)


def test_samples_are_given_one_context_or_one_each(posterior):
    one = posterior.sample(4, context=CONTEXTS[0], seed=0)
    assert one.shape == (4, 3) and one.dtype == np.float32
    same = posterior.sample(4, context=np.repeat(CONTEXTS[:1], 4, axis=0), seed=0)
    np.testing.assert_array_equal(one, same)
    each = posterior.sample(4, context=CONTEXTS[:4], seed=0)
    np.testing.assert_allclose(each[0], one[0], rtol=1e-5)
    assert np.all(np.abs(each[1:] - one[1:]).max(-1) > 1e-3)
    z = posterior.encode(each, CONTEXTS[:4])
    np.testing.assert_allclose(z, posterior.encode(one, np.repeat(CONTEXTS[:1], 4, axis=0)), rtol=1e-2, atol=1e-2)


def test_a_list_is_a_context(posterior):
    context = CONTEXTS[0].tolist()
    np.testing.assert_array_equal(
        posterior.sample(2, context=context, seed=0), posterior.sample(2, context=CONTEXTS[0], seed=0)
    )
    np.testing.assert_array_equal(
        posterior.given(context).log_prob(DATA[:2]), posterior.given(CONTEXTS[0]).log_prob(DATA[:2])
    )


WRONG = {
    "sample without": (lambda m: m.sample(2), "context must be given for a conditional flow; got None"),
    "sample of another size": (
        lambda m: m.sample(4, context=CONTEXTS[:3]),
        r"context must have shape \(2,\) or \(4, 2\); got \(3, 2\)",
    ),
    "sample of labels": (lambda m: m.sample(2, labels=1), "labels must be None for this flow"),
    "given of another size": (lambda m: m.given([1.0]), r"context must have shape \[..., 2\]; got \(1,\)"),
    "its distribution": (lambda m: m.distribution, r"the flow is conditional: its distribution is given\(context\)"),
    "predict without": (
        lambda m: m.predict(DATA, batch_size=200, verbose=0),
        "y must hold the contexts of a conditional flow",
    ),
    "predict of fewer": (
        lambda m: m.predict(DATA, context=CONTEXTS[:3], batch_size=200, verbose=0),
        "y must have as many entries as x, 200",
    ),
    "predict of another size": (
        lambda m: m.predict(DATA, context=CONTEXTS[:, :1], batch_size=200, verbose=0),
        r"y must have shape \[N\] \+ \(2,\); got \(200, 1\)",
    ),
    "predict of NaN": (
        lambda m: m.predict(DATA, context=np.nan * CONTEXTS, batch_size=200, verbose=0),
        "y must be finite; got NaN",
    ),
    "encode without": (lambda m: m.encode(DATA), "context must hold the contexts of a conditional flow"),
    "decode of fewer": (
        lambda m: m.decode(DATA, CONTEXTS[:3]),
        "context must have as many entries as there are events, 200; got 3",
    ),
    "classify": (lambda m: m.classify(DATA), "num_classes must be given to a flow for it to classify; got None"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_missing_or_wrong_context_is_refused(posterior, name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(posterior)


def test_a_flow_without_a_context_refuses_one():
    model = small()
    for call in (
        lambda: model.given([1.0, 2.0]),
        lambda: model.sample(2, context=[1.0, 2.0]),
        lambda: model.sample(2, labels=1),
        lambda: model.encode(DATA, CONTEXTS),
        lambda: model.predict(DATA, context=CONTEXTS),
    ):
        with pytest.raises(ValueError, match="context must be"):
            call()
    nats = model.predict((DATA, CONTEXTS), batch_size=200, verbose=0)
    assert nats.shape == (200,)  # as Keras's y, which a flow may ignore


# Classes.


def test_vectors_have_classes_too():
    model = randomized(num_classes=4)
    model.adapt(DATA, LABELS)
    every = np.repeat(np.arange(4), 200)
    nats = model.predict(np.tile(DATA, [4, 1]), labels=every, batch_size=800, verbose=0).reshape(4, 200).T
    expected = np.exp(nats - nats.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(model.class_probabilities(DATA), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(model.classify(DATA), nats.argmax(-1))
    assert model.sample(8, labels=np.arange(8) % 4, seed=0).shape == (8, 3)
    np.testing.assert_allclose(model.given(LABELS).log_prob(DATA), nats[np.arange(200), LABELS], rtol=1e-4)


# Masks and norms.


def masks_of(**options):
    """The entries that each coupling leaves as they are."""
    model = randomized(**{**dict(event_shape=(6,), num_couplings=5, norm=None), **options})
    couplings = [b for b in model.bijector.submodules if isinstance(b, rnvp.bijectors.Coupling)]
    couplings.sort(key=lambda coupling: coupling.number)
    x = np.random.default_rng(0).standard_normal([1, *model.event_shape]).astype(np.float32)
    return [tuple((coupling.forward(x).numpy() == x)[0].astype(int)) for coupling in couplings]


def test_masks_keep_the_odd_and_the_even_entries_in_turn():
    assert masks_of() == [(0, 1, 0, 1, 0, 1), (1, 0, 1, 0, 1, 0)] * 2 + [(0, 1, 0, 1, 0, 1)]


def test_random_masks_are_halves_that_the_seed_decides():
    masks = masks_of(random_masks=True)
    assert len(set(masks)) > 2 and all(sum(mask) == 3 for mask in masks)
    assert masks_of(random_masks=True) == masks
    assert masks_of(random_masks=True, hidden_units=[3, 3], norm="act") == masks
    assert masks_of(random_masks=True, seed=1) != masks
    assert {sum(mask) for mask in masks_of(event_shape=(5,), random_masks=True)} == {2, 3}


def test_a_saved_flow_keeps_its_random_masks(tmp_path):
    model = rnvp.VectorRealNVP((6,), num_couplings=2, hidden_units=[4], random_masks=True)
    laws.randomize_weights(model.trainable_weights)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).standard_normal([5, 6]).astype(np.float32)
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(x, batch_size=200, verbose=0), model.predict(x, batch_size=200, verbose=0)
    )


@pytest.mark.parametrize("norm, kind", [("batch", "Moments"), ("act", "ChannelAffine"), (None, None)])
def test_the_norm_is_behind_each_coupling_but_the_last(norm, kind):
    names = [(n.name, type(n).__name__) for n in small(num_couplings=3, norm=norm).networks]
    couplings = [[(f"scale_0_coupling_{i}", "TanhScale"), (f"scale_0_coupling_{i}_norm", kind)] for i in range(3)]
    expected = [entry for pair in couplings for entry in pair if entry[1]][: 5 if norm else 3]
    assert names == [("scale_0_standardization", "FixedMoments"), *expected]


def test_fit_initializes_act_norms_and_moves_batch_norms():
    for norm in ("act", "batch"):
        model = small(norm=norm)
        model.adapt(DATA)
        model.compile(keras.optimizers.SGD(0.0))
        model.fit(DATA, batch_size=100, verbose=0)
        weights = network(model, "scale_0_coupling_0_norm").get_weights()
        assert all(np.abs(weight).min() > 0 for weight in weights[:2])
    assert len([moments for n in model.networks for moments in moments_of(n)]) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(event_shape=(4, 4, 1)), r"event_shape must be \(size,\); got \(4, 4, 1\)"),
        (dict(event_shape=(0,)), r"event_shape must be .*got \(0,\)"),
        (dict(num_couplings=0), "num_couplings must be a positive int; got 0"),
        (dict(norm="layer"), 'norm must be "batch", "act" or None; got \'layer\''),
        (dict(hidden_units=[0]), r"hidden_units must be positive ints; got .*\(0,\)"),
        (dict(num_classes=2, context_size=3), "num_classes and context_size exclude each other; got 2 and 3"),
        (dict(context_size=1.5), "context_size must be None or a positive int; got 1.5"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
