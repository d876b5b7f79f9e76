"""lldb: ``thread backtrace all``, ``bt all``, ``thread list``.

``frame #5: 0xffffffff80b5df3c kernel.debug`_sleep(ident=0x..., wmesg="x") at kern_synch.c:219:10 [inlined]``; of
FreeBSD's kernel lldb names threads ``name = '(pid 1025) command/thread'`` (source/Plugins/Process/
FreeBSDKernel/ThreadFreeBSDKernel.cpp and ProcessFreeBSDKernel.cpp).
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.gdb.frames import split_arguments
from hangdiag.readers.gdb.stacks import make_thread, note_owner
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_THREAD = lazy(r"\s*\*? ?thread #(?P<number>\d+)(?:: tid = (?P<tid>\d+|0x[0-9a-f]+))?[,:]?(?P<rest>.*)")
_NAME = lazy(r"name = ['\"](?:\(pid (?P<pid>\d+)\) )?(?P<name>[^'\"]*)['\"]")
_FRAME = lazy(
    r"\s*\*? ?\S{0,12} ?#(?P<number>\d+): (?P<address>0x[0-9a-f]+) (?:(?P<module>[^\s`]+)`)?"
    r"(?P<name>[A-Za-z_?][\w.$@:~<>]*)"
)
_TAIL = lazy(r"(?: \+ (?P<offset>\d+))?(?: at (?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)?)?(?P<marks>(?: \[\w+\])*)")
_GLUED = lazy(r"(?<=\d)(?=(?:frame|帧|框架) #\d+: 0x)")


def _frame(line: str) -> Frame | None:
    found = _FRAME.match(line)
    if found is None:
        return None
    rest = line[found.end() :]
    arguments: tuple[tuple[str, str], ...] = ()
    if rest.startswith("("):
        depth = 0
        end = len(rest)
        for bracket in re.finditer(r"[()]", rest):
            depth += 1 if bracket.group() == "(" else -1
            if depth == 0:
                end = bracket.start()
                break
        arguments = split_arguments(rest[1:end])
        rest = rest[end + 1 :]
    inlined = "[inlined]" in rest
    tail = _TAIL.match(rest.replace(" [inlined]", "", 1))
    module = found.group("module")
    return Frame(
        found.group("name"),
        int(tail.group("offset")) if tail is not None and tail.group("offset") else None,
        None if module is None or module.startswith("kernel") else module,
        tail.group("file") if tail is not None else None,
        int(tail.group("line")) if tail is not None and tail.group("line") else None,
        arguments,
        inlined,
        None if inlined else int(found.group("address"), 16),
    )


def _identity(found: re.Match[str]) -> Identity:
    named = _NAME.search(found.group("rest"))
    tid = int(found.group("tid"), 0) if found.group("tid") else None
    if named is None:
        return Identity(tid=tid, number=int(found.group("number")))
    pid = int(named.group("pid")) if named.group("pid") else None
    command, slash, name = named.group("name").partition("/")
    if pid is None:
        return Identity(tid=tid, name=named.group("name"), number=int(found.group("number")))
    return Identity(pid, tid, command, name if slash else command, number=int(found.group("number")))


def read_thread(section: Section, start: int, match: re.Match[str]) -> int:
    """A thread's line and the stack below it; the frame in the line itself is repeated there."""
    lines = section.lines
    head = _THREAD.match(lines[start])
    if head is None:
        return start
    frames: list[Frame] = []
    index = start + 1
    before = -1
    while index < len(lines):
        parts = _GLUED.split(lines[index])
        made = [_frame(part) for part in parts]
        if made[0] is None:
            if lines[index].strip() in ("", "Full Backtrace:") and not frames and index + 1 < len(lines):
                index += 1
                continue
            break
        number = _FRAME.match(parts[0])
        assert number is not None
        if int(number.group("number")) <= before:
            break
        for part, frame in zip(parts, made, strict=True):
            found = _FRAME.match(part)
            if frame is not None and found is not None:
                before = int(found.group("number"))
                frames.append(frame)
        index += 1
    if not frames:
        index = start + 1
    identity = _identity(head)
    thread = make_thread(section, start, index, identity, tuple(frames))
    if identity == Identity(number=identity.number) and not frames:
        return index
    section.draft.add_threads([thread])
    if frames:
        section.count_stacks("lldb")
        note_owner(section, thread)
    return index


def read_frames(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    index = start
    frames = []
    while index < len(lines) and (frame := _frame(lines[index])) is not None:
        frames.append(frame)
        index += 1
    where = section.where(start, index)
    if len(frames) > 1:
        section.draft.add_threads([Thread(frames=tuple(frames), where=(where,), stack_where=where)])
        section.count_stacks("lldb")
    return index
