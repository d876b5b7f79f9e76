"""From text to captures."""

from __future__ import annotations

from hangdiag.model import Capture
from hangdiag.readers.draft import Draft
from hangdiag.readers.scan import read_source

__all__ = ["Draft", "read_source", "read_text"]


def read_text(text: str, path: str = "-") -> tuple[Capture, ...]:
    """Read one pasted text: one capture for each instant in it (at least one, possibly empty)."""
    draft = Draft()
    read_source(draft, text, path)
    return draft.captures()
