"""Numbered stacks and messages of the console: ``#3 0xffffffff80e12601 at vm_fault_hold+0x2721``.

stack(9) prints them (sys/kern/subr_stack.c, stack_print). Whose stack it is depends on what
printed it: kdb_backtrace() the running thread's; propagate_priority() that of a sleeping owner;
witness the place of a lock order reversal, and lockmgr where a lock was taken: the last two are
no thread's present stack.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, LockFact, Thread
from hangdiag.readers.ddb import stacks
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import parse_offset
from hangdiag.text.lazy import lazy

_FRAME = lazy(
    r"\s*#(?P<number>\d+) +(?P<address>0x[0-9a-f]+) at (?P<name>[A-Za-z_][\w.$@]*)(?:\+(?P<offset>0x[0-9a-f]+|\d+|\.\.\.))?"
    r"\s*\Z"
)
_NAMED = lazy(
    r"\s*#(?P<number>\d+)\s+(?P<name>[A-Za-z_][\w.$@]*)\(\)\s+at (?:[\w.$@]+\+)?(?P<offset>0x[0-9a-f]+|\d+)?"
)
_OWNER = lazy(r"Sleeping thread \(tid (?P<tid>\d+), pid (?P<pid>\d+)\) owns a non-sleepable lock")
_SPIN = lazy(
    r"spin lock (?P<lock>0x[0-9a-f]+) \((?P<name>.*?)\) held by (?P<td>0x[0-9a-f]+) \(tid (?P<tid>-?\d+)\) too long"
)
_STUCK = lazy(
    r".{0,80}?deadlres_td_(?P<kind>on_lock|sleep_q): possible deadlock detected for (?P<td>0x[0-9a-f]+)"
    r"(?: \((?P<name>.*?)\))?, blocked for (?P<ticks>\d+) ticks"
)
_VNODE_LOCK = lazy(
    r"\s*lock type (?P<name>\S+): (?:EXCL by thread (?P<td>0x[0-9a-f]+) \(pid (?P<pid>\d+), (?P<command>.*?)"
    r"(?:, tid (?P<tid>\d+))?\)|SHARED \(count (?P<count>\d+)\)|UNLOCKED)"
)
_LOR_LINE = lazy(r"\s*(?:\d(?:st|nd|rd|th) |lock order |KDB: stack backtrace|stack backtrace:?|#\d|\Z)", re.I)
_VNODE_LINE = lazy(r"\s+(?:usecount|type|mount|flags|v_object|lock type|tag|hold|seqc|ino|#\d|vnode|dev|lo |\w+, )| *with ")


def read_numbered(section: Section, start: int) -> tuple[tuple[Frame, ...], int]:
    """The numbered frames from line ``start`` on and the index of the line behind them."""
    lines = section.lines
    frames: list[Frame] = []
    index = start
    before = -1
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
    return tuple(frames), index


def _read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    frames, end = read_numbered(section, start)
    if not frames:
        return start
    current = section.context.pop("ddb thread", None)
    pid, tid = current if isinstance(current, tuple) else (None, None)
    where = section.where(start, end)
    section.draft.add_threads([Thread(pid=pid, tid=tid, frames=frames, where=(where,), stack_where=where)])
    section.count_stacks("ddb")
    return end


def _read_reversal(section: Section, start: int, match: re.Match[str]) -> int:
    """A lock order reversal with its stacks: a warning of what may happen, not what any thread does now."""
    lines = section.lines
    index = start + 1
    while index < len(lines):
        following = read_numbered(section, index)[1]
        if following == index:
            following = stacks.read_frames(section, index)[1]
        if following > index:
            index = following
        elif lines[index].strip() and _LOR_LINE.match(lines[index]):
            index += 1
        else:
            break
    return index


def _read_vnode(section: Section, start: int, match: re.Match[str]) -> int:
    """``show lockedvnods`` (vn_printf, lockmgr_printinfo): who holds a vnode's lock, and where it was taken."""
    lines = section.lines
    index = start
    while index < len(lines):
        held = _VNODE_LOCK.match(lines[index])
        if held is not None:
            _note_vnode_lock(section, index, held)
        elif index > start and _VNODE_LINE.match(lines[index]) is None:
            following = read_numbered(section, index)[1]
            if following == index:
                break
            index = following
            continue
        index += 1
    return index


