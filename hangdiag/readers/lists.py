"""Lists of threads that are printed one by one: whose they are is decided before the first is read.

Threads that rest look alike on all hosts, and at all times: those that come first in a list would be merged with another
host's until one comes that tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from hangdiag.model import Frame, Thread
from hangdiag.readers.section import Section

#: What begins another time on a console.
BOOTS = ("---<<BOOT>>---", "Copyright (c)")


class Heading(NamedTuple):
    """What is said of a thread above its stack."""

    pid: int | None
    tid: int | None
    command: str | None
    name: str | None = None


def is_announced(section: Section, tool: str, start: int) -> bool:
    """Is it known whose the threads are that ``tool`` shows on line ``start``?"""
    return start < section.listed.get(tool, 0)


def announce(
    section: Section,
    tool: str,
    start: int,
    marks: tuple[str, ...],
    ends: Callable[[str], bool],
    heading_of: Callable[[str], Heading | None],
    function_of: Callable[[str], str | None],
) -> None:
    """Tell the draft which threads ``tool`` lists from line ``start`` on, unless it knows.

    ``heading_of`` and ``function_of`` read a thread's heading and a frame's function; the list ends before a line of which
    ``ends`` is true, or where a thread comes a second time. Those that tell either begin with one of the ``marks``.
    """
    if is_announced(section, tool, start):
        return
    lines = section.lines
    known = section.draft.now.threads
    listed: dict[int, tuple[Heading, list[Frame] | None]] = {}
    frames: list[Frame] | None = None  # of threads without a known stack, the stacks tell nothing new
    index = start
    for index, line in enumerate(islice(lines, start, None), start):
        if line.startswith(marks):
            heading = heading_of(line)
            tid = heading.tid if heading is not None else None
            if heading is not None and tid is not None:
                if tid in listed:
                    break
                frames = [] if tid in known and known[tid].frames else None
                listed[tid] = heading, frames
                continue
            if ends(line) and index > start:
                break
        if frames is not None:
            function = function_of(line)
            if function is not None:
                frames.append(Frame(function))
    else:
        index = len(lines)
    section.listed[tool] = max(index, start + 1)
    if known:
        section.draft.timeline.announce(
            [
                Thread(pid=who.pid, tid=who.tid, command=who.command, name=who.name, frames=tuple(frames or ()))
                for who, frames in listed.values()
            ]
        )
