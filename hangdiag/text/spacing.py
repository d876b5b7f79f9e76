"""A blank line behind every line, as some web forms and mailers make it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

#: The share of blank lines from which on a text is taken for double-spaced.
_SHARE = 0.42


def is_double_spaced(lines: list[str]) -> bool:
    """Is (nearly) every line followed by a blank one?"""
    if len(lines) < 8 or "" not in lines:
        return False
    blank = lines.count("")
    if blank < len(lines) * _SHARE:
        return False
    followed = sum(1 for before, after in pairwise(lines) if before and not after)
    return followed >= (len(lines) - blank) * 0.9


def drop_blanks(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int]
) -> tuple[list[str], list[int], list[int]]:
    """Lines without the blank one behind each, with the original numbers of each."""
    kept: list[int] = []
    after_text = False
    for index, line in enumerate(lines):
        if not line and after_text:
            after_text = False
            continue
        kept.append(index)
        # of a blank line of the original, the added one goes too
        after_text = True
    return [lines[index] for index in kept], [first[index] for index in kept], [last[index] for index in kept]
