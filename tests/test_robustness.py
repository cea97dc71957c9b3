"""Extreme inputs and bad ones: finite answers, or errors that say what is wrong. docs/reliability.md counts them."""

import functools
import importlib
import re
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from absl import app

import tfp_realnvp as rnvp
from tests import families
from tests.laws import randomize_weights

pytestmark = pytest.mark.usefixtures("module_eagerly")

# Extreme inputs.

SHAPE = (8, 8, 3)
FLOWS = families.flows("extreme")
CHECKERS = np.indices(SHAPE[:2]).sum(0)[..., None] % 2 * 255
IMAGES = {
    "all 0": np.zeros(SHAPE),
    "all 255": np.full(SHAPE, 255),
    "constant": np.full(SHAPE, 77),
    "checkerboard": np.broadcast_to(CHECKERS, SHAPE),
    "the other checkerboard": np.broadcast_to(255 - CHECKERS, SHAPE),
}
SIGNS = np.random.default_rng(0).choice([-1, 1], SHAPE)
LATENTS = {"30": np.full(SHAPE, 30), "−30": np.full(SHAPE, -30), "±30": 30 * SIGNS}


@functools.cache
def new_flow(name):
    """The flow of this name, and the weights that it begins with."""
    model = FLOWS[name](event_shape=SHAPE)
    return model, model.get_weights()


@pytest.fixture(scope="module", params=[(name, state) for name in FLOWS for state in ("new", "random")], ids=str)
def extreme(request):
    """Every family, as it begins and with weights that no training would leave."""
    name, state = request.param
    model, initial = new_flow(name)
    model.set_weights(initial)
    if state == "random":
        randomize_weights(model.weights)
    return model


def test_extreme_images_are_scored_and_encoded(extreme):
    images = np.stack([*IMAGES.values()]).astype(np.uint8)
    nats = extreme.predict(images, batch_size=len(images), verbose=0)
    assert nats.shape == (len(IMAGES),) and np.isfinite(nats).all()
    assert np.isfinite(extreme.encode(images)).all()


def assert_drawn_or_refused(extreme, z, draw):
    """`draw()` gives the images of latents z, or says that the flow overflows at them."""
    x = extreme.bijector.forward(z.astype(np.float32)).numpy()
    if np.isfinite(x).all():
        np.testing.assert_array_equal(draw(), np.floor(x).clip(0, 255))
    else:
        with pytest.raises(ValueError, match="z must be closer to 0, or the temperature lower: the flow overflows"):
            draw()


@pytest.mark.parametrize("name", LATENTS)
def test_extreme_latents_are_decoded_or_refused(extreme, name):
    z = LATENTS[name][None]
    assert_drawn_or_refused(extreme, z, lambda: extreme.decode(z))


@pytest.mark.parametrize("temperature", [0.0, 10.0])
def test_extreme_temperatures_are_drawn_from_or_refused(extreme, temperature):
    z = temperature * extreme.base_distribution.sample(5, seed=[3, 0]).numpy()
    assert_drawn_or_refused(extreme, z, lambda: extreme.sample(5, temperature, seed=3))


VECTORS = np.array([[0, 0, 0], [1e4, 1e4, 1e4], [-1e4, 1e4, -1e4], [1e8, 1e8, 1e8]], np.float32)


@pytest.mark.parametrize("norm", ["act", "batch", None])
def test_extreme_vectors_have_finite_answers(norm):
    model = rnvp.VectorRealNVP((3,), num_couplings=4, hidden_units=[8], norm=norm, seed=0)
    randomize_weights(model.weights)
    assert np.isfinite(model.predict(VECTORS, verbose=0)).all() and np.isfinite(model.encode(VECTORS)).all()
    for z in (30, -30):
        assert np.isfinite(model.decode(np.full([1, 3], z))).all()
    for temperature in (0.0, 10.0):
        assert np.isfinite(model.sample(100, temperature, seed=0)).all()


# Bad inputs to the Python interface: a call given five flows, and what is said.

