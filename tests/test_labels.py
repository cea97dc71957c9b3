"""Events of unknown class: the marginal over the classes, and the mixture that serves all classes in one pass."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import tfp_realnvp as rnvp
from tests import laws

C = 3
LABELS = np.array([0, -1, 2, 1, -1, 0])
KNOWN = LABELS >= 0
POINTS = np.random.default_rng(0).normal(size=[6, 3]).astype("float32")
IMAGES = np.random.default_rng(1).integers(17, size=[6, 4, 4, 1]).astype("uint8")


def vectors(**options):
    options = {"num_classes": C, "norm": None, "seed": 0, **options}
    return rnvp.VectorRealNVP((3,), num_couplings=2, hidden_units=[4], **options)


def images(cls, **options):
    return cls((4, 4, 1), num_scales=1, filters=2, num_bins=17, num_classes=C, seed=0, **options)


FLOWS = {
    "vectors": (vectors, POINTS),
    "vectors of a mixture": (lambda: vectors(mixture_base=True), POINTS),
    "noise": (lambda: images(rnvp.Glow, steps_per_scale=1), IMAGES),
    "noise of a mixture": (lambda: images(rnvp.Glow, steps_per_scale=1, mixture_base=True), IMAGES),
    "levels of a mixture": (
        lambda: images(rnvp.SubpixelFlow, num_blocks=1, dequantization="exact", mixture_base=True),
        IMAGES,
    ),
}


@pytest.fixture(scope="module", params=FLOWS)
def flow(request, module_eagerly):
    """A flow with random weights, its data, and log p(x | class) of each class."""
    make, x = FLOWS[request.param]
    model = make()
    laws.randomize_weights(model.weights)
    return model, x, np.stack([model.log_likelihood(x, np.full(len(x), label)) for label in range(C)], axis=1)


def test_the_log_likelihood_of_an_unlabelled_event_is_the_mean_over_the_classes(flow):
    model, x, of_classes = flow
    nats = model.log_likelihood(x, LABELS).numpy()
    marginal = scipy.special.logsumexp(of_classes, axis=1) - np.log(C)
    np.testing.assert_allclose(nats[~KNOWN], marginal[~KNOWN], rtol=1e-5)
    np.testing.assert_allclose(nats[KNOWN], of_classes[KNOWN, LABELS[KNOWN]], rtol=1e-5)
    assert np.ptp(of_classes, axis=1).min() > 1e-3  # The classes differ.


@pytest.mark.parametrize("mixture_base", [False, True])
def test_a_labelled_event_has_the_density_of_its_class(mixture_base, eagerly):
    model = vectors(mixture_base=mixture_base)
    laws.randomize_weights(model.weights)
    for label in range(C):
        nats = model.log_likelihood(POINTS, np.full(len(POINTS), label))
        np.testing.assert_allclose(nats, model.given(label).log_prob(POINTS), rtol=1e-4, atol=1e-4)


def test_class_probabilities_are_bayes_rule(flow):
    model, x, of_classes = flow
    np.testing.assert_allclose(model.class_probabilities(x), scipy.special.softmax(of_classes, 1), atol=1e-4)


@pytest.mark.parametrize("mixture_base", [False, True])
def test_all_methods_take_unlabelled_events(mixture_base, eagerly):
    model = vectors(mixture_base=mixture_base)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    nats = model.predict(POINTS, labels=LABELS, verbose=0)
    np.testing.assert_allclose(nats, model.log_likelihood(POINTS, LABELS), rtol=1e-5)
    weights = np.arange(6.0)
    logs = model.evaluate(POINTS, LABELS, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(-(weights * nats).mean(), rel=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices((POINTS, LABELS)).batch(4)
    for history in (model.fit(dataset, verbose=0), model.fit(POINTS, LABELS, batch_size=3, verbose=0)):
        assert history.history["loss"] == [pytest.approx(-nats.mean(), rel=1e-5)]
    assert np.isfinite(model.train_on_batch(POINTS, np.full(6, -1), return_dict=True)["loss"])


@pytest.mark.parametrize("mixture_base", [False, True])
def test_the_gradient_of_an_unlabelled_event_is_the_mean_by_its_class_probabilities(mixture_base, eagerly):
    model = vectors(mixture_base=mixture_base)
    laws.randomize_weights(model.weights)

    def gradient(labels, weights):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(weights * model(np.repeat(POINTS[:1], len(labels), axis=0), np.array(labels)))
        return [np.asarray(tf.convert_to_tensor(g)) for g in tape.gradient(loss, model.trainable_variables)]

    of_classes = [gradient([label], [1.0]) for label in range(C)]
    (probabilities,) = model.class_probabilities(POINTS[:1])
    for actual, *parts in zip(gradient([-1], [1.0]), *of_classes, strict=True):
        np.testing.assert_allclose(actual, np.tensordot(probabilities, parts, 1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("mixture_base, rows", [(False, 4 + 2 * C), (True, 6)])
def test_each_network_runs_once_over_as_few_events_as_it_can(mixture_base, rows, eagerly, monkeypatch):
    model, calls = vectors(mixture_base=mixture_base), []
    call = rnvp.networks.MLP.call
    monkeypatch.setattr(rnvp.networks.MLP, "call", lambda self, x: (calls.append(len(x)), call(self, x))[1])
    model(POINTS, LABELS)
    assert calls == [rows, rows]


@pytest.mark.parametrize("mixture_base", [False, True])
def test_weights_of_classes_leave_unlabelled_events_alone(mixture_base, eagerly):
    """The same from arrays and from a data set, in which Keras finds no weight for the label −1."""
    expected = np.select([LABELS == 0, LABELS == 2], [5.0, 3.0], 1.0)
    dataset = tf.data.Dataset.from_tensor_slices((POINTS, LABELS)).batch(6)
    losses = []
    for data in (dict(x=POINTS, y=LABELS, batch_size=6), dict(x=dataset)):
        model = vectors(mixture_base=mixture_base)
        model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        nats = model.predict(POINTS, labels=LABELS, verbose=0)
        losses += model.fit(**data, class_weight={0: 5.0, 2: 3.0}, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, [-(expected * nats).mean()] * 2, rtol=1e-5)


# The mixture.


def test_the_latents_of_a_mixture_are_normal_around_the_mean_of_the_class(eagerly):
    model = vectors(mixture_base=True)
    laws.randomize_weights(model.weights)
    means = model.networks[-1].kernel.numpy()
    z = model.encode(POINTS, np.zeros(6, int))
    np.testing.assert_array_equal(model.encode(POINTS, np.full(6, 2)), z)
    expected = scipy.special.softmax(-0.5 * np.sum((z[:, None] - means) ** 2, axis=-1), axis=1)
    np.testing.assert_allclose(model.class_probabilities(POINTS), expected, atol=1e-5)
    cold = model.sample(C, labels=range(C), temperature=0, seed=0)
    np.testing.assert_allclose(model.encode(cold, range(C)), means, atol=1e-4)
    warm = model.encode(model.sample(2000, labels=1, seed=0), np.ones(2000, int))
    np.testing.assert_allclose(warm.mean(0), means[1], atol=0.1)
    np.testing.assert_allclose(warm.std(0), 1, atol=0.1)


def test_xla_is_left_where_the_size_of_a_batch_depends_on_the_labels(in_graphs):
    model = vectors()
    with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
        model.compile(jit_compile=True)
    assert not model.jit_compile
    mixture = vectors(mixture_base=True)
    mixture.compile(jit_compile=True)
    nats = mixture.predict(POINTS, labels=LABELS, verbose=0)
    np.testing.assert_allclose(nats, mixture.log_likelihood(POINTS, LABELS), rtol=1e-4)


DISTANCE = 3.0
BAYES = scipy.stats.norm.cdf(DISTANCE / 2)  # The best accuracy of any classifier.


def drawn(number, seed):
    """Points of two Gaussian classes with a common covariance in five dimensions, and the classes."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=number)
    z = generator.normal(size=[number, 5])
    z[:, 0] += DISTANCE * labels
    mixing = np.eye(5) + 0.5 * np.random.default_rng(3).normal(size=[5, 5])
    return (z @ mixing).astype("float32"), labels


