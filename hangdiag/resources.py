"""Finds the data shipped with the package: rules/ and samples/.

In a wheel they lie inside the package (``hangdiag/data``), in a checkout at its top level.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


def data_folder(name: str) -> Traversable:
    """The folder ``name`` ("rules" or "samples") of the installed package or the checkout."""
    packaged = files("hangdiag").joinpath("data", name)
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parent.parent / name


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
