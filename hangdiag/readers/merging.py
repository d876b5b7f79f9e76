"""One thread from several notes of it: by tid, by address, by CPU, by process and name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

from hangdiag.model import Frame, Host, LockFact, Process, Thread, VirtualMachine, Where
from hangdiag.readers.rows import Said, join_rows
from hangdiag.readers.stacks import SWITCHES, waits_in

_OF_STACK = frozenset({"frames", "where", "stack_where", "stack_of_debugger", "told", "of_program"})
_THREAD_FIELDS = tuple(item.name for item in fields(Thread) if item.name not in _OF_STACK)
_AWAKE = frozenset({"running", "runnable"})
_ASLEEP = frozenset({"sleeping", "lock"})
#: Stacks of fewer frames say little; of two of one time at least this share of functions is the same.
TELLING = 4
_COMMON = 0.5
#: So many functions of each that are not on the other make two stacks of them in any case.
_OTHERS = 2
#: The places of so many functions at least are the same on two stacks if both tools print them alike.
_AGREE = 3
#: What says that a spin mutex is held too long, and panics (sys/kern/kern_mutex.c).
_SPIN_CHECKS = frozenset({"_mtx_lock_indefinite_check", "_mtx_lock_spin_failed"})
#: Threads that were only counted, of all stacks: a host has fewer.
_MOST_MADE = 100_000
#: Places of one thing that are kept at most: more are a hostile input.
MAX_PLACES = 1000


@dataclass(slots=True)
class Instant:
    """What was read of one host at one time."""

    threads: dict[object, Thread] = field(default_factory=dict)
    #: all places of the threads that were noted more than once
    places: dict[object, dict[Where, None]] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)
    #: tables of threads of which only the process is known, and what each tool said in them
    rows: list[Sequence[Thread]] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    homeless: list[Thread] = field(default_factory=list)
    #: stacks that a tool printed once for several threads: one of them, and how many there are
    counted: dict[object, tuple[Thread, int]] = field(default_factory=dict)
    #: stacks that somebody wrote down in words: they count only where no tool's are
    told: list[Thread] = field(default_factory=list)
    locks: list[LockFact] = field(default_factory=list)
    #: the spin mutex of which a thread said, before it panicked, that it waits too long
    spun_for: LockFact | None = None
    vms: dict[object, VirtualMachine] = field(default_factory=dict)
    host: Host = field(default_factory=Host)
    #: the tids that a tool printed that prints each thread once, and the processes whose threads it printed
    tables: dict[str, set[int | None]] = field(default_factory=dict)
    printed: dict[str, set[int | None]] = field(default_factory=dict)
    #: the kinds of lists that were read, and the words of the name under which each stood
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: the command of each process, and the thread of each vCPU
    commands: dict[int, str] = field(default_factory=dict)
    vcpus: dict[tuple[int, str], int] = field(default_factory=dict)
    #: tids of threads that two tools saw at different places
    moved: set[int] = field(default_factory=set)
    #: tools whose tables were printed before a later date was
    stale: set[str] = field(default_factory=set)
    #: tids that were described before time passed
    before: set[object] = field(default_factory=set)
    #: the host's name, without its domain
    label: str | None = None
    #: the name by which it was called first
    called: str | None = None
    #: tids of threads that were shown with the stack of the one that entered the debugger
    misplaced: set[int] = field(default_factory=set)

    def is_empty(self) -> bool:
        """Was nothing read of it but facts of the host?"""
        return not (self.threads or self.rows or self.told or self.locks or self.vms or self.processes)

    def note(self, thread: Thread) -> None:
        """Remember who a thread with an id is."""
        if thread.pid is None or thread.tid is None:
            return
        if thread.command is not None:
            self.commands.setdefault(thread.pid, thread.command)
        if thread.name is not None and thread.name.startswith("vcpu "):
            self.vcpus.setdefault((thread.pid, thread.name), thread.tid)


def are_different(before: Thread, after: Thread) -> bool:
    """Do two notes with the same tid speak of different threads?"""
    if before.pid is not None and after.pid is not None and before.pid != after.pid:
        return True
    if before.command is not None and after.command is not None and before.command != after.command:
        return True
    return has_moved(before, after)


def has_moved(before: Thread, after: Thread) -> bool:
    """Are the two stacks of different times? Debuggers differ in inlined frames, and a letter may be lost."""
    if not before.frames or not after.frames or before.frames == after.frames:
        return False
    if before.stack_of_debugger or after.stack_of_debugger:
        return False
    if before.is_user_stack != after.is_user_stack:
        return False
    names, others = _names(before), _names(after)
    one, other = set(names), set(others)
    # two that wait do so elsewhere, however much is inlined below
    waits = waits_in(names), waits_in(others)
    if None not in waits and waits[0] not in other and waits[1] not in one:
        return True
    if len(before.frames) < TELLING or len(after.frames) < TELLING:
        return False
    common = len(one & other)
    if common < min(len(one), len(other)) * _COMMON or min(len(one), len(other)) - common >= _OTHERS:
        return True
    return _calls_from_elsewhere(before, after)


def _calls_from_elsewhere(before: Thread, after: Thread) -> bool:
    """Does one function on both stacks call from another place, while tools agree about the places of most?"""
    places = {frame.function: frame.offset for frame in before.frames if frame.offset is not None}
    pairs = [
        (places[frame.function], frame.offset)
        for frame in after.frames[1:]
        if frame.offset is not None and frame.function in places
    ]
    same = sum(one == other for one, other in pairs)
    return same < len(pairs) and same >= max(_AGREE, len(pairs) // 2)


def _names(thread: Thread) -> list[str]:
    """The functions on its stack that every debugger names."""
    return [frame.function for frame in thread.frames if not frame.inlined and frame.function != "??"]


def merge_threads(before: Thread, after: Thread) -> Thread:
    """One thread from two notes of it: the first value known wins, the longer stack wins.

    Of two wait messages or names of locks, one may have been cut short: the longer one wins. The places are those
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
    if before.lock is not None and after.lock is not None and after.lock.startswith(before.lock):
        values["lock"] = after.lock
    stack, other = (after, before) if after.frames and not before.frames else (before, after)
    frames = stack.frames
    if before.frames and after.frames:
        other_side = _is_of_another_side(before, after)
        if other_side:
            stack = after if before.is_user_stack else before
        elif before.stack_of_debugger or (len(after.frames), _arguments(after)) > (len(before.frames), _arguments(before)):
            stack = after
        other = before if stack is after else after
        frames = stack.frames
        if _arguments(other) and not (other_side or before.stack_of_debugger or after.stack_of_debugger):
            frames = _with_arguments(frames, other.frames)
    return Thread(
        **values,
        frames=frames,
        stack_where=stack.stack_where,
        stack_of_debugger=stack.stack_of_debugger,
        of_program=stack.of_program,
        where=before.where,
        told=stack.told or (other.told and not other.frames) or _contradict(before, after),
    )


