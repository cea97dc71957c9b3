"""The page of a report, from its sections and the template page.html."""

import dataclasses
import html
import pathlib
import string
from collections.abc import Mapping, Sequence

from .parts import Part

TEMPLATE = pathlib.Path(__file__).with_name("page.html")


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
      text: a sentence or two about the parts.
      parts: pictures, tables and the like, see `parts`.

    Example: `Section("64 samples.", [Picture(pixels, "samples")])`
    """

    text: str
    parts: Sequence[Part] = ()


def page(title: str, sections: Mapping[str, Section]) -> str:
    """The HTML of a page with a section for each title.

    Args:
      title: of the page.
      sections: title ↦ `Section`.

    Example: `page("digits", {"Samples": Section("64 samples.", [picture])})`
    """
    template = string.Template(TEMPLATE.read_text())
    links = "".join(f'<a href="#{_anchor(name)}">{html.escape(name)}</a>\n' for name in sections)
    body = "".join(
        f'<section id="{_anchor(name)}">\n<h2>{html.escape(name)}</h2>\n<p>{html.escape(section.text)}</p>\n'
        f"{''.join(part.html() for part in section.parts)}\n</section>\n"
        for name, section in sections.items()
    )
    return template.substitute(title=html.escape(title), links=links, sections=body)


def _anchor(title: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in title.lower())
