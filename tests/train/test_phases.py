"""The phases of a progressive run, and the configs that it refuses."""

import ml_collections
import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import phases, train


def progressive(num_scales=3, **fields):
    """The config of a progressive run."""
    config = tiny(architecture="MRCNF", adapt=True, **fields)
    config.progressive = True
    config.model = ml_collections.ConfigDict({"num_scales": num_scales, "num_blocks": 1, "filters": 2})
    return config


def test_a_run_has_one_phase():
    assert phases.phases_of(tiny(epochs=7)) == [phases.Phase(None, 0, 7)]


@pytest.mark.parametrize(("epochs", "ends"), [(3, [1, 2, 3]), (8, [2, 5, 8]), (9, [3, 6, 9])])
def test_each_scale_has_its_share_of_the_epochs_the_coarsest_first(epochs, ends):
    every = phases.phases_of(progressive(epochs=epochs))
    assert [(phase.scale, phase.epochs) for phase in every] == [*enumerate(ends)]
    assert [phase.first_epoch for phase in every] == [0, *ends[:-1]]


def test_the_number_of_scales_may_be_the_default():
    config = progressive(epochs=3)
    del config.model["num_scales"]
    assert len(phases.phases_of(config)) == 3


def test_a_phase_begins_with_its_scale_and_the_learning_rates_of_a_run():
    config = progressive(num_scales=2, epochs=4, warmup_steps=4)
    model = rnvp.MRCNF((8, 8, 1), num_scales=2, num_blocks=1, filters=2, num_bins=17, seed=0)
    _, second = phases.phases_of(config)
    second.begin(model, config, steps_per_epoch=5)
    fine, coarse = ([weight for layer in layers for weight in layer.weights] for layers in model.networks_by_scale())
    trained = {id(weight) for weight in model.trainable_weights}
    assert trained and trained <= {id(weight) for weight in fine} and not trained & {id(weight) for weight in coarse}
    assert int(model.optimizer.iterations) == 10
    rates = []
    for step in (10, 12, 14, 20):
        model.optimizer.iterations.assign(step)
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.0, 0.005, 0.01, 0.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 2}, "epochs must be at least the number of scales, 3, for progressive=True; got 2"),
        ({"ema_momentum": 0.5, "epochs": 3}, "ema_momentum must be 0 for progressive=True; got 0.5"),
    ],
    ids=str,
)
def test_a_progressive_run_that_cannot_be_is_refused(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(progressive(**fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_mrcnf_is_trained_progressively(tmp_path):
    with pytest.raises(ValueError, match="progressive must be False for architecture RealNVP: .*; got True"):
        train.train_and_evaluate(tiny(progressive=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
