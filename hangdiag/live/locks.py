"""Reads the locks that threads wait for, and who owns them.

A thread on a turnstile (TDI_LOCK) names its lock by ``td_blocked->ts_lockobj``
(sys/kern/subr_turnstile.c). A thread asleep on an sx or lockmgr lock sleeps on the lock itself
(``td_wchan``), with the lock's name as its wait message (sys/kern/kern_sx.c sx_chain(),
sys/kern/kern_lock.c lockmgr_chain()). Lock words are decoded as in sys/sys/mutex.h, sx.h, rwlock.h
and lockmgr.h.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hangdiag.live import read_mostly
from hangdiag.live.memory import KernelMemory, Layout
from hangdiag.live.structs import View, read_strings, read_views
from hangdiag.lockwords import FAMILY, WORD, count_shares, decode_word, lock_class
from hangdiag.model import Frame, LockFact

_LOCKMGR_SLEEPERS = frozenset(
    {
        *("sleeplk", "lockmgr_xlock_hard", "lockmgr_slock_hard", "lockmgr_upgrade", "lockmgr_lock_flags"),
        *("lockmgr_xlock", "lockmgr_slock", "__lockmgr_args"),
    }
)
_LOCK_FUNCTION = re.compile("sx_|lockmgr|sleeplk|rm_")


@dataclass(frozen=True, slots=True)
class LockedThread:
    """What of a thread matters here: its address, tid, raw view and (named) frames."""

    address: int
    tid: int | None
    view: View
    state: str | None
    frames: tuple[Frame, ...]


def read_locks(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    threads: Sequence[LockedThread],
    osreldate: int | None,
    notes: list[str],
) -> tuple[LockFact, ...]:
    """One fact for each lock that a thread waits for, with its waiters and its owner."""
    if "lock_object" not in layouts:
        return ()
    waiters = _on_turnstiles(memory, layouts, threads, notes)
    wanted = set(waiters)
    asleep = _asleep_candidates(threads)
    objects = _read_objects(memory, layouts, sorted(wanted | set(asleep)))
    for address, sleepers in asleep.items():
        view = objects.get(address)
        if view is not None:
            found = [thread for thread in sleepers if _sleeps_on_lock(thread, view)]
            if found:
                waiters.setdefault(address, []).extend(found)
    known = {address: objects[address] for address in sorted(waiters) if address in objects}
    names = read_strings(memory, (view.unsigned("lo_name") or 0 for view in known.values()))
    tids = {thread.address: thread.tid for thread in threads}
    words = _read_words(memory, layouts, known)
    readers = read_mostly.find_readers(
        memory, layouts, [a for a, view in known.items() if _class_of(view) in read_mostly.CLASSES], notes
    )
    facts: list[LockFact] = []
    for address in sorted(waiters):
        view = known.get(address)
        if view is None:
            notes.append(f"the lock at {address:#x} cannot be read")
            facts.append(LockFact(address, waiters=_tids(waiters[address])))
            continue
        name = names.get(view.unsigned("lo_name") or 0)
        kind = _class_of(view)
        state, owner, shares = None, None, None
        family = FAMILY.get(kind or "")
        if family is not None and address in words:
            state, owner = decode_word(family, words[address], tids, osreldate)
            shares = count_shares(family, words[address], osreldate)
        sharers = tuple(tid for reader in readers.get(address, ()) if (tid := tids.get(reader)) is not None)
        if kind in read_mostly.CLASSES and readers.get(address):
            # The writer that waits for its readers holds the inner lock already.
            state, owner, shares = "shared", None, len(readers[address])
        elif owner is not None and owner not in tids:
            notes.append(f"the lock {name or hex(address)} is owned by {owner:#x}, which is no known thread")
        facts.append(
            LockFact(
                address,
                name,
                kind,
                state,
                owner=tids.get(owner) if owner is not None else None,
                owner_address=owner,
                sharers=sharers,
                waiters=_tids(waiters[address]),
                shares=shares,
            )
        )
    return tuple(facts)


def _class_of(view: View) -> str | None:
    return lock_class(view.unsigned("lo_flags") or 0)


def _tids(threads: Sequence[LockedThread]) -> tuple[int, ...]:
    return tuple(thread.tid for thread in threads if thread.tid is not None)


def _on_turnstiles(
    memory: KernelMemory, layouts: dict[str, Layout], threads: Sequence[LockedThread], notes: list[str]
) -> dict[int, list[LockedThread]]:
    waiters: dict[int, list[LockedThread]] = {}
    # td_wantedlock (FreeBSD 15.1) tells the mutex, rwlock or sx lock that a thread spins for, is blocked on or
    # sleeps on, until it has it (THREAD_CONTENDS_ON_LOCK(), sys/sys/lock.h).
    blocked: list[tuple[LockedThread, int]] = []
    for thread in threads:
        wanted = thread.view.unsigned("td_wantedlock")
        turnstile = thread.view.unsigned("td_blocked")
        if wanted:
            waiters.setdefault(wanted, []).append(thread)
        elif turnstile and thread.state in ("lock", None):
            blocked.append((thread, turnstile))
    layout = layouts.get("turnstile")
    if layout is None or not layout.has("ts_lockobj"):
        if blocked:
            notes.append("struct turnstile is not in the symbols: the locks of blocked threads are not known")
        return waiters
    views = read_views(memory, layout, [address for _, address in blocked])
    for (thread, address), view in zip(blocked, views, strict=True):
        lock = view.unsigned("ts_lockobj") if view is not None else None
        if lock:
            waiters.setdefault(lock, []).append(thread)
        elif view is None:
            notes.append(f"the turnstile of tid {thread.tid} at {address:#x} cannot be read")
    return waiters


def _asleep_candidates(threads: Sequence[LockedThread]) -> dict[int, list[LockedThread]]:
    found: dict[int, list[LockedThread]] = {}
    for thread in threads:
        channel = thread.view.unsigned("td_wchan")
        if channel and channel == thread.view.unsigned("td_wantedlock"):
            # It is known to wait for this lock.
            continue
        if channel and thread.state in ("sleeping", None) and _may_sleep_on_lock(thread):
            found.setdefault(channel, []).append(thread)
    return found


def _may_sleep_on_lock(thread: LockedThread) -> bool:
    # Most threads sleep on something else, and each channel would be a question.
    functions = [frame.function for frame in thread.frames[:8]]
    return not functions or any(_LOCK_FUNCTION.search(function) for function in functions)


def _read_objects(
    memory: KernelMemory, layouts: dict[str, Layout], addresses: Sequence[int]
) -> dict[int, View]:
    views = read_views(memory, layouts["lock_object"], addresses)
    return {address: view for address, view in zip(addresses, views, strict=True) if view is not None}


def _sleeps_on_lock(thread: LockedThread, view: View) -> bool:
    """True if the wait channel is an sx or lockmgr lock, and not any other object.

    Its class must say so, and the wait message be the lock's own name (the same pointer). Buffer locks
    sleep under messages of their own: there the stack must show that lockmgr put the thread to sleep.
    """
    kind = _class_of(view)
    if kind not in ("sx", "lockmgr") or not view.unsigned("lo_name"):
        return False
    if view.unsigned("lo_name") == thread.view.unsigned("td_wmesg"):
        return True
    functions = {frame.function for frame in thread.frames[:8]}
    return kind == "lockmgr" and bool(functions & _LOCKMGR_SLEEPERS)


def _read_words(memory: KernelMemory, layouts: dict[str, Layout], objects: dict[int, View]) -> dict[int, int]:
    """The lock word of each lock object (it is the first member of its lock)."""
    places: dict[int, tuple[int, int]] = {}
    for address, view in objects.items():
        family = FAMILY.get(_class_of(view) or "")
        layout = layouts.get(family or "")
        if family is None or layout is None or not layout.has("lock_object", WORD[family]):
            continue
        word = layout.fields[WORD[family]]
        places[address] = (address - layout.fields["lock_object"].offset + word.offset, word.size)
    blocks = memory.read(list(places.values()))
    order = "big" if memory.byte_order == "big" else "little"
    return {
        address: int.from_bytes(block, order)  # type: ignore[arg-type]
        for address, block in zip(places, blocks, strict=True)
        if block is not None
    }
