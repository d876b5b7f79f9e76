"""Stacks of nobody that are copies or parts of a known thread's: they are no threads of their own."""

from __future__ import annotations

from dataclasses import replace

from hangdiag.model import Thread
from hangdiag.readers.merging import TELLING, add_places

#: A panic is so near the top of a stack; a debugger shows traps as it likes.
_DEEPEST_PANIC = 20
_TRAPS = frozenset({"calltrap", "alltraps_with_regs_pushed", "<signal handler called>"})
#: What many panics have in common: it tells no two of them apart.
_COMMON = frozenset(
    {
        "trap", "trap_fatal", "trap_pfault", "trap_check", "amd64_syscall", "syscall", "syscallenter", "fast_syscall_common",
        "Xfast_syscall", "Xint0x80_syscall", "int0x80_syscall_common", "fork_exit", "fork_trampoline", "do_el0_sync",
        "handle_el0_sync", "svc_handler", "do_el1h_sync", "handle_el1h_sync", "data_abort",
    }
)  # fmt: skip
#: Of the functions of the shorter of two traces of one panic, this share is in the other.
_SHARED = 0.8


def join_copies(threads: list[Thread]) -> list[Thread]:
    """Leave out stacks of nobody that are copies of a known thread's: quoted once more in the same report."""
    threads = _join_panics(_join_glimpses(threads))
    known = {
        tuple(frame.function for frame in thread.frames): index
        for index, thread in enumerate(threads)
        if thread.tid is not None and len(thread.frames) >= TELLING
    }
    joined: list[Thread | None] = list(threads)
    for index, thread in enumerate(threads):
        if _is_nobody(thread):
            target = known.get(tuple(frame.function for frame in thread.frames))
            other = joined[target] if target is not None else None
            if target is not None and other is not None:
                joined[target] = replace(other, where=add_places(other.where, thread.where))
                joined[index] = None
    return [thread for thread in joined if thread is not None]


def _is_nobody(thread: Thread) -> bool:
    return thread.tid is None and thread.address is None and thread.pid is None and thread.cpu is None


def _join_glimpses(threads: list[Thread]) -> list[Thread]:
    """Join a single frame of nobody (a debugger's first look, ``frame 5``, ``up``) to the stack that it is of."""
    glimpses = [index for index, thread in enumerate(threads) if len(thread.frames) == 1 and _is_nobody(thread)]
    if not glimpses:
        return threads
    joined: list[Thread | None] = list(threads)
    owners: dict[tuple[str, int | None], int] = {}
    for index, thread in enumerate(threads):
        if len(thread.frames) > 1 or (thread.frames and not _is_nobody(thread)):
            for frame in thread.frames:
                owners.setdefault((frame.function, frame.line), index)
    for index in glimpses:
        frame = threads[index].frames[0]
        target = owners.get((frame.function, frame.line)) if frame.line is not None or frame.address else None
        other = joined[target] if target is not None else None
        if target is not None and other is not None:
            joined[target] = replace(other, where=add_places(other.where, threads[index].where))
            joined[index] = None
    return [thread for thread in joined if thread is not None]


def _join_panics(threads: list[Thread]) -> list[Thread]:
    """Join the trace that a panic printed on the console to the thread that a debugger shows in that panic.

    The message buffer and the debugger's stack differ in inlined functions, and in where they begin.
    """
    panicked = [(index, _below_panic(thread)) for index, thread in enumerate(threads)]
    known = [(index, below) for index, below in panicked if below is not None]
    if len(known) < 2:
        return threads
    joined: list[Thread | None] = list(threads)
    # the one that a tool told most of comes first
    known.sort(
        key=lambda item: (
            threads[item[0]].tid is None, _is_nobody(threads[item[0]]), -len(threads[item[0]].frames), item[0],
        )
    )  # fmt: skip
    kept: list[tuple[int, frozenset[str]]] = []
    for index, below in known:
        thread = threads[index]
        shows = _is_of_debugger(thread)
        target = next(
            (
                place
                for place, seen in kept
                if _is_same_panic(below, seen, shows or _is_of_debugger(threads[place]))
            ),
            None,
        )
        other = joined[target] if target is not None else None
        if target is None or other is None or not _may_be(thread, other):
            kept.append((index, below))
            continue
        if shows and not _is_of_debugger(other):
            other = replace(other, frames=thread.frames, stack_where=thread.stack_where)
        joined[target] = replace(other, where=add_places(other.where, thread.where))
        joined[index] = None
    return [thread for thread in joined if thread is not None]


def _may_be(thread: Thread, other: Thread) -> bool:
    """May ``thread``, of which at most the process is known, be ``other``?"""
    return _is_nobody(thread) or (thread.tid is None and thread.pid is not None and thread.pid == other.pid)


def _below_panic(thread: Thread) -> frozenset[str] | None:
    """The functions that a thread was in when it panicked, None if it did not."""
    for index in range(min(len(thread.frames), _DEEPEST_PANIC) - 1, -1, -1):
        if thread.frames[index].function in ("panic", "vpanic"):
            return frozenset(frame.function for frame in thread.frames[index + 1 :]) - _TRAPS
    return None


def _is_of_debugger(thread: Thread) -> bool:
    """Only a debugger names sources."""
    return any(frame.file is not None for frame in thread.frames)


def _is_same_panic(one: frozenset[str], other: frozenset[str], inexact: bool) -> bool:
    """Are both of one panic? ``inexact`` if a debugger shows one of them, with inlined functions."""
    if not inexact or not one - _COMMON or not other - _COMMON:
        return one == other or (inexact and not (one and other))
    shared = (one & other) - _COMMON
    return len(shared) >= min(len(one - _COMMON), len(other - _COMMON)) * _SHARED
