"""Shorthands for tests of readers."""

from __future__ import annotations

import textwrap

from hangdiag.model import Capture, Thread
from hangdiag.readers import read_text
from tests.readers.accounts import check_lines


def read(text: str, indented: bool = True) -> Capture:
    """The only capture of ``text``, whose common indentation is taken off."""
    captures = read_text(textwrap.dedent(text).lstrip("\n") if indented else text)
    assert len(captures) == 1, len(captures)
    return captures[0]


def read_accounted(text: str, indented: bool = True) -> Capture:
    """As :func:`read`; every line must be in one place."""
    captures = check_lines(textwrap.dedent(text).lstrip("\n") if indented else text)
    assert len(captures) == 1, len(captures)
    return captures[0]


def only(capture: Capture) -> Thread:
    """The only thread of a capture."""
    assert len(capture.threads) == 1, capture.threads
    return capture.threads[0]


def functions(thread: Thread) -> list[str]:
    """The names of its frames, innermost first."""
    return [frame.function for frame in thread.frames]


def trace_like(capture: Capture) -> list[tuple[int, int]]:
    """Unread lines that look like a trace."""
    return [(item.where.first, item.where.last) for item in capture.unread if item.trace_like]
