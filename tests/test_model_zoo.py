"""The trained models of the package: their cards are true, and a damaged file is refused."""

import hashlib
import pathlib
import re
import shutil

import numpy as np
import pytest

import tfp_realnvp as rnvp
from tfp_realnvp import model_zoo
from train.data import toy

pytestmark = pytest.mark.usefixtures("module_eagerly")
ROOT = pathlib.Path(__file__).parents[1]
SHAPES = {
    "digits": (8, 8, 1),
    "moons": (2,),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_model_has_the_probabilities_of_its_events(name):
    model = rnvp.pretrained(name)
    assert model.event_shape == SHAPES[name]
    assert {weight.dtype for weight in model.weights} == {"float32"} and not model.compiled
    assert np.isfinite(model.log_likelihood(np.zeros([2, *SHAPES[name]], "uint8"))).all()


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_samples_are_as_likely_as_data(name):
    model, card = rnvp.pretrained(name), rnvp.model_card(name)
    samples = model.sample(64, seed=0)
    assert samples.shape == (64, *SHAPES[name])
    bits, error = rnvp.evaluation.bits_per_dim(model, model.log_likelihood(samples).numpy())
    assert bits == pytest.approx(card["bits_per_dim"], abs=5 * error)


def test_the_digits_have_the_bits_per_dim_of_their_card():
    model, card = rnvp.pretrained("digits"), rnvp.model_card("digits")
    images, _ = toy.digits().splits["test"]
    bits, error = rnvp.evaluation.bits_per_dim(model, rnvp.evaluation.log_likelihood(model, images))
    assert bits == pytest.approx(card["bits_per_dim"], abs=1e-3)
    assert error == pytest.approx(card["standard_error"], abs=1e-3)
    assert len(images) == card["num_examples"]


def test_the_models_are_small_and_rounded_without_loss():
    assert sum(path.stat().st_size for path in model_zoo.WEIGHTS.iterdir()) < 15e6
    files = {f"{name}.{suffix}" for name in SHAPES for suffix in ("json", "keras")}
    assert {path.name for path in model_zoo.WEIGHTS.iterdir()} == files
    for name in SHAPES:
        card = rnvp.model_card(name)
        assert card["bits_per_dim"] == pytest.approx(card["bits_per_dim_before_rounding"], abs=1e-3)
        assert (ROOT / "train/configs" / card["config"]).is_file() and card["config"] in card["command"]


def test_the_page_has_the_figures_of_the_cards():
    page = (ROOT / "docs/pretrained.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert {*rows} == {*SHAPES}
    for name, row in rows.items():
        card = rnvp.model_card(name)
        figures = f"{card['bits_per_dim']:.3f} ± {card['standard_error']:.3f}, `{card['split']}`"
        for text in (f"`{card['config']}`", f"{card['steps']:,}", f"{card['seconds']:,} s", figures, card["license"]):
            assert text in row, (name, text)


def test_a_damaged_file_is_refused(monkeypatch, tmp_path):
    for suffix in ("json", "keras"):
        shutil.copy(model_zoo.WEIGHTS / f"moons.{suffix}", tmp_path)
    monkeypatch.setattr(model_zoo, "WEIGHTS", tmp_path)
    rnvp.pretrained("moons")
    content = bytearray((tmp_path / "moons.keras").read_bytes())
    content[-1] ^= 1
    (tmp_path / "moons.keras").write_bytes(content)
    assert hashlib.sha256(content).hexdigest() != rnvp.model_card("moons")["sha256"]
    with pytest.raises(ValueError, match=r"moons.keras is damaged: it must have the SHA-256 checksum [0-9a-f]{64}"):
        rnvp.pretrained("moons")


@pytest.mark.parametrize("function", [rnvp.pretrained, rnvp.model_card])
def test_an_unknown_name_is_answered_with_all_names(function):
    for name in ("imagenet", "../digits", None):
        with pytest.raises(ValueError, match=r"name must be one of \['cifar10', 'digits', .*'moons'\]; got"):
            function(name)


def test_the_docstring_names_every_model():
    assert [*re.findall(r'^ +\| "(\w+)"', rnvp.pretrained.__doc__, re.MULTILINE)] == [*SHAPES]


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
