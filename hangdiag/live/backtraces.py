"""Adds what only the debugger's own unwinder knows: inlined functions and arguments.

Where the debugger lists the kernel's threads (kgdb, FreeBSD's own stub), it is asked for the backtraces of the
threads where that tells more: those of a VM's processes, those that wait for a lock, and those whose stack
the walker could not follow. A backtrace is taken only where it agrees with the memory: FreeBSD 12's stub shows
one thread with the stack of another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from hangdiag.errors import HangdiagError
from hangdiag.live.gdb_memory import thread_numbers_of
from hangdiag.live.mi import Session
from hangdiag.model import Capture, Frame, Thread

_BATCH = 64
_VMM_FUNCTIONS = ("vmmdev_ioctl", "vm_run", "vm_handle_rendezvous", "vcpu_set_state_locked", "destroy_devl")


def add_debugger_frames(session: Session, capture: Capture, thorough: bool) -> Capture:
    """``capture`` with the debugger's frames where they agree with its own.

    With ``thorough``, the threads of a VM's processes and those blocked on a lock are asked about; else (through
    a stub, where a backtrace takes a hundred round trips) only those whose stack could not be followed. A
    debugger that fails here costs nothing: the frames that were read from memory stay.
    """
    chosen = [
        thread.tid for thread in capture.threads if thread.tid and _worth_asking(thread, capture, thorough)
    ]
    if not chosen:
        return capture
    found: dict[int, tuple[Frame, ...]] = {}
    numbers = list(thread_numbers_of(session, chosen).values())
    for begin in range(0, len(numbers), _BATCH):
        text = _ask(session, numbers[begin : begin + _BATCH])
        if text is None:
            break
        found.update(_parse(text))
    threads = tuple(
        replace(thread, frames=_agreeing(thread.frames, found.get(thread.tid or -1, ())))
        for thread in capture.threads
    )
    return replace(capture, threads=threads)


def _worth_asking(thread: Thread, capture: Capture, thorough: bool) -> bool:
    if thread.state == "running":
        return False
    if not thread.frames:
        return True
    if not thorough:
        return False
    pids = {machine.pid for machine in capture.vms}
    if thread.pid in pids or thread.state == "lock":
        return True
    return any(frame.function in _VMM_FUNCTIONS for frame in thread.frames)


def _ask(session: Session, numbers: list[int]) -> str | None:
    listed = "".join(f"{number} " for number in numbers)
    with contextlib.suppress(HangdiagError):
        answer = session.ask(f'-interpreter-exec console "thread apply {listed}bt"')
        if answer.status != "error":
            return answer.console
    return None


def _parse(text: str) -> dict[int, tuple[Frame, ...]]:
    from hangdiag.readers import read_text

    with contextlib.suppress(HangdiagError):
        captures = read_text(text, "debugger")
        return {
            thread.tid: thread.frames
            for capture in captures
            for thread in capture.threads
            if thread.tid is not None and thread.frames
        }
    return {}


def _agreeing(own: tuple[Frame, ...], other: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """``other`` without the garbage at its end, if every function of ``own`` is on it in the same order."""
    known = tuple(_until_unknown(other))
    if not own:
        return known
    remaining = iter(known)
    agrees = all(any(frame.function == mine.function for frame in remaining) for mine in own)
    return known if agrees else own


def _until_unknown(frames: tuple[Frame, ...]) -> Iterator[Frame]:
    for frame in frames:
        if frame.function in ("??", ""):
            return
        yield frame