def _contradict(before: Thread, after: Thread) -> bool:
    """Did one tool see the thread on a CPU, or ready for one, and another one asleep? It moved in between."""
    states = {before.state, after.state}
    return not states.isdisjoint(_AWAKE) and not states.isdisjoint(_ASLEEP)


def _belies_stack(thread: Thread) -> bool:
    """Is the thread on a CPU, or ready for one, although its stack sleeps? It was woken, or the stack is another thread's."""
    return (
        thread.state in _AWAKE
        and any(frame.function in SWITCHES for frame in thread.frames[:2])
        and any(frame.function.startswith(("sleepq_", "turnstile_")) for frame in thread.frames[1:4])
    )


def _with_arguments(frames: tuple[Frame, ...], others: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """``frames`` with what a debugger printed of the same functions: arguments, and their place in the source."""
    places: dict[str, list[int]] = {}
    for place in range(len(others) - 1, -1, -1):
        places.setdefault(others[place].function, []).append(place)
    merged = list(frames)
    position = 0
    for index, frame in enumerate(frames):
        ahead = places.get(frame.function, [])
        while ahead and ahead[-1] < position:
            ahead.pop()
        if ahead:
            position = ahead[-1] + 1
            known = others[position - 1]
            if known.args and not frame.args:
                merged[index] = replace(frame, args=known.args, file=known.file, line=known.line)
    return tuple(merged)


def is_same_told(before: Thread, after: Thread, abridged: bool) -> bool:
    """May two mentions in prose be of one thread: with the same stack, or one that left functions out?"""
    for name in ("pid", "tid", "command", "name"):
        one, other = getattr(before, name), getattr(after, name)
        if one is not None and other is not None and one != other:
            return False
    one, other = ([frame.function for frame in thread.frames] for thread in (before, after))
    if one == other or not abridged:
        return one == other
    shorter, longer = sorted((one, other), key=len)
    functions = iter(longer)
    return all(function in functions for function in shorter)


def merge_told(before: Thread, after: Thread) -> Thread:
    """One thread from two mentions of it, at both places."""
    merged = _merge_with_places(before, after)
    return replace(merged, told=True)


def _arguments(thread: Thread) -> int:
    return sum(len(frame.args) for frame in thread.frames)


def _is_of_another_side(before: Thread, after: Thread) -> bool:
    """Is one stack that of the program, the other the kernel's?"""
    if not before.frames or not after.frames or before.frames[0].function == after.frames[0].function:
        return False
    return before.is_user_stack != after.is_user_stack


def _merge_with_places(before: Thread, after: Thread) -> Thread:
    return replace(merge_threads(before, after), where=add_places(before.where, after.where))


def add_places(places: tuple[Where, ...], more: tuple[Where, ...]) -> tuple[Where, ...]:
    """``places`` and ``more`` of them; neighbouring ones become one."""
    for where in more:
        last = places[-1] if places else None
        if last is not None and last.source == where.source and last.first <= where.first <= last.last + 1:
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
    if any(thread.tid is None and thread.frames for thread in threads):
        from hangdiag.readers.copies import join_copies  # most captures tell whose their stacks are

        threads = join_copies(threads)
    threads = _join_cpus(threads)
    if any(thread.tid is None and thread.is_user_stack for thread in threads):
        from hangdiag.readers.programs import join_programs  # hardly any capture holds stacks of a program

        threads = join_programs(threads, _merge_with_places)
    if instant.spun_for is not None:
        _note_spinner(instant.locks, instant.spun_for, threads)
    threads, instant.homeless = join_rows(threads, instant.rows, _merge_with_places)
    threads += _others_counted(threads, instant.counted.values())
    commands = {process.pid: process.command for process in instant.processes.values()}
    names = {fact.address: fact.name for fact in instant.locks if fact.address is not None and fact.name}
    blocked: dict[int, str] = {}
    for fact in instant.locks:
        for tid in fact.waiters:
            blocked.setdefault(tid, fact.name or names.get(fact.address or 0) or "?")
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
        if _belies_stack(thread) and not thread.stack_of_debugger:
            thread = replace(thread, told=True)
        finished.append(thread)
    return finished


def _note_spinner(locks: list[LockFact], held: LockFact, threads: list[Thread]) -> None:
    """The one thread that panicked in the check for it waits for the spin mutex ``held``."""
    spinners = [
        thread.tid
        for thread in threads
        if thread.tid is not None and not _SPIN_CHECKS.isdisjoint(frame.function for frame in thread.frames)
    ]
    if len(spinners) == 1:
        locks[locks.index(held)] = replace(held, waiters=(spinners[0],))


def _others_counted(threads: list[Thread], counted: Iterable[tuple[Thread, int]]) -> list[Thread]:
    """The threads that a tool counted with the stack of another one and did not list."""
    if not counted:
        return []
    known = Counter(tuple(frame.function for frame in thread.frames) for thread in threads)
    made: list[Thread] = []
    for thread, count in counted:
        missing = min(count - known[tuple(frame.function for frame in thread.frames)], _MOST_MADE - len(made))
        made += [replace(thread, address=None)] * missing
    return made


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


def _join_cpus(threads: list[Thread]) -> list[Thread]:
    """Join what is known by its CPU, and perhaps the address of its struct thread, to the thread that ran there."""
    by_cpu = {thread.cpu: index for index, thread in enumerate(threads) if thread.tid is not None}
    joined: list[Thread | None] = list(threads)
    for index, thread in enumerate(threads):
        if thread.tid is None and thread.cpu is not None and thread.cpu in by_cpu:
            target = by_cpu[thread.cpu]
            other = joined[target]
            if (
                other is not None
                and (not other.frames or not thread.frames or other.frames == thread.frames)
                and (thread.address is None or other.address is None)
                and (thread.pid is None or other.pid is None or thread.pid == other.pid)
            ):
                joined[target] = _merge_with_places(other, thread)
                joined[index] = None
    return [thread for thread in joined if thread is not None]
