"""What stands between the lines of a text: blank ones, as web forms and mailers make them, and numbers of a listing; and
blanks within frames' numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hangdiag.text.lazy import lazy

#: A frame of gdb's or of the console whose number stands apart; what may stand before it is a quote's.
_APART = lazy(r"([ \t>|]{0,16})# (\d{1,3} {1,3}(?:0x[0-9a-f]{6,16} (?:in|at) |[A-Za-z_][\w.$@]{0,80} \())")
#: So many lines, each between blank ones, are no chance.
_ENOUGH = 4
#: Fewer numbers in a part of a text may be the ends of names that a mailer folded: ``vcpu`` and ``2``.
_ENOUGH_NUMBERS = 24
_LONGEST_NUMBER = 6
#: Into so many lines one of a listing may have been broken.
_MOST_PARTS = 40


def double_spaced(lines: list[str]) -> list[tuple[int, int]]:
    """Runs of lines of which each is followed by a blank one: begin and end of each, blank lines included."""
    runs: list[tuple[int, int]] = []
    start, before, single = 0, -1, 0
    for index in [index for index, line in enumerate(lines) if not line]:
        if index - before > 2:
            if single >= _ENOUGH:
                runs.append((start, before + 1))
            # what stands before a blank line may be the first line of a run
            start, single = index - 1, 1
        elif index - before == 2:
            single += 1
        before = index
    if single >= _ENOUGH:
        runs.append((start, before + 1))
    return runs


def drop_blanks(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], runs: list[tuple[int, int]]
) -> tuple[list[str], list[int], list[int]]:
    """Lines without the blank one behind each in ``runs``, with the original numbers of each."""
    kept: list[int] = []
    end = 0
    for start, stop in runs:
        kept += range(end, start)
        end = stop
        after_text = False
        for index in range(start, stop):
            if not lines[index] and after_text:
                after_text = False
                continue
            kept.append(index)
            # of a blank line of the original, the added one goes too
            after_text = True
    kept += range(end, len(lines))
    return [lines[index] for index in kept], [first[index] for index in kept], [last[index] for index in kept]


def numbers_between(lines: Sequence[str]) -> set[int]:
    """Lines that hold nothing but the number of the next one, counted up from 1. That may have been broken since."""
    between: set[int] = set()
    run: list[int] = []
    for index, line in enumerate([*lines, "1"]):
        number = _number(line)
        if number is None:
            continue
        goes_on = bool(run) and index - run[-1] <= _MOST_PARTS
        if goes_on and number == len(run) + 1 and index - run[-1] > 1:
            run.append(index)
        # what was broken may end in a 1
        elif number == 1 and not (goes_on and len(run) + 1 in map(_number, lines[index + 1 : run[-1] + _MOST_PARTS])):
            if _is_listing(run, len(lines)):
                between.update(run)
            run = [index]
    return between


def _number(line: str) -> int | None:
    """The number that ``line`` is, if it is one."""
    number = line.strip().rstrip(".:")
    return int(number) if number.isdecimal() and len(number) <= _LONGEST_NUMBER else None


def _is_listing(run: Sequence[int], count: int) -> bool:
    """Are the ``run`` of lines in a text of ``count`` the numbers of a listing, most of which has one line each?"""
    single = sum(after - before == 2 for before, after in pairwise(run))
    return len(run) >= _ENOUGH_NUMBERS or (len(run) >= max(count // 2, _ENOUGH) and single >= len(run) - 1)


def drop_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], between: set[int]
) -> tuple[list[str], list[int], list[int]]:
    """Lines without those ``between``; the number of each is added to what stands before it, so that none is lost."""
    kept: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for index, line in enumerate(lines):
        if index in between and kept:
            ends[-1] = last[index]
            continue
        kept.append(line)
        begins.append(first[index])
        ends.append(last[index])
    return kept, begins, ends


def frames_apart(lines: Sequence[str]) -> bool:
    """Do frames' numbers stand apart from their ``#``? ``# 1  0x...``: on some sites ``#1`` would be a link."""
    return sum(1 for line in lines if "# " in line and _APART.match(line) is not None) > 1


def join_numbers(lines: Sequence[str]) -> list[str]:
    """``lines`` with the ``#`` of frames before their numbers."""
    return [_APART.sub(r"\1#\2", line) if "# " in line else line for line in lines]
