"""The README and the pages: their links lead somewhere, and the examples that stand alone run."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.*)", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_code(page.read_text())):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 110


def exported(path):
    """The names in the `__all__` of a module."""
    (names,) = re.findall(r"__all__ = (\[.*?\])", (ROOT / path).read_text(), re.DOTALL)
    return ast.literal_eval(names)


def test_the_reference_has_every_public_name():
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    documented = {name.removeprefix("tfp_realnvp.") for name in re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    assert {*exported("tfp_realnvp/__init__.py")} <= documented | {*exported("tfp_realnvp/architectures/__init__.py")}


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


# Those of docs/extending.md are parts of files, which tests/train/test_extending.py puts together.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "extending.md"], ids=lambda page: page.name)
def test_every_example_is_python(page):
    for block in python_blocks(page):
        compile(block, page, "exec")


DIGITS = {"filters=16": "filters=2", "images[:1500]": "images[:16]", "images[1500:]": "images[1500:1504]"}


# A page, and the texts of its first example that shorter ones replace. Later examples need other models.
@pytest.mark.parametrize(
    ("page", "smaller"),
    [
        ("README.md", {**DIGITS, "num_scales=2": "num_scales=1", "epochs=10": "epochs=1"}),
        ("docs/pretrained.md", {"Codec(model)": "Codec(model, 8)"}),
        ("docs/compression.md", {**DIGITS, "epochs=10": "epochs=1", "Codec(model)": "Codec(model, 8)"}),
        ("docs/families.md", {"filters=16": "filters=2", "fit(images,": "fit(images[:64],"}),
        ("docs/labels.md", {"2000": "200", "epochs=60": "epochs=1"}),
    ],
)
def test_the_first_example_runs(page, smaller, eagerly, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block, *_ = python_blocks(page)
    for text, short in smaller.items():
        assert text in block
        block = block.replace(text, short)
    exec(block, {})


def test_the_answers_run(eagerly, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in python_blocks("docs/faq.md"):
        exec(block, names)


@pytest.mark.parametrize("page", ["docs/python.md", "docs/conditioning.md"])
def test_a_flow_of_own_parts_trains(page, eagerly):
    import numpy as np
    import tensorflow as tf
    import tensorflow_probability as tfp

    import tfp_realnvp as rnvp

    points = np.zeros([4, 2], np.float32)
    names = {"rnvp": rnvp, "tf": tf, "tfb": tfp.bijectors, "tfd": tfp.distributions, "points": points}
    *_, block = python_blocks(page)
    exec(block.replace("epochs=20", "epochs=1"), names)
    model = names["model"]
    model.compile()
    history = model.fit(points, np.ones([4, 4], np.float32) if model.context_size else None, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
