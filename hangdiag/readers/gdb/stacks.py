"""gdb stacks: ``bt``, ``bt full``, ``thread apply all bt``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hangdiag.model import Frame, Thread
from hangdiag.readers import lists
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.gdb.arguments import STRING, make_thread, note_longer, note_owner
from hangdiag.readers.gdb.threads import HEADER, Identity, announce, identify, replaces_glimpse
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.readers.stacks import lacks_top, may_follow
from hangdiag.text.lazy import lazy

#: What gdb says between and behind frames.
NOISE = (
    r"Previous frame (?:inner|identical)|Backtrace stopped:|\(More stack frames follow|No locals\.|No symbol table|\tin \S"
    r"|Python Exception |warning: |Current language: |Variable \"|Cannot access memory at|\[New (?:Thread|LWP|process) "
    r"|can't compute CFA |Dwarf Error: "
)
#: The line of the source that a frame stands on, or that it could not be read.
SOURCE = lazy(r"\d+\t|\d+ +(?:in /|\S+: No such file)")
_NOISE = lazy(rf"{NOISE}|{SOURCE.pattern}")
_ELISION = lazy(r"\s*(?:[\[(<]? ?(?:\.{2,}|snip|cut|skipped) ?[\])>]?)\s*\Z")
#: So many frames are kept to be used again.
_MOST_REMEMBERED = 50_000


def lacks_threads(context: Mapping[str, object]) -> bool:
    """Did ``thread apply all bt``, which counts down to 1, not come to its end, or leave out a number on its way?

    lldb's ``thread backtrace all`` counts up. Where neither command is shown, who picked threads may have picked the first ones.
    """
    numbers = context.get("gdb numbers")
    if not isinstance(numbers, list) or not numbers:
        return False
    if not context.get("gdb apply all"):
        whole = list(range(1, max(numbers) + 1))
        return "lists all" not in context and numbers != (whole if context.get("lldb threads") else whole[::-1])
    if min(numbers) > 1:
        return bool(numbers[0] > min(numbers))
    return bool(max(numbers) > len(set(numbers)))


def _read_thread(section: Section, start: int, match: re.Match[str]) -> int:
    """``Thread 45 (Thread 100567 (PID=16: bhyve/vcpu 0)):`` and the stack below it."""
    lines = section.lines
    header = lines[start].strip()
    index = start + 1
    if not header.endswith(":") and index < len(lines) and lines[index].strip().endswith(":"):
        header += " " + lines[index].strip()
        index += 1
    found = HEADER.match(header)
    if found is None:
        return start
    while index < len(lines) and (not lines[index].strip() or lines[index].startswith("[Switching to")):
        index += 1
    identity = identify(found.group("target"), int(found.group("number")))
    announce(section, start)
    numbers = section.context.setdefault("gdb numbers", [])
    assert isinstance(numbers, list)
    numbers.append(int(found.group("number")))
    section.context["gdb listed"] = True
    if index < len(lines) and gdb_frames.BEGIN.match(lines[index].lstrip()) is not None:
        return _read_stack(section, start, index, identity)
    if identity.tid is None or not header.endswith(":"):
        _keep_open(section, index, _Stack(None, identity))
        return start
    # its registers could not be read, or something else was printed first
    thread = make_thread(section, start, start + 1, identity, ())
    section.draft.add_threads([thread])
    _keep_open(section, start + 1, _Stack(thread, identity))
    return start + 1


def _read_bare(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack at the prompt: that of the thread that gdb switched to last."""
    current = section.context.get("gdb thread")
    if section.context.get("gdb listed"):
        return _read_stack(section, start, start, Identity())  # in a list of threads, below a header that is lost
    if isinstance(current, Identity):
        section.note_listing(whole=False)
        return _read_stack(section, start, start, current)
    # "info threads" may tell later which thread is the current one
    return _read_stack(section, start, start, None)


