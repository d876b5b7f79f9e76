"""What readers write into: it merges what several sections say of the same thread.

One :class:`Draft` collects all sources of one reading. It holds one *instant* after
another: sections of one host at one time are merged by thread id; a second table of
the same threads begins a new instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace

from hangdiag.model import Capture, Host, LockFact, Process, Source, Thread, Unread, VirtualMachine, Where

_THREAD_FIELDS = tuple(
    item.name for item in fields(Thread) if item.name not in ("frames", "where", "stack_where", "stack_of_debugger")
)
#: A share of threads that may disagree before two sections count as two instants (a thread may exit meanwhile).
_TOLERATED = 0.2
#: Stacks of fewer frames say little; of two of one time at least this share of functions is the same.
_TELLING = 4
_COMMON = 0.5
#: Facts of the host and places of one thing that are kept at most: more are a hostile input.
MAX_FACTS = 500
MAX_PLACES = 1000


@dataclass(slots=True)
class Instant:
    """What was read of one host at one time."""

    threads: dict[object, Thread] = field(default_factory=dict)
    #: all places of the threads that were noted more than once
    places: dict[object, dict[Where, None]] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    rows: list[Thread] = field(default_factory=list)
    #: stacks that somebody wrote down in words: they count only where no tool's are
    told: list[Thread] = field(default_factory=list)
    locks: list[LockFact] = field(default_factory=list)
    vms: dict[object, VirtualMachine] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    tables: set[str] = field(default_factory=set)
    #: tids of threads that were shown with the stack of the one that entered the debugger
    misplaced: set[int] = field(default_factory=set)


class Draft:
    """Collects sections; :meth:`captures` ends it."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.unread: list[Unread] = []
        self.instants: list[Instant] = [Instant()]
        self._time_passed = False

    @property
    def now(self) -> Instant:
        """The instant that is being read."""
        return self.instants[-1]

    def pass_time(self) -> None:
        """The machine ran on, or was booted again: a thread that is described anew is in a new instant."""
        self._time_passed = True

    def add_threads(self, threads: Iterable[Thread], table: str | None = None) -> None:
        """Merge a section of threads. ``table`` names a tool that prints each thread once:
        when it prints the same threads again, that is a new instant.
        """
        batch = list(threads)
        if self._is_another_instant(batch, table):
            self.instants.append(Instant())
            self._time_passed = False
        instant = self.now
        if table is not None:
            instant.tables.add(table)
        known = instant.threads
        for thread in batch:
            key: object = thread.tid
            if key is None:
                if thread.address is not None:
                    key = ("address", thread.address)
                elif thread.pid is not None and thread.name is None and not thread.frames:
                    instant.rows.append(thread)
                    continue
                else:
                    key = ("anonymous", len(known))
            before = known.get(key)
            if before is None:
                known[key] = thread
                continue
            places = instant.places.get(key)
            if places is None:
                places = instant.places[key] = dict.fromkeys(before.where)
            for where in thread.where:
                places[where] = None
            known[key] = merge_threads(before, thread)

    def _is_another_instant(self, batch: list[Thread], table: str | None) -> bool:
        known = self.now.threads
        if not known:
            return False
        shared = [(known[thread.tid], thread) for thread in batch if thread.tid is not None and thread.tid in known]
        if not shared:
            return False
        if self._time_passed or (table is not None and table in self.now.tables):
            return True
        strangers = sum(1 for before, after in shared if _are_different(before, after))
        return strangers > len(shared) * _TOLERATED

    def add_told(self, threads: Iterable[Thread]) -> None:
        """Threads of a report in prose, which may speak of those whose stacks are in the capture too."""
        self.now.told.extend(threads)

    def add_row(self, row: Thread) -> None:
        """A thread of which only the process is known (a single-threaded process in ``ps``)."""
        self.now.rows.append(row)

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
        for number, instant in enumerate(self.instants):
            threads = finish_threads(instant)
            if not any(thread.frames for thread in threads):
                threads += instant.told
            else:
                places = dict.fromkeys(thread.where[0] for thread in instant.told)
                unread += [Unread(where, "prose beside the stacks themselves") for where in places]
            made.append(
                Capture(
                    sources=tuple(self.sources),
                    host=instant.host,
                    processes=tuple(instant.processes.values()),
                    threads=tuple(threads),
                    locks=tuple(dict.fromkeys(instant.locks)),
                    vms=tuple(instant.vms.values()),
                )
            )
        unread.sort(key=lambda item: item.where)
        made[0] = replace(made[0], unread=tuple(unread))
        return tuple(made)


