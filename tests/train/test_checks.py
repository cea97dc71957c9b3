"""Wrong configs: the error names the wrong field, and nothing is written."""

import ml_collections
import pytest
import tensorflow as tf

from tests.train.tiny_runs import OFFICIAL, tiny
from train import train


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"evaluation": {"batch_size": -1}}, "evaluation.batch_size must be at least 1; got -1"),
        ({"evaluation": {"num_draws": 0}}, "evaluation.num_draws must be at least 1; got 0"),
        ({"init_from_official": "no/such"}, "prefix must be the path of a TensorFlow checkpoint.*no/such"),
        ({"init_from_official": str(OFFICIAL)}, r"bn_in/beta \(3,\) where the model has \(1,\)"),
        ({"samples_every": 0}, "samples_every must be at least 1; got 0"),
        ({"image_size": (8,)}, r"image_size must be a height and a width; got \(8,\)"),
        ({"max_skipped": 0}, "max_skipped must be at least 1; got 0"),
        ({"checkpoint": {"keep": 0}}, "checkpoint.keep must be at least 1; got 0"),
        ({"checkpoint": {"steps": -1}}, "checkpoint.steps must not be negative; got -1"),
        ({"checkpoint": {"minutes": -0.5}}, "checkpoint.minutes must not be negative; got -0.5"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must not be negative; got -1"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative; got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive; got 0.0"),
        ({"final_learning_rate": -0.1}, "final_learning_rate must not be negative; got -0.1"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative; got -1.0"),
        ({"decay_rate": 0.0}, "decay_rate must be positive; got 0.0"),
        ({"decay_start": 1.0}, r"decay_start must be in \[0, 1\); got 1.0"),
        ({"beta_2": 1.0}, r"beta_2 must be in \[0, 1\); got 1.0"),
        ({"ema_momentum": 1.0}, r"ema_momentum must be in \[0, 1\); got 1.0"),
        ({"threads_per_operation": -1}, "threads_per_operation must not be negative; got -1"),
        ({"num_labels": -10}, "num_labels must not be negative; got -10"),
        ({"num_labels": 10}, "num_labels must be 0 for conditional=False; got 10"),
        ({"labelled_share": 1.0}, r"labelled_share must be in \[0, 1\); got 1.0"),
        ({"labelled_share": 0.5}, "labelled_share must be 0 for num_labels=0; got 0.5"),
        ({"optimizer": "SGD"}, r"optimizer must be one of \['Adam', 'Muon'\]; got 'SGD'"),
        ({"decay": "nope"}, r"decay must be one of \['cosine', 'exponential', 'linear'\]; got 'nope'"),
        ({"architecture": "nope"}, r"architecture must be one of \[.*'RealNVP'.*\].* got 'nope'"),
        ({"architecture": "Architecture"}, "architecture must be one of .* got 'Architecture'"),
        ({"adapt": True}, r"adapt must be False for architecture RealNVP, which has no adapt\(\); got True"),
        ({"dataset": "nope"}, "dataset must be digits, .* folder or .* got 'nope'"),
        ({"train_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        ({"validation_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        ({"test_split": "nope"}, "split must be one of .* got 'nope' of digits"),
        (
            {"dataset": "moons", "validation_split": ""},
            "flip and shift must be off for vectors; got False and 0.5",
        ),
        ({"model": {"filters": 0}}, "filters must be a positive int; got 0"),
        ({"model": {"num_scales": 5}}, r"2\^\(num_scales - 1\) = 16; got \(8, 8, 1\)"),
    ],
    ids=str,
)
def test_wrong_values_are_named_and_nothing_is_written(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train.train_and_evaluate(tiny(**fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_an_architecture_does_not_have_is_refused(plain, tmp_path):
    for fields, message in [
        ({"model": {"filters": 3}}, "no field 'filters'; there are .*'width'.* of architecture Plain"),
        ({"model": {"num_bins": 3}}, r"no field 'num_bins'; there are \['dtype', 'name', 'width'\]"),
        ({"conditional": True}, "architecture must be one that takes num_classes .* dataset=digits; got Plain"),
        ({"init_from_official": str(OFFICIAL)}, "architecture must be RealNVP for init_from_official; got Plain"),
    ]:
        config = plain.copy_and_resolve_references()
        with config.unlocked():
            config.update(fields)
        with pytest.raises(ValueError, match=message):
            train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("architecture", ["VectorRealNVP", "FFJORD", "MRCNF"])
def test_a_family_with_a_standardization_must_learn_it(architecture, tmp_path):
    config = tiny(architecture=architecture)
    config.model = ml_collections.ConfigDict()
    with pytest.raises(ValueError, match=f"adapt must be True for architecture {architecture}, .* got False"):
        train.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_muon_is_refused_on_a_tpu(tmp_path, monkeypatch):
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(tf.distribute, "TPUStrategy", type(strategy))
    with pytest.raises(ValueError, match="optimizer must be Adam on a TPU.*got Muon"):
        train.train_and_evaluate(tiny(optimizer="Muon"), tmp_path / "run", strategy=strategy)
    assert not (tmp_path / "run").exists()


def test_fields_that_no_config_has_are_named(tmp_path):
    config = tiny()
    config.bach_size = 3
    with pytest.raises(ValueError, match=r"config has no field 'bach_size'; there are \['adapt', .*'batch_size'"):
        train.train_and_evaluate(config, tmp_path)
    config = tiny()
    config.model.width = 3
    with pytest.raises(ValueError, match=r"config.model has no field 'width'; there are \['alpha'.*'filters'"):
        train.train_and_evaluate(config, tmp_path)


def test_fields_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match="config must have the field 'adapt'"):
        train.train_and_evaluate(ml_collections.ConfigDict({"dataset": "digits", "model": {}}), tmp_path)
    config = tiny()
    del config.evaluation.num_draws
    with pytest.raises(ValueError, match="config.evaluation must have the field 'num_draws'"):
        train.train_and_evaluate(config, tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
