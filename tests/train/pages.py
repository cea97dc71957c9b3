"""The HTML of a page: its elements, and that it needs no other file."""

import base64
import html.parser
import io
import re

import numpy as np
from PIL import Image

PNG = "data:image/png;base64,"


class Parser(html.parser.HTMLParser):
    """The elements of a page by section: (tag, attributes) in the order of the page, and the text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._title, self._open = {}, {}, "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._open = tag
        self.elements.setdefault(self._title, []).append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, text):
        if self._open == "h2":
            self._title = text
            self.elements[text] = []
        self.texts[self._title] = self.texts.get(self._title, "") + text

    def of(self, tag, title=None):
        chosen = self.elements if title is None else [title]
        return [attributes for title in chosen for name, attributes in self.elements[title] if name == tag]


def assert_self_contained(text):
    """No address of another file; every picture can be decoded; each slider shows one of its pictures."""
    assert "://" not in text
    parsed = Parser(text)
    for elements in parsed.elements.values():
        for tag, attributes in elements:
            assert attributes.get("src", PNG).startswith(PNG), tag
            assert attributes.get("href", attributes.get("xlink:href", "#")).startswith("#"), tag
    for attributes in parsed.of("img"):
        with Image.open(io.BytesIO(base64.b64decode(attributes["src"].removeprefix(PNG)))) as picture:
            assert np.ptp(np.asarray(picture)) > 0, attributes["alt"]
    for slider in re.findall(r'<figure class="slider">.*?</figure>', text, re.DOTALL):
        shown = ["hidden" not in attributes for attributes in Parser(slider).of("img")]
        (chooser,) = Parser(slider).of("input")
        assert shown.index(True) == int(chooser["value"]) and shown.count(True) == 1
        assert len(shown) == int(chooser["max"]) + 1 > 1
    return parsed
