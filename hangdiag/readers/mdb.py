"""illumos' mdb: ``::stacks``, ``::threadlist -v``, ``::findstack -v``, ``$C`` (usr/src/cmd/mdb/common/modules/genunix).

bhyve's vmm is the same code there; the functions that put a thread to sleep are others
(cv_wait, swtch). Addresses are printed without 0x.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_POINTER = lazy(r"\s*stack pointer for thread (?P<td>[0-9a-f]{8,16})[^:]*: (?:0x)?[0-9a-f]+")
_FRAME = lazy(
    r"\s*(?:\[ )?(?:[0-9a-f]{8,16} )?(?P<name>(?:[\w.-]+`)?[A-Za-z_][\w.$@]*)"
    r"(?:\+(?P<offset>0x[0-9a-f]+))?(?:\([^()]*\))?(?: \])?\s*\Z"
)
_C_FRAME = lazy(r"[0-9a-f]{16} (?P<name>(?:[\w.-]+`)?[A-Za-z_][\w.$@]*)(?:\+(?P<offset>0x[0-9a-f]+))?\([^()]*\)\s*\Z")
_LIST_ROW = lazy(
    r"\s*(?P<td>[0-9a-f]{8,16}) +(?P<proc>[0-9a-f]{8,16}) +(?P<lwp>[0-9a-f]{1,16}) +"
    r"(?P<cls>\d+) +(?P<pri>\d+) +(?P<wchan>[0-9a-f]+)\s*\Z"
)
_PC = lazy(r"\s*PC: (?P<pc>\S+)(?: +(?:CMD: (?P<command>.*)|THREAD: (?P<thread>.*)|TASKQ: (?P<taskq>.*)))?\s*\Z")
_STACKS_ROW = lazy(
    r"(?P<td>[0-9a-f]{8,16}) (?P<state>SLEEP|RUN|ONPROC|FREE|STOPPED|WAIT|PANIC|TS_\w+) +(?P<sobj>\S.*?) +(?P<count>\d+)\s*\Z"
)
_STATES = {"SLEEP": "sleeping", "RUN": "runnable", "ONPROC": "running", "STOPPED": "suspended", "WAIT": "sleeping"}


def _frames(section: Section, index: int) -> tuple[tuple[Frame, ...], int]:
    lines = section.lines
    frames = []
    while index < len(lines):
        found = _FRAME.match(lines[index]) or _C_FRAME.match(lines[index])
        if found is None:
            break
        module, _, name = found.group("name").rpartition("`")
        offset = found.group("offset")
        frames.append(Frame(name, int(offset, 16) if offset else None, module if module not in ("", "unix") else None))
        index += 1
    return tuple(frames), index


def _add(section: Section, start: int, end: int, frames: tuple[Frame, ...], **known: object) -> None:
    where = section.where(start, end)
    section.draft.add_threads(
        [Thread(frames=frames, where=(where,), stack_where=where if frames else None, **known)]  # type: ignore[arg-type]
    )
    section.count_stacks("mdb")


def read_pointer(section: Section, start: int, match: re.Match[str]) -> int:
    """``::findstack``: the stack of one thread."""
    found = _POINTER.match(section.lines[start])
    if found is None:
        return start
    frames, end = _frames(section, start + 1)
    _add(section, start, end, frames, address=int(found.group("td"), 16))
    return end


def read_list(section: Section, start: int, match: re.Match[str]) -> int:
    """``::threadlist -v``."""
    lines = section.lines
    index = start + 1
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        row = _LIST_ROW.match(lines[index])
        if row is None:
            break
        begin = index
        index += 1
        command = name = None
        pc = _PC.match(lines[index]) if index < len(lines) else None
        if pc is not None:
            command, name = pc.group("command"), pc.group("thread")
            index += 1
        if index < len(lines) and _POINTER.match(lines[index]):
            index += 1
        frames, index = _frames(section, index)
        wchan = int(row.group("wchan"), 16)
        _add(
            section,
            begin,
            index,
            frames,
            address=int(row.group("td"), 16),
            command=command.split()[0].rpartition("/")[2] if command else None,
            name=name.removesuffix("()") if name else None,
            state="sleeping" if wchan else None,
            wchan=wchan or None,
        )
    return section.before_blanks(start, index)


def read_stacks(section: Section, start: int, match: re.Match[str]) -> int:
    """``::stacks``: one stack for all threads that have it; only one of them is named."""
    lines = section.lines
    index = start + 1
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        row = _STACKS_ROW.match(lines[index])
        if row is None:
            break
        begin = index
        frames, index = _frames(section, index + 1)
        _add(
            section,
            begin,
            index,
            frames,
            address=int(row.group("td"), 16),
            state=_STATES.get(row.group("state")),
        )
    return section.before_blanks(start, index)


def read_frames(section: Section, start: int, match: re.Match[str]) -> int:
    """``$C``: a stack with frame pointers, whose is not told."""
    frames, end = _frames(section, start)
    if len(frames) < 2:
        return start
    _add(section, start, end, frames)
    return end
