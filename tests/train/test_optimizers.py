"""The learning rate schedule of a config, and the saving of its optimizer."""

import importlib
import json

import keras
import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train.optimizers import DECAYS, make_optimizer


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    config = tiny(warmup_steps=10, epochs=11, learning_rate=0.5, final_learning_rate=0.1)
    schedule = make_optimizer(config, steps_per_epoch=10)._learning_rate
    rates = [float(schedule(step)) for step in (0, 5, 10, 60, 110, 1000)]
    np.testing.assert_allclose(rates, [0.0, 0.25, 0.5, 0.3, 0.1, 0.1], atol=1e-6)


@pytest.mark.parametrize("name", ["default", "digits", "cifar10_small"])
def test_the_schedule_is_kerass_cosine(name):
    config = importlib.import_module(f"train.configs.{name}").get_config()
    steps = 4 * config.epochs
    if config.warmup_steps:
        config.warmup_steps = 7
    there = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
        decay_steps=steps - config.warmup_steps,
        alpha=config.final_learning_rate / config.learning_rate,
        warmup_target=config.learning_rate if config.warmup_steps else None,
        warmup_steps=config.warmup_steps,
    )
    here = make_optimizer(config, steps_per_epoch=4)._learning_rate
    for step in range(steps + 2):
        assert float(here(step)) == float(there(step))


@pytest.mark.parametrize(
    ("fields", "rates"),
    [
        ({"decay_start": 0.05}, {0: 0.0, 5: 0.25, 10: 0.5, 55: 0.3, 100: 0.1}),
        ({"decay_start": 0.5}, {0: 0.0, 5: 0.25, 10: 0.5, 50: 0.5, 75: 0.3, 100: 0.1, 200: 0.1}),
        ({"decay": "linear"}, {5: 0.25, 10: 0.5, 55: 0.3, 100: 0.1}),
        ({"decay": "linear", "decay_start": 0.5}, {5: 0.25, 50: 0.5, 60: 0.42, 100: 0.1, 200: 0.1}),
        ({"decay": "exponential", "decay_rate": 0.5}, {5: 0.25, 10: 0.5, 19: 0.5, 20: 0.25, 39: 0.125}),
        ({"decay": "exponential", "decay_rate": 0.5, "decay_start": 0.5}, {40: 0.5, 59: 0.5, 60: 0.25, 70: 0.125}),
        ({"decay": "exponential"}, {5: 0.25, 10: 0.5, 100: 0.5}),
    ],
    ids=str,
)
def test_the_learning_rate_is_held_and_decays(fields, rates):
    config = tiny(warmup_steps=10, epochs=10, learning_rate=0.5, final_learning_rate=0.1, **fields)
    schedule = make_optimizer(config, steps_per_epoch=10)._learning_rate
    np.testing.assert_allclose([float(schedule(step)) for step in rates], [*rates.values()], atol=1e-6)


def test_equal_learning_rates_stay_constant():
    schedule = make_optimizer(tiny(learning_rate=0.5, final_learning_rate=0.5), steps_per_epoch=10)._learning_rate
    assert [float(schedule(step)) for step in (0, 7, 20)] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("decay", DECAYS)
def test_the_optimizer_is_saved_without_anything_of_the_program(decay):
    adam = make_optimizer(tiny(decay=decay, decay_rate=0.9, warmup_steps=1, beta_2=0.99), steps_per_epoch=2)
    there = keras.saving.serialize_keras_object(adam)
    modules = [part.split('"')[0] for part in json.dumps(there).split('"module": "')[1:]]
    assert len(modules) == 3 and not any(module.startswith("train") for module in modules)
    again = keras.saving.deserialize_keras_object(there)
    assert (type(again), again.beta_2) == (rnvp.optimizers.Adam, 0.99)
    for step in range(5):
        assert float(again._learning_rate(step)) == float(adam._learning_rate(step))


@pytest.mark.parametrize(("warmup_steps", "start"), [(-1, 0), (3, 2)])
def test_a_schedule_cannot_begin_within_its_warm_up(warmup_steps, start):
    with pytest.raises(ValueError, match=f"from 0 to start; got warmup_steps={warmup_steps} and start={start}"):
        rnvp.optimizers.WarmUp(keras.optimizers.schedules.CosineDecay(1.0, 10), warmup_steps, start)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
