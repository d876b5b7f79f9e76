"""Stacks on lines of their own: bare ones, and those of SIGINFO (``^T``).

SIGINFO from sys/kern/tty_info.c: ``load: 0.46  cmd: sh 47077 [ttyin] 628.14r 0.00u 0.00s 0% 1784k``. With
kern.tty_info_kstacks the thread's stack follows: 1 is the long form of stack_sbuf_print_flags (sys/kern/subr_stack.c),
``#0 0xffffffff80bcb972 at mi_switch+0xc2`` on a line each, 2 the compact one, all on one line.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.procstat import SWITCH, new_memo, stack_of
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import ENDS
from hangdiag.text.lazy import lazy

_SIGINFO = lazy(
    r".{0,200}?load: [\d.,]+ +cmd: ?(?P<command>.{1,40}?) (?P<pid>\d+) \[(?P<lock>\*)?(?P<state>[^\]]*)\] [\d.,]+r"
    r"(?: [\d.,]+u [\d.,]+s \d+% \d+k(?P<rest>.*))?"
)
#: What is printed for a thread that does not sleep.
_STATES = {
    "running": "running", "runnable": "runnable", "suspended": "suspended", "iwait": "iwait", "intrwait": "iwait",
    "zombie": "zombie", "sleeping without queue": "sleeping", "unknown": None,
}  # fmt: skip
_LONG = lazy(r"\s*#\d{1,2} (?P<address>0x[0-9a-f]+) at (?P<frame>\S+)\s*\Z")
_OFFSET = r"(?:\+0x[0-9a-f]+|\+\.\.\.)"
#: Counts as wide as usr.bin/uniq prints them, or GNU's: other numbers before a stack are a list's or a line's.
_COUNT = r"(?=.{4} \S|.{7} \S)"
_COUNTED = lazy(_COUNT + rf" {{0,6}}(?P<count>\d{{1,7}}) (?P<stack>{SWITCH}{_OFFSET}?\s.*)")
#: How many threads have the stack below.
_COUNT_IN_WORDS = lazy(r".{0,40}?\b(?:other|remaining|all|the) (?P<count>\d{1,5}) (?:[\w-]{1,20} ){0,2}threads?\b", re.I)
_ALONE = lazy(rf"\s{{0,40}}(?P<frame>[A-Za-z_][\w.]{{1,80}}{_OFFSET}?)(?:\(\))?\s*\Z")
#: Fewer functions are no stack that was written down a line each.
_SHORTEST_COLUMN = 4
_BEGINS = lazy(SWITCH + r"\b")


def _read_bare(section: Section, start: int, match: re.Match[str]) -> int:
    frames, index = _read_stack(section, start)
    if len(frames) < 2:
        return start
    where = section.where(start, index)
    section.draft.add_threads([Thread(frames=frames, where=(where,), stack_where=where)])
    section.count_stacks("procstat")
    return index


def _read_stack(section: Section, start: int) -> tuple[tuple[Frame, ...], int]:
    """The stack on line ``start`` and on those that it was wrapped to, and the index behind it."""
    lines = section.lines
    frames = stack_of(lines[start])
    index = start + 1
    while len(frames) > 1 and index < len(lines) and _goes_on(frames, lines[index]):
        frames += stack_of(lines[index])
        index += 1
    return frames, index


def _read_counted(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack with how often it was printed (``sort | uniq -c``)."""
    found = _COUNTED.match(section.lines[start])
    frames = stack_of(found.group("stack")) if found is not None else ()
    if found is None or len(frames) < 2:
        return start
    where = section.where(start, start + 1)
    thread = Thread(frames=frames, where=(where,), stack_where=where)
    section.draft.add_threads([thread])
    section.draft.add_counted(thread, int(found.group("count")))
    section.count_stacks("procstat")
    return start + 1


def _read_counted_below(section: Section, start: int, match: re.Match[str]) -> int:
    """``All other 56 threads:`` above a stack."""
    lines = section.lines
    found = _COUNT_IN_WORDS.match(lines[start])
    below = start + 1
    while below < min(start + 3, len(lines)) and not lines[below].strip():
        below += 1
    if found is None or below >= len(lines) or len(stack_of(lines[below])) < 2 or _BEGINS.match(lines[below]) is None:
        return start
    frames, end = _read_stack(section, below)
    where = section.where(start, end)
    thread = Thread(frames=frames, where=(where,), stack_where=section.where(below, end))
    section.draft.add_threads([thread])
    section.draft.add_counted(thread, int(found.group("count")))
    section.count_stacks("procstat")
    return end


