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


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__]))
