"""Layers around single lines: quotes, comments, log prefixes, tables, indentation, lost line ends.

A layer is taken off only where a line cannot be read as it stands and can be read without
it: then it is taken off all lines behind it too. So plain captures cost nothing, and prose
keeps its form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from hangdiag.text.fold import fold_width, join_folds
from hangdiag.text.lazy import lazy
from hangdiag.text.literal import split_literal
from hangdiag.text.page import Page

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = r"\d{4}[-/]\d\d[-/]\d\d"
_SYSLOG_DATE = rf"(?:[A-Z][a-z]{{2}} [ \d]?\d {_TIME}(?: \d{{4}})?|{_DATE}[T ]{_TIME}(?: ?Z| ?[+-]\d\d:?\d\d)?)"
#: What may stand before a line, by name. A blank behind it is the text's own, unless all lines have one.
_PREFIXES: dict[str, str] = {
    "quote": r" ?>(?: ?>)*|(?:\|[ \t])+(?![^|]*\|)",
    "priority": r"<\d{1,3}>(?:\d (?=\d{4}-))?",
    "syslog": rf"{_SYSLOG_DATE} \S+ (?:<[\w.]+> )?(?:kernel|[\w./-]+(?:\[\d+\])?):(?: \[\d+(?:\.\d+)?\])?",
    "uptime": r"\[ {0,8}\d+(?:\.\d{1,9})?\]",
    "clock": rf"\[(?:[\w:.-]{{1,20}} )?(?:{_SYSLOG_DATE}|{_TIME})[^\]]{{0,12}}\]",
    "time": rf"(?:{_SYSLOG_DATE}|{_TIME})(?:[ \t]?[>|:-](?=[ \t]))?",
    "epoch": r"\d{10}\.\d{1,9}:?",
    "comment": r"[ \t]*#+(?!\d)|[ \t]*//+|[ \t]?/?\*+(?=\s|\Z)|(?:;+|%+|--|dnl|REM)(?=\s|\Z)",
    "number": r"[ \t]*\d{1,7}(?:[:|)]|\t|\Z|-(?=[#A-Za-z ]))|L\d+:",
    "bullet": r"[-+•·‣](?=[ \t])|\d{1,3}\.(?= )",
    "code": r"`{1,2}(?!`)",
    "shell": r"(?:[\w.@~-]+)?[#$%>] (?=\S)",
    "console": r"~|login: |(?!db> )[\w.-]{1,30}(?:> | ?# | console: )",
}


@cache
def _compiled() -> dict[str, re.Pattern[str]]:
    """The prefixes' expressions: made for the first line that cannot be read as it stands."""
    return {name: re.compile(pattern) for name, pattern in _PREFIXES.items()}


_ROW = lazy(r"[ \t]*\|(.*)\|[ \t]*\Z")
_RULE = lazy(r"[ \t]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*\Z")
_INDENT = lazy(r"[ \t]+(?=\S)")
#: Where a line end was lost: behind a frame's address or offset, before the next frame.
_LOST = lazy(
    r"(?<=/frame 0x[0-9a-f]{16})(?= ?[A-Za-z_][\w.$@]*\(\) at )|(?<=/frame 0x[0-9a-f]{16})(?= ?--- )"
    r"|(?<=[0-9a-f])(?=#\d{1,3} 0x[0-9a-f]{6,16} at )|(?<=:\d)(?=#\d{1,3} +0x[0-9a-f]{6,16} in )"
    r"|(?<=---)(?=[A-Za-z_][\w.$@]*\(\) at )|(?<=[\w)]) +(?=[A-Za-z_][\w.$@]*\(\) at [A-Za-z_][\w.$@]*\+0x)"
    r"|(?<=[^ ]) +(?=#\d{1,3} 0x[0-9a-f]{6,16} at [A-Za-z_])"
)
#: A line that opens something has one of these: all others are left as they are.
_MARKS = (
    "0x", "() at ", "KSTACK", "db>", "gdb)", "lldb)", "mi_switch", "(pid ", "pid ", "tid ", "Thread ", "thread #", "#0 ",
    "db:", "panic: ", "KDB: ", "load: ", "FreeBSD ", "BOOT>>", "->", "→", "<-", "COMMAND", "WCHAN", "```", "~~~", "locks:",
    " at ", "\\n", "$1 = ", "Id ", " = ", "LWP", "STATE", "frame #", "mutex", "`", "<running>", "lock order", "cpuid",
)  # fmt: skip
#: A line may lie under so many layers.
_DEPTH = 5
#: Lines that indentation is taken off, as a multiple of the page's lines, so that work stays linear.
_INDENT_WORK = 12
#: Lines longer than this have no prefix that is worth a search; they may hold a whole text.
_LONGEST = 20_000


