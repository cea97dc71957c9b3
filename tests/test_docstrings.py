"""The examples in the docstrings of public names run, and give the values and shapes that they claim."""

import ast
import functools
import inspect
import math
import pathlib
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras
from sklearn.linear_model import LogisticRegression

import tfp_realnvp as rnvp

pytestmark = pytest.mark.usefixtures("module_eagerly")
OFFICIAL = pathlib.Path(__file__).parent / "data/official_small"

# Examples that other tests run: with the authors' arrays, in graphs, or in a minute.
ELSEWHERE = {
    "architectures.jet.Jet.from_official_weights": "architectures/test_jet.py",
    "architectures.mrcnf.MRCNF.from_official_weights": "architectures/test_mrcnf.py",
    "model.FlowModel.export": "test_export.py",
    "anomaly.detector.Detector.export": "anomaly/test_detector.py",
    "completion.modes.most_likely": "completion/test_completion.py",
    "completion.modes.restore_most_likely": "completion/test_completion.py",
    "completion.operators.Identity": "completion/test_posteriors.py",
    "completion.posteriors.restore": "completion/test_posteriors.py",
    "completion.posteriors.sample": "completion/test_posteriors.py",
    "completion.posteriors.Posterior.interval": "completion/test_posteriors.py",
}

SMALLER = {  # A pattern in an example ↦ a text that takes less time.
    r"\bfilters=(64|128|512)": "filters=4",
    r"\((32, 32|28, 28), (\d)\),": r"(8, 8, \2),",
    r"num_scales=5": "num_scales=2",
    r"\b(num_blocks|epochs|steps_per_scale)=\d+": r"\1=1",
    r"\bnum_couplings=\d+": "num_couplings=2",
    r"hidden_units=\[[\d, ]+\]": "hidden_units=[4]",
    r"\b(num_)?steps=\d+": r"\1steps=1",
    r"num_adaptation_steps=\d+": "num_adaptation_steps=10",
    r"sample_chain\(\d+": "sample_chain(2",
    r"10_000\)": "64, num_chains=0)",
    r"explore\((.*), seed=0\)": r"explore(\1, num_steps=5, seed=0)",
}

