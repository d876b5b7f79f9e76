"""Finds the data shipped with the package: rules/ and samples/.

In a wheel they lie inside the package (``hangdiag/data``), in a checkout at its top level.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def data_folder(name: str) -> Traversable:
    """The folder ``name`` ("rules" or "samples") of the installed package or the checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "data" / name, package.parent / name):
        if folder.is_dir():
            return folder
    # the package is not in plain files (a zip archive, say); this import alone takes 3 ms
    from importlib.resources import files

    return files("hangdiag").joinpath("data", name)


def data_file(name: str) -> Traversable:
    """The file ``name`` that the build made for the package; it may not exist."""
    file = Path(__file__).resolve().parent / "data" / name
    if file.exists():
        return file
    from importlib.resources import files

    return files("hangdiag").joinpath("data", name)


def walk(folder: Traversable, suffix: str) -> list[tuple[str, Traversable]]:
    """All files below ``folder`` that end in ``suffix``, as (path below it, file), sorted by path."""
    found: list[tuple[str, Traversable]] = []
    pending = [("", folder)]
    while pending:
        prefix, place = pending.pop()
        for entry in place.iterdir():
            path = prefix + entry.name
            if entry.is_dir():
                pending.append((path + "/", entry))
            elif entry.name.endswith(suffix):
                found.append((path, entry))
    return sorted(found, key=lambda item: item[0])