LEVELS = np.random.default_rng(0).integers(17, size=(6, 4, 4, 1)).astype(np.uint8)
LABELS = np.arange(6) % 3
POINTS = np.random.default_rng(1).standard_normal([6, 2]).astype(np.float32)
IMAGE, LATENT = (4, 4, 1), (1, 4, 4, 1)
SMALL = dict(num_scales=1, filters=1, num_blocks=1)  # where it is built before the error is found
batches = lambda *columns: tf.data.Dataset.from_tensor_slices(columns[0] if len(columns) == 1 else columns).batch(2)


def generated(batch, shape):
    """A data set of one batch of images, of whose shape this is known."""
    return tf.data.Dataset.from_generator(lambda: iter([batch]), output_signature=tf.TensorSpec(shape, tf.uint8))


ARGUMENTS = [
    (lambda m: rnvp.RealNVP((4, 4)), "event_shape must be (height, width, channels) or (size,); got (4, 4)"),
    (lambda m: rnvp.RealNVP((0, 4, 1)), "event_shape must be (height, width, channels) or (size,); got (0, 4, 1)"),
    (lambda m: rnvp.RealNVP((4.5, 4, 1)), "event_shape must be (height, width, channels) or (size,); got (4.5, 4, 1)"),
    (
        lambda m: rnvp.RealNVP((None, 4, 1)),
        "event_shape must be (height, width, channels) or (size,); got (None, 4, 1)",
    ),
    *(
        (lambda m, cls=family.cls: cls(2), "event_shape must be (height, width, channels) or (size,); got 2")
        for family in families.FAMILIES
    ),
    (lambda m: rnvp.NICE("big"), "event_shape must be (height, width, channels) or (size,); got 'big'"),
    (lambda m: rnvp.RealNVP(IMAGE, num_bins=0), "num_bins must be None or an int from 1 to 65536; got 0"),
    (lambda m: rnvp.RealNVP(IMAGE, num_bins="many"), "num_bins must be None or an int from 1 to 65536; got 'many'"),
    (lambda m: rnvp.RealNVP(IMAGE, **SMALL, alpha=0.7), "alpha must be in [0, 0.5); got 0.7"),
    (lambda m: rnvp.RealNVP(IMAGE, alpha="x"), "alpha must be in [0, 0.5); got 'x'"),
    (
        lambda m: rnvp.RealNVP(IMAGE, **SMALL, dequantization="nope"),
        'dequantization must be "uniform", "variational", "exact" or a Keras',
    ),
    (lambda m: rnvp.RealNVP(IMAGE, **SMALL, num_classes=0), "num_classes must be None or a positive int; got 0"),
    (lambda m: rnvp.RealNVP(IMAGE, **SMALL, context_size=2.5), "context_size must be None or a positive int; got 2.5"),
    (
        lambda m: rnvp.RealNVP(IMAGE, **SMALL, num_classes=3, context_size=2),
        "num_classes and context_size exclude each other",
    ),
    (lambda m: rnvp.Glow(IMAGE, num_classes="10"), "num_classes must be None or a positive int; got '10'"),
    (lambda m: rnvp.Glow(IMAGE, context_size="10"), "context_size must be None or a positive int; got '10'"),
    (lambda m: rnvp.RealNVP(IMAGE, num_scales=0), "num_scales must be a positive int; got 0"),
    (lambda m: rnvp.RealNVP(IMAGE, num_scales=5), "divisible by 2^(num_scales - 1) = 16; got (4, 4, 1)"),
    (lambda m: rnvp.RealNVP(IMAGE, filters=2.5), "filters must be a positive int; got 2.5"),
    (lambda m: rnvp.RealNVP(IMAGE, num_blocks=-1), "num_blocks must be a positive int; got -1"),
    (lambda m: rnvp.RealNVP(IMAGE, recursion_type=7), "recursion_type must be 1, 2, 3 or 4; got 7"),
    (lambda m: rnvp.RealNVP(IMAGE, running_average=1.5), "running_average must be None, or in [0, 1)"),
    (lambda m: rnvp.RealNVP(IMAGE, seed="three"), "seed must be None or an int from 0 to 2^63 - 1; got 'three'"),
    (lambda m: rnvp.RealNVP(IMAGE, seed=-1), "seed must be None or an int from 0 to 2^63 - 1; got -1"),
    (lambda m: rnvp.RealNVP(IMAGE, dtype="float99"), "Cannot convert 'float99' to a mixed precision DTypePolicy"),
    (lambda m: rnvp.Glow(IMAGE, steps_per_scale=0), "steps_per_scale must be a positive int; got 0"),
    (lambda m: rnvp.Glow((8, 8, 1), bound="nope"), "bound must be "),
    (lambda m: rnvp.Glow((5, 4, 1), num_scales=2), "divisible by 2^num_scales = 4; got (5, 4, 1)"),
    (lambda m: rnvp.UvA((4,)), "event_shape must be (height, width, channels); got (4,)"),
    (lambda m: rnvp.NICE(IMAGE, hidden_units=[0]), "hidden_units must be positive ints; got 8 and (0,)"),
    (lambda m: rnvp.VectorRealNVP(IMAGE), "event_shape must be (size,); got (4, 4, 1)"),
    (lambda m: rnvp.VectorRealNVP((4,), num_bins=256), "num_bins must be None: the data are continuous; got 256"),
    (lambda m: rnvp.VectorRealNVP((4,), norm="nope"), 'norm must be "batch", "act" or None; got \'nope\''),
    (lambda m: rnvp.VectorRealNVP((1,)), "event_shape must have at least two entries without a context; got (1,)"),
    (lambda m: rnvp.RealNVP.from_official_checkpoint("no/such"), "prefix must be the path of a TensorFlow checkpoint"),
    (lambda m: m.images.compile(loss="mse"), "loss must be left out: a flow's loss is its negative log-likelihood"),
    (lambda m: m.images.compile("nope"), "Could not interpret optimizer identifier: nope"),
]
DATA = [
    (lambda m: m.images.fit(None), "x must hold numbers; got object such as [None]"),
    (lambda m: m.images.fit("images.npy"), "x must hold numbers; got <U10 such as ['images.npy']"),
    (lambda m: m.images.fit(LEVELS.astype(str)), "x must hold numbers; got <U"),
    (lambda m: m.images.fit(LEVELS.astype(np.complex64)), "x must hold numbers; got complex64"),
    (lambda m: m.images.fit(LEVELS[0]), "x must have shape [N] + (4, 4, 1); got (4, 4, 1)"),
    (lambda m: m.images.fit(LEVELS.transpose(0, 3, 1, 2)), "x must have shape [N] + (4, 4, 1); got (6, 1, 4, 4)"),
    (lambda m: m.images.fit(LEVELS[:0]), "x must not be empty; got shape (0, 4, 4, 1)"),
    (lambda m: m.images.fit(LEVELS + 0.5), "x must hold integers from 0 to 16; got fractions such as"),
    (lambda m: m.images.fit(LEVELS - 1.0), "x must hold integers from 0 to 16; got values from -1.0"),
    (lambda m: m.images.fit(LEVELS + np.uint8(9)), "x must hold integers from 0 to 16; got values from 9 to 2"),
    (lambda m: m.images.fit(np.full(LATENT, np.inf)), "x must be finite; got NaN or infinity"),
    (lambda m: m.images.fit({"picture": LEVELS}), "must hold \"image\"; got the keys ['picture']"),
    (lambda m: m.images.fit(batches(LEVELS[:, :2])), "x must hold batches of shape [batch] + (4, 4, 1)"),
    (
        lambda m: m.images.fit(generated(LEVELS, None)),
        "x must hold batches of shape [batch] + (4, 4, 1); got a data set of unknown rank: tf.ensure_shape",
    ),
    (
        lambda m: m.images.fit(generated(LEVELS, [None, None, None, 3])),
        "x must hold batches of shape [batch] + (4, 4, 1); got (None, None, None, 3)",
    ),
    (
        lambda m: m.images.fit(generated(LEVELS[:, :2], [None] * 4)),
        "x must have shape [batch] + (4, 4, 1); got (6, 2, 4, 1)",
    ),
    (lambda m: m.images.fit(batches(LEVELS).take(0)), "x must not be empty; got a data set without batches"),
    (lambda m: m.images.fit(LEVELS, validation_data=LEVELS[..., 0]), "validation_data must have shape [N] + (4, 4, 1)"),
    (lambda m: m.images.fit(LEVELS, batch_size=0), "batch_size must be a positive int; got 0"),
    (lambda m: m.images.predict(LEVELS, batch_size=-1), "batch_size must be a positive int; got -1"),
    (lambda m: m.classes.fit(LEVELS), "y must hold the labels of a class-conditional flow, ints from 0 to 2; got none"),
    (
        lambda m: m.classes.fit(LEVELS, LABELS + 1),
        "ints from 0 to 2, or -1 for an unknown class; got int64 from 1 to 3",
    ),
    (lambda m: m.classes.fit(LEVELS, LABELS - 2), "from 0 to 2, or -1 for an unknown class; got int64 from -2 to 0"),
    (lambda m: m.classes.fit(LEVELS, LABELS / 2), "ints from 0 to 2; got float64"),
    (lambda m: m.classes.fit(LEVELS, LABELS.astype(str)), "ints from 0 to 2; got <U"),
    (lambda m: m.classes.fit(LEVELS, LABELS[:4]), "y must have as many entries as x, 6; got 4"),
    (lambda m: m.classes.fit(LEVELS, LABELS[:, None]), "y must have shape [N] + (); got (6, 1)"),
    (lambda m: m.classes.fit(batches(LEVELS)), "y must hold the labels of a class-conditional flow"),
    (lambda m: m.classes.evaluate(batches(LEVELS, LABELS + 1), verbose=0), "y must hold labels from 0 to 2"),
    (lambda m: m.contexts.fit(POINTS), "y must hold the contexts of a conditional flow, vectors of size 3; got none"),
    (lambda m: m.contexts.fit(POINTS, POINTS), "y must have shape [N] + (3,); got (6, 2)"),
    (lambda m: m.contexts.fit(POINTS, np.full([6, 3], np.nan)), "y must be finite; got NaN or infinity"),
    (
        lambda m: m.contexts.evaluate(batches(POINTS, np.full([6, 3], np.nan)), verbose=0),
        "y must be finite; got NaN or infinity",
    ),
    (lambda m: m.vectors.fit(POINTS * np.nan), "x must be finite; got NaN or infinity"),
    (lambda m: m.vectors.fit(POINTS[:, :1]), "x must have shape [N] + (2,); got (6, 1)"),
    (lambda m: m.vectors.adapt(np.ones([6, 2])), "x must vary in every column; got constants in columns [0, 1]"),
]
CALLS = [
    (lambda m: m.images.sample(0), "num_samples must be a positive int; got 0"),
    (lambda m: m.images.sample("four"), "num_samples must be a positive int; got 'four'"),
    (lambda m: m.images.sample(1, temperature=-1), "temperature must be a non-negative number; got -1"),
    (lambda m: m.images.sample(1, temperature="hot"), "temperature must be a non-negative number; got 'hot'"),
    (lambda m: m.images.sample(1, temperature=np.inf), "temperature must be a non-negative number; got inf"),
    (lambda m: m.images.sample(1, temperature=np.nan), "temperature must be a non-negative number; got nan"),
    (lambda m: m.images.sample(2, temperature=[1, 2]), "temperature must be a non-negative number; got [1, 2]"),
    (lambda m: m.images.sample(1, seed=0.5), "seed must be None or an int from 0 to 2^63 - 1; got 0.5"),
    (
        lambda m: m.images.sample(1, seed=2**63),
        "seed must be None or an int from 0 to 2^63 - 1; got 9223372036854775808",
    ),
    (lambda m: m.images.sample(1, batch_size=0), "batch_size must be a positive int; got 0"),
    (lambda m: m.images.sample(1, image_size=(8, 8)), "image_size must be None for a flow that is not convolutional"),
    (lambda m: m.scales.sample(4, image_size=7), "image_size must be (height, width), two positive ints; got 7"),
    (lambda m: m.scales.sample(4, image_size=(0, 8)), "(height, width), two positive ints; got (0, 8)"),
    (lambda m: m.scales.sample(4, image_size="big"), "(height, width), two positive ints; got 'big'"),
    (
        lambda m: m.scales.sample(4, image_size=(8, 6)),
        "image_size must have a height and width divisible by 4; got (8, 6)",
    ),
    (lambda m: m.images.sample(1, labels=[0]), "labels and context must be None for this flow"),
    (lambda m: m.classes.sample(2, labels=[0, 3]), "ints from 0 to 2; got int64 from 0 to 3"),
    (lambda m: m.classes.sample(2, labels=[0, 1, 2]), "labels must have shape () or (2,); got (3,)"),
    (lambda m: m.classes.sample(2, context=[0, 1]), "context must be None for this flow"),
    (lambda m: m.contexts.sample(2), "context must be given for a conditional flow; got None"),
    (lambda m: m.contexts.sample(2, context=[0.0, 1.0]), "context must have shape (3,) or (2, 3); got (2,)"),
    (lambda m: m.images.decode(np.zeros([1, 4, 4])), "z must have shape [N] + (4, 4, 1); got (1, 4, 4)"),
    (lambda m: m.images.decode(np.full(LATENT, np.nan)), "z must not hold NaN"),
    (lambda m: m.images.decode(np.full(LATENT, np.inf)), "z must be closer to 0, or the temperature lower"),
    (lambda m: m.images.decode(np.full(LATENT, "a")), "z must hold numbers, and not be empty; got <U1"),
    (
        lambda m: m.images.decode(np.zeros([0, 4, 4, 1])),
        "z must hold numbers, and not be empty; got float64 of shape (0",
    ),
    (lambda m: m.classes.decode(np.zeros(LATENT)), "context must hold the labels of a class-conditional flow"),
    (lambda m: m.images.encode(LEVELS + np.uint8(9)), "images must hold integers from 0 to 16; got values from 9"),
    (lambda m: m.images.encode(LEVELS, LABELS), "context must be None for a flow that is not conditional"),
    (lambda m: m.contexts.encode(POINTS), "context must hold the contexts of a conditional flow, vectors of size 3"),
    (lambda m: m.images.given([0]), "context must be left out: the flow is not conditional; got [0]"),
    (lambda m: m.classes.given([0.5]), "context must hold the labels of a class-conditional flow"),
    (lambda m: m.contexts.given([1.0, np.nan, 2.0]), "y must be finite; got NaN or infinity"),
    (lambda m: m.contexts.given(1.0), "context must have shape [..., 3]; got ()"),
    (lambda m: m.contexts.given([1.0, 2.0]), "context must have shape [..., 3]; got (2,)"),
    (lambda m: m.classes.distribution, "the flow is conditional: its distribution is given(context)"),
    (lambda m: m.images.classify(LEVELS), "num_classes must be given to a flow for it to classify; got None"),
    (lambda m: m.classes.classify(LEVELS, num_draws=0), "num_draws must be a positive int; got 0"),
    (lambda m: m.images.latents_by_scale(np.zeros([2, 3])), "z must have shape [N] + (4, 4, 1); got (2, 3)"),
    (lambda m: rnvp.evaluation.log_likelihood(m.images, LEVELS, 0), "num_draws must be a positive int; got 0"),
    (lambda m: rnvp.evaluation.log_likelihood(m.vectors, POINTS, 2), "num_draws must be 1 for continuous data; got 2"),
    (lambda m: rnvp.load_model("no/such.keras"), "filepath must be a .keras file; there is no file 'no/such.keras'"),
    (lambda m: m.images.export("."), "filepath must be a folder that is new or empty; got '.'"),
    (lambda m: m.images.save("flow.png"), "Invalid filepath extension for saving"),
]
# Bad command lines.
COMMANDS = {
    "--mode=nope": "--mode=nope: value should be one of <train|evaluate|",
    "--nope=1": "Unknown command line flag 'nope'",
    "evaluate": "unexpected arguments ['evaluate']; every setting is a flag, such as --mode=evaluate",
    "--num_samples=0": "--num_samples=0: 0 is not a positive integer",
    "--num_samples=x": "--num_samples=x: invalid literal for int()",
    "--temperature=-1": "--temperature=-1: -1.0 is not a non-negative number",
    "--temperature=hot": "--temperature=hot: could not convert string to float",
    "--seed=x": "--seed=x: invalid literal for int()",
    "--config=no/such.py": "error: --config: [Errno 2] No such file or directory: 'no/such.py'",
    "--config={folder}/syntax.py": "error: --config: invalid syntax (syntax.py, line 1)",
    "--config={folder}/empty.py": "error: --config: the file must define get_config()",
    "--config={folder}/other.py": "error: config has no field 'anything'; there are ",
    "--config.nope=1": "error: --config has no field 'nope'",
    "--config.model.bocks=1": "error: --config has no field 'bocks'",
    "--config.batch_size=many": "--config.batch_size=many: invalid literal for int()",
    "--config.epochs=2.5": "--config.epochs=2.5: invalid literal for int()",
    "--config.conditional=maybe": "--config.conditional=maybe: ('Non-boolean argument to boolean flag', 'maybe')",
    "--config.batch_size=0": "error: batch_size must be at least 1; got 0",
    "--config.epochs=0": "error: epochs must be at least 1; got 0",
    "--config.max_pixels=0": "error: max_pixels must be at least 1; got 0",
    "--config.samples_every=0": "error: samples_every must be at least 1; got 0",
    "--config.evaluation.num_draws=0": "error: evaluation.num_draws must be at least 1; got 0",
    "--config.evaluation.batch_size=0": "error: evaluation.batch_size must be at least 1; got 0",
    "--config.steps_per_epoch=-1": "error: steps_per_epoch must not be negative; got -1",
    "--config.warmup_steps=-1": "error: warmup_steps must not be negative; got -1",
    "--config.seed=-1": "error: seed must not be negative; got -1",
    "--config.learning_rate=0": "error: learning_rate must be positive; got 0.0",
    "--config.learning_rate=nan": "error: learning_rate must be positive; got nan",
    "--config.final_learning_rate=inf": "error: final_learning_rate must not be negative; got inf",
    "--config.clip_norm=0": "error: clip_norm must be positive; got 0.0",
    "--config.shift=2": "error: shift must be a probability; got 2.0",
    "--config.ema_momentum=1": "error: ema_momentum must be in [0, 1); got 1.0",
    "--config.beta_2=1": "error: beta_2 must be in [0, 1); got 1.0",
    "--config.decay_start=2": "error: decay_start must be in [0, 1); got 2.0",
    "--config.decay=nope": "error: decay must be one of ['cosine', 'exponential', 'linear']; got 'nope'",
    "--config.architecture=nope": "error: architecture must be one of ['FFJORD', 'Glow', ",
    "--config.architecture=os.path": "error: architecture must be one of ['FFJORD', 'Glow', ",
    "--config.adapt=True": "error: adapt must be False for architecture RealNVP, which has no adapt(); got True",
    "--config.dataset=nope": "error: dataset must be digits, ",
    "--config.dataset=gaussian_linear": "error: conditional must be True for dataset=gaussian_linear",
    "--config.dataset=folder": "error: data_dir must be the folder of the pictures; got None",
    "--config.dataset=folder --data_dir={folder}": "error: data_dir must hold pictures (jpeg, png, bmp or gif)",
    "--config.dataset=moons --config.validation_split= --config.flip=True": "error: flip and shift must be off for",
    "--config.crop=4": "error: crop must be 0 for dataset=digits: it is for TFDS's images; got 4",
    "--config.crop=-1": "error: crop must not be negative; got -1",
    "--config.train_split=nope": "error: split must be one of ['test', 'train', 'validation'], or a slice of them",
    "--config.test_split=test[:0]": "error: split 'test[:0]' of dataset 'digits' is empty",
    "--config.model.filters=0": "error: filters must be a positive int; got 0",
    "--config.model.num_scales=5": "error: event_shape must have a height and width divisible by ",
    "--config.model.num_blocks=1 --config.model.dequantization=nope": 'error: dequantization must be "uniform", ',
    "--init_from_official=no/such": "error: prefix must be the path of a TensorFlow checkpoint, without .index",
    "--config.dataset=moons --config.validation_split= --config.evaluation.num_draws=2": "error: evaluation.num_draws",
    "--workdir=gs://bucket/run": "flag --workdir=gs://bucket/run: --workdir must be a folder of this machine",
    "--workdir={folder}/cut": "error: workdir {folder}/cut holds the model of a finished run, whose checkpoints are",
    "--workdir={folder}/file": "error: workdir must be a folder; got the file ",
    "--workdir={folder}/another": "error: workdir {folder}/another holds the run of another config",
    "--mode=evaluate": "error: workdir must hold a trained model; there is no ",
    "--mode=figures": "error: workdir must hold a trained model; there is no ",
    "--mode=recalibrate": "error: workdir must hold a trained model; there is no ",
    "--mode=sample --model=none.keras": "none.keras. Train one with --mode=train",
    "--mode=sample --workdir={folder}/cut": "error: {folder}/cut/model.keras is truncated, or no .keras file",
    "--mode=score": "error: data_dir must be the folder of the pictures; got None",
    "--mode=score --data_dir={folder}/file": "error: data_dir must be the folder of the pictures; got '{folder}/file'",
}