# The beginning of a name ↦ the code that its examples continue.
CLASSES = "model = rnvp.NICE((8, 8, 1), hidden_units=[4], num_bins=17, num_classes=10, seed=0)"
POSTERIOR = "posterior = rnvp.VectorRealNVP((3,), context_size=4, num_couplings=2, hidden_units=[4], seed=0)"
CODEC = "codec = Codec(model, 16); data = codec.compress(images, verify=False)"
SCORES = "score, features, of_held_out, of_others = Likelihood(), *(noise.astype(float)[:n, :1] for n in (200, 200, 5))"
BEGINNINGS = {
    "anomaly": "from tfp_realnvp.anomaly import *; from tfp_realnvp.anomaly.quantities import Quantities",
    "anomaly.calibration": f"{SCORES}; calibration = Calibration.of(score, features)",
    "anomaly.detector": "detector = Detector(model, Likelihood()); detector.calibrate(held_out)",
    "anomaly.scores": f"{SCORES}; general_model = model",
    "anomaly.scores.Score.features": "images = tf.cast(images, tf.float32)",
    "architectures.architecture": "self, latent, z = model, tfd.Normal(0.0, 1.0), tf.zeros([8, 8, 8, 1])",
    "architectures.mrcnf.MRCNF.": "model = rnvp.MRCNF((8, 8, 1), num_scales=2, num_blocks=1, filters=4, num_bins=17, "
    "evaluation_tolerance=0.1, seed=0); model.adapt(images); half_size_images = images",
    "architectures.nice.NICE.": "model = rnvp.NICE((8, 8, 1), hidden_units=[4], num_bins=17, seed=0)",
    "architectures.standardization": POSTERIOR,
    "bijectors": "images = tf.random.stateless_normal([8, 8, 8, 3], [0, 0])",
    "bijectors.continuous.ContinuousFlow.": "flow = ContinuousFlow(MLPDynamics(2, [4])); latents = points",
    "bijectors.mixture": "params, pixels = tf.zeros([8, 51]), tf.zeros([8, 3])",
    "bijectors.sequential": "coupling = Squeeze()",
    "calibration": f"{POSTERIOR}; ranks, size = rank(posterior, (parameters, observations), seed=0), 3",
    "common": "filters, num_blocks, x = 1, 1, images",
    "compression.codec": "model = rnvp.SubpixelFlow((8, 8, 1), num_scales=3, filters=2, num_blocks=1, num_bins=2); "
    "images = images % 2",
    "compression.codec.Archive": f"{CODEC}; archive = codec.archive(data)",
    "compression.codec.Codec.": CODEC,
    "energy": "model = rnvp.VectorRealNVP((2,), num_couplings=2, hidden_units=[4], seed=0); states = points; "
    "log_prob = lambda x: -0.5 * tf.reduce_sum(x**2, axis=-1); "
    "weighted = rnvp.energy.weigh(model, log_prob, 64, num_chains=0)",
    "energy.surrogates": "data = 1.0; joint = tfd.JointDistributionNamedAutoBatched(dict(a=tfd.Normal(0.0, 1.0), "
    "b=tfd.Normal(0.0, 1.0), y=lambda a, b: tfd.Normal(a + b, 1.0)))",
    "energy.surrogates.Surrogate": "surrogate = rnvp.energy.surrogate(joint.experimental_pin(y=data))",
    "evaluation": "model = rnvp.RealNVP((8, 8, 1), num_scales=1, filters=2, num_blocks=1, num_bins=17, seed=0)",
    "evaluation.exact": "model = exact_model",
    "model": "z, truth = model.encode(images), np.arange(200) % 10",
    "model.FlowModel.class_probabilities": CLASSES,
    "model.FlowModel.given": CLASSES,
    "networks": "from tfp_realnvp.networks import *; "
    "images = top_left_pixels = masked_images = tf.random.stateless_normal([8, 8, 8, 3], [0, 0]); "
    "h = tf.zeros([8, 8, 8, 32]); tokens = tf.zeros([8, 4, 128]); patches = tf.zeros([8, 4, 4, 12]); channels = 3",
    "networks.activations": "self, hidden, x = DenseResNet(4), tf.zeros([8, 32]), tf.zeros([8, 8, 8, 1])",
    "networks.actnorm.initializing": "flow = rnvp.Glow((8, 8, 3), num_scales=1, steps_per_scale=1, filters=2, "
    "num_bins=17).distribution",
    "networks.moments.FixedMoments": "table = points",
    "networks.moments.fixed_averages": "images = levels",
    "optimizers": "strategy, optimizer = tf.distribute.get_strategy(), rnvp.optimizers.Adam()",
    "replicas": "network = keras.layers.Flatten()",
    "sampling": "values = points",
    "trainer.FlowTrainer": "context = None",
    "trainer.FlowTrainer.compile": "model = rnvp.NICE((8, 8, 1), hidden_units=[4], num_bins=17, seed=0)",
    "trainer.FlowTrainer.predict": CLASSES,
}
BEGINNINGS["trainer.FlowTrainer.predict_on_batch"] = "model = exact_model"


def docstrings():
    """Each public function, class and method by its qualified name: its docstring and its module."""
    found = {}

    def add(value):
        name = f"{value.__module__}.{value.__qualname__}"
        if name.startswith("tfp_realnvp."):
            text = inspect.cleandoc(value.__doc__ or "")
            found[name.removeprefix("tfp_realnvp.")] = text, sys.modules[value.__module__]

    for module in [rnvp, *filter(inspect.ismodule, map(vars(rnvp).get, rnvp.__all__))]:
        for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                add(value)
            for base in value.__mro__ if inspect.isclass(value) else ():
                for method in (vars(base)[name] for name in vars(base) if not name.startswith("_")):
                    method = getattr(method, "__func__", getattr(method, "python_function", method))
                    if inspect.isfunction(method):
                        add(method)
    return found


