"""Logistic regression on a flow's features."""

import json

import pytest

import tfp_realnvp as rnvp
from tests.train.tiny_runs import tiny
from train import probe
from train.configs import gaussian_linear

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


def test_data_without_labels_are_refused(tmp_path):
    model = rnvp.VectorRealNVP((3,), num_couplings=1, hidden_units=[2], context_size=4, seed=0)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="dataset must have labels for mode=probe; got gaussian_linear"):
        probe.probe_features(gaussian_linear.get_config(), tmp_path, None, "model.keras")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
