"""hangdiag says why a bhyve guest hangs.

    from hangdiag import diagnose, read

    for capture in read("hang.txt"):
        for finding in diagnose(capture).findings:
            print(finding.verdict, finding.certainty, finding.summary)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hangdiag.findings import Diagnosis
    from hangdiag.knowledge import Knowledge
    from hangdiag.model import Capture

__version__ = "0.1.0"
__all__ = ["__version__", "diagnose", "read", "read_text"]


def read(*paths: str) -> tuple[Capture, ...]:
    """Read files (``-`` is standard input): one capture for each host and instant in them.

    Raises :class:`hangdiag.errors.InputError`.
    """
    import sys

    from hangdiag.readers.files import read_paths

    return read_paths(paths, sys.stdin.buffer if "-" in paths else None)


def read_text(text: str) -> tuple[Capture, ...]:
    """Read pasted text: one capture for each host and instant in it, at least one. Never raises."""
    from hangdiag.readers import read_text

    return read_text(text)


def diagnose(capture: Capture, knowledge: Knowledge | None = None) -> Diagnosis:
    """What is wrong with the captured host, under the shipped rules unless others are given."""
    from hangdiag.diagnosis import diagnose
    from hangdiag.knowledge import load_knowledge

    return diagnose(capture, knowledge or load_knowledge())
