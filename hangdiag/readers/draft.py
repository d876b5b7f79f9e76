"""What readers write into: it merges what several sections say of the same thread.

One :class:`Draft` collects all sources of one reading. It holds one *instant* after
another: sections of one host at one time are merged by thread id; its :class:`Timeline`
tells which one is being read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hangdiag.model import Capture, Host, LockFact, Process, Source, Thread, Unread, VirtualMachine, Where
from hangdiag.readers.ledger import settle
from hangdiag.readers.merging import (
    Instant,
    add_places,
    finish_threads,
    has_moved,
    is_same_told,
    merge_threads,
    merge_told,
)
from hangdiag.readers.parts import Part, in_source, unread_in_source
from hangdiag.readers.rows import are_another_look, note_rows
from hangdiag.readers.stacks import architecture_of
from hangdiag.readers.timeline import Timeline
from hangdiag.readers.vms import join_vms

if TYPE_CHECKING:
    from hangdiag.readers.prose.release import Mention

#: Facts of the host that are kept at most: more are a hostile input.
MAX_FACTS = 500
#: Threads told of in prose among which a mention is looked for again.
MAX_TOLD = 200
#: More threads than this with one stack are not believed.
MOST_COUNTED = 20_000
#: Lines of prose that are looked at, and releases that are remembered from them.
MAX_LINE, MAX_MENTIONS = 2000, 500
#: What a line that names a release of FreeBSD holds.
NEEDLES = ("FreeBSD", "-STABLE", "-RELEASE", "-CURRENT", "-PRERELEASE")


class Draft:
    """Collects sections; :meth:`captures` ends it."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.unread: list[Unread] = []
        self.timeline = Timeline()
        self.parts: list[Part] = []  #: the lines of each of several hosts in a source
        self.seen: dict[str, str] = {}  #: messages of the kernel that tell of no thread, by their kind: the first of each
        self._mentions: list[Mention] = []
        self._anonymous = 0  # threads that nothing identifies

    @property
    def now(self) -> Instant:
        """The instant that is being read."""
        return self.timeline.now

    def add_threads(self, threads: Iterable[Thread], table: str | None = None, announced: bool = False) -> None:
        """Merge a section of threads. ``table`` names a tool that prints each thread once:
        when it prints the same threads again, that is a new instant. Whose they are is known if they were ``announced``.
        """
        batch = list(threads)
        if not announced:
            self.timeline.announce(batch, table)
        instant = self.now
        if table is not None:
            instant.tables.setdefault(table, set()).update(thread.tid for thread in batch)
            instant.printed.setdefault(table, set()).update(thread.pid for thread in batch)
        known = instant.threads
        for thread in batch:
            instant.note(thread)
            key: object = thread.tid
            if key is None:
                if thread.address is not None:
                    key = ("address", thread.address)
                elif thread.pid is not None and thread.name is None and not thread.frames:
                    instant.rows.append([thread])
                    continue
                else:
                    self._anonymous += 1
                    key = ("anonymous", self._anonymous)
            before = known.get(key)
            if before is None:
                known[key] = thread
                continue
            places = instant.places.get(key)
            if places is None:
                places = instant.places[key] = dict.fromkeys(before.where)
            for where in thread.where:
                places[where] = None
            if thread.tid is not None and has_moved(before, thread):
                instant.moved.add(thread.tid)
            known[key] = merge_threads(before, thread)

    def replace_thread(self, before: Thread, after: Thread) -> bool:
        """What was noted last as ``before`` is ``after``: more is known of it now. False if it was merged since."""
        known = self.now.threads
        for key in reversed(known):
            if known[key] is before:
                del known[key]
                self.add_threads([after])
                return True
        return False

    def extend_thread(self, before: Thread, after: Thread) -> Thread | None:
        """Note ``before`` with the rest of its stack, as ``after``; returns what is noted. None if nobody knows whose it is."""
        whole = replace(after, where=(*before.where, *after.where))
        if self.replace_thread(before, whole):
            return whole
        if after.tid is None and after.address is None:
            return None
        self.add_threads([after], announced=True)
        return whole

    def forget_stack(self, tid: int) -> None:
        """The stack of thread ``tid`` that was noted so far does not count any more; its lines stay."""
        known = self.now.threads
        if tid in known:
            known[tid] = replace(known[tid], frames=(), stack_where=None, stack_of_debugger=False)

    def add_told(self, threads: Iterable[Thread], again: bool = True, abridged: bool = False) -> None:
        """Threads of a report in prose, which may speak of those whose stacks are in the capture too.

        ``again``: a thread that was told of before may be mentioned once more; ``abridged``: with functions left out.
        """
        told = self.now.told
        taken: set[int] = set()
        for thread in threads:
            place = next(
                (
                    index
                    for index, before in enumerate(told[:MAX_TOLD] if again else ())
                    if index not in taken and is_same_told(before, thread, abridged)
                ),
                None,
            )
            if place is None:
                taken.add(len(told))
                told.append(thread)
            else:
                taken.add(place)
                told[place] = merge_told(told[place], thread)

    def add_counted(self, thread: Thread, count: int) -> None:
        """Of ``count`` threads with one stack only some are listed: the others get no id, but they are counted."""
        count = min(count, MOST_COUNTED)
        key = (_functions(thread), thread.state)
        before = self.now.counted.get(key)
        if before is None or before[1] < count:
            self.now.counted[key] = (thread, count)

    def note_prose(self, lines: Iterable[str]) -> None:
        """Sentences that are of no format: they may name the host's release."""
        worth = [line for line in lines if len(line) < MAX_LINE]
        if len(self._mentions) < MAX_MENTIONS and any(needle in line for line in worth for needle in NEEDLES):
            from hangdiag.readers.prose.release import find_mentions

            self._mentions += find_mentions(worth)

    def _named_release(self) -> str | None:
        if not self._mentions:
            return None
        from hangdiag.readers.prose.release import release_of_host

        return release_of_host(self._mentions)

    def add_row(self, row: Thread) -> None:
        """A thread of which only the process is known (a single-threaded process in ``ps``)."""
        self.now.rows.append([row])

    def add_rows(self, rows: Sequence[Thread], table: str) -> None:
        """Threads without ids of one table of the tool ``table``: when it says something else of the same
        processes than before, that is a new instant.
        """
        if not rows:
            return
        before = self.now.said.get(table, {})
        if are_another_look(before, rows) or (table in self.now.stale and any(row.pid in before for row in rows)):
            self.timeline.begin_instant(self.now.label)
        self.now.rows.append(rows)
        note_rows(self.now.said.setdefault(table, {}), rows)

    def add_process(self, process: Process) -> None:
        """Merge what is said of a process."""
        known = self.now.processes
        before = known.get(process.pid)
        if before is not None:
            process = Process(
                process.pid,
                process.command or before.command,
                process.arguments or before.arguments,
                process.address if process.address is not None else before.address,
                add_places(before.where, process.where),
                before.threads if process.threads is None else process.threads,
            )
        known[process.pid] = process

    def add_lock(self, fact: LockFact) -> None:
        """Note a statement about a lock."""
        self.now.locks.append(fact)

    def add_vm(self, key: object, change: Callable[[VirtualMachine], VirtualMachine]) -> None:
        """Change what is known of the VM that the source calls ``key``."""
        known = self.now.vms
        known[key] = change(known.get(key, VirtualMachine()))

    def set_host(
        self,
        *,
        release: str | None = None,
        arch: str | None = None,
        uname: str | None = None,
        hostname: str | None = None,
        osreldate: int | None = None,
        panic: str | None = None,
        fact: tuple[str, str] | None = None,
    ) -> None:
        """Fill in facts of the host that are not known yet; ``fact`` is added to the others."""
        if hostname is not None:
            self.timeline.see_host(hostname)
        host = self.now.host
        facts = host.facts
        if fact is not None and fact[0] not in dict(facts) and len(facts) < MAX_FACTS:
            facts = (*facts, fact)
        self.now.host = Host(
            host.release or release,
            host.arch or arch,
            host.uname or uname,
            host.hostname or hostname,
            host.osreldate if host.osreldate is not None else osreldate,
            host.panic or panic,
            facts,
        )

    def captures(self) -> tuple[Capture, ...]:
        """Everything collected, one capture an instant (at least one)."""
        made = []
        unread = list(self.unread)
        release = self._named_release()
        for instant in [one for one in self.timeline.instants if not one.is_empty()] or self.timeline.instants[:1]:
            threads = finish_threads(instant)
            if not any(thread.frames for thread in threads):
                threads += instant.told
            else:
                unread += _left_out(instant.told, "prose beside the stacks themselves")
            homeless = _left_out(instant.homeless, "a thread without an id, which may be any of its process")
            unread += homeless
            made.append(
                Capture(
                    sources=tuple(self.sources),
                    host=_finished(instant, release, threads),
                    processes=_without(instant.processes.values(), {item.where for item in homeless}),
                    threads=tuple(threads),
                    locks=tuple(dict.fromkeys(instant.locks)),
                    vms=join_vms(instant.vms.values()),
                )
            )
        if self.parts:
            made = [in_source(capture, self.parts) for capture in made]
            unread = unread_in_source(unread, self.parts)
        made[0] = replace(made[0], unread=settle(unread, made))
        return tuple(made)