def _read_column(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack with a function a line."""
    lines = section.lines
    index = start
    frames: list[Frame] = []
    while index < len(lines) and (found := _ALONE.match(lines[index])) is not None:
        if frames and _BEGINS.match(found.group("frame")) is not None and frames[-1].function in ENDS:
            break
        frames += stack_of(found.group("frame")) or [Frame(found.group("frame"))]
        index += 1
    if len(frames) < _SHORTEST_COLUMN or not any(_BEGINS.match(frame.function) is None for frame in frames):
        return start
    where = section.where(start, index)
    section.draft.add_threads([Thread(frames=tuple(frames), where=(where,), stack_where=where)])
    section.count_stacks("procstat")
    return index


def _goes_on(frames: tuple[Frame, ...], line: str) -> bool:
    """Is ``line`` the rest of a stack that was wrapped behind ``frames``?"""
    if not ("_" in line or "+" in line) or _BEGINS.match(line.strip()) is not None or not stack_of(line):
        return False
    return line[:1] in (" ", "\t") or frames[-1].function not in ENDS


def _read_siginfo(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    if not line.startswith("load: ") and section.peeler is not None and section.peeler.uncover(start):
        return start  # what was quoted is read as it stood; the stack below is quoted too
    found = _SIGINFO.match(line)
    if found is None:
        return start
    message = found.group("state")
    locked = found.group("lock") is not None
    # what looked folded may have been joined with the stack below it, and with the quote before that
    rest = (found.group("rest") or "").lstrip(" >#|*`").replace(" +0x", "+0x")
    frames, end = stack_of(rest), start + 1
    if not frames:
        frames, end = _stack_below(section.lines, end)
    where = section.where(start, end)
    section.note_listing(whole=False)  # one thread of one process, at one moment
    section.draft.add_row(
        Thread(
            pid=int(found.group("pid")),
            command=found.group("command"),
            state="lock" if locked else _STATES.get(message, "sleeping"),
            wmesg=None if locked or message in _STATES or not message else message,
            lock=(message or "?") if locked else None,
            frames=frames,
            where=(where,),
            stack_where=where if frames else None,
        )
    )
    return end


def _stack_below(lines: list[str], index: int) -> tuple[tuple[Frame, ...], int]:
    """The stack that follows a SIGINFO line, in either form, and the index behind it."""
    memo = new_memo()
    frames: list[Frame] = []
    while index < len(lines) and (found := _LONG.match(lines[index])) is not None:
        frame = memo[found.group("frame")]
        if frame is None:
            break
        frames.append(Frame(frame.function, frame.offset, frame.module, address=int(found.group("address"), 16)))
        index += 1
    if frames:
        return tuple(frames), index
    compact: tuple[Frame, ...] = ()
    while index < len(lines) and "+" in lines[index]:
        more = stack_of(lines[index], memo)
        if not more or (compact and not _goes_on(compact, lines[index])):
            break
        compact += more
        index += 1
    return compact, index


OPENERS = (
    Opener("siginfo", "console", r".{0,200}?(?:\b|\^T)load: [\d.,]+ +cmd: ", _read_siginfo, ("load: ",)),
    Opener(
        "bare-stack",
        "procstat",
        rf"{SWITCH}{_OFFSET}?\s+[A-Za-z_][\w.]*(?:\s|\+|\Z)|[A-Za-z_]\w*{_OFFSET}\s+[A-Za-z_]\w*{_OFFSET}(?:\s|\Z)",
        _read_bare,
    ),
    Opener(
        "counted-stack", "procstat", _COUNT + rf" {{0,6}}\d{{1,7}} {SWITCH}{_OFFSET}?\s+[A-Za-z_]\w*(?:\s|\+|\Z)", _read_counted
    ),
    Opener(
        "counted-below",
        "procstat",
        r".{0,40}?\b(?:[Oo]ther|[Rr]emaining|[Aa]ll|[Tt]he) \d{1,5} (?:[\w-]{1,20} ){0,2}threads?\b.{0,60}:\s*\Z",
        _read_counted_below,
        ("thread",),
    ),
    Opener("stack-column", "procstat", rf"\s{{0,40}}{SWITCH}{_OFFSET}?(?:\(\))?\s*\Z", _read_column),
    Opener("procstat-error", "procstat", r"procstat: \S", lambda section, start, match: start + 1),
)
