"""The model of a run among the pretrained ones: rounded where that costs no bits, and of its config alone."""

import json
import sys
import types

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.train.files import arrays_of
from tests.train.tiny_runs import assert_same, tiny
from tfp_realnvp import model_zoo
from train import add_pretrained
from train.runs.metrics import training_seconds

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.fixture
def add(monkeypatch, run, tmp_path):
    """Adds the model of the tiny run as "digits" to an empty folder."""
    monkeypatch.setitem(sys.modules, "train.configs.tiny", types.SimpleNamespace(get_config=tiny))
    monkeypatch.setattr(add_pretrained, "SOURCES", {"digits": ("tiny", "digits", "free")})
    monkeypatch.setattr(model_zoo, "WEIGHTS", tmp_path)
    return lambda workdir=run.workdir: add_pretrained.add_model("digits", workdir, folder=tmp_path)


def weights(path):
    """The arrays of a .keras file, without the state of a training."""
    return {name: array for name, array in arrays_of(path).items() if not name.startswith(("optimizer", "progress"))}


def test_a_run_becomes_a_pretrained_model_with_rounded_weights(add, run, tmp_path):
    card = add()
    assert card == rnvp.model_card("digits")
    before, after = weights(run.workdir / "model.keras"), weights(tmp_path / "digits.keras")
    assert len(before) > 50 and {*before} == {*after}
    assert not any(name.startswith("optimizer") for name in arrays_of(tmp_path / "digits.keras"))
    for name, array in before.items():
        np.testing.assert_array_equal(array.astype("float16"), after[name])
        assert after[name].dtype == "float16"
    result = json.loads((run.workdir / "result.json").read_text())
    assert card["bits_per_dim"] == pytest.approx(result["bits_per_dim"], abs=1e-3)
    assert card["bits_per_dim_before_rounding"] == result["bits_per_dim"]
    facts = dict(split="test[:50]", num_examples=50, steps=4, seed=0, weights="float16", config="tiny.py")
    assert {name: card[name] for name in facts} == facts
    assert card["command"] == "python -m train.main --config=train/configs/tiny.py"


def test_weights_that_lose_bits_are_not_rounded(add, run, monkeypatch, tmp_path):
    result = json.loads((run.workdir / "result.json").read_text())
    worse = {**result, "bits_per_dim": result["bits_per_dim"] + 0.002}
    monkeypatch.setattr(add_pretrained, "_evaluate", lambda *arguments: worse)
    assert add()["weights"] == "float32"
    before, after = weights(run.workdir / "model.keras"), weights(tmp_path / "digits.keras")
    assert_same(before, after)


def test_the_seconds_are_those_of_the_steps():
    lines = [{"step": 10, "images_per_s": 5.0}, {"step": 30, "images_per_s": 20.0}]
    assert training_seconds(lines, batch_size=2) == 10 * 2 / 5 + 20 * 2 / 20


def test_other_runs_are_refused(add, run, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="workdir must hold a trained model"):
        add(tmp_path / "empty")
    monkeypatch.setattr(sys.modules["train.configs.tiny"], "get_config", lambda: tiny(batch_size=9))
    with pytest.raises(ValueError, match=r"holds the run of another config \(batch_size = 8 there, 9 here\)"):
        add()
    assert not [*tmp_path.iterdir()]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
