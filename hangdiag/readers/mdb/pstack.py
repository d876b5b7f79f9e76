"""illumos' pstack: user stacks of a process' LWPs (usr/src/cmd/ptools/pstack/pstack.c).

``2210:  bhyve -c 4 win11``, then for each LWP ``----- thread# 12 / lwp# 12 [vcpu 2] -----`` and its frames, innermost first:
`` fffffc7fef1a2b3a ioctl    (4, 7601, fffffc7fde5ff9d0) + 1d``.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.mdb.processes import add_arguments, command_of
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_HEADER = lazy(r"(?P<pid>\d{1,7}):\s+(?P<arguments>\S.{0,200})\Z")
_LWP = lazy(r"\s?-{3,}\s+(?:thread# \d+ / )?lwp# (?P<lwp>\d+)(?: / thread# \d+)?(?: \[(?P<name>[^\]]{1,40})\])?\s+-{3,}\s*\Z")
_FRAME = lazy(r"\s(?P<pc>[0-9a-f]{8,16}) (?P<name>[\w.$@:?]+) *\([^()]{0,400}\)(?: \+ (?P<offset>[0-9a-f]{1,16}))?\s*\Z")


def read_process(section: Section, start: int, match: re.Match[str]) -> int:
    """A process and the stacks of its LWPs."""
    lines = section.lines
    header = _HEADER.match(lines[start].rstrip())
    if header is None or start + 1 >= len(lines) or not (_LWP.match(lines[start + 1]) or _FRAME.match(lines[start + 1])):
        return start
    pid, arguments = int(header.group("pid")), header.group("arguments")
    add_arguments(section, pid, arguments, start)
    index = start + 1
    while index < len(lines):
        begin = index
        lwp = _LWP.match(lines[index])
        index += lwp is not None
        frames = []
        while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
            name, offset = found.group("name"), found.group("offset")
            name = "??" if name.startswith("?") else name
            frames.append(Frame(name, int(offset, 16) if offset else None, address=int(found.group("pc"), 16)))
            index += 1
        if index == begin:
            break
        where = section.where(begin, index)
        section.draft.add_threads(
            [
                Thread(
                    pid=pid,
                    command=command_of(arguments),
                    name=lwp.group("name") if lwp is not None else None,
                    lwp=int(lwp.group("lwp")) if lwp is not None else None,
                    frames=tuple(frames),
                    where=(where,),
                    stack_where=where if frames else None,
                )
            ]
        )
        if frames:
            section.count_stacks("mdb")
    return index
