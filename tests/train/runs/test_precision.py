"""The warning for networks in a precision that this machine emulates."""

import pytest

from tests.train.tiny_runs import tiny
from train import train
from train.runs import precision


@pytest.mark.parametrize("times, warned", [(14.2, True), (0.5, False)])
def test_an_emulated_type_is_warned_of(times, warned, monkeypatch, caplog):
    monkeypatch.setattr(precision, "slowdown", lambda dtype: {"bfloat16": times}[dtype])
    precision.warn_if_slow("mixed_bfloat16")
    text = "config.model.dtype=mixed_bfloat16: on this machine a convolution and its gradients take 14 times as long"
    assert (text in caplog.text) == warned


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_full_precision_is_not_timed(dtype, monkeypatch):
    monkeypatch.delattr(precision, "slowdown")
    precision.warn_if_slow(dtype)


def test_what_is_no_policy_is_named():
    with pytest.raises(ValueError, match="config.model.dtype must be a Keras policy; got 'bfloat17'.*mixed_bfloat16"):
        precision.warn_if_slow("bfloat17")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_type_is_timed(dtype):
    assert precision.slowdown(dtype, repetitions=1) > 0


def test_a_run_warns_before_it_builds_its_flow(tmp_path, monkeypatch, caplog):
    def new_model(*args):
        assert "config.model.dtype=mixed_bfloat16" in caplog.text
        raise KeyboardInterrupt

    monkeypatch.setattr(precision, "slowdown", lambda dtype: 9.0)
    monkeypatch.setattr(train, "new_model", new_model)
    config = tiny()
    config.model.dtype = "mixed_bfloat16"
    with pytest.raises(KeyboardInterrupt):
        train.train_and_evaluate(config, tmp_path)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
