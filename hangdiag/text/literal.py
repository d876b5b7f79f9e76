"""Line ends, tabs and quotes written as a program's string shows them: ``\\n``, ``\\t``, ``\\"``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

#: So many line ends in one line, and so many of the first parts that begin something, show a text in a string.
_ENOUGH = 3
_BEGINNINGS = 2
_SAMPLE = 20


def split_literal(line: str) -> list[str]:
    r"""``line`` cut at ``\n`` written as two letters; the quotes of a string around it go away."""
    if "\\n" not in line:
        return [line]
    text = line.replace("\\r", "").replace("\\t", "\t").replace('\\"', '"')
    parts = text.split("\\n")
    parts[0] = parts[0].lstrip('"')
    parts[-1] = parts[-1].rstrip('",')
    return parts


def split_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], begins: Callable[[str], bool]
) -> tuple[list[str], list[int], list[int]] | None:
    """Lines cut where one holds a text of several lines, with the original numbers of each; None if none does.

    ``begins`` tells whether a line can stand for itself: a debugger prints strings too, which are no such texts.
    """
    texts = {
        index: parts
        for index, line in enumerate(lines)
        if line.count("\\n") >= _ENOUGH
        and sum(map(begins, islice(parts := split_literal(line), _SAMPLE))) >= _BEGINNINGS
    }
    if not texts:
        return None
    made: list[str] = []
    begin_numbers: list[int] = []
    end_numbers: list[int] = []
    for index, line in enumerate(lines):
        parts = texts.get(index, [line])
        made += parts
        begin_numbers += [first[index]] * len(parts)
        end_numbers += [last[index]] * len(parts)
    return made, begin_numbers, end_numbers