def _read_stack(section: Section, start: int, index: int, identity: Identity | None) -> int:
    end, frames, number = _collect(section, index)
    if not frames:
        return start
    shown = gdb_frames.trim(frames)
    if identity is None:
        section.context["gdb bare stack"] = shown
    thread = add_stack(section, start, end, identity or Identity(), shown, begun=_number(section.lines[index]))
    _keep_open(section, end, _Stack(thread, identity, frames, number))
    return end


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack so far: the thread, if one was noted, who it is, all frames and the number of the last one."""

    thread: Thread | None
    identity: Identity | None
    frames: list[Frame] = field(default_factory=list)
    number: int = -1


def _keep_open(section: Section, end: int, stack: _Stack) -> None:
    """``stack`` may go on behind line ``end``."""
    section.pending = Pending(end, lambda section, index: _go_on(section, index, stack), bool(stack.frames))


def _go_on(section: Section, start: int, stack: _Stack) -> int:
    """Read from line ``start`` on if it holds the next frames of ``stack``, or what ``bt full`` says of its last one."""
    lines = section.lines
    index = start
    if stack.frames:
        while index < len(lines) and (gdb_frames.is_local(lines[index]) or (index > start and _is_value(lines[index]))):
            index += 1
    goes_on = index < len(lines) and _number(lines[index], -1) == stack.number + 1
    doubtful = goes_on and section.is_doubtful(start)
    if index > start:
        _keep_open(section, index, stack)
    if not goes_on:
        return index
    end, more, number = _collect(section, index, stack.number)
    if not more or not may_follow(stack.frames[-1].function if stack.frames else None, more[0].function):
        return index
    frames, before, identity = stack.frames + more, stack.thread, stack.identity or Identity()
    shown = gdb_frames.trim(frames)
    whole: Thread | None
    if before is None:
        whole = add_stack(section, start, end, identity, shown)
    else:
        whole = note_longer(section, before, make_thread(section, start, end, identity, shown), doubtful)
        if whole is None:
            return index
        if not before.frames:
            section.count_stacks("kgdb")
    if stack.identity is None:
        section.context["gdb bare stack"] = shown
    _keep_open(section, end, replace(stack, thread=whole, frames=frames, number=number))
    return end


def _number(line: str, default: int = 0) -> int:
    """The number of the frame that begins on a line."""
    begin = gdb_frames.BEGIN.match(line.lstrip())
    return int(begin.group(1)) if begin is not None else default


def _collect(section: Section, index: int, last_number: int = -1) -> tuple[int, list[Frame], int]:
    """The frames from line ``index`` on, behind one of this number; the line behind them, and the number of the last."""
    lines = section.lines
    frames: list[Frame] = []
    memo = section.context.setdefault("gdb frames", {})
    assert isinstance(memo, dict)
    while index < len(lines):
        line = lines[index]
        begin = gdb_frames.BEGIN.match(line.lstrip()) if "#" in line else None
        if begin is not None:
            if int(begin.group(1)) <= last_number:
                break  # another stack begins
            depth = int(begin.group(1))
            if index + 1 < len(lines) and (not lines[index + 1] or lines[index + 1][0] == "#"):
                text, end = line.strip(), index + 1
            else:
                text, end = gdb_frames.gather(lines, index)
            # frames of many threads differ in their number at most
            key = text[3:] if depth else text
            frame = memo.get(key)
            if frame is None:
                frame = gdb_frames.parse_frame(text)
                if frame is None:
                    break
                if len(memo) < _MOST_REMEMBERED:
                    memo[key] = frame
            last_number = depth
            frames.append(frame)
            index = end
        elif gdb_frames.is_local(line) or _NOISE.match(line) or (frames and _is_value(line)):
            index += 1
        else:
            following = _after_gap(lines, index, last_number) if frames else None
            if following is None:
                break
            index = following
    return index, frames, last_number


def _is_value(line: str) -> bool:
    """Does the value of a local variable go on in ``line``?"""
    return line.startswith(("        ", "\t"))


def add_stack(
    section: Section,
    start: int,
    end: int,
    identity: Identity,
    frames: tuple[Frame, ...],
    glimpse: bool = False,
    begun: int = 0,
) -> Thread:
    """Note a thread with its stack; a ``glimpse`` shows its innermost frame alone. ``begun`` is the first one's number."""
    thread = replace(make_thread(section, start, end, identity, frames), told=lacks_top(begun, frames))
    replaced = replaces_glimpse(section, thread)
    if replaced is None:
        section.draft.add_threads([thread], announced=lists.is_announced(section, "gdb", start))
    if not glimpse:
        section.count_stacks("kgdb")
    note_owner(section, thread)
    return replaced or thread


def _after_gap(lines: list[str], index: int, last_number: int) -> int | None:
    """The line on which the stack goes on behind blank lines or ``...``, None if it does not."""
    elided = False
    for place in range(index, min(index + 4, len(lines))):
        begin = gdb_frames.BEGIN.match(lines[place].lstrip())
        if begin is not None:
            depth = int(begin.group(1))
            return place if depth == last_number + 1 or (elided and depth > last_number) else None
        if _ELISION.match(lines[place]):
            elided = True
        elif lines[place].strip():
            return None
    return None


def _read_acttrace(section: Section, start: int, match: re.Match[str]) -> int:
    """``Tracing command bhyve pid 2210 tid 100860 (CPU 1)`` of FreeBSD's gdb script (sys/tools/gdb/acttrace.py)."""
    lines = section.lines
    found = _TRACED.match(lines[start])
    if found is None or start + 1 >= len(lines) or gdb_frames.BEGIN.match(lines[start + 1].lstrip()) is None:
        return start
    # Python's gdb prints a char array as gdb does: "bhyve", '\\000' <repeats 14 times>
    quoted = STRING.match(found.group("command"))
    command = quoted.group(1).split("\\000")[0] if quoted is not None else found.group("command")
    identity = Identity(int(found.group("pid")), int(found.group("tid")), command or None, cpu=int(found.group("cpu")))
    return _read_stack(section, start, start + 1, identity)


_TRACED = lazy(r"Tracing command (?P<command>.{0,200}?) pid (?P<pid>\d+) tid (?P<tid>\d+) \(CPU (?P<cpu>\d+)\)")

OPENERS = (
    Opener("gdb-acttrace", "kgdb", r"Tracing command .{0,200}? pid \d+ tid \d+ \(CPU \d+\)", _read_acttrace),
    Opener("gdb-thread", "kgdb", r"Thread \d+(?:\.\d+)? \(", _read_thread),
    # somebody's own columns: a function and its place, or one that all sleeping threads are in
    Opener(
        "gdb-plain-frame",
        "kgdb",
        r"\s*#\d{1,3}\s+(?:[A-Za-z_][\w.]*\s+[\w./-]+\.[chS]:\d+|(?:sched_switch|mi_switch|sched_ule_sswitch|cpustop_handler))\s*\Z",
        _read_bare,
    ),
    Opener("gdb-frame", "kgdb", r"\s*#\d+\s+(?:0x[0-9a-f]+ in |<signal|\?\?|[A-Za-z_][\w.@$:]*\s*\()", _read_bare),
)