def _are_different(before: Thread, after: Thread) -> bool:
    """Do two notes with the same tid speak of different threads?"""
    if before.pid is not None and after.pid is not None and before.pid != after.pid:
        return True
    if before.command is not None and after.command is not None and before.command != after.command:
        return True
    return _has_moved(before, after)


def _has_moved(before: Thread, after: Thread) -> bool:
    """Are the two stacks of different times? Debuggers differ in inlined frames, but hardly in most of a stack."""
    if len(before.frames) < _TELLING or len(after.frames) < _TELLING:
        return False
    if before.frames == after.frames or before.stack_of_debugger or after.stack_of_debugger:
        return False
    if _is_user_stack(before) != _is_user_stack(after):
        return False
    one = {frame.function for frame in before.frames}
    other = {frame.function for frame in after.frames}
    return len(one & other) < min(len(one), len(other)) * _COMMON


def merge_threads(before: Thread, after: Thread) -> Thread:
    """One thread from two notes of it: the first value known wins, the longer stack wins.

    Of two wait messages, one may have been cut short: the longer one wins. The places are those
    of ``before``: the draft collects the others.
    """
    values = {}
    for name in _THREAD_FIELDS:
        value = getattr(before, name)
        values[name] = getattr(after, name) if value is None else value
    if (
        before.wmesg is not None
        and after.wmesg is not None
        and len(after.wmesg) > len(before.wmesg)
        and after.wmesg.startswith(before.wmesg)
    ):
        values["wmesg"], values["wmesg_cut"] = after.wmesg, after.wmesg_cut
    elif before.wmesg is not None:
        values["wmesg_cut"] = before.wmesg_cut
    stack = before
    if _is_user_stack(before) != _is_user_stack(after):
        stack = after if after.frames and _is_user_stack(before) else before
    elif len(after.frames) > len(before.frames) or (before.stack_of_debugger and after.frames):
        stack = after
    return Thread(
        **values,
        frames=stack.frames,
        stack_where=stack.stack_where,
        stack_of_debugger=stack.stack_of_debugger,
        where=before.where,
    )


def _is_user_stack(thread: Thread) -> bool:
    """Is this the stack of a debugged program, not of the kernel? Tells by addresses and libraries."""
    for frame in thread.frames[:3]:
        if frame.address is not None and frame.address < 1 << 47:
            return frame.address > 1 << 16
        if frame.module is not None and frame.module.startswith("/") and ".so" in frame.module:
            return True
    return False


def _merge_with_places(before: Thread, after: Thread) -> Thread:
    return replace(merge_threads(before, after), where=add_places(before.where, after.where))


def add_places(places: tuple[Where, ...], more: tuple[Where, ...]) -> tuple[Where, ...]:
    """``places`` and ``more`` of them; neighbouring ones become one."""
    for where in more:
        last = places[-1] if places else None
        if last is not None and last.source == where.source and last.first <= where.first <= last.last + 2:
            places = (*places[:-1], Where(last.source, last.first, max(last.last, where.last)))
        elif len(places) < MAX_PLACES and where not in places:
            places = (*places, where)
    return places


