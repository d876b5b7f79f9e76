"""Lines that a terminal broke at its right edge: recognised by their common width, and joined."""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.text.lazy import lazy

#: Widths that a terminal may have.
_NARROWEST, _WIDEST = 60, 250
#: So many broken lines at least, and this share of all lines of the width, make a text wrapped; at a
#: width that terminals and mailers commonly have fewer will do.
_ENOUGH = 4
_ENOUGH_AT_USUAL = 2
_USUAL = frozenset({72, 76, 78, 79, 80, 96, 100, 120, 128, 132, 160, 180, 200, 240})
_SHARE = 0.6
# How a line begins that stands for itself in one of the formats.
BEGIN = lazy(
    r"\s*\Z|\s*#\d+ |\s*[\w.$@]+\([^()]*\) at |(?:Tracing|Thread|Process|chain|KDB:|db>|---|\(k?gdb\))\b|db[:>]"
    r"|\s*\d+ +\d{4,}|\d{6} {10}|\s*\d+ +\d+ +\d+ +\d+ "
    r"|\[(?:Switching| ?thread| *\d)| ?thread \d|\s+[a-z][a-z ]*: |\s+at /|\s+\d+ \(0x|\$\d+ = "
    r"|\s*(?:td|proc|tid|pid)[ =\[]|[A-Za-z_][\w.$]* \+ \d+ in section"
    r"|exclusive |shared |[0-9a-f]{16} (?:[0-9a-f]{16}|[A-Z]+) |\s*\S+`|\s+PC: |\s+\[ |stack pointer|<\d+>|\s*[>*|] "
)


def wrap_width(lines: list[str]) -> int:
    """The width at which ``lines`` were broken, 0 if they were not."""
    if len(lines) < 4:
        return 0
    width = max(map(len, lines))
    if not _NARROWEST <= width <= _WIDEST:
        return 0
    full = [index for index, line in enumerate(lines) if len(line) == width]
    enough = _ENOUGH_AT_USUAL if width in _USUAL else _ENOUGH
    if len(full) < enough:
        return 0
    sample = full[:200]
    broken = sum(1 for index in sample if index + 1 < len(lines) and BEGIN.match(lines[index + 1]) is None)
    return width if broken >= enough and broken >= len(sample) * _SHARE else 0


def join_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], width: int
) -> tuple[list[str], list[int], list[int]]:
    """Lines of ``width`` joined with what follows, with the original numbers of each."""
    joined: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    parts: list[str] = []
    begin = 0
    for index, line in enumerate(lines):
        if not parts:
            begin = first[index]
        parts.append(line)
        if len(line) == width and index + 1 < len(lines) and BEGIN.match(lines[index + 1]) is None:
            continue
        joined.append("".join(parts))
        begins.append(begin)
        ends.append(last[index])
        parts = []
    return joined, begins, ends