@dataclass(slots=True)
class Peeler:
    """Takes layers off ``page``; ``opens`` tells whether a line can be read, ``begins``
    whether it can stand for itself."""

    page: Page
    opens: Callable[[str], bool]
    begins: Callable[[str], bool]
    done: set[str] = field(default_factory=set)
    indent_work: int = 0

    def uncover(self, index: int) -> bool:
        """Can line ``index``, which cannot be read as it stands, be read now?"""
        line = self.page.lines[index]
        if not line or not _may_have_layer(line) or not any(mark in line for mark in _MARKS):
            return False
        chain = self._find(line, _DEPTH)
        if not chain:
            return False
        for layer in chain:
            self._apply(layer, index)
        return True

    def _find(self, line: str, depth: int) -> list[str]:
        """Names of the layers, outermost first, without which ``line`` can be read; empty if there are none."""
        for layer, rest in _peelings(line):
            if layer in self.done and layer != "indent":
                continue
            if any(self.opens(part) for part in rest):
                return [layer]
            if depth > 1 and len(rest) == 1 and rest[0] != line:
                deeper = self._find(rest[0], depth - 1)
                if deeper:
                    return [layer, *deeper]
        return []

    def _apply(self, layer: str, index: int) -> None:
        if layer == "indent":
            self._dedent(index)
            return
        self.done.add(layer)
        page = self.page
        if layer in _PREFIXES:
            self._take_prefix(layer, index)
            self._unfold(index)
            return
        split = {"lost": split_lost, "literal": split_literal, "row": split_row}[layer]
        lines, first, last = page.lines, page.first, page.last
        new: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        for place in range(index, len(lines)):
            if layer == "row" and _RULE.match(lines[place]):
                continue  # the line below a table's head
            parts = split(lines[place]) if len(lines[place]) <= _LONGEST * 50 else []
            for part in parts or [lines[place]]:
                new.append(part)
                begins.append(first[place])
                ends.append(last[place])
        page.first = [*first[:index], *begins]
        page.last = [*last[:index], *ends]
        lines[index:] = new

    def _take_prefix(self, layer: str, index: int) -> None:
        lines = self.page.lines
        pattern = _compiled()[layer]
        changed = []
        blank = True
        for place in range(index, len(lines)):
            line = lines[place]
            found = pattern.match(line)
            if found is not None:
                rest = line[found.end() :]
                lines[place] = rest.rstrip("`") if layer == "code" else rest
                changed.append(place)
                if rest and rest[0] not in " \t":
                    blank = False
        if blank:
            for place in changed:
                lines[place] = lines[place][1:]

    def _unfold(self, index: int) -> None:
        """Mend lines that were folded before they were quoted."""
        page = self.page
        lines = page.lines[index:]
        width = fold_width(lines, self.begins)
        if not width:
            return
        joined = join_folds(lines, page.first[index:], page.last[index:], width, self.begins)
        page.lines[index:] = joined[0]
        page.first = [*page.first[:index], *joined[1]]
        page.last = [*page.last[:index], *joined[2]]

    def split_lost(self, index: int) -> bool:
        """Cut line ``index``, and all behind it, where line ends were lost; False if none were in it."""
        if "lost" in self.done or len(split_lost(self.page.lines[index])) < 2:
            return False
        self._apply("lost", index)
        return True

    def _dedent(self, index: int) -> None:
        """Take the indentation of line ``index`` off its block: up to a line that has less."""
        lines = self.page.lines
        found = _INDENT.match(lines[index])
        if found is None:
            return
        indent = found.group()
        length = len(indent)
        end = len(lines)
        allowed = _INDENT_WORK * (end + 100) - self.indent_work
        place = index
        while place < end and place - index < allowed:
            line = lines[place]
            if line.startswith(indent):
                lines[place] = line[length:]
            elif line.strip():
                break
            place += 1
        self.indent_work += place - index


def _may_have_layer(line: str) -> bool:
    """A quick look: most lines of prose begin with a word."""
    first = line[0]
    if first.isalpha():
        return (
            "() at " in line
            or "\\n" in line
            or " 0x" in line
            or (len(line) > 15 and (line[3] == " " and line[6:7] == " "))
            or "> " in line[:32]
            or "# " in line[:32]
            or line.startswith(("login: ", "dnl ", "REM ", "L"))
            or "$ " in line[:32]
            or "% " in line[:32]
            or "console: " in line[:40]
        )
    return True


def _peelings(line: str) -> Iterable[tuple[str, list[str]]]:
    """Ways to take one layer off ``line``: its name and what is left, as lines."""
    if len(line) > _LONGEST:
        if "\\n" in line:
            yield "literal", split_literal(line)
        return
    for name, pattern in _compiled().items():
        found = pattern.match(line)
        if found is not None and found.end() and found.end() < len(line):
            rest = line[found.end() :]
            if name == "code":
                rest = rest.rstrip("`")
            elif rest[0] in " \t":
                yield name, [rest[1:]]
            yield name, [rest]
    found = _INDENT.match(line)
    if found is not None:
        yield "indent", [line[found.end() :]]
    if "\\n" in line:
        yield "literal", split_literal(line)
    if "at " in line:
        parts = split_lost(line)
        if len(parts) > 1:
            yield "lost", parts
    if "|" in line:
        parts = split_row(line)
        if parts:
            yield "row", parts


def split_lost(line: str) -> list[str]:
    """``line`` cut where line ends were lost between frames."""
    parts = _LOST.split(line) if "at " in line else [line]
    return [part.strip(" ") for part in parts] if len(parts) > 1 else [line]


def split_row(line: str) -> list[str]:
    """A row of a Markdown table as columns two blanks apart; nothing if it is none."""
    found = _ROW.match(line)
    if found is None:
        return []
    cells = [cell.strip().strip("`*") for cell in found.group(1).replace("\\|", "|").split("|")]
    return ["  ".join(cells)]
