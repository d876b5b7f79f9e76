"""Lines that a mailer folded at the last blank before its right edge, with no indentation left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hangdiag.text.lazy import lazy
from hangdiag.text.wrap import BEGIN

# How more lines begin that stand for themselves, which a terminal may break anywhere but a mailer does not.
_BEGIN = lazy(
    rf"{BEGIN.pattern}|[ *] +\d+ +(?:Thread|LWP)|\s+\w+ = |[A-Z][\w ]{{2,30}}:|\t|[a-z][\w ]{{2,16}} = |\S+\(\) at "
)
_NARROWEST, _WIDEST = 60, 100
#: So many folds, and this share of the lines that may be the rest of a folded one, make a text folded.
_ENOUGH = 2
_SHARE = 0.5
#: So many lines are looked at.
_SAMPLE = 2000


def fold_width(lines: list[str], begins: Callable[[str], bool]) -> int:
    """The width at which ``lines`` were folded, 0 if they were not.

    A fold leaves no room for the next word: where that is so for most lines that
    cannot stand for themselves (``begins``), they are rests of folded lines.
    """
    longest = max(lines, key=len, default="")
    if len(longest) > _WIDEST and " " in longest.strip():
        return 0
    sample = lines[:_SAMPLE]
    width = max((len(line) for line in sample if " " in line.strip()), default=0)
    if not _NARROWEST <= width <= _WIDEST:
        return 0
    rests = folds = full = 0
    before = ""
    for line in sample:
        if before and line.strip() and _BEGIN.match(line) is None and not begins(line):
            rests += 1
            folds += _is_fold(before, line, width)
            full += len(before) == width
        before = line if line.strip() else ""
    if full * 2 > folds:
        return 0  # broken at the edge itself, not at blanks: a terminal did that
    return width if folds >= _ENOUGH and folds >= rests * _SHARE else 0


def _is_fold(before: str, line: str, width: int) -> bool:
    return len(before.rstrip()) + 1 + len(line.split(None, 1)[0]) > width


def join_folds(
    lines: Sequence[str],
    first: Sequence[int],
    last: Sequence[int],
    width: int,
    begins: Callable[[str], bool],
) -> tuple[list[str], list[int], list[int]]:
    """Folded lines joined again, with the original numbers of each."""
    joined: list[str] = []
    begin_numbers: list[int] = []
    end_numbers: list[int] = []
    parts: list[str] = []
    before = ""
    for index, line in enumerate(lines):
        goes_on = (
            bool(before.strip() and line.strip())
            and _BEGIN.match(line) is None
            and _is_fold(before, line, width)
            and not begins(line)
        )
        if goes_on:
            parts.append(line.strip())
            end_numbers[-1] = last[index]
        else:
            if parts:
                joined.append(" ".join(parts))
            parts = [line.rstrip()]
            begin_numbers.append(first[index])
            end_numbers.append(last[index])
        before = line
    if parts:
        joined.append(" ".join(parts))
    return joined, begin_numbers, end_numbers
