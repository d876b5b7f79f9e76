"""Ties generate.py and blocks.py to mkdocs: adds the generated pages, the navigation, and expands the written ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parent))

import blocks
import generate

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

#: The navigation. A page that does not exist is left out, "/" at the end means all generated pages there, and a
#: written page that is not named comes last.
_PARTS = {
    "Using hangdiag": (
        "examples.md",
        "formats.md",
        "collect.md",
        "attach.md",
        "compare.md",
        "report.md",
        "signature.md",
        "reference/hangdiag.1.md",
    ),
    "Reasoning": ("diagnosis.md", "reference/resolvers.md", "performance.md"),
    "Waits": ("reference/waits/",),
    "Known bugs": ("reference/bugs/",),
    "Scripts and rules": ("json.md", "library.md", "writing-rules.md"),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the pages that exist."""
    # mkdocs serve builds more than once
    for kept in (generate.pages, generate.knowledge, blocks.schema, blocks.output):
        kept.cache_clear()
    docs = Path(config.docs_dir)
    made = list(generate.pages())
    known = [*made, *sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))]
    navigation: list[Any] = [{"Home": "index.md"}]
    named = {"index.md", *made}
    for title, names in _PARTS.items():
        pages = [
            page
            for name in names
            for page in known
            if page == name or (name.endswith("/") and page.startswith(name))
        ]
        navigation.append({title: pages})
        named.update(pages)
    rest = [page for page in known if page not in named]
    config.nav = [*navigation, {"More": rest}] if rest else navigation
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; nothing is written to docs/."""
    for name, markdown in generate.pages().items():
        old = files.get_file_from_path(name)
        if old is not None:
            files.remove(old)
        files.append(File.generated(config, name, content=markdown))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what a written page asks for."""
    if page.file.generated_by is not None:
        return markdown
    try:
        return blocks.expand(markdown, f"docs/{page.file.src_uri}")
    except blocks.Stale as error:
        raise PluginError(str(error)) from None
