"""Logistic regression on a flow's features."""

import json

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import probe

pytestmark = pytest.mark.usefixtures("module_eagerly")


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "NUM_LABELS", (10, 200))
    rnvp.Glow((8, 8, 1), num_scales=2, steps_per_scale=1, filters=2, num_bins=17, seed=0).save(tmp_path / "model.keras")
    return tmp_path


def test_probes_print_and_write_their_accuracies(workdir, capsys):
    result = probe.probe_features(tiny(), workdir, None, "model.keras")
    assert json.loads((workdir / "probe.json").read_text()) == result
    kinds = ("latents", "activations")
    scales = [name for kind in kinds for name in (kind, f"{kind}, scale 0", f"{kind}, scale 1")]
    assert list(result["accuracy"]) == ["events", *scales, "events and activations"]
    events = result["accuracy"]["events"]
    assert events["200"] > 0.8 and events["200"] > events["10"]
    assert f"events: {events['10']:.3f} of 10 labels, {events['200']:.3f} of 200 labels" in capsys.readouterr().out


def test_shuffled_labels_leave_nothing_to_learn(workdir, monkeypatch):
    arrays_of = probe.arrays_of
    shuffled = lambda examples: (arrays_of(examples)[0], np.random.default_rng(0).permutation(arrays_of(examples)[1]))
    monkeypatch.setattr(probe, "arrays_of", shuffled)
    result = probe.probe_features(tiny(test_split="test"), workdir, None, "model.keras")
    assert result["accuracy"]["events"]["200"] < 0.3


def test_data_without_labels_are_refused(tmp_path):
    config = tiny(dataset="gaussian_linear", conditional=True, architecture="VectorRealNVP", adapt=True, model={})
    rnvp.VectorRealNVP((3,), num_couplings=1, hidden_units=[2], context_size=3).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="dataset must have labels for mode=probe; got gaussian_linear"):
        probe.probe_features(config, tmp_path, None, "model.keras")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
