"""The log-likelihoods of a folder's pictures."""

import json
import os
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import tfp_realnvp as rnvp
from tests.train.tiny_runs import OFFICIAL, tiny
from train import data, score

BAD = {
    "bright.png": "the picture must have levels from 0 to 16; got 2",
    "pipe.png": "the picture must be a regular file",
    "small.png": "the picture must have shape (8, 8, 1); got (4, 8, 1)",
    "text.png": "the picture cannot be read: Unknown image file format",
    "torn.png": "the picture cannot be read: ",
    "vast.png": "the picture must have at most 67108864 pixels (config.max_pixels); got 9000 × 9000",
    "zeros.png": "the picture must be a regular file",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three digits in levels from 0 to 16, one of them below a folder; a text file; and seven bad pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    digits = np.stack(list(data.load(tiny(), "test[:3]").dataset.as_numpy_iterator()))
    (folder / "b").mkdir()
    for name, digit in zip(("a.png", "b/c.png", "d.PNG"), digits, strict=True):
        Image.fromarray(digit[..., 0]).save(folder / name)
    Image.fromarray(digits[0, ..., 0] * 15).save(folder / "bright.png")
    Image.fromarray(digits[0, :4, :, 0]).save(folder / "small.png")
    (folder / "text.png").write_text("no picture")
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:-30])
    (folder / "notes.txt").write_text("no picture either")
    os.mkfifo(folder / "pipe.png")
    (folder / "zeros.png").symlink_to("/dev/zero")
    Image.new("L", (9000, 9000)).save(folder / "vast.png")
    return folder, digits


def scores(workdir):
    return [json.loads(line) for line in (workdir / "scores.jsonl").read_text().splitlines()]


def test_every_picture_of_a_folder_has_a_line(run, folder, tmp_path, capsys, caplog, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    assert (
        score.score_folder(tiny(evaluation=dict(batch_size=4)), tmp_path, str(folder[0])) == tmp_path / "scores.jsonl"
    )
    lines = {line.pop("file"): line for line in scores(tmp_path)}
    assert [*lines] == sorted(["a.png", "b/c.png", "d.PNG", *BAD])
    nats = keras.saving.load_model(tmp_path / "model.keras").predict(folder[1], verbose=0)
    for name, expected in zip(("a.png", "b/c.png", "d.PNG"), nats, strict=True):
        bits_per_dim = -expected / (64 * np.log(2))
        assert lines[name] == {
            "nats": pytest.approx(expected, rel=1e-5),
            "bits_per_dim": pytest.approx(bits_per_dim, rel=1e-5),
        }
    for name, message in BAD.items():
        assert [*lines[name]] == ["error"] and lines[name]["error"].startswith(message)
    assert "3 pictures with" in capsys.readouterr().out and "7 pictures could not be scored" in caplog.text


def test_scores_may_be_over_several_draws_of_the_noise(run, folder, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    score.score_folder(tiny(evaluation=dict(num_draws=3)), tmp_path, folder[0])
    nats = [line["nats"] for line in scores(tmp_path) if "nats" in line]
    model = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(nats, rnvp.evaluation.log_likelihood(model, folder[1], num_draws=3), rtol=1e-5)


def test_a_detector_adds_p_values(run, folder, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    model = keras.saving.load_model(tmp_path / "model.keras")
    detector = rnvp.anomaly.Detector(model, rnvp.anomaly.Likelihood())
    detector.calibrate(np.stack(list(data.load(tiny(), "test[3:33]").dataset.as_numpy_iterator())))
    detector.save(tmp_path / "detector.npz")
    score.score_folder(tiny(evaluation=dict(batch_size=4)), tmp_path, folder[0])
    p_values = [line["p_value"] for line in scores(tmp_path) if "error" not in line]
    np.testing.assert_allclose(p_values, detector.p_values(folder[1]), rtol=1e-12)
    model.weights[0].assign(model.weights[0] + 1.0)
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        ValueError, match="model must be the flow of the detector .*, with the same weights; got another"
    ):
        score.score_folder(tiny(), tmp_path, folder[0])


def test_a_folder_without_a_picture_that_fits_leaves_the_older_scores(run, folder, tmp_path, eagerly):
    shutil.copy(run.workdir / "model.keras", tmp_path)
    (tmp_path / "scores.jsonl").write_text("older")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="data_dir must be the folder of the pictures; got 'no/such'"):
        score.score_folder(tiny(), tmp_path, "no/such")
    with pytest.raises(ValueError, match="data_dir must hold pictures .*; there is none in '.*pictures'"):
        score.score_folder(tiny(), tmp_path, tmp_path / "pictures")
    shutil.copy(folder[0] / "small.png", tmp_path / "pictures")
    with pytest.raises(ValueError, match="that fit the model; of small.png the picture must have shape"):
        score.score_folder(tiny(), tmp_path, tmp_path / "pictures")
    assert {path.name for path in tmp_path.iterdir()} == {"model.keras", "scores.jsonl", "pictures"}
    assert (tmp_path / "scores.jsonl").read_text() == "older"


def test_only_flows_of_images_alone_score_pictures(folder, tmp_path):
    small = dict(num_couplings=2, hidden_units=[2])
    for model in (
        rnvp.VectorRealNVP((2,), **small),
        rnvp.NICE((8, 8, 1), num_bins=17, num_classes=3, hidden_units=[2]),
    ):
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match="model must be one of images without a context for mode=score"):
            score.score_folder(tiny(), tmp_path, folder[0])
    with pytest.raises(ValueError, match="dataset must be folder for mode=score of init_from_official; got 'digits'"):
        score.score_folder(tiny(init_from_official=str(OFFICIAL)), tmp_path, folder[0])


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
