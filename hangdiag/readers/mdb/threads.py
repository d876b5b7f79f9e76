"""``::findstack``, ``::stacks``, ``::threadlist``, ``::thread``, ``$C`` and ``$c``.

Formats from usr/src/cmd/mdb/common/modules/genunix/findstack.c (print_stack, stacks) and thread.c (threadlist, thread,
thread_getdesc).
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.mdb.frames import read_frames
from hangdiag.readers.mdb.processes import STATES, Owner, add_arguments, command_of, owner_at_prompt, owners
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_POINTER = lazy(
    r"\s*stack pointer for thread (?P<td>[0-9a-f]{8,16})(?: \(TS_FREE\))?(?: \((?P<who>.{1,128})\))?: (?:0x)?[0-9a-f]+\s*\Z"
)
_LIST_ROW = lazy(
    r"\s*(?P<td>[0-9a-f]{8,16}) +(?P<proc>[0-9a-f]{8,16}) +(?P<lwp>[0-9a-f]{1,16})"
    r"(?: +(?P<cls>\d+) +(?P<pri>-?\d+) +(?P<wchan>[0-9a-f]+)"
    r"| (?P<who>\S.{0,128}?))\s*\Z"
)
_PC = lazy(r"\s*PC: (?P<pc>\S+)(?: +(?:CMD: (?P<command>.*?)|THREAD: (?P<thread>.*?)|TASKQ: (?P<taskq>.*?)))?\s*\Z")
_STACKS_ROW = lazy(
    r"\s{0,4}(?P<td>[0-9a-f]{8,16}) +(?P<state>[A-Z]{3,8}|INVAL/[0-9a-f]{2})"
    r" +(?P<sobj>[A-Z_]{2,16}|<NONE>|\S{1,40}) +(?P<count>\d{1,6}|-)\s*\Z"
)
_THREAD_ROW = lazy(
    r"\s*(?P<td>[0-9a-f]{16}) +(?P<state>free|sleep|run|onproc|zomb|stopped|wait) +[0-9a-f]+ +[0-9a-f]+ +[0-9a-f]+ "
)
#: Objects that a thread blocks on in a turnstile.
_LOCKS = ("MUTEX", "RWLOCK")


def _add(section: Section, start: int, end: int, frames: tuple[Frame, ...], **known: object) -> Thread:
    where = section.where(start, end)
    thread = Thread(frames=frames, where=(where,), stack_where=where if frames else None, **known)  # type: ignore[arg-type]
    section.draft.add_threads([thread])
    if frames:
        section.count_stacks("mdb")
    return thread


def _who(text: str | None, owner: Owner) -> tuple[Owner, str | None, int | None]:
    """``bhyve/12``, ``bhyve/vcpu 2``, ``bhyve/12 [vcpu 2]``, ``tq:zio_write_issue``, ``fsflush()``: the process, the
    thread's name and its LWP.
    """
    if not text:
        return owner, None, None
    if text.startswith("tq:"):
        return Owner(owner.pid, owner.command), text[3:], None
    command, slash, name = text.partition("/")
    if not slash:
        return owner, text.removesuffix("()"), None
    number, _, bracket = name.partition(" [")
    lwp = int(number) if number.isdecimal() and len(number) < 10 else None
    name = bracket.rstrip("]") or ("" if lwp is not None else name)
    return Owner(owner.pid, command_of(command) if command.strip() else None), name or None, lwp


def read_pointer(section: Section, start: int, match: re.Match[str]) -> int:
    """``::findstack``: the stack of one thread."""
    found = _POINTER.match(section.lines[start])
    if found is None:
        return start
    frames, end = read_frames(section.lines, start + 1)
    owner, name, lwp = _who(found.group("who"), owner_at_prompt(section))
    _add(
        section, start, end, frames,
        address=int(found.group("td"), 16), pid=owner.pid, command=owner.command, name=name, lwp=lwp,
    )  # fmt: skip
    return end


def read_list(section: Section, start: int, match: re.Match[str]) -> int:
    """``::threadlist`` and ``::threadlist -v``."""
    lines = section.lines
    known = owners(section)
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
        owner = known.get(int(row.group("proc"), 16), Owner())
        owner, name, lwp = _who(row.group("who"), owner)
        pc = _PC.match(lines[index]) if index < len(lines) else None
        if pc is not None:
            if pc.group("command"):
                owner = Owner(owner.pid, command_of(pc.group("command")))
                if owner.pid is not None:
                    add_arguments(section, owner.pid, pc.group("command"), index)
            name = (pc.group("thread") or "").removesuffix("()") or pc.group("taskq") or name
            index += 1
        pointer = _POINTER.match(lines[index]) if index < len(lines) else None
        if pointer is not None:
            owner, described, number = _who(pointer.group("who"), owner)
            name, lwp = described or name, number if number is not None else lwp
            index += 1
        frames, index = read_frames(lines, index) if pc is not None else ((), index)
        wchan = int(row.group("wchan"), 16) if row.group("wchan") else 0
        _add(
            section,
            begin,
            index,
            frames,
            address=int(row.group("td"), 16),
            pid=owner.pid,
            command=owner.command,
            name=name,
            state="sleeping" if wchan else None,
            wchan=wchan or None,
            lwp=lwp,
        )
    return section.before_blanks(start, index)


def read_stacks(section: Section, start: int, match: re.Match[str]) -> int:
    """``::stacks``: one stack for all threads that have it; with -a they are listed, else only one of them is."""
    lines = section.lines
    owner = owner_at_prompt(section)
    index = start if _STACKS_ROW.match(lines[start]) else start + 1
    while index < len(lines):
        if not lines[index].strip():
            index += 1
            continue
        rows: list[re.Match[str]] = []
        begin = index
        while index < len(lines) and (row := _STACKS_ROW.match(lines[index])) is not None:
            if rows and row.group("count") != "-":
                break
            rows.append(row)
            index += 1
        if not rows:
            break
        frames, index = read_frames(lines, index)
        threads = []
        for row in rows:
            state = "lock" if row.group("sobj") in _LOCKS else STATES.get(row.group("state").lower())
            address = int(row.group("td"), 16)
            threads.append(
                _add(section, begin, index, frames, address=address, state=state, pid=owner.pid, command=owner.command)
            )
        count = rows[0].group("count")
        if count.isdigit():
            section.draft.add_counted(threads[0], int(count))
        while index < len(lines) and lines[index].lstrip().startswith("THREAD ") and "SOBJ" in lines[index]:
            index += 1  # with -a the heading comes again
    return section.before_blanks(start, index)


def read_states(section: Section, start: int, match: re.Match[str]) -> int:
    """``::thread``: states."""
    lines = section.lines
    index = start + 1
    while index < len(lines) and (row := _THREAD_ROW.match(lines[index])) is not None:
        _add(section, index, index + 1, (), address=int(row.group("td"), 16), state=STATES.get(row.group("state")))
        index += 1
    return index


def read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    """``$C`` and ``$c``: a stack, whose is not told."""
    frames, end = read_frames(section.lines, start)
    if len(frames) < 2:
        return start
    owner = owner_at_prompt(section)
    _add(section, start, end, frames, pid=owner.pid, command=owner.command)
    return end
