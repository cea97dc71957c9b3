"""`model.export`: the SavedModel's answers in a process that has TensorFlow alone."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfp_realnvp as rnvp
from tests.laws import randomize_weights
from tfp_realnvp import export

pytestmark = pytest.mark.long

tfb = tfp.bijectors
tfd = tfp.distributions

RANDOM = np.random.default_rng(0)
SHAPE = (4, 4, 1)
IMAGES = RANDOM.integers(17, size=(5, *SHAPE)).astype(np.uint8)
VECTORS = RANDOM.normal(size=(5, 3)).astype(np.float32)
SMALL = dict(num_scales=1, filters=2, num_bins=17, seed=0)
# name ↦ function that makes a model, its events, and what they are conditioned on.
CASES = {
    "continuous": (
        lambda: rnvp.MRCNF(SHAPE, num_scales=2, num_blocks=1, filters=2, num_bins=17, seed=0),
        {"images": IMAGES},
        {},
    ),
    "images": (lambda: rnvp.RealNVP(SHAPE, num_blocks=1, **SMALL), {"images": IMAGES}, {}),
    "classes": (
        lambda: rnvp.Glow(SHAPE, steps_per_scale=1, num_classes=3, **{**SMALL, "num_scales": 2}),
        {"images": IMAGES},
        {"labels": np.array([0, 2, 1, 1, 0])},
    ),
    "contexts": (
        lambda: rnvp.VectorRealNVP((3,), num_couplings=2, hidden_units=[4], context_size=2, seed=0),
        {"vectors": VECTORS},
        {"context": RANDOM.normal(size=(5, 2)).astype(np.float32)},
    ),
    "levels": (
        lambda: rnvp.NICE(SHAPE, hidden_units=[4], num_bins=512, seed=0),
        {"images": 30 * IMAGES.astype(np.uint16)},
        {},
    ),
}
# What a server does, which has neither Keras's objects, nor TFP, nor this package: every signature by its name, on
# batches of two sizes.
SERVER = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfp_realnvp", "tensorflow_probability", "tf_keras"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Missing())
import numpy as np
import tensorflow as tf

before = {name for name in sys.modules if name.startswith("keras")}
for folder in sys.argv[1:]:
    call = tf.saved_model.load(folder + "/1").signatures
    given = dict(np.load(folder + "/given.npz"))
    context = {name: tf.constant(given[name]) for name in ("labels", "context") if name in given}
    (events,) = given.keys() & {"images", "vectors"}
    x = {events: tf.constant(given[events])}
    draw = dict(num_samples=tf.constant(5, tf.int64), temperature=tf.constant(0.7), seed=tf.constant(3, tf.int64))
    answers = call["log_prob"](**x, **context)
    answers["default"] = call["serving_default"](**x, **context)["nats"]
    answers["two"] = call["log_prob"](**{name: value[:2] for name, value in {**x, **context}.items()})["nats"]
    answers["latents"] = call["encode"](**x, **context)["latents"]
    answers["decoded"] = call["decode"](latents=answers["latents"], **context)[events]
    answers["samples"] = call["sample"](**draw, **context)[events]
    answers["again"] = call["sample"](**draw, **context)[events]
    answers["other"] = call["sample"](**{**draw, "seed": tf.constant(4, tf.int64)}, **context)[events]
    answers["cold"] = call["sample"](**{**draw, "temperature": tf.constant(0.0)}, **context)[events]
    np.savez(folder + "/answers.npz", **{name: value.numpy() for name, value in answers.items()})
assert {name for name in sys.modules if name.startswith("keras")} == before
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Name ↦ the model, and the answers of its SavedModel in a process of its own."""
    folder = tmp_path_factory.mktemp("exported")
    models = {}
    for name, (make, events, context) in CASES.items():
        model = models[name] = make()
        randomize_weights(model.weights)
        if name == "contexts":
            (folder / name / "1").mkdir(parents=True)  # an empty folder is as good as none
        model.export(folder / name / "1")
        np.savez(folder / name / "given.npz", **events, **context)
    command = [sys.executable, "-c", SERVER, *(str(folder / name) for name in CASES)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "custom gradient" not in done.stderr
    return {name: (models[name], dict(np.load(folder / name / "answers.npz")), folder / name / "1") for name in CASES}


def close(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_process_with_tensorflow_alone_gives_the_models_answers(served, name, eagerly):
    _, events, context = CASES[name]
    (model, answers, _), (x,), context_values = served[name], events.values(), [*context.values()]
    nats = model.predict(x, verbose=0, **context)
    close(answers["nats"], nats)
    close(answers["default"], nats)
    close(answers["two"], nats[:2])
    close(answers["bits_per_dim"], -nats / np.float32(np.prod(x.shape[1:]) * np.log(2)))
    close(answers["latents"], model.encode(x, *context_values))
    close(answers["decoded"], model.decode(answers["latents"], *context_values))
    close(answers["decoded"], x)
    close(answers["samples"], model.sample(5, temperature=0.7, seed=3, **context))
    close(answers["cold"], model.sample(5, temperature=0.0, seed=3, **context))
    np.testing.assert_array_equal(answers["again"], answers["samples"])
    assert np.any(answers["other"] != answers["samples"])


@pytest.fixture(scope="module")
def loaded(served):
    return {name: tf.saved_model.load(folder) for name, (*_, folder) in served.items()}


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("images", lambda m: m.log_prob(IMAGES + np.uint8(1)), "x must hold integers from 0 to 16"),
        ("images", lambda m: m.encode(IMAGES + np.uint8(1)), "x must hold integers from 0 to 16"),
        ("images", lambda m: m.decode(np.full([1, *SHAPE], np.nan, np.float32)), "latents must be finite"),
        ("contexts", lambda m: m.sample(1, 1.0, 0, [[np.inf, 0.0]]), "context must be finite"),
        ("levels", lambda m: m.sample(1, 3e38, 0), "z must be closer to 0, or the temperature lower"),
        ("images", lambda m: m.sample(0, 1.0, 0), "num_samples must be a positive int, at most 134217727"),
        ("images", lambda m: m.sample(2**32 + 1, 1.0, 0), "num_samples must be a positive int, at most 134217727"),
        ("classes", lambda m: m.sample(2**40, 1.0, 0, [1]), "num_samples must be a positive int, at most 134217727"),
        ("classes", lambda m: m.sample(3, 1.0, 0, [1, 2]), "as many labels or contexts as images"),
        ("classes", lambda m: m.encode(IMAGES[:0], [1]), "as many labels or contexts as images"),
        ("images", lambda m: m.sample(1, -1.0, 0), "temperature must be a non-negative number"),
        ("images", lambda m: m.sample(1, np.inf, 0), "temperature must be a non-negative number"),
        ("classes", lambda m: m.log_prob(IMAGES, [0, 1]), "as many labels or contexts as images"),
        ("classes", lambda m: m.encode(IMAGES[:1], [3]), "y must hold labels from 0 to 2"),
        ("classes", lambda m: m.sample(3, 1.0, 0, [-1]), "y must hold labels from 0 to 2"),
        ("contexts", lambda m: m.decode(VECTORS, np.zeros([3, 2], np.float32)), "as many labels or contexts as images"),
    ],
)
def test_what_a_model_refuses_its_saved_model_refuses(loaded, name, call, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(loaded[name])


@pytest.mark.parametrize("name", ["images", "classes", "contexts"])
def test_signatures_refuse_other_shapes_and_answer_empty_batches(loaded, name):
    _, events, context = CASES[name]
    ((argument, x),) = events.items()
    signatures, context = loaded[name].signatures, {key: tf.constant(value) for key, value in context.items()}
    z = x.astype(np.float32)
    for signature, inputs in (("log_prob", {argument: x}), ("encode", {argument: x}), ("decode", {"latents": z})):
        ((key, values),) = inputs.items()
        for wrong in (values[0], values[:, :2], values[..., None], np.concatenate([values] * 2, axis=-1)):
            with pytest.raises(tf.errors.InvalidArgumentError, match=f"Shape of tensor {key} .* is not compatible"):
                signatures[signature](**{key: tf.constant(wrong)}, **context)
        none = {name: value[:0] for name, value in {key: tf.constant(values), **context}.items()}
        for output in signatures[signature](**none).values():
            assert output.shape in ((0,), (0, *x.shape[1:]))


def test_one_label_serves_all_samples(served, loaded, eagerly):
    images = loaded["classes"].sample(4, 1.0, 5, [2])["images"]
    np.testing.assert_array_equal(images, served["classes"][0].sample(4, seed=5, labels=2))


def test_a_folder_that_holds_something_is_left_alone(served, tmp_path):
    model, _, folder = served["contexts"]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in (folder, folder / "saved_model.pb"):
        with pytest.raises(ValueError, match="filepath must be a folder that is new or empty; got .*1"):
            model.export(path)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["1"]  # no draft is left


@pytest.fixture
def small(monkeypatch):
    """A flow with one signature, which is soon exported."""
    signature = {"sum": (lambda x: {"sum": tf.reduce_sum(x, -1)}, [tf.TensorSpec([None, 2], name="x")])}
    monkeypatch.setattr(export, "endpoints", lambda model: signature)
    return rnvp.VectorRealNVP((2,), num_couplings=1, hidden_units=[16], seed=0)


@pytest.mark.parametrize("limit", [0, 2000])  # bytes of a file: of the variables, and of the graph
def test_what_does_not_fit_on_the_disk_is_named_and_leaves_nothing(limit, small, tmp_path, small_disk):
    with pytest.raises(OSError, match=re.escape(str(tmp_path)) + ".*File too large"), small_disk(limit):
        small.export(tmp_path / "1")
    assert not any(tmp_path.iterdir())


def test_a_link_stands_for_its_folder(small, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "draft.empty").symlink_to(tmp_path / "models")  # what a draft would be written into
    for name, target in (("first", "empty"), ("second", "new")):
        (tmp_path / "models" / name).symlink_to(tmp_path / target)
        small.export(tmp_path / "models" / name)
        assert (tmp_path / target / "saved_model.pb").is_file() and (tmp_path / "models" / name).is_symlink()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match="filepath must be a folder that is new or empty; got .*loop"):
        small.export(tmp_path / "loop")
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    for path in (".", tmp_path / "current"):
        with pytest.raises(ValueError, match="filepath must not be the current folder, which would be replaced; got"):
            small.export(path)
    with pytest.raises(OSError, match="saved_model.pb is not a directory"):
        small.export(tmp_path / "new" / "saved_model.pb" / "1")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"empty", "models", "new", "loop", "current"}
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"first", "second"}


def test_a_distribution_without_latents_is_refused(tmp_path):
    model = rnvp.FlowModel(tfd.Independent(tfd.Uniform(tf.zeros(SHAPE), 17.0), 3), num_bins=17)
    with pytest.raises(ValueError, match="distribution must be a tfd.TransformedDistribution to be exported"):
        model.export(tmp_path / "1")
    assert not any(pathlib.Path(tmp_path).iterdir())


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