def examples():
    """name ↦ (code, claim, module). The claim is the text behind a line of code."""
    found = {}
    for name, (text, module) in docstrings().items():
        block = re.search(r"^Example:\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        line = re.search(r"^Example: `([^`]+)`(.*?)(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if match := block or line:
            found[name] = match[1], "" if block else match[2], module
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """The names that all examples may use."""
    rng = np.random.default_rng(0)
    images = rng.integers(17, size=[200, 8, 8, 1]).astype("uint8")
    options = dict(num_bins=17, num_scales=1, filters=2, num_blocks=1, num_components=2, dequantization="exact", seed=0)
    model = rnvp.SubpixelFlow((8, 8, 1), **options)
    model.compile(rnvp.optimizers.Adam())
    noise = rng.normal(size=[200, 16]).astype("float32")
    detector = rnvp.anomaly.Detector(model, rnvp.anomaly.Likelihood())
    detector.calibrate(images)
    folder = tmp_path_factory.mktemp("files")
    detector.save(folder / "detector.npz")
    model.save(folder / "flow.keras")
    (folder / "logs").mkdir()
    for path in OFFICIAL.glob("model.ckpt.*"):
        shutil.copy(path, folder / "logs" / path.name.replace("ckpt", "ckpt-100000"))
    layers = {name: getattr(part, name) for part in (rnvp.networks, rnvp.bijectors) for name in part.__all__}
    return folder, {
        **layers,
        **{module.__name__: module for module in (functools, keras, math, tf_keras)},
        "np": np,
        "rnvp": rnvp,
        "tf": tf,
        "tfp": tfp,
        "tfb": tfp.bijectors,
        "tfd": tfp.distributions,
        "bijectors": rnvp.bijectors,
        "Checkerboard": rnvp.bijectors.masks.Checkerboard,
        "ChangeAll": rnvp.bijectors.masks.ChangeAll,
        "LogisticRegression": LogisticRegression,
        "model": model,
        "exact_model": model,
        "images": images[:10],
        "levels": images[:10],
        "held_out": images,
        "labels": np.arange(10),
        "noise": noise,
        "points": noise[:8, :2],
        "parameters": noise[:, :3],
        "observations": noise[:, 3:7],
        "observed": noise[0, 3:7],
    }


@pytest.fixture(scope="module")
def beginnings():
    """The names that the code of `BEGINNINGS` has made, by name."""
    return {}


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ELSEWHERE])
def test_the_example_runs(name, common, beginnings, monkeypatch, tmp_path):
    folder, shared = common
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    code, claim, module = EXAMPLES[name]
    for pattern, smaller in SMALLER.items():
        code = re.sub(pattern, smaller, code)
    names = {**shared, **vars(module)}
    for prefix in filter(name.startswith, BEGINNINGS):
        if prefix not in beginnings:
            before = dict(names)
            exec(BEGINNINGS[prefix], names)
            beginnings[prefix] = {key: value for key, value in names.items() if before.get(key) is not value}
        names.update(beginnings[prefix])
    if shape := re.search(r"\((\d+), (\d+), (\d+)\), num", code):
        size = [32, *map(int, shape.groups())]
        names["images"] = np.random.default_rng(0).integers(256, size=size).astype("uint8")
        names["labels"] = np.arange(32) % 10
    value = last_value(code, names)
    if told := re.match(r"\s(is|has shape)\s(.+)\.$", claim, re.DOTALL):
        check_claim(value.shape if told[1] == "has shape" else value, told[2])


def last_value(code, names):
    """Runs the code. Returns the value of its last line, if that is an expression."""
    *statements, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        return exec(code, names)
    exec(compile(ast.Module(statements, []), "example", "exec"), names)
    return eval(compile(ast.Expression(last.value), "example", "eval"), names)


def check_claim(value, text):
    """Checks a value that is claimed in Python's notation. Other claims are for readers."""
    try:
        claimed = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return
    if isinstance(claimed, dict):
        assert value == claimed
    else:
        np.testing.assert_allclose(value, claimed, atol=5e-4)


def test_every_example_is_found():
    for name, (text, _) in docstrings().items():
        assert ("\nExample:" in text) == (name in EXAMPLES), name
    assert len(EXAMPLES) > 190 and {*ELSEWHERE} <= {*EXAMPLES}


def test_a_wrong_claim_is_noticed():
    for value, text in (([3.0], "[4]"), ({"a": 1}, '{"a": 2}'), ((8, 4), "[8, 5]")):
        with pytest.raises(AssertionError):
            check_claim(value, text)
    check_claim(np.float32(0.4621), "0.462")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
