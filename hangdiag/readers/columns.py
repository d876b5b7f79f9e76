"""Tables of ps and top: rows read by the names in their header, whichever columns there are.

Column names from bin/ps/keyword.c and usr.bin/top/machine.c. A wait message may hold a
blank and a command anything, so each row is matched against an expression made of the
header, in which every column knows what it may look like.
"""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBER = r"-?\d+"
_WORD = r"\S+"
#: What the columns hold that are looked at; all others are words.
_SHAPES = {
    "PID": _NUMBER, "PPID": _NUMBER, "TID": _NUMBER, "LWP": _NUMBER, "THRID": _NUMBER, "UID": r"-?\d+|[\w-]+",
    "NLWP": _NUMBER, "THR": _NUMBER, "STAT": r"[DILRSTWZUNX?][A-Zs0-9<>+]*", "NWCHAN": r"\S{1,18}",
    "TIME": r"[\d:.,]+h?", "CPU": r"[\d.,]+%?|-", "C": r"\d+|-", "STARTED": r"\S+",
}  # fmt: skip
#: Columns that may hold blanks. Each doubles the ways to read a row: no more than three are tried.
_LOOSE = {
    "MWCHAN": r"\S.{0,8}?", "WCHAN": r"\S.{0,12}?", "STATE": r"\S.{0,9}?", "COMM": r"\S.{0,20}?",
    "TDNAME": r"\S.{0,20}?", "COMMAND": r"\S.{0,40}?", "ARGS": r"\S.{0,40}?",
}  # fmt: skip
_MOST_COLUMNS = 30
_MOST_LOOSE = 3
#: A command line is looked at so far.
LONGEST = 600


@lru_cache(maxsize=64)
def row_expression(header: str) -> tuple[re.Pattern[str], tuple[str, ...]] | None:
    """The expression for rows below ``header`` and the names of its columns; None for no header."""
    names = tuple(header.split())
    if len(names) > _MOST_COLUMNS or sum(name in _LOOSE for name in names[:-1]) > _MOST_LOOSE:
        return None
    seen: set[str] = set()
    parts = []
    for index, name in enumerate(names):
        shape = _LOOSE.get(name) or _SHAPES.get(name, _WORD)
        if index == len(names) - 1 and name in ("COMMAND", "ARGS", "COMM", "TDNAME"):
            shape = r".*"
        group = name if name.isidentifier() and name not in seen else ""
        seen.add(name)
        parts.append(f"(?P<{group}>{shape})" if group else f"(?:{shape})")
    body = r"\s+".join(parts[:-1]) + (r"(?:\s+" if len(parts) > 1 else "(?:") + parts[-1] + ")?" if parts else ""
    return re.compile(r"\s*" + body + r"\s*\Z"), names


def read_row(header: str, line: str) -> dict[str, str] | None:
    """The columns of one row by name, or None if ``line`` is no row of the table."""
    made = row_expression(header)
    if made is None:
        return None
    expression, names = made
    found = expression.match(line[:LONGEST])
    if found is None:
        return None
    return {name: (found.group(name) or "").strip() for name in set(names) if name.isidentifier()}