@pytest.fixture(scope="module")
def flows():
    """Small flows of images, also at two scales, and of vectors, without and with a condition."""
    small = dict(num_couplings=2, hidden_units=[3], seed=0)
    models = dict(
        images=rnvp.NICE(IMAGE, num_bins=17, **small),
        classes=rnvp.NICE(IMAGE, num_bins=17, num_classes=3, **small),
        scales=rnvp.Glow(IMAGE, num_bins=17, num_scales=2, steps_per_scale=1, filters=1, seed=0),
        vectors=rnvp.VectorRealNVP((2,), **small),
        contexts=rnvp.VectorRealNVP((2,), context_size=3, **small),
    )
    for model in models.values():
        model.compile()
    return types.SimpleNamespace(**models)


BAD = ARGUMENTS + DATA + CALLS


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_arguments_are_value_errors_that_say_what_is_allowed(flows, call, message):
    models = vars(flows).values()
    before = [model.get_weights() for model in models]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(flows)
    for model, weights in zip(models, before, strict=True):
        assert all(map(np.array_equal, model.get_weights(), weights)) and not int(model.optimizer.iterations)


@pytest.fixture
def folder(tmp_path):
    """What the command lines name."""
    (tmp_path / "file").write_text("a file")
    (tmp_path / "syntax.py").write_text("def get_config(:\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "other.py").write_text(
        "from train.configs import default\n"
        "def get_config():\n    config = default.get_config()\n    config.anything = 1\n    return config\n"
    )
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/model.keras").write_bytes(b"PK")
    config = importlib.import_module("train.configs.digits").get_config()
    config.seed = 7
    (tmp_path / "another").mkdir()
    (tmp_path / "another/config.json").write_text(config.to_json_best_effort())
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_bad_command_lines_are_named_and_leave_nothing(command, folder, command_line, monkeypatch, capsys):
    monkeypatch.setattr(rnvp.FlowModel, "fit", None)  # nothing of this is to come as far as that
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # what Python keeps of a config file is not ours
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    arguments = command.format(folder=folder).split(" ")
    with pytest.raises((SystemExit, app.UsageError)) as stopped:
        command_line(*arguments, *([] if "--workdir" in command else [f"--workdir={folder / 'run'}"]))
    assert COMMANDS[command].format(folder=folder) in str(stopped.value) + capsys.readouterr().err
    assert not (folder / "run").exists()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
