"""Numbered stacks and messages of the console: ``#3 0xffffffff80e12601 at vm_fault_hold+0x2721``.

stack(9) prints them (sys/kern/subr_stack.c, stack_print). Whose stack it is depends on what
printed it: kdb_backtrace() the running thread's; propagate_priority() that of a sleeping owner; those of
witness and of lockmgr (witness.py, vnodes.py) are no thread's present stack. Messages from trap_fatal
(sys/amd64/amd64/trap.c), deadlkres (sys/kern/kern_clock.c) and _mtx_lock_spin_failed (kern_mutex.c).
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import Frame, LockFact, Thread
from hangdiag.readers.ddb import current
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.readers.stacks import lacks_top, may_follow, parse_offset
from hangdiag.text.lazy import lazy

_FRAME = lazy(
    r"\s*#(?P<number>\d+) +(?P<address>0x[0-9a-f]+) at (?P<name>[A-Za-z_][\w.$@]*)(?:\+(?P<offset>0x[0-9a-f]+|\d+|\.\.\.))?"
    r"\s*\Z"
)
_NAMED = lazy(
    r"\s*#(?P<number>\d+)\s+(?P<name>[A-Za-z_][\w.$@]*)\(\)\s+at (?:[\w.$@]+\+)?(?P<offset>0x[0-9a-f]+|\d+)?"
)
_FIRST = lazy(r"\s*#(\d{1,6})")
_OWNER = lazy(r"Sleeping thread \(tid (?P<tid>\d+), pid (?P<pid>\d+)\) owns a non-sleepable lock")
_SPIN = lazy(
    r"spin lock (?P<lock>0x[0-9a-f]+) \((?P<name>.*?)\) held by (?P<td>0x[0-9a-f]+) \(tid (?P<tid>-?\d+)\) too long"
)
_STUCK = lazy(
    r".{0,80}?(?:deadlres_td_(?P<kind>on_lock|sleep_q)|deadlkres): possible deadlock detected for (?P<td>0x[0-9a-f]+)"
    r"(?: \((?P<name>.*?)\))?, blocked for (?P<ticks>\d+) ticks"
)
_STUCK_STATES = {"on_lock": "lock", "sleep_q": "sleeping"}
# the newer form names the thread too
_AT_TRAP = lazy(
    r"current (?:process\s+= (?P<pid>\d+) \((?P<name>.*)\)|thread\s+= (?P<pid2>\d+)/(?P<tid>\d+) \(.*?/(?P<name2>.*)\))\s*\Z"
)


def read_numbered(section: Section, start: int, before: int = -1) -> tuple[tuple[Frame, ...], int]:
    """The frames from line ``start`` on, with numbers behind ``before``, and the index of the line behind them."""
    lines = section.lines
    frames: list[Frame] = []
    index = start
    while index < len(lines):
        line = lines[index]
        found = _FRAME.match(line) or _NAMED.match(line)
        if found is None and section.peeler is not None and section.peeler.split_lost(index):
            continue
        if found is None:
            following = index + 1
            joined = line.rstrip() + " " + lines[following].strip() if following < len(lines) and "#" in line else ""
            found = _FRAME.match(joined) if joined else None
            if found is None:
                if frames and line.strip() in ("...", "[...]"):
                    index += 1
                    continue
                break
            index += 1
        number = int(found.group("number"))
        if number <= before:
            break
        before = number
        groups = found.groupdict()
        address = groups.get("address")
        frames.append(
            Frame(found.group("name"), parse_offset(groups.get("offset")), address=int(address, 16) if address else None)
        )
        index += 1
    if frames:
        section.context["kdb last number"] = before
    return tuple(frames), index


def _read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    frames, end = read_numbered(section, start)
    if not frames:
        return start
    where = section.where(start, end)
    if current.is_warning(section, frames):
        keep_open(section, end)
        return end
    told = lacks_top(frame_number(section.lines[start]), frames)
    thread = replace(current.nobody(section, where), frames=frames, stack_where=where, told=told)
    section.draft.add_threads([thread])
    section.count_stacks("ddb")
    current.end_backtrace(section, thread)
    keep_open(section, end, thread)
    return end


def keep_open(section: Section, end: int, thread: Thread | None = None) -> None:
    """The numbered stack up to line ``end``, of ``thread`` or of nobody, may go on behind it."""
    last = section.context["kdb last number"]
    assert isinstance(last, int)
    section.pending = Pending(end, lambda section, index: _go_on(section, index, last, thread))


def _go_on(section: Section, start: int, last: int, before: Thread | None) -> int:
    """Read the frames from line ``start`` on if their numbers go on behind ``last``."""
    if frame_number(section.lines[start]) != last + 1:
        return start
    frames, end = read_numbered(section, start, last)
    if not frames:
        return start
    if before is not None:
        if not may_follow(before.frames[-1].function, frames[0].function):
            return start
        before = section.lengthen(before, frames, start, end)
        if before is None:
            return start
        current.end_backtrace(section, before)
    keep_open(section, end, before)
    return end


def frame_number(line: str) -> int:
    """The number of the frame on a line."""
    found = _FIRST.match(line)
    return int(found.group(1)) if found is not None else 0


def _read_message(section: Section, start: int, match: re.Match[str]) -> int:
    """Messages that name a thread or a lock."""
    lines = section.lines
    line = lines[start]
    end = start + 1
    if end < len(lines) and "blocked for" not in line and "possible deadlock" in line:
        line = f"{line.rstrip()} {lines[end].strip()}"  # panics are often wrapped there
        end += 1
    where = section.where(start, end)
    owner, spin, stuck = _OWNER.match(line), _SPIN.search(line), _STUCK.match(line)
    if owner is not None:
        pid, tid = int(owner.group("pid")), int(owner.group("tid"))
        section.draft.add_threads([Thread(pid, tid, state="sleeping", where=(section.where(start, start + 1),))])
        current.name_next(section, pid, tid)
        return start + 1
    if spin is not None:
        tid = int(spin.group("tid"))
        holder = Thread(tid=tid if tid > 0 else None, address=int(spin.group("td"), 16), where=(where,))
        held = LockFact(
            int(spin.group("lock"), 16),
            spin.group("name"),
            "spin mutex",
            "exclusive",
            owner=holder.tid,
            owner_address=holder.address,
            where=where,
        )
        section.draft.add_threads([holder])
        section.draft.add_lock(held)
        section.draft.now.spun_for = held
        return start + 1
    if stuck is not None:
        section.draft.add_threads(
            [
                Thread(
                    address=int(stuck.group("td"), 16),
                    name=stuck.group("name"),
                    state=_STUCK_STATES.get(stuck.group("kind")),
                    where=(where,),
                )
            ]
        )
        if "panic: " in line:
            section.draft.set_host(panic=line.partition("panic: ")[2].strip())
        return end
    return start


def _read_trap(section: Section, start: int, match: re.Match[str]) -> int:
    """A line of a trap's report; one of them says whose the next stack is."""
    if section.lines[start].startswith("Fatal "):
        section.draft.seen.setdefault("a trap", section.lines[start].strip())
    found = _AT_TRAP.match(section.lines[start])
    if found is not None:
        tid = found.group("tid")
        pid = int(found.group("pid2") or found.group("pid"))
        current.name_next(section, pid, int(tid) if tid else None, found.group("name2") or found.group("name"))
    return start + 1


