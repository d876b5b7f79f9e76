"""Who owns a line: decided here, once, when everything was read.

Readers note what they took and what they left while they go on, and some find out later: a stack was told in
words and a tool's is there as well, a frame far ahead belongs to a stack that was read. So a line may be noted
more than once. It belongs to what was read, if to anything; else to the first that lists it as unread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from hangdiag.model import Capture, Unread, Where


def join_unread(items: Iterable[Unread], apart: bool = True) -> list[Unread]:
    """Neighbouring lines that were not read for the same reason, as one; for whatever reason, if not ``apart``."""
    joined: list[Unread] = []
    for item in items:
        before = joined[-1] if joined else None
        if (
            before is not None
            and (before.why == item.why or not apart)
            and before.where.source == item.where.source
            and before.where.last + 1 >= item.where.first
        ):
            where = Where(item.where.source, before.where.first, item.where.last)
            why = before if before.trace_like else item
            joined[-1] = Unread(where, why.why, why.trace_like)
        else:
            joined.append(item)
    return joined


def settle(unread: Iterable[Unread], captures: Sequence[Capture]) -> tuple[Unread, ...]:
    """``unread`` in the order of its lines, each line once, and none that something in ``captures`` was read from."""
    apart = _each_once(unread)
    if not apart:
        return ()
    ends = [(item.where.source, item.where.last) for item in apart]
    taken: dict[int, list[Where]] = {}
    for where in _read_places(captures):
        place = bisect_left(ends, (where.source, where.first))
        while place < len(apart) and apart[place].where.source == where.source and apart[place].where.first <= where.last:
            taken.setdefault(place, []).append(where)
            place += 1
    if not taken:
        return tuple(apart)
    return tuple([piece for place, item in enumerate(apart) for piece in _without(item, taken.get(place, ()))])


def _each_once(unread: Iterable[Unread]) -> list[Unread]:
    """The items by their lines; of lines that two of them list, the first keeps them."""
    apart: list[Unread] = []
    for item in sorted(unread, key=lambda item: item.where):
        source, first, last = item.where
        before = apart[-1].where if apart else None
        if before is not None and before.source == source and first <= before.last:
            if last <= before.last:
                continue
            if item.why == apart[-1].why and item.trace_like == apart[-1].trace_like:
                first = apart.pop().where.first
            else:
                first = before.last + 1
            item = Unread(Where(source, first, last), item.why, item.trace_like)
        apart.append(item)
    return apart


def _without(item: Unread, taken: Iterable[Where]) -> Iterator[Unread]:
    """What is left of ``item`` without the lines ``taken``."""
    source, first, last = item.where
    for where in sorted(taken):
        if where.first > first:
            yield Unread(Where(source, first, where.first - 1), item.why, item.trace_like)
        first = max(first, where.last + 1)
    if first <= last:
        yield Unread(Where(source, first, last), item.why, item.trace_like)


def _read_places(captures: Iterable[Capture]) -> Iterator[Where]:
    for capture in captures:
        for thread in capture.threads:
            yield from thread.where
            if thread.stack_where is not None:
                yield thread.stack_where
        for process in capture.processes:
            yield from process.where
        for lock in capture.locks:
            if lock.where is not None:
                yield lock.where
        for machine in capture.vms:
            yield from machine.where
