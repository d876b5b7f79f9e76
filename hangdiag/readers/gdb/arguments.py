"""What the arguments of the functions on a stack of gdb or lldb tell of its thread.

Those of the functions that put a thread to sleep name its wait channel, its wait
message and its lock (sys/kern/kern_synch.c, subr_sleepqueue.c, subr_turnstile.c, kern_mutex.c).
"""

from __future__ import annotations

from dataclasses import replace

from hangdiag.model import Frame, LockFact, Thread
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

#: A string as C and gdb write it.
STRING = lazy(r'"((?:[^"\\]|\\.)*)"')
#: The argument that is the wait channel, of functions that put a thread to sleep. An sx and a lockmgr lock are
#: channels themselves (sys/kern/kern_sx.c, kern_lock.c).
_SLEEPERS = {
    "_sleep": "ident", "msleep": "ident", "msleep_sbt": "ident", "msleep_spin": "ident", "msleep_spin_sbt": "ident",
    "tsleep": "ident", "_cv_wait": "cvp", "_cv_wait_sig": "cvp", "_cv_wait_unlock": "cvp", "_cv_timedwait": "cvp",
    "_cv_timedwait_sbt": "cvp", "_cv_timedwait_sig": "cvp", "_cv_timedwait_sig_sbt": "cvp", "_sx_xlock_hard": "sx",
    "_sx_slock_hard": "sx", "sleeplk": "lk", "lockmgr_xlock_hard": "lk", "lockmgr_slock_hard": "lk", "__lockmgr_args": "lk",
}  # fmt: skip
#: Arguments that hold a wait message: wmesg; wchan of bwait() (sys/kern/vfs_bio.c), waitid of vm_object_pip_wait().
_MESSAGES = ("wmesg", "wchan", "waitid", "mesg")
#: The argument that is a mutex's or rwlock's word (from 12 on) or the lock itself, and how far it lies in it: struct
#: lock_object is three pointers long (sys/sys/_lock.h), of 24 bytes, or 16 where pointers are 32 bits.
_TURNSTILES = {
    "__mtx_lock_sleep": "c", "__rw_wlock_hard": "c", "__rw_rlock_hard": "c", "_mtx_lock_sleep": "m", "_rw_wlock_hard": "rw",
    "_rw_rlock": "rw",
}  # fmt: skip
#: What lies below was interrupted: the thread does not sleep there.
_INTERRUPTED = frozenset({"<signal handler called>", "calltrap", "nmi_calltrap", "handle_el1h_irq", "handle_el1h_sync"})
_LONGEST_MESSAGE = 40
#: Functions in which the thread stands that entered the debugger (sys/kern/subr_kdb.c).
DEBUGGER = ("kdb_enter", "kdb_trap", "kdb_alt_break_internal", "kdb_break")


def make_thread(
    section: Section, start: int, end: int, identity: Identity, frames: tuple[Frame, ...]
) -> Thread:
    """A thread from its identity and what its frames' arguments tell."""
    wchan: int | None = None
    wmesg: str | None = None
    address = identity.address
    for frame in frames[:12] if any(_puts_to_sleep(frame) for frame in frames[:3]) else ():
        function = frame.function
        if function in _INTERRUPTED:
            break
        if function in gdb_frames.SWITCHES and address is None:
            address = frame.number("td")
        elif wchan is None and function.startswith("sleepq_"):
            wchan = frame.number("wchan")
        elif wchan is None and function in _SLEEPERS:
            wchan = frame.number(_SLEEPERS[function])
        if wmesg is None:
            wmesg = _message(frame)
    in_debugger = bool(frames) and frames[0].function in DEBUGGER and identity.cpu is None
    of_debugger = in_debugger and is_misplaced(section, identity)
    where = section.where(start, end)
    return Thread(
        pid=identity.pid,
        tid=identity.tid,
        address=address,
        command=identity.command,
        name=identity.name,
        state="running" if identity.cpu is not None or (in_debugger and not of_debugger) else identity.state,
        wmesg=wmesg,
        wchan=wchan,
        cpu=identity.cpu,
        frames=frames,
        where=(where,),
        stack_where=where if frames else None,
        stack_of_debugger=of_debugger,
        of_program=identity.of_program,
    )


def _puts_to_sleep(frame: Frame) -> bool:
    name = frame.function
    return (
        name in _SLEEPERS
        or name in gdb_frames.SWITCHES
        or name in ("mi_switch", "turnstile_wait")
        or name.startswith("sleepq_")
    )


def _message(frame: Frame) -> str | None:
    """The wait message among a frame's arguments."""
    for name, value in frame.args:
        if name in _MESSAGES and '"' in value:
            text = STRING.search(value)
            if text is not None and len(text.group(1)) < _LONGEST_MESSAGE:
                return text.group(1)
    return None


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
    owner: int | None = None
    for frame in thread.frames[:8]:
        if frame.function in _INTERRUPTED:
            return
        if frame.function == "turnstile_wait":
            owner = frame.number("owner")
        elif owner and frame.function in _TURNSTILES:
            section.draft.add_lock(_owned_lock(thread, owner, _lock_address(frame)))
            return
    if owner:
        section.draft.add_lock(_owned_lock(thread, owner, None))


def note_longer(section: Section, before: Thread, whole: Thread, doubtful: bool) -> Thread | None:
    """Note ``before`` with its ``whole`` stack, which proves nothing if it is ``doubtful`` that all is its. None if nobody
    knows whose it is.
    """
    whole = replace(whole, told=before.told or doubtful, stack_where=before.stack_where or whole.stack_where)
    noted = section.draft.extend_thread(before, whole)
    if noted is not None:
        note_owner(section, noted)
    return noted


def _owned_lock(thread: Thread, owner: int, address: int | None) -> LockFact:
    assert thread.tid is not None
    return LockFact(
        address, state="exclusive", owner_address=owner, waiters=(thread.tid,), where=thread.stack_where
    )


def _lock_address(frame: Frame) -> int | None:
    """The lock that a function of _TURNSTILES was called for."""
    name = _TURNSTILES[frame.function]
    value = frame.number(name)
    if value and name == "c":
        return value - (24 if value >> 32 else 16)
    return value
