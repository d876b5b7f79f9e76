"""A page: the cleaned lines of one source, each knowing the original lines that it came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Escape sequences of terminals (ECMA-48 CSI, OSC and two-character escapes).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
# ddb's pager writes "--More--", a CR, blanks over it and another CR (sys/ddb/db_output.c, db_pager).
_PAGER = re.compile(r"--More--\s*(?:\r[ \t]*)*\r?|--More--[ \t]*")
# gdb's own pager
_GDB_PAGER = re.compile(r"--Type <(?:RET|return)> (?:for more|to continue)[^\n]*--[ \t]*")
_BLANKS = str.maketrans({"\x00": None, "\u00a0": " ", "\u202f": " ", "\u2007": " ", "\ufeff": None, "\u200b": None})
_UNUSUAL = re.compile(r"[\x00\x08\x0b\x0c\x1b\u0085\u00a0\u2007\u200b\u2028\u2029\u202f\ufeff]|--More--|--Type <")


@dataclass(frozen=True, slots=True)
class Page:
    """``lines[i]`` came from the original lines ``first[i]`` to ``last[i]`` (from 1)."""

    lines: list[str]
    first: Sequence[int]
    last: Sequence[int]


def make_page(text: str) -> Page:
    """Split ``text`` into lines and take off what terminals and pagers left in them."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        # A console turns \n into \r\n even after a \r: "\r\r\n".
        if "\r" in text:
            text = re.sub(r"\r+\n", "\n", text)
    if "\r" not in text and _UNUSUAL.search(text) is None:
        lines = text.split("\n")
        if lines and not lines[-1]:
            lines.pop()
        numbers = range(1, len(lines) + 1)
        return Page(lines, numbers, numbers)
    return _make_page_slowly(text)


def _make_page_slowly(text: str) -> Page:
    lines = []
    numbers = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.translate(_BLANKS)
        if "\x1b" in line:
            line = _ESCAPES.sub("", line)
        if "\x08" in line:
            line = _overstrike(line)
        if "--" in line:
            line = _PAGER.sub("\n", line)
            line = _GDB_PAGER.sub("\n", line)
        # what a lone CR separates was written one over the other; readers want each part
        for part in re.split(r"[\r\n\x0b\x0c\u0085\u2028\u2029]", line):
            if part or part == line:
                lines.append(part)
                numbers.append(number)
    if lines and not lines[-1]:
        lines.pop()
        numbers.pop()
    return Page(lines, numbers, numbers)


def _overstrike(line: str) -> str:
    """Apply backspaces, as a terminal would."""
    shown: list[str] = []
    for letter in line:
        if letter != "\x08":
            shown.append(letter)
        elif shown:
            shown.pop()
    return "".join(shown)