def finish_threads(instant: Instant) -> list[Thread]:
    """The threads of an instant: rows joined, commands, lock names and owners filled in."""
    places = instant.places
    threads = _join_addresses(
        [
            replace(thread, where=tuple(places[key])) if key in places else thread
            for key, thread in instant.threads.items()
        ]
    )
    threads = _join_cpus(_join_copies(threads))
    threads = _join_rows(threads, instant.rows)
    commands = {process.pid: process.command for process in instant.processes.values()}
    blocked: dict[int, str] = {}
    for fact in instant.locks:
        for tid in fact.waiters:
            blocked.setdefault(tid, fact.name or "?")
    finished = []
    for thread in threads:
        command = thread.command
        if command is None and thread.pid is not None:
            command = commands.get(thread.pid)
        lock = thread.lock
        if lock is None and thread.tid is not None:
            lock = blocked.get(thread.tid)
        if command is not thread.command or lock is not thread.lock:
            thread = replace(thread, command=command, lock=lock)
        if thread.tid in instant.misplaced and thread.frames and not thread.stack_of_debugger:
            thread = replace(thread, stack_of_debugger=True, state=None if thread.cpu is None else thread.state)
        finished.append(thread)
    return finished


def _join_addresses(threads: list[Thread]) -> list[Thread]:
    """Join notes that know only the address of a struct thread to the thread with that address."""
    by_address = {thread.address: index for index, thread in enumerate(threads) if thread.tid is not None}
    joined: list[Thread | None] = list(threads)
    for index, thread in enumerate(threads):
        if thread.tid is None and thread.address is not None and thread.address in by_address:
            target = by_address[thread.address]
            other = joined[target]
            if other is not None:
                joined[target] = _merge_with_places(other, thread)
                joined[index] = None
    return [thread for thread in joined if thread is not None]


def _join_copies(threads: list[Thread]) -> list[Thread]:
    """Leave out stacks of nobody that are copies of a known thread's: quoted once more in the same report."""
    known = {
        tuple(frame.function for frame in thread.frames): index
        for index, thread in enumerate(threads)
        if thread.tid is not None and len(thread.frames) >= _TELLING
    }
    joined: list[Thread | None] = list(threads)
    for index, thread in enumerate(threads):
        if thread.tid is None and thread.address is None and thread.pid is None and thread.cpu is None:
            target = known.get(tuple(frame.function for frame in thread.frames))
            other = joined[target] if target is not None else None
            if target is not None and other is not None:
                joined[target] = replace(other, where=add_places(other.where, thread.where))
                joined[index] = None
    return [thread for thread in joined if thread is not None]


def _join_cpus(threads: list[Thread]) -> list[Thread]:
    """Join stacks that are known by their CPU alone to the thread that ran on it."""
    by_cpu = {thread.cpu: index for index, thread in enumerate(threads) if thread.tid is not None}
    joined: list[Thread | None] = list(threads)
    for index, thread in enumerate(threads):
        if thread.tid is None and thread.address is None and thread.cpu is not None and thread.cpu in by_cpu:
            target = by_cpu[thread.cpu]
            other = joined[target]
            if other is not None and (not other.frames or other.frames == thread.frames):
                joined[target] = _merge_with_places(other, thread)
                joined[index] = None
    return [thread for thread in joined if thread is not None]


def _join_rows(threads: list[Thread], rows: list[Thread]) -> list[Thread]:
    """Join rows of tools that print no thread id to the threads that they are of.

    A row is of the thread of its process with its name, or of its only one. Rows of a process
    that no other tool showed are threads of their own.
    """
    by_pid: dict[int, list[int]] = {}
    by_name: dict[tuple[int, str], int] = {}
    for index, thread in enumerate(threads):
        if thread.pid is not None:
            by_pid.setdefault(thread.pid, []).append(index)
            if thread.name is not None:
                by_name.setdefault((thread.pid, thread.name), index)
    rows_of = Counter(row.pid for row in rows)
    added: set[int] = set()
    for row in rows:
        assert row.pid is not None
        places = by_pid.get(row.pid, [])
        named = by_name.get((row.pid, row.name)) if row.name is not None else None
        if len(places) == 1 and (rows_of[row.pid] == 1 or named is not None):
            named = places[0]
        if named is not None:
            threads[named] = _merge_with_places(threads[named], row)
        elif not places or row.pid in added:
            added.add(row.pid)
            by_pid.setdefault(row.pid, []).append(len(threads))
            threads.append(row)
    return threads