OPENERS = (
    Opener("kdb-message", "ddb", r"(?:panic: )?Sleeping thread \(tid |(?:panic: )?spin lock 0x", _read_message),
    Opener("deadlock-resolver", "ddb", r".{0,80}?(?:deadlres_td_|deadlkres: possible)", _read_message, ("deadl",)),
    Opener("kdb-stack", "ddb", r"\s*#\d+ +0x[0-9a-f]+ at(?: [A-Za-z_]|\s*\Z)|\s*#\d+ +[A-Za-z_][\w.$@]*\(\) +at ", _read_stack),
    Opener(
        "trap",
        "ddb",
        r"Fatal (?:trap \d+|double fault|(?:data|instruction) abort)|kernel trap \d+ with "
        r"|(?:fault (?:virtual address|code)|instruction pointer|stack pointer|frame pointer"
        r"|code segment|processor eflags|current process|current thread|trap number|interrupt enabled)\s+= |\t\t\t= DPL"
        r"|r(?:di|si|dx|ax|bx|cx| ?8|1\d): [0-9a-f]{16}| {0,3}(?:x\d+|lr|sp|elr|far|esr|spsr): {1,20}(?:0x)?[0-9a-f]{1,16}"
        r"(?: \([^()]{1,80}\))?\Z"
        r"|time = \d+\Z|cpuid = \d+(?:; apic id = \w+)?\Z|Uptime: "
        r"|Physical memory: \d+ MB|Dumping \d+ (?:out of|MB)|Dump complete|Textdump complete|= (?:0x)?[0-9a-f]{1,16}\Z"
        r"|--- (?:trap|syscall|interrupt|exception|unhandled exception|invalid trapframe|system error)",
        _read_trap,
    ),
)