def accuracy(x, y):
    """That of a linear flow with a mixture base, whose classes are such Gaussians. A label weighs 20 times as much."""
    model = rnvp.NICE((5,), num_couplings=4, hidden_units=[], num_classes=2, mixture_base=True, seed=0)
    model.compile(rnvp.optimizers.Adam(0.05))
    model.fit(tf.data.Dataset.from_tensors((x, y, np.where(y < 0, 1.0, 20.0))).repeat(350), verbose=0)
    held_out, labels = drawn(10000, seed=1)
    return np.mean(model.classify(held_out, batch_size=10000) == labels)


def test_unlabelled_events_lead_to_the_accuracy_of_bayes(in_graphs):
    x, y = drawn(2010, seed=0)
    few = np.concatenate([np.flatnonzero(y == label)[:5] for label in range(2)])
    hidden = np.full(2010, -1)
    hidden[few] = y[few]
    assert accuracy(x, hidden) > BAYES - 0.01
    assert accuracy(x[few], y[few]) < BAYES - 0.05


# Errors.

REFUSED = [
    (lambda m: m.fit(POINTS, LABELS - 1), "from 0 to 2, or -1 for an unknown class; got int64 from -2 to 1"),
    (lambda m: m.fit(POINTS, LABELS + 1), "from 0 to 2, or -1 for an unknown class; got int64 from 0 to 3"),
    (
        lambda m: m.evaluate(tf.data.Dataset.from_tensors((POINTS, LABELS - 1)), verbose=0),
        "y must hold labels from 0 to 2, or -1 for an unknown class",
    ),
    (lambda m: m.log_likelihood(POINTS, LABELS + 1), "y must hold labels from 0 to 2, or -1 for an unknown class"),
    (lambda m: m.given(LABELS), "y must hold labels from 0 to 2"),
    (lambda m: m.encode(POINTS, LABELS), "ints from 0 to 2; got int64 from -1 to 2"),
    (lambda m: m.sample(1, labels=-1), "ints from 0 to 2; got int64 from -1 to -1"),
    (lambda m: vectors(num_classes=None, mixture_base=True), "mixture_base must be False for a flow without num_cl"),
    (lambda m: vectors(num_classes=None, context_size=2, mixture_base=True), "mixture_base must be False for a flow"),
]


@pytest.mark.parametrize("call, message", REFUSED)
@pytest.mark.parametrize("mixture_base", [False, True])
def test_other_labels_are_refused(call, message, mixture_base, eagerly):
    model = vectors(mixture_base=mixture_base)
    model.compile(run_eagerly=True)
    with pytest.raises(ValueError) as error:
        call(model)
    assert message in str(error.value)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
