"""Rows that know a thread's process but not its id (``ps``, ``top``, SIGINFO): which thread each is of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from hangdiag.model import Thread

#: At most this share of rows may disagree with others, or with the stacks that they are laid beside.
_TOLERATED = 0.2
#: So many rows are compared with one.
_CANDIDATES = 20


#: What a tool said that the threads of each process wait for.
Said = dict[int | None, set[tuple[str | None, str | None]]]


def note_rows(said: Said, rows: Sequence[Thread]) -> None:
    """Add to ``said`` what ``rows`` say; a table without any wait message says nothing."""
    if any(row.wmesg is not None or row.lock is not None for row in rows):
        for row in rows:
            said.setdefault(row.pid, set()).add((row.wmesg, row.lock))


def are_another_look(before: Said, rows: Sequence[Thread]) -> bool:
    """Do ``rows`` say of many processes what the same tool did not say ``before``?"""
    now: Said = {}
    note_rows(now, [row for row in rows if row.pid in before])
    other = sum(not (said <= before[pid] or before[pid] <= said) for pid, said in now.items())
    return other > len(now) * _TOLERATED


def says_other(before: Thread, after: Thread) -> bool:
    """Does a table without stacks say of a thread that it waits for something else than before?"""
    for one, other in ((before.wmesg, after.wmesg), (before.lock, after.lock)):
        if one is not None and other is not None and not agree(one, other):
            return True
    asleep = {None, "sleeping", "lock", "suspended"}
    return (before.state in asleep) != (after.state in asleep)


def join_rows(
    threads: list[Thread], tables: Sequence[Sequence[Thread]], join: Callable[[Thread, Thread], Thread]
) -> tuple[list[Thread], list[Thread]]:
    """``join`` the rows of each table to ``threads``.

    Rows of a process that nothing else showed, or with another name than all its threads, are threads of their own.
    Returns the threads, and the rows that may be of any thread of their process.
    """
    threads = list(threads)
    of_process: dict[int, list[int]] = defaultdict(list)
    for index, thread in enumerate(threads):
        if thread.pid is not None:
            of_process[thread.pid].append(index)
    homeless: list[Thread] = []
    for pid, groups in _by_process(tables).items():
        places = of_process.get(pid)
        if not places:
            rows, others = _one_look(groups, join)
            threads.extend(rows)
            homeless += others
            continue
        for rows in groups:
            mine = [threads[place] for place in places]
            found = _match(mine, rows)
            by_name = {row.name for row, place in zip(rows, found, strict=True) if place is not None} - {None}
            for row, place in zip(rows, found, strict=True):
                if place is not None:
                    threads[places[place]] = join(threads[places[place]], row)
                elif by_name and _is_of_none(row, mine):
                    places.append(len(threads))
                    threads.append(row)
                else:
                    homeless.append(row)
    return threads, homeless


def _by_process(tables: Sequence[Sequence[Thread]]) -> dict[int, list[list[Thread]]]:
    """The rows of each process, table by table."""
    groups: dict[int, list[list[Thread]]] = {}
    for table in tables:
        here: dict[int, list[Thread]] = {}
        for row in table:
            assert row.pid is not None
            mine = here.get(row.pid)
            if mine is None:
                mine = here[row.pid] = []
                groups.setdefault(row.pid, []).append(mine)
            mine.append(row)
    return groups


def _one_look(
    groups: list[list[Thread]], join: Callable[[Thread, Thread], Thread]
) -> tuple[list[Thread], list[Thread]]:
    """One row for each thread of a process out of several tables' rows of it; and what is left over."""
    fullest = max(groups, key=len)
    if len(groups) == 1:
        return fullest, []
    rows = list(fullest)
    left: list[Thread] = []
    are_single = len(rows) == 1
    for group in groups:
        if group is fullest:
            continue
        free: dict[str | None, list[int]] = defaultdict(list)
        for index in range(len(rows) - 1, -1, -1):
            free[rows[index].name].append(index)
        for row in group:
            names = (row.name,) if row.name is not None and row.name in free else tuple(free)
            place = None
            for name in names[:_CANDIDATES]:
                some = free[name]
                near = range(len(some) - 1, max(len(some) - _CANDIDATES, 0) - 1, -1)
                found = next((number for number in near if _may_be_same(rows[some[number]], row)), None)
                if found is not None:
                    place = some.pop(found)
                    rows[place] = join(rows[place], row)
                    break
            if place is None:
                (rows if are_single else left).append(row)
    return rows, left


