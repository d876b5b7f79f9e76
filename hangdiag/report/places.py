"""Which capture it is, and where in the sources something stands."""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.findings import Diagnosis
from hangdiag.model import Where


def escape(text: str) -> str:
    """Text of the capture made harmless for a terminal: no control characters."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def place(diagnosis: Diagnosis, where: Where) -> str:
    """``lines 12-30`` and, with several sources, of which."""
    text = f"line {where.first}" if where.first == where.last else f"lines {where.first}-{where.last}"
    sources = diagnosis.capture.sources
    if len(sources) > 1 and where.source < len(sources):
        text += f" of {escape(sources[where.source].path)}"
    return text


def capture_name(diagnosis: Diagnosis) -> str:
    """What tells a capture from the others: its host's name, else where its threads stand."""
    capture = diagnosis.capture
    if capture.host.hostname is not None:
        return escape(capture.host.hostname)
    places = [where for thread in capture.threads for where in thread.where if where.first]
    if not places:
        return ""
    files = sorted({where.source for where in places})
    if len(files) > 1:
        return f"{escape(capture.sources[files[0]].path)} and {len(files) - 1} more"
    whole = Where(files[0], min(where.first for where in places), max(where.last for where in places))
    return place(diagnosis, whole)


def numbered(diagnoses: Sequence[Diagnosis], number: int) -> str:
    """``capture 1 of 2 (hosta)``: which one of several it is."""
    name = capture_name(diagnoses[number])
    return f"capture {number + 1} of {len(diagnoses)}" + (f" ({name})" if name else "")
