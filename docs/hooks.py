"""Ties docs/generate.py to mkdocs: adds the generated pages, the navigation, and expands the written ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).resolve().parent))

import generate  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

#: The written pages by part of the navigation; one that does not exist is left out, one not named here comes last.
_PARTS = {
    "Using hangdiag": (
        "examples.md", "formats.md", "collect.md", "attach.md", "compare.md", "report.md", "signature.md",
    ),
    "Reasoning": ("diagnosis.md", "performance.md"),
    "Scripts and rules": ("json.md", "library.md", "writing-rules.md"),
}  # fmt: skip


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the pages that exist."""
    generate.forget()
    docs = Path(config.docs_dir)
    written = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"index.md"}
    navigation: list[Any] = [{"hangdiag": "index.md"}]
    for title, names in _PARTS.items():
        navigation.append({title: [name for name in names if name in written]})
        written.difference_update(names)
    made = list(generate.pages())
    navigation[1]["Using hangdiag"].append({"hangdiag(1)": "reference/hangdiag.1.md"})
    navigation[3]["Scripts and rules"].append({"Who must act": "reference/resolvers.md"})
    waits = [name for name in made if name.startswith("reference/waits/")]
    bugs = [name for name in made if name.startswith("reference/bugs/")]
    navigation[3:3] = [{"Waits": waits}, {"Known bugs": bugs}]
    rest = sorted(name for name in written if not name.startswith("reference/"))
    if rest:
        navigation.append({"More": rest})
    config.nav = navigation
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
        return generate.expand(markdown, f"docs/{page.file.src_uri}")
    except generate.Stale as error:
        raise PluginError(str(error)) from None
