"""Lines that a console server or syslogd puts between those of a trace: ``[-- MARK -- ...]``, ``last message repeated``."""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.text.lazy import lazy

_NOISE = lazy(
    r"[> ]{0,8}\[-- .{1,120}\]\s*\Z|\[SOL Session |\[Enter `\^Ec\?' for help\]"
    r"|.{0,60}\b(?:last )?message repeated \d{1,7} times?\b"
)
_MARKS = ("[-- ", "[SOL ", "[Enter `")


def has_noise(text: str) -> bool:
    """May there be such lines in ``text``?"""
    return ("[" in text and any(mark in text for mark in _MARKS)) or "message repeated" in text


def find_noise(lines: Sequence[str]) -> set[int]:
    """Which of ``lines`` are such."""
    return {index for index, line in enumerate(lines) if _NOISE.match(line) is not None}