def _finished(instant: Instant, release: str | None, threads: Iterable[Thread]) -> Host:
    """What is known of the host: ``release`` if no better one is, its name, the machine of the stacks,
    and which threads moved while it was looked at.
    """
    host = instant.host
    if host.hostname is None and instant.called is not None:
        host = replace(host, hostname=instant.called)
    if instant.moved:
        moved = " ".join([str(tid) for tid in sorted(instant.moved)])
        host = replace(host, facts=(*host.facts, ("moved", moved)))
    arch = host.arch or architecture_of(thread.frames for thread in threads)
    return replace(host, release=host.release or release, arch=arch)


def _without(processes: Iterable[Process], places: set[Where]) -> tuple[Process, ...]:
    """``processes`` without the lines that are listed as unread."""
    lines = _lines(places)
    return tuple(
        replace(process, where=tuple(where for where in process.where if lines.isdisjoint(_lines([where]))))
        if lines
        else process
        for process in processes
    )


def _lines(places: Iterable[Where]) -> set[tuple[int, int]]:
    """The lines at ``places``, each with the number of its source."""
    return {(where.source, line) for where in places for line in range(where.first, where.last + 1)}


def _left_out(threads: Iterable[Thread], why: str) -> list[Unread]:
    """The lines of threads that no capture has."""
    return [Unread(where, why) for thread in threads for where in thread.where]


def _functions(thread: Thread) -> tuple[str, ...]:
    return tuple([frame.function for frame in thread.frames])
