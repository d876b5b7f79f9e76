"""What FreeBSD's own gdb macros print (tools/debugscripts/gdbinit.kernel, gdbinit.i386, gdbinit.amd64; up to 12).

``ps`` and ``defproc`` print one row a thread, without its id: process, command, wait message and the low half of the
wait channel. ``btp``, ``btpa`` and ``btpp`` follow frame pointers: ``frame 0 at 0x..: ebp .., eip 0x.. <mi_switch+286>: ...``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import Frame, Process, Thread
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_ROW = lazy(
    r" {0,4}(?P<pid>\d{1,6}) [0-9a-f]{8,16}(?: [0-9a-f]{8,16})? +\d{1,10} +\d{1,6} +\d{1,6} +[0-9a-f]{6,8} +(?P<state>\d)"
    r" +(?P<command>\S.{0,18}?)(?: {3,}(?P<wait>\S.{0,40}))?\s*\Z"
)
_WAIT = lazy(r"(?:(?P<wmesg>\S.{0,30}) )?(?P<wchan>[0-9a-f]{4,16})\Z")
_FRAME = lazy(
    r" {0,4}frame \d{1,4} at 0x[0-9a-f]{1,16}: [er]bp +[0-9a-f]{1,16}, [er]ip (?:=> )? *0x(?P<address>[0-9a-f]{1,16})"
    r"(?: <(?P<function>[A-Za-z_][\w.$]*)(?:\+(?P<offset>\d{1,9}))?>)?:"
)
_CHOSEN = lazy(r"(?:\(k?gdb\) *)*(?:btp|defproc) (?P<pid>\d{1,6})\s*\Z")


def read_rows(section: Section, start: int, match: re.Match[str]) -> int:
    """The rows of ``ps`` or ``defproc``, below its header or without one."""
    lines = section.lines
    index = start if _ROW.match(lines[start]) else start + 1
    rows: list[Thread] = []
    while index < len(lines):
        found = _ROW.match(lines[index])
        if found is None:
            if rows and _FRAME.match(lines[index]):  # btpa: each row has its stack behind it
                index = _read_frames(section, index, rows.pop())
                continue
            break
        where = (section.where(index, index + 1),)
        wait = _WAIT.match(found.group("wait") or "")
        pid, command = int(found.group("pid")), found.group("command").strip()
        rows.append(
            Thread(
                pid,
                command=command,
                state="sleeping" if wait is not None else None,
                wmesg=wait.group("wmesg") if wait is not None else None,
                where=where,
            )
        )
        section.draft.add_process(Process(pid, command, where=where))
        index += 1
    section.draft.add_rows(rows, "gdbinit ps")
    return index


def read_frames(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack behind ``btp PID``."""
    chosen = _CHOSEN.match(section.lines[start - 1]) if start else None
    return _read_frames(section, start, Thread(int(chosen.group("pid")) if chosen is not None else None))


def _read_frames(section: Section, start: int, of: Thread) -> int:
    lines = section.lines
    index = start
    frames = []
    while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
        offset = found.group("offset")
        frames.append(
            Frame(found.group("function") or "??", int(offset) if offset else None, address=int(found.group("address"), 16))
        )
        index += 1
    where = section.where(start, index)
    section.draft.add_threads(
        [replace(of, frames=tuple(frames), where=(*of.where, where), stack_where=where)]
    )
    section.count_stacks("kgdb")
    return index
