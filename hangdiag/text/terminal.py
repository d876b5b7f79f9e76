"""What terminals, serial lines and pagers leave in a text: escapes, CRs, NULs, ``--More--``."""

from __future__ import annotations

import re

from hangdiag.text.lazy import lazy
from hangdiag.text.prefixes import is_prefix

# Escape sequences of terminals (ECMA-48 CSI, OSC and two-character escapes).
_ESCAPES = lazy(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[()][0-9A-B])")
# ddb's pager writes "--More--", a CR, blanks over it and another CR (sys/ddb/db_output.c, db_pager).
_PAGER = lazy(r"--More--(?:(?:[ \t]*\r)+|(?: {8})?)")
# who typed q there is back at the prompt
_QUIT = lazy(r"--More--[ \t\r]{0,20}q?\r?\n?[ \t\r]{0,20}(?=db(?::\d{1,3}:[\w.-]{1,40})?> ?)")
# gdb's own pager (gdb/utils.c, prompt_for_continue); that of gdb 6 has a dash more
_GDB_PAGER = lazy(r"-{2,3}Type <(?:RET|return)>[^\n-]{0,200}-{2,3}[ \t]*(?:[qc](?=\Z|#|\())?")
_LESS_PAGER = lazy(r"\A:\Z|\A(?:lines \d+-\d+.*|\(END\))\Z")
LETTERS = str.maketrans(
    {
        "\x00": None, "\x07": None, "\x0c": None, "\u00a0": " ", "\u202f": " ", "\u2007": " ", "\u2009": " ", "\u3000": " ",
        "\ufeff": None, "\u200b": None, "\u200c": None, "\u200d": None, "\u2060": None, "\u00ad": None,
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2013": "-", "\u2014": "-",
        "\u2010": "-", "\u2011": "-", "\u2212": "-", "\u2502": "|", "\u2503": "|", "\u2551": "|", "\u2026": "...",
    }
    # the wide forms of East Asian keyboards
    | {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)}
)  # fmt: skip
# Three dashes around a trap or a system call, of which word processors make longer ones.
_DASHES = lazy(
    "(?<![^ \t>])(?=-{0,2}[\u2013\u2014])[-\u2013\u2014]{1,3}"
    "(?= (?:trap|syscall|interrupt|exception|unhandled|system|invalid)\\b|\\Z)"
)
_ANY_TAG = lazy(r"<[^<>]{1,2000}>")
_LONGEST_PREFIX = 60
_BREAKS = lazy("[\r\x0b\x85\u2028\u2029]")
#: What makes a text need cleaning; searched one by one, which is ten times as fast as one expression.
_UNUSUAL = ("\x1b", "\x00", "\x08", "\r", "\x0b", "\x0c", "\x07", "--More--")


def join_line_ends(text: str) -> str:
    """CR LF, and the CR CR LF that a console makes of it, as line ends."""
    text = text.replace("\r\n", "\n")
    if "\r\n" in text:
        text = re.sub(r"\r+\n", "\n", text)
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
    return text


def quit_pagers(text: str, first_line: int = 1) -> frozenset[int]:
    """The numbers of the lines with a prompt of ddb to which somebody came out of its pager: a list ended early there."""
    if "--More--" not in text:
        return frozenset()
    numbers = set()
    end, number = 0, first_line
    for found in _QUIT.finditer(text):
        number += text.count("\n", end, found.end())
        end = found.end()
        numbers.add(number)
    return frozenset(numbers)


def is_plain(text: str) -> bool:
    """Is there nothing to clean?"""
    return text.isascii() and not any(mark in text for mark in _UNUSUAL) and ("<" not in text or "--Type <" not in text)


def clean_lines(text: str, first_line: int = 1) -> tuple[list[str], list[int]]:
    """The cleaned lines of ``text`` and the original number of each."""
    lines: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(text.split("\n"), first_line):
        if line.isascii() and line.isprintable() and "--" not in line:
            lines.append(line)
            numbers.append(number)
            continue
        for part in clean_line(line):
            lines.append(part)
            numbers.append(number)
    if lines and not lines[-1]:
        lines.pop()
        numbers.pop()
    return lines, numbers


def clean_line(line: str) -> list[str]:
    """The lines that a terminal would show of ``line``, as simple letters: none of a pager's prompt."""
    if not line.isascii() or "\x00" in line or "\x07" in line or "\x0c" in line:
        if "\u2013" in line or "\u2014" in line:
            line = _DASHES.sub("---", line)
        line = line.translate(LETTERS)
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    if "\x08" in line:
        line = _overstrike(line)
    if "--" in line:
        line = _GDB_PAGER.sub("\n", _PAGER.sub(_without_pager, line))
        if "\n" in line:
            line = line.replace("\n", "\r").strip("\r")
            if not line:
                return []  # a blank line would end the stack that the pager stood in
    if line.isprintable() or ("\r" not in line and _BREAKS.search(line) is None):
        return [line]
    # what a lone CR separates was written one over the other; readers want each part
    parts = [part for part in _BREAKS.split(line) if part or part == line] or [""]
    # a logger, a page or a box put something around a line that began or ended with a CR
    if len(parts) > 1 and (_is_frame(parts[0]) or (len(parts[0]) <= _LONGEST_PREFIX and is_prefix(parts[0]))):
        parts[:2] = ["".join(parts[:2])]
    if len(parts) > 1 and _is_frame(parts[-1]):
        parts[-2:] = ["".join(parts[-2:])]
    return parts


def _is_frame(part: str) -> bool:
    """Is ``part`` nothing but tags, or the side of a box?"""
    return not (_ANY_TAG.sub("", part) if "<" in part else part).strip(" \t|")


def _without_pager(found: re.Match[str]) -> str:
    """What stands before the pager on its line is a logger's prefix: it belongs to the next line."""
    if found.start() > _LONGEST_PREFIX:
        return "\n"
    before = found.string[: found.start()]
    return "\n" if "(" in before or "0x" in before else ""


def _overstrike(line: str) -> str:
    """Apply backspaces, as a terminal would."""
    shown: list[str] = []
    for letter in line:
        if letter != "\x08":
            shown.append(letter)
        elif shown:
            shown.pop()
    return "".join(shown)
