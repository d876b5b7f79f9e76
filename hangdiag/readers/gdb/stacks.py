"""gdb stacks: ``bt``, ``bt full``, ``thread apply all bt``, and what their arguments tell of the thread.

The arguments of the functions that put a thread to sleep name its wait channel, its wait
message and its lock (sys/kern/kern_synch.c, subr_sleepqueue.c, subr_turnstile.c, kern_mutex.c).
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, LockFact, Thread
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.gdb.threads import HEADER, Identity, identify
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import number
from hangdiag.text.lazy import lazy

_STRING = lazy(r'"((?:[^"\\]|\\.)*)"')
_SLEEPERS = {"_sleep": "ident", "msleep_spin_sbt": "ident", "_cv_wait": "cvp", "_cv_wait_sig": "cvp", "_cv_timedwait_sbt": "cvp"}
_NOISE = lazy(
    r"Previous frame (?:inner|identical)|Backtrace stopped:|\(More stack frames follow|\d+\t|No locals\.|No symbol table"
)
#: So many frames are kept to be used again.
_MOST_REMEMBERED = 50_000
#: Functions in which the thread stands that entered the debugger (sys/kern/subr_kdb.c).
DEBUGGER = ("kdb_enter", "kdb_trap", "kdb_alt_break_internal", "kdb_break")


def _read_thread(section: Section, start: int, match: re.Match[str]) -> int:
    """``Thread 45 (Thread 100567 (PID=16: bhyve/vcpu 0)):`` and the stack below it."""
    lines = section.lines
    header = lines[start].strip()
    index = start + 1
    if not header.endswith(":") and index < len(lines) and lines[index].strip().endswith(":"):
        header += " " + lines[index].strip()
        index += 1
    found = HEADER.match(header)
    if found is None:
        return start
    while index < len(lines) and (not lines[index].strip() or lines[index].startswith("[Switching to")):
        index += 1
    if index >= len(lines) or gdb_frames.BEGIN.match(lines[index].lstrip()) is None:
        return start
    number = int(found.group("number"))
    return _read_stack(section, start, index, identify(found.group("target"), found.group("title"), number))


def _read_bare(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack at the prompt: that of the thread that gdb switched to last."""
    current = section.context.get("gdb thread")
    if not isinstance(current, Identity):
        current = Identity()
    return _read_stack(section, start, start, current)


def _read_stack(section: Section, start: int, index: int, identity: Identity) -> int:
    lines = section.lines
    frames: list[Frame] = []
    memo = section.context.setdefault("gdb frames", {})
    assert isinstance(memo, dict)
    last_number = -1
    while index < len(lines):
        line = lines[index]
        begin = gdb_frames.BEGIN.match(line.lstrip()) if "#" in line else None
        if begin is not None:
            if int(begin.group(1)) <= last_number:
                break  # another stack begins
            depth = int(begin.group(1))
            if index + 1 < len(lines) and (not lines[index + 1] or lines[index + 1][0] == "#"):
                text, end = line.strip(), index + 1
            else:
                text, end = gdb_frames.gather(lines, index)
            # frames of many threads differ in their number at most
            key = text[3:] if depth else text
            frame = memo.get(key)
            if frame is None:
                frame = gdb_frames.parse_frame(text)
                if frame is None:
                    break
                if len(memo) < _MOST_REMEMBERED:
                    memo[key] = frame
            last_number = depth
            frames.append(frame)
            index = end
        elif gdb_frames.is_local(line) or _NOISE.match(line):
            index += 1
        elif line.startswith(("        ", "\t")) and frames:
            index += 1  # a local variable's value that goes on
        else:
            break
    if not frames:
        return start
    stack = gdb_frames.trim(frames)
    thread = make_thread(section, start, index, identity, stack)
    section.draft.add_threads([thread])
    section.count_stacks("kgdb")
    note_owner(section, thread)
    return index


def make_thread(
    section: Section, start: int, end: int, identity: Identity, frames: tuple[Frame, ...]
) -> Thread:
    """A thread from its identity and what its frames' arguments tell."""
    wchan: int | None = None
    wmesg: str | None = None
    lock: str | None = None
    address: int | None = None
    for frame in frames[:12]:
        if frame.function in ("sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch") and address is None:
            address = number(_first_word(frame.argument("td")))
        elif frame.function.startswith("sleepq_") and wchan is None:
            wchan = number(_first_word(frame.argument("wchan")))
        elif frame.function in _SLEEPERS or frame.argument("wmesg") is not None:
            if wchan is None and frame.function in _SLEEPERS:
                wchan = number(_first_word(frame.argument(_SLEEPERS[frame.function])))
            text = _STRING.search(frame.argument("wmesg") or "")
            if text is not None and wmesg is None:
                wmesg = text.group(1)
    in_debugger = bool(frames) and frames[0].function in DEBUGGER and identity.cpu is None
    of_debugger = in_debugger and is_misplaced(section, identity)
    where = section.where(start, end)
    return Thread(
        pid=identity.pid,
        tid=identity.tid,
        address=address,
        command=identity.command,
        name=identity.name,
        state="running" if identity.cpu is not None or (in_debugger and not of_debugger) else None,
        wmesg=wmesg,
        wchan=wchan,
        lock=lock,
        cpu=identity.cpu,
        frames=frames,
        where=(where,),
        stack_where=where,
        stack_of_debugger=of_debugger,
    )


def is_misplaced(section: Section, identity: Identity) -> bool:
    """Is the debugger's stack shown for a thread that it is not of?

    The kernel's gdb stub of 12 and before does not name the thread that stopped (sys/gdb/gdb_main.c):
    gdb takes the first one for it and shows that one with the registers of the real one.
    """
    standing = section.context.setdefault("gdb in debugger", set())
    assert isinstance(standing, set)
    standing.add(identity.tid)
    if identity.number == 1:
        section.context["gdb first tid"] = identity.tid
    if len(standing) > 1:
        # only one thread can be in the debugger
        first = section.context.get("gdb first tid")
        if first in standing and isinstance(first, int):
            section.draft.now.misplaced.add(first)
    return identity.number == 1 and bool(section.context.get("gdb first thread is not current"))


def note_owner(section: Section, thread: Thread) -> None:
    """``turnstile_wait (ts=..., owner=0xfff..., queue=0)`` names the owner that the thread blocks on.

    The thread sleeps until that owner unlocks (turnstile_broadcast wakes all), so it still owns the lock.
    """
    if thread.tid is None:
        return
    for frame in thread.frames[:8]:
        if frame.function == "turnstile_wait":
            owner = number(_first_word(frame.argument("owner")))
            if owner:
                section.draft.add_lock(
                    LockFact(
                        state="exclusive",
                        owner_address=owner,
                        waiters=(thread.tid,),
                        where=thread.stack_where,
                    )
                )


def _first_word(text: str | None) -> str | None:
    return text.split()[0] if text else None


OPENERS = (
    Opener("gdb-thread", "kgdb", r"Thread \d+(?:\.\d+)? \(", _read_thread),
    Opener("gdb-frame", "kgdb", r"\s*#\d+\s+(?:0x[0-9a-f]+ in |<signal|\?\?|[A-Za-z_][\w.@$:]*\s*\()", _read_bare),
)
