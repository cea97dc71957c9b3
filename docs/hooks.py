"""Hooks of MkDocs: files at the top of the repository and notebooks become pages, and links to sources become names."""

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files at the top and the tutorials as pages."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    for notebook in sorted((ROOT / "docs/tutorials").glob("*.ipynb")):
        markdown, resources = MarkdownExporter().from_filename(str(notebook), {"unique_key": notebook.stem})
        link = f'<a href="{notebook.name}" download>Download this notebook.</a>'
        files.append(File.generated(config, f"tutorials/{notebook.stem}.md", content=f"{markdown}\n\n{link}\n"))
        for name, picture in resources["outputs"].items():
            files.append(File.generated(config, f"tutorials/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to files of the repository into links to pages; a file that is no page leaves its name."""
    del config, files
    folder = "" if page.file.src_uri in PAGES.values() else posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def relink(link: re.Match) -> str:
        text, path, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(folder, path))
        if path in PAGES or path.startswith("docs/"):
            target = PAGES.get(path, path.removeprefix("docs/").replace(".ipynb", ".md"))
            return f"[{text}]({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"
        return f"`{path}`" if "." in text else f"{text} (`{path}`)"

    outside_code = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    outside_code[::2] = [
        re.sub(r"\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*|)\)", relink, text) for text in outside_code[::2]
    ]
    return "".join(outside_code)