def _note_vnode_lock(section: Section, index: int, held: re.Match[str]) -> None:
    where = section.where(index, index + 1)
    tid = int(held.group("tid")) if held.group("tid") else None
    address = int(held.group("td"), 16) if held.group("td") else None
    if address is not None:
        section.draft.add_threads(
            [
                Thread(
                    pid=int(held.group("pid")),
                    tid=tid,
                    address=address,
                    command=held.group("command"),
                    where=(where,),
                )
            ]
        )
    section.draft.add_lock(
        LockFact(
            name=held.group("name"),
            lock_class="lockmgr",
            state="exclusive" if address is not None else "shared" if held.group("count") else "unlocked",
            owner=tid,
            owner_address=address if tid is None else None,
            where=where,
        )
    )


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
        section.context["ddb thread"] = (int(owner.group("pid")), int(owner.group("tid")))
        return start + 1
    if spin is not None:
        tid = int(spin.group("tid"))
        section.draft.add_lock(
            LockFact(
                int(spin.group("lock"), 16),
                spin.group("name"),
                "spin mutex",
                "exclusive",
                owner=tid if tid > 0 else None,
                owner_address=int(spin.group("td"), 16),
                where=where,
            )
        )
        return start + 1
    if stuck is not None:
        section.draft.add_threads(
            [
                Thread(
                    address=int(stuck.group("td"), 16),
                    name=stuck.group("name"),
                    state="lock" if stuck.group("kind") == "on_lock" else "sleeping",
                    where=(where,),
                )
            ]
        )
        if "panic: " in line:
            section.draft.set_host(panic=line.partition("panic: ")[2].strip())
        return end
    return start


OPENERS = (
    Opener("kdb-message", "ddb", r"(?:panic: )?Sleeping thread \(tid |(?:panic: )?spin lock 0x", _read_message),
    Opener("deadlock-resolver", "ddb", r".{0,80}?deadlres_td_", _read_message, ("deadlres_td_",)),
    Opener("kdb-stack", "ddb", r"\s*#\d+ +0x[0-9a-f]+ at(?: [A-Za-z_]|\s*\Z)|\s*#\d+ +[A-Za-z_][\w.$@]*\(\) +at ", _read_stack),
    Opener("witness-reversal", "ddb", r"\s*(?:lock order reversal|lock order .* attempted at:)", _read_reversal),
    Opener(
        "vnode",
        "ddb",
        r"\s*(?:\(?0x[0-9a-f]+\)?: )?(?:0x[0-9a-f]+: )?(?:tag \S+, type V|type V[A-Z]+ state|lock type \S+: )",
        _read_vnode,
    ),
    Opener(
        "witness-held",
        "ddb",
        r".{0,120}?with the following .{0,80}locks? held:",
        lambda section, start, match: start + 1,
        ("with the following ",),
    ),
    Opener(
        "held-title", "ddb", r"Locked vnodes\s*\Z|Spin locks held:", lambda section, start, match: start + 1
    ),
    Opener(
        "trap",
        "ddb",
        r"Fatal (?:trap \d+|double fault)|(?:fault (?:virtual address|code)|instruction pointer|stack pointer|frame pointer"
        r"|code segment|processor eflags|current process|current thread|trap number|interrupt enabled)\s+= |\t\t\t= DPL"
        r"|r(?:di|si|dx|ax|bx|cx): [0-9a-f]{16}|time = \d+\Z|cpuid = \d+(?:; apic id = \w+)?\Z|Uptime: |Dumping \d+ out of"
        r"|--- (?:trap|syscall|interrupt|exception|invalid trapframe|system error)",
        lambda section, start, match: start + 1,
    ),
)
