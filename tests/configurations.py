"""Draws random small configurations of RealNVP and tries the laws of a flow on each of them.

  python -m tests.configurations [--count=500] [--seed=0] [--first=0]

A configuration follows from the seed and its number, so that one that failed is had again by `--seed=SEED
--first=NUMBER --count=1`.
"""

import argparse
import collections
import json
import pathlib
import random
import sys
import tempfile
import traceback

import numpy as np
import tensorflow as tf

import tfp_realnvp as rnvp
from tests.laws import assert_close, forward, inverse, randomize_weights

# Largest errors relative to max(1, |value|). With an alpha of 0.4 pixels come back with up to thousands of times the
# rounding of the latents, and in bfloat16 what the networks see differs between the two directions.
ROUND_TRIP = {"float64": 1e-9, "float32": 1e-3, "mixed_bfloat16": 0.5}


def draw(seed, number):
    """The arguments of the configuration of this number, of all those that `RealNVP` takes together."""
    chance = random.Random(f"{seed} {number}")
    one_of, either = lambda *options: chance.choice(options), lambda: chance.random() < 0.5
    configuration = dict(
        num_scales=one_of(1, 1, 1, 1, 1, 2, 2, 2, 3),
        filters=chance.randint(1, 4),
        num_blocks=one_of(1, 1, 1, 2),
        num_bins=one_of("auto", None, 1, 2, 5, 32, 256, 1000),
        alpha=one_of(0.05, 0.4, 1e-6, 0.0, None),
        l2=one_of(0.0, 5e-5),
        use_affine=either(),
        scale_first=either(),
        use_batch_norm=either(),
        rematerialize=either(),
        seed=chance.randrange(2**63),
        dtype=one_of(*ROUND_TRIP),
        **one_of({}, {}, {"num_classes": chance.randint(1, 4)}, {"context_size": chance.randint(1, 4)}),
    )
    if configuration["use_batch_norm"]:
        configuration["running_average"] = one_of(None, None, 0.0, 0.5, 0.9)
    if chance.random() < 0.3:
        return dict(event_shape=(chance.randint(1, 6),), **configuration)
    unit = 2 ** (configuration["num_scales"] - 1)
    height, width = (unit * chance.randint(1, 6 // unit) for _ in range(2))
    sizes = dict(num_couplings=2, filters=2, num_blocks=1)
    noise = dict(class_name="tfp_realnvp>VariationalDequantization", config=sizes)
    return dict(
        event_shape=(height, width, chance.randint(1, 3)),
        recursion_type=one_of(1, 2, 3, 4),
        skip=either(),
        bottleneck=either(),
        dequantization=one_of(*4 * ["uniform"], noise, noise, "variational"),
        **configuration,
    )


class Case:
    """A flow of a configuration, of random weights, and a few events.

    Attributes:
      model: the flow.
      tolerance: the largest relative error of its round trip.
      events: what `model.log_likelihood` takes: events, and contexts where it is conditional.
      log_probs: what it gives for them.
      folder: one for files.
    """

    def __init__(self, configuration, folder):
        self.model, self.folder = rnvp.RealNVP(**configuration), pathlib.Path(folder)
        self.tolerance = ROUND_TRIP[configuration["dtype"]]
        randomize_weights(self.model.weights)
        model, rng, number = self.model, np.random.default_rng(0), 3
        normal = lambda *shape: rng.standard_normal([number, *shape]).astype(model.variable_dtype)
        if model.num_bins is None:
            self.events = [normal(*model.event_shape)]
        else:
            self.events = [rng.integers(model.num_bins, size=(number, *model.event_shape)).astype(np.uint16)]
        if model.num_classes:
            self.events.append(rng.integers(model.num_classes, size=number))
        elif model.context_size:
            self.events.append(normal(model.context_size))
        self.log_probs = model.log_likelihood(*self.events).numpy()


def has_finite_log_probs(case):
    assert case.log_probs.shape == (len(case.events[0]),) and np.isfinite(case.log_probs).all(), case.log_probs


def round_trips_with_opposite_log_dets(case):
    model, (x, *context) = case.model, case.events
    bijector = (model.given(*context) if context else model.distribution).bijector
    x, ndims = x.astype(model.variable_dtype) + (model.num_bins is not None) / 2, len(model.event_shape)
    z, log_det = inverse(bijector, x, ndims)
    again, opposite = forward(bijector, z.numpy(), ndims)
    assert_close(again, x, case.tolerance)
    assert_close(opposite, -log_det, case.tolerance)


def is_saved_and_loaded(case):
    case.model.save(case.folder / "flow.keras")
    loaded = rnvp.load_model(case.folder / "flow.keras")
    assert json.dumps(loaded.get_config()) == json.dumps(case.model.get_config())
    np.testing.assert_array_equal(loaded.log_likelihood(*case.events), case.log_probs)


def has_finite_gradients_of_every_weight(case):
    """In training; where float64 allows it, they are also the slope along a random direction in all weights."""
    model, rng = case.model, np.random.default_rng(1)
    before = model.get_weights()  # with the moving moments, which each call moves
    steps = [1e-6 * rng.standard_normal(weight.shape) * weight.trainable for weight in model.weights]

    def log_prob(factor):
        model.set_weights([value + factor * step for value, step in zip(before, steps, strict=True)])
        return tf.reduce_sum(model(*case.events, training=True))

    with tf.GradientTape() as tape:
        value = log_prob(0)
    gradients = tape.gradient(value, model.trainable_weights)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.isfinite(gradient).all(), f"{weight.path}: {gradient}"
    assert any(np.any(gradient) for gradient in gradients)
    if value.dtype == tf.float64 and not getattr(model.dequantization, "networks", ()):  # whose noise is float32
        trained = [step for step, weight in zip(steps, model.weights, strict=True) if weight.trainable]
        slope = sum(np.sum(gradient * step) for gradient, step in zip(gradients, trained, strict=True))
        difference = (log_prob(1) - log_prob(-1)) / 2
        assert abs(difference - slope) < 1e-3 * abs(slope) + 1e-9, f"{difference} is not {slope}"
    model.set_weights(before)


LAWS = (
    has_finite_log_probs,
    round_trips_with_opposite_log_dets,
    is_saved_and_loaded,
    has_finite_gradients_of_every_weight,
)


def try_laws(configuration):
    """Raises where the flow of this configuration cannot be built, or breaks a law."""
    with tempfile.TemporaryDirectory() as folder:
        case = Case(configuration, folder)
        for law in LAWS:
            law(case)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    tf.config.run_functions_eagerly(True)
    numbers, kinds, failed = range(arguments.first, arguments.first + arguments.count), collections.Counter(), []
    for done, number in enumerate(numbers, start=1):
        configuration = draw(arguments.seed, number)
        kinds.update(f"{name} {value}" for name, value in _kinds(configuration).items())
        try:
            try_laws(configuration)
        except Exception:
            failed.append(number)
            print(f"configuration {number} of seed {arguments.seed} failed: {configuration}", flush=True)
            traceback.print_exc()
        if done % 10 == 0 or done == arguments.count:
            print(f"{done} tried, {len(failed)} failed", flush=True)
    for kind, times in sorted(kinds.items()):
        print(f"{kind}: {times}")
    print(f"{arguments.count} configurations; failed: {failed or 'none'}")
    sys.exit(bool(failed))


def _kinds(configuration):
    """What the configurations are counted by."""
    conditional = [name for name in ("num_classes", "context_size") if name in configuration]
    return {
        "events": "images" if len(configuration["event_shape"]) == 3 else "vectors",
        "num_scales": configuration["num_scales"],
        "num_bins": configuration["num_bins"],
        "dtype": configuration["dtype"],
        "context": conditional[0] if conditional else "none",
    }


if __name__ == "__main__":
    main()
