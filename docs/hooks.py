"""Hooks of MkDocs: files at the top of the repository become pages, and links to its sources become names."""

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files at the top as pages."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the repository into links to pages; a file that is no page leaves its name."""
    del config, files
    folder = "" if page.file.src_uri in PAGES.values() else "docs"

    def relink(link: re.Match) -> str:
        text, path, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(folder, path))
        if path in PAGES or path.startswith("docs/"):
            return f"[{text}]({PAGES.get(path, path.removeprefix('docs/'))}{anchor})"
        return f"`{path}`" if "." in text else f"{text} (`{path}`)"

    outside_code = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    outside_code[::2] = [
        re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*|)\)", relink, text) for text in outside_code[::2]
    ]
    return "".join(outside_code)