def _may_be_same(one: Thread, other: Thread) -> bool:
    return (
        agree(one.name, other.name)
        and agree(one.wmesg, other.wmesg)
        and agree(one.lock, other.lock)
        and (one.state == other.state or None in (one.state, other.state))
        and (not one.frames or not other.frames or one.frames == other.frames)
    )


def agree(one: str | None, other: str | None) -> bool:
    """May two words be one, of which a tool may have cut off the end?"""
    return one is None or other is None or one.startswith(other) or other.startswith(one)


def _match(threads: list[Thread], rows: list[Thread]) -> list[int | None]:
    """For each row the index of its thread among those of its process.

    By name (that of an unnamed thread is its command), by the only thread, or by order where there are as many
    rows as threads: ps and procstat sort by thread id (bin/ps/ps.c, pscomp; procstat_kstack.c).
    """
    if len(threads) == 1 and (len(rows) == 1 or any(row.name == threads[0].name for row in rows)):
        if len(rows) == 1:
            # other threads of its process may have been left out
            return [0 if rows[0].name == threads[0].name is not None or _fits(threads[0], rows[0]) else None]
        first = next(index for index, row in enumerate(rows) if row.name == threads[0].name)
        return [0 if index == first else None for index in range(len(rows))]
    order = sorted(range(len(threads)), key=lambda index: (threads[index].tid or 0, index))
    if len(rows) == len(threads) and all(row.name is None for row in rows):
        wrong = sum(not _fits(threads[place], row) for place, row in zip(order, rows, strict=True))
        if wrong <= len(rows) * _TOLERATED:
            return [place if _fits(threads[place], row) else None for place, row in zip(order, rows, strict=True)]
    named: dict[str | None, list[int]] = defaultdict(list)
    for place in order:
        named[threads[place].name or threads[place].command].append(place)
    same_name: dict[str | None, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        same_name[row.name].append(index)
    found: list[int | None] = [None] * len(rows)
    for name, indices in same_name.items():
        if name is not None and len(named[name]) == len(indices):
            for index, place in zip(indices, named[name], strict=True):
                found[index] = place
        elif name is not None and len(indices) == 1 and named[name]:
            found[indices[0]] = named[name][0]
    for index, row in enumerate(rows):
        if found[index] is None and row.frames:
            alike = [place for place, thread in enumerate(threads) if _functions(thread) == _functions(row)]
            if len(alike) == 1:
                found[index] = alike[0]
    return found


def _is_of_none(row: Thread, threads: Sequence[Thread]) -> bool:
    """Is ``row`` of one more thread of its process: do all others have other names?"""
    return row.name is not None and all(thread.name is not None and not agree(thread.name, row.name) for thread in threads)


def _fits(thread: Thread, row: Thread) -> bool:
    """May ``row`` be of ``thread``, by how it sleeps?"""
    functions = _functions(thread)
    queues = [name for name in functions if name.startswith(("sleepq_", "turnstile_wait"))]
    if not functions or row.state not in ("sleeping", "lock"):
        return True
    if not queues:
        return False
    if row.state == "lock":
        return "turnstile_wait" in queues
    by_signal = any(name.endswith("_sig") or name == "sleepq_catch_signals" for name in queues)
    return row.interruptible is None or by_signal == row.interruptible


def _functions(thread: Thread) -> tuple[str, ...]:
    return tuple([frame.function for frame in thread.frames])
