"""A blank line behind every line, as some web forms and mailers make it."""

from __future__ import annotations

from collections.abc import Sequence

#: So many lines, each between blank ones, are no chance.
_ENOUGH = 4


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
