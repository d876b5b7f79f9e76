"""Compares snapshots of one kernel: which threads moved between them, and which did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from hangdiag.model import Capture, Thread


def annotate(captures: Sequence[Capture], interval: float) -> tuple[Capture, ...]:
    """The captures; the last one's facts name, where there are several, the threads that moved.

    The facts are ``samples`` ("3 in 2.0 s") and ``moved`` (the tids, blank-separated).
    """
    if len(captures) < 2:
        return tuple(captures)
    moved: set[int] = set()
    for before, after in pairwise(captures):
        moved |= moved_threads(before, after)
    last = captures[-1]
    facts = (
        *last.host.facts,
        ("samples", f"{len(captures)} in {interval * (len(captures) - 1):.1f} s"),
        ("moved", " ".join(str(tid) for tid in sorted(moved))),
    )
    return (*captures[:-1], replace(last, host=replace(last.host, facts=facts)))


def moved_threads(before: Capture, after: Capture) -> frozenset[int]:
    """The tids of ``after`` that were not there before, or that do or wait for something else now.

    A thread that polls (a timeout that only checks its condition again) has not moved: it waits on the same
    channel, with the same stack.
    """
    earlier = {thread.tid: _position(thread) for thread in before.threads}
    return frozenset(
        thread.tid
        for thread in after.threads
        if thread.tid is not None
        and (thread.state == "running" or earlier.get(thread.tid) != _position(thread))
    )


def _position(thread: Thread) -> tuple[object, ...]:
    frames = tuple((frame.function, frame.offset) for frame in thread.frames)
    return (thread.state, thread.wmesg, thread.wchan, thread.lock, frames)
