"""Tables of ps and top: rows read by the names in their header, whichever columns there are.

Both print columns that are as wide as their widest value (bin/ps/ps.c, sizevars) or of a fixed width
(usr.bin/top/machine.c). So a value is looked for below its header: a name that is adjusted to the left begins
where its values begin, any other ends where they end (LJUST in bin/ps/keyword.c). Rows whose blanks were changed
by whoever pasted them are matched against an expression made of the header, in which every column knows what it may
look like: a wait message may hold a blank and a command anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_NUMBER = r"-?\d+"
_WORD = r"\S+"
#: What the columns hold that are looked at; all others are words.
_SHAPES = {
    "PID": _NUMBER, "PPID": _NUMBER, "TID": _NUMBER, "LWP": _NUMBER, "THRID": _NUMBER, "UID": r"-?\d+|[\w-]+",
    "NLWP": _NUMBER, "THR": _NUMBER, "STAT": r"[DILRSTWZUNX?][A-Zs0-9<>+]*", "NWCHAN": r"\S{1,18}",
    "TIME": r"[\d:.,]+[hHdD]?", "CPU": r"[\d.,]+%?|-", "C": r"\d+|-", "STARTED": r"\S+",
}  # fmt: skip
#: Columns that may hold blanks. Each doubles the ways to read a row: no more than three are tried.
_LOOSE = {
    "MWCHAN": r"\S.{0,8}?", "WCHAN": r"\S.{0,12}?", "STATE": r"\S.{0,9}?", "COMM": r"\S.{0,20}?", "UCOMM": r"\S.{0,40}?",
    "TDNAME": r"\S.{0,20}?", "COMMAND": r"\S.{0,40}?", "ARGS": r"\S.{0,40}?", "LOCK": r"\S.{0,8}?",
}  # fmt: skip
#: A date may hold blanks; where its place is known, they do no harm.
_DATE = r"\S+(?: +\S+){0,5}"
#: Columns that are adjusted to the left.
_LEFT = frozenset({
    "ARGS", "CLASS", "COMM", "COMMAND", "EMUL", "GROUP", "JAIL", "LABEL", "LOCK", "LOGIN", "MWCHAN", "NWCHAN", "RGROUP", "RUSER",
    "STARTED", "STAT", "STATE", "TDNAME", "TTY", "UCOMM", "USER", "USERNAME", "WCHAN",
})  # fmt: skip
_LAST = frozenset({"COMMAND", "ARGS", "COMM", "TDNAME", "UCOMM"})
#: What people call columns themselves (``ps -o tdname=NAME``).
_RENAMED = {
    "NAME": "TDNAME", "THREAD": "TDNAME", "THREADNAME": "TDNAME", "TNAME": "TDNAME", "TDNAM": "TDNAME", "CMD": "COMMAND",
    "S": "STAT", "WMESG": "MWCHAN", "WAIT": "MWCHAN",
}  # fmt: skip
_NEEDED = frozenset({"PID", "LWP", "TID", "STAT"})
_FIRST = re.compile(r" {0,30}\S+")
_MOST_COLUMNS = 40
_MOST_LOOSE = 3
#: A command line is looked at so far.
LONGEST = 600


@dataclass(frozen=True, slots=True)
class _Column:
    """A name with the places where its values may begin and, with the blank behind them, must end."""

    name: str
    begin: int
    end: int
    left: bool
    #: what a value looks like; None for anything
    shape: re.Pattern[str] | None


def read_row(header: str, line: str, placed: bool = True) -> list[tuple[str, str]] | None:
    """Names and values of one row's columns in their order, or None if ``line`` is no row of the table.

    ``placed`` is false for a header that was not printed: its names stand above nothing.
    """
    line = line[:LONGEST]
    if not placed:
        return _by_looks(header, line.expandtabs())
    if "\t" in header.strip():
        titles, values = header.strip().split("\t"), line.strip("\n").split("\t")
        if len(titles) == len(values) and all(" " not in title.strip() for title in titles):
            return [(_name(title.strip()), value.strip()) for title, value in zip(titles, values, strict=True)]
    if "\t" in line or "\t" in header:
        line, header = line.expandtabs(), header.expandtabs()
    cells = _by_place(header, line)
    return cells if cells is not None else _by_looks(header, line)


def _name(title: str) -> str:
    return _RENAMED.get(title, title)


@lru_cache(maxsize=64)
def _columns(header: str) -> tuple[_Column, ...]:
    found = [(_name(match.group()), match.start(), match.end()) for match in re.finditer(r"\S+", header)]
    if len(found) > _MOST_COLUMNS:
        return ()
    # "TT" stands above a letter more: a mark of its own
    return tuple(
        [
            _Column(
                name,
                begin,
                end + (name == "TT"),
                name in _LEFT,
                None if name in _LOOSE else re.compile(_DATE if name == "STARTED" else _SHAPES.get(name, _WORD)),
            )
            for name, begin, end in found
        ]
    )


def _by_place(header: str, line: str) -> list[tuple[str, str]] | None:
    columns = _columns(header)
    if not columns:
        return None
    offset = 0
    if not columns[0].left and columns[0].name != "TT":
        # the header, or the row, lost the blanks before it when it was pasted
        word = _FIRST.match(line)
        if word is None:
            return None
        offset = word.end() - columns[0].end
    length = len(line.rstrip())
    values = []
    begin = 0
    last = len(columns) - 1
    for index, column in enumerate(columns):
        end = length
        following = columns[index + 1] if index < last else None
        if following is not None and following.left:
            end = following.begin + offset
            if line[end - 1 : end] not in (" ", ""):
                return None
        elif following is not None and column.left:
            # the following one's value is the last word that ends where its name does
            if length > following.begin + offset:
                end = begin + line[begin : following.end + offset].rstrip().rfind(" ") + 1
        elif following is not None:
            end = column.end + offset
            if line[end : end + 1] not in (" ", ""):
                return None
        value = line[begin:end].strip()
        if not value:
            if column.name in _NEEDED:
                return None
        elif column.shape is None:
            if column.left and column.name not in _LAST and line[begin] == " ":
                return None
        elif column.shape.fullmatch(value) is None:
            return None
        values.append((column.name, value))
        begin = end
    return values


@lru_cache(maxsize=64)
def row_expression(header: str) -> tuple[re.Pattern[str], tuple[str, ...]] | None:
    """The expression for rows below ``header`` and the names of its columns; None for no header."""
    names = tuple([_name(title) for title in header.split()])
    if len(names) > _MOST_COLUMNS or sum(name in _LOOSE for name in names[:-1]) > _MOST_LOOSE:
        return None
    parts = []
    for index, name in enumerate(names):
        shape = _LOOSE.get(name) or _SHAPES.get(name, _WORD)
        if index == len(names) - 1 and name in _LAST:
            shape = r".*"
        parts.append(f"({shape})")
    body = r"\s+".join(parts[:-1]) + (r"(?:\s+" if len(parts) > 1 else "(?:") + parts[-1] + ")?" if parts else ""
    return re.compile(r"\s*" + body + r"\s*\Z"), names


def _by_looks(header: str, line: str) -> list[tuple[str, str]] | None:
    made = row_expression(header)
    if made is None:
        return None
    expression, names = made
    found = expression.match(line)
    if found is None:
        return None
    return [(name, (value or "").strip()) for name, value in zip(names, found.groups(), strict=True)]
