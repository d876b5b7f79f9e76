"""ddb stacks: ``bt``, ``trace``, ``alltrace``, ``acttrace``, ``bt/t``, ``where``.

Header from sys/ddb/db_command.c (db_stack_trace, db_stack_trace_active, db_stack_trace_all):
``Tracing pid %d tid %ld td %p`` and ``Tracing command %s pid %d tid %ld td %p (CPU %d)``.
Frames from sys/amd64/amd64/db_trace.c: ``name() at name+0x1a/frame 0x...``; the frames go on
behind ``--- trap ... ---`` and ``--- interrupt ... ---``, and end at a system call: what is printed
behind that is userland's. On arm64 up to 12 each frame has two lines of registers and a blank one behind it,
and its place is that of its caller: ``kdb_enter() at panic+0x40`` (sys/arm64/arm64/db_trace.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hangdiag.model import Frame, Thread
from hangdiag.readers import lists
from hangdiag.readers.ddb import current
from hangdiag.readers.ddb.frames import FRAME, TAIL_REST, has_tail_in, is_damaged, parse_frame
from hangdiag.readers.ddb.mixed import GAP, POINTER, find_mixed, find_tear
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.readers.stacks import may_follow, parse_offset
from hangdiag.text.lazy import lazy

HEADER = lazy(
    r"Tracing (?:command (?P<command>.*?) )?pid (?P<pid>-?\d+) tid (?P<tid>\d+) td (?P<td>0x[0-9a-f]+)"
    r"(?: \(CPU (?P<cpu>\d+)\))?\s*\Z"
)
#: Functions in which a stack begins: innermost of a thread that sleeps, or that entered the debugger.
BEGINNINGS = frozenset(
    {
        "sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch", "mi_switch", "kdb_enter", "db_trace_self",
        "db_trace_self_wrapper", "kdb_backtrace", "cpustop_handler", "fork_trampoline", "kdb_alt_break_internal",
    }
)  # fmt: skip
#: "/frame 0x", 16 digits and a blank.
_TAIL = 26
# letters between the name and its offset were lost
_DAMAGED = lazy(r"(?P<name>[A-Za-z_][\w.$@]*)\(\) (?P<rest>[\w.$@]{0,60})\+(?P<offset>0x[0-9a-f]+)/frame 0x")
# the author left out what is between two frames
_ELIDED = lazy(r"([A-Za-z_][\w.$@]*)\(\) ?(?:\.{3}|\u2026|\[\.{3}\]) ?([A-Za-z_][\w.$@]*)\(\)\s*\Z")
_BROKEN_HEAD = lazy(r"\s*[A-Za-z_][\w.$@]*(?:\(\))?(?: at(?: [\w.$@+]*)?| a|)\s*\Z")
# arm64 up to 12: the registers of a frame on lines of their own
_REGISTERS = lazy(r"\s+(?:pc|sp|fp|lr|r1) ?= ?(?:0x)?[0-9a-f]+")
#: Lines that are behind a stay in the debugger: it is entered anew.
_ENDS_STAY = (*lists.BOOTS, "KDB: enter: ")
#: Commands after which the machine runs on (sys/ddb/db_run.c) or starts anew.
RESUMING = frozenset({"c", "continue", "reset", "reboot"})
#: Commands that list all threads.
_ALL = frozenset({"alltrace", "ps", "show all procs", "show alltrace", "show all trace", "show threads"})
_ELISIONS = frozenset({"...", "[...]", "…", "[…]", "..", "<snip>", "[snip]", "[..]"})
_SEPARATOR = lazy(
    r"--- (?:trap|syscall|interrupt|(?:unhandled )?exception|system (?:call|error)|invalid trapframe)\b"
    r"|0x[0-9a-f]{8,16}: user [^:]{1,60} by "
)
_END_OF_KERNEL = lazy(r"0x|--- (?:syscall|system call|trap 0,|trap -,|trap 0x?0?,|invalid trapframe)")
# amd64's kernel stacks are at 0xffff...
_FROM_USERLAND = lazy(r"--- .{1,120}?\brsp = 0x[0-9a-f]{1,12},")
_USER_FRAME = lazy(r"(?:\(null\)|[A-Za-z_][\w.$@]*|0x[0-9a-f]+)(?:\([^()]*\))? at 0x[0-9a-f]{1,12}(?:/frame 0x[0-9a-f]*)?\s*\Z")
#: A separator that was folded ends on the next line.
_SEPARATOR_REST = lazy(r"\s*[^-\n]{0,60}---\s*\Z")


def _read_traced(section: Section, start: int, match: re.Match[str]) -> int:
    found = HEADER.match(section.lines[start])
    if found is None:
        return start
    announce(section, start)
    section.note_listing(whole=found.group("command") is not None)
    frames, end = read_frames(section, start + 1)
    where = section.where(start, end)
    cpu = found.group("cpu")
    tid = int(found.group("tid"))
    if frames and "ddb panicked" in section.context:
        current.prefer_trace(section, tid)
    thread = Thread(
        pid=int(found.group("pid")) if found.group("pid")[0] != "-" else None,
        tid=tid,
        address=int(found.group("td"), 16),
        command=found.group("command"),
        state="running" if cpu is not None else None,
        cpu=int(cpu) if cpu is not None else None,
        frames=frames,
        where=(where,),
        stack_where=where if frames else None,
    )
    section.draft.add_threads([thread], announced=lists.is_announced(section, "ddb", start))
    keep_open(section, start, end, thread)
    if frames:
        section.count_stacks("ddb")
    return end


def announce(section: Section, start: int) -> None:
    """Decide, before line ``start`` of a stay in the debugger is read, of which time the threads are that it shows.

    The stay ends where the debugger is left or entered anew, or where all threads are listed again.
    """
    typed: set[str] = set()

    def ends(line: str) -> bool:
        if not line.startswith("db"):
            return line.startswith(_ENDS_STAY)
        command = line.partition("> ")[2].strip()
        if command in RESUMING or (command in _ALL and command in typed):
            return True
        typed.add(command)
        return False

    lists.announce(section, "ddb", start, (*lists.BOOTS, "KDB: enter: ", "db", "Tracing "), ends, _heading, _function)


def _heading(line: str) -> lists.Heading | None:
    found = HEADER.match(line) if line.startswith("Tracing ") else None
    if found is None:
        return None
    pid, tid, command = found.group("pid", "tid", "command")
    return lists.Heading(int(pid), int(tid), command)


def _function(line: str) -> str | None:
    found = FRAME.match(line.partition("/frame")[0])
    return found.group("name") if found is not None else None


def read_frames(section: Section, start: int) -> tuple[tuple[Frame, ...], int]:
    """The frames from line ``start`` on, and the index of the first line behind them.

    Frames of another thread that follow without its header are not among them.
    """
    frames, end = _read_frames(section, start)
    torn = find_tear(section.lines, frames, start, end)
    return (frames, end) if torn is None else _read_frames(section, start, torn)


def _read_frames(section: Section, start: int, stop: int | None = None) -> tuple[tuple[Frame, ...], int]:
    """The frames in the lines from ``start`` on, up to ``stop``, and the index of the first line behind them."""
    memo = section.context.get("ddb frames")
    if memo is None:
        memo = section.context["ddb frames"] = {}
    assert isinstance(memo, dict)
    lines = section.lines
    frames: list[Frame] = []
    index = start
    ended = False
    while index < (len(lines) if stop is None else stop):
        line = lines[index]
        head = line.partition("/frame")[0]
        frame = memo.get(head)
        if frame is not None and len(line) - len(head) <= _TAIL:
            frames.append(frame)
            index += 1
            continue
        if len(line) - len(head) > _TAIL and section.peeler is not None and section.peeler.split_lost(index):
            continue
        frame, following = _read_unusual(section, index, head)
        if frame is not None:
            if following == index + 1:
                memo[head] = frame
            frames.append(frame)
            index = following
        elif _SEPARATOR.match(line):
            ended = _END_OF_KERNEL.match(line) is not None
            index = _behind_separator(lines, index, ended)
            if ended:
                break
        elif frames and following > index:
            index = following
        elif (elided := _ELIDED.match(line)) is not None:
            frames += (Frame(elided.group(1)), Frame(elided.group(2)))
            index += 1
        elif frames and not line.strip() and _goes_on(lines, index, len(frames)):
            index += 1
        else:
            break
    section.context["ddb stack ended"] = ended
    return tuple(frames), index


def _behind_separator(lines: list[str], index: int, ended: bool) -> int:
    """The index behind the separator in line ``index``, and behind userland's frames, which no thread's kernel stack has."""
    line = lines[index]
    index += 1
    if index < len(lines) and lines[index]:
        if "ip = " in line and not line.rstrip().endswith("---") and _SEPARATOR_REST.match(lines[index]):
            line += " " + lines[index].strip()
            index += 1
        if ended or _FROM_USERLAND.match(line):
            while index < len(lines) and (_USER_FRAME.match(lines[index]) or _REGISTERS.match(lines[index])):
                index += 1
    return index


def _goes_on(lines: list[str], index: int, depth: int) -> bool:
    """Is there behind the blank line ``index`` the next frame of the same stack? Not if a stack could begin there."""
    following = index + 1
    frame = parse_frame(lines[following].partition("/frame")[0]) if following < len(lines) else None
    if frame is None:
        return False
    if _REGISTERS.match(lines[index - 1]):
        return True
    return frame.function not in BEGINNINGS or (frame.function == "mi_switch" and depth == 1)


def _read_unusual(section: Section, index: int, head: str) -> tuple[Frame | None, int]:
    """A frame seen for the first time, or wrapped, or of arm64's two lines; None and the line
    behind it for a line that belongs to a stack and holds no frame.
    """
    lines = section.lines
    line = lines[index]
    frame = parse_frame(head)
    if frame is not None and is_damaged(line, head):
        return None, index
    following = index + 1
    after = lines[following] if following < len(lines) else ""
    if frame is not None:
        # "/frame" and its address may have been broken off or in two
        return frame, following + has_tail_in(line, after)
    damaged = _DAMAGED.match(line)
    if damaged is not None and damaged.group("name").endswith(damaged.group("rest")):
        return Frame(damaged.group("name"), parse_offset(damaged.group("offset"))), following
    stripped = line.strip()
    if stripped in _ELISIONS or _REGISTERS.match(line) or (TAIL_REST.match(line) and stripped):
        return None, following
    if after and _BROKEN_HEAD.match(line):
        for joined in (line.rstrip() + " " + after.strip(), line.rstrip() + after.strip()):
            frame = parse_frame(joined.partition("/frame")[0])
            if frame is not None and not is_damaged(joined, joined.partition("/frame")[0]):
                return frame, following + 1
    return None, index


def _read_bare(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack without a header: ``bt`` at the prompt, or after ``KDB: stack backtrace:``.

    It belongs to the thread that the debugger named last, if it did.
    """
    line = section.lines[start]
    head = line.partition("/frame")[0]
    if parse_frame(head) is None or is_damaged(line, head):
        return start
    mixed = _read_mixed(section, start)
    if mixed is not None:
        return mixed
    frames, end = read_frames(section, start)
    where = section.where(start, end)
    if current.is_warning(section, frames):
        keep_open(section, start, end, None)
        return end
    thread = replace(current.nobody(section, where), frames=frames, stack_where=where)
    section.draft.add_threads([thread], announced=True)
    current.end_backtrace(section, thread)
    section.count_stacks("ddb")
    keep_open(section, start, end, thread)
    return end


def _read_mixed(section: Section, start: int) -> int | None:
    """Read the stacks of several CPUs that are mixed from line ``start`` on; None if none are.

    All are read at the first line; the others are then taken one by one, as other messages stand between them.
    """
    lines, first = section.lines, section.page.first
    sure = section.context.get("ddb mixed")
    if not isinstance(sure, set) or first[start] > max(sure)[0]:
        stacks = find_mixed(lines, start, BEGINNINGS)
        if not stacks or not any(stacks):
            return None
        for stack in stacks:
            frames = [parse_frame(lines[index].partition("/frame")[0]) for index in stack]
            wheres = tuple(section.where(index, index + 1) for index in stack)
            # whose it is, and which CPU's the debugger enters, is not known
            thread = Thread(frames=tuple(frame for frame in frames if frame), where=wheres, stack_where=wheres[0])
            section.draft.add_threads([thread])
            section.count_stacks("ddb")
        sure = {(first[index], lines[index]) for stack in stacks for index in stack}
        section.context["ddb mixed"] = sure
    section.context.pop("ddb backtrace", None)
    return start + ((first[start], lines[start]) in sure)


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack so far: the thread that was noted (None: nobody's), and where its last frame lies in memory, if that is known."""

    thread: Thread | None
    pointer: str = ""
    #: whether the last line was a trap's: behind it functions and pointers begin anew
    anew: bool = False


def keep_open(section: Section, start: int, end: int, thread: Thread | None) -> None:
    """The stack of ``thread`` in the lines up to ``end``, which began in line ``start``, may go on behind them."""
    if section.context.get("ddb stack ended"):
        section.pending = None
        return
    lines = section.lines
    anew = _SEPARATOR.match(lines[end - 1]) is not None
    pointer = "" if anew else next(filter(None, map(_pointer, reversed(lines[start:end]))), "")
    stack = _Stack(thread, pointer, anew)
    sure = thread is None or bool(thread.frames)
    section.pending = Pending(end, lambda section, index: _go_on(section, index, end, stack), sure)


def _pointer(line: str) -> str:
    """The digits of the frame pointer on a line."""
    found = POINTER.match(line.partition("/frame ")[2])
    return found.group(1) if found is not None else ""


def _go_on(section: Section, start: int, broken_off: int, stack: _Stack) -> int:
    """Read the frames from line ``start`` on if they are of ``stack``, that other lines broke off."""
    line = section.lines[start]
    if line.startswith("Tracing "):
        return start
    head = line.partition("/frame")[0]
    first = parse_frame(head)
    trap = first is None and _SEPARATOR.match(line) is not None
    if not trap and (first is None or is_damaged(line, head) or not _fits(section.lines, start, broken_off, stack, first)):
        return start
    if find_mixed(section.lines, start, BEGINNINGS):
        return start
    frames, end = read_frames(section, start)
    thread = stack.thread
    if thread is not None and frames:
        if not thread.frames:
            section.count_stacks("ddb")
        certain = bool(stack.pointer and _pointer(line))
        thread = section.lengthen(thread, frames, start, end, certain)
        if thread is None:
            return start
        current.end_backtrace(section, thread)
    keep_open(section, start, end, thread)
    return end


def _fits(lines: list[str], start: int, broken_off: int, stack: _Stack, first: Frame) -> bool:
    """May the frame ``first``, in line ``start``, be the next one of ``stack``?"""
    before = stack.thread.frames if stack.thread is not None else ()
    pointer = _pointer(lines[start])
    if pointer and stack.pointer:
        return len(pointer) == len(stack.pointer) and 0 <= int(pointer, 16) - int(stack.pointer, 16) < GAP
    named = stack.thread is not None and stack.thread.tid is not None
    if not all(line.strip() for line in lines[broken_off:start]) and not (
        named and (first.function in BEGINNINGS) != bool(before)
    ):
        return False  # a blank line parts one stack from another
    return stack.anew or may_follow(before[-1].function if before else None, first.function)


OPENERS = (
    # without "td" it is FreeBSD's gdb script that says so
    Opener("ddb-traced", "ddb", r"Tracing (?:command|pid)\b(?!.{0,200} tid \d+ \(CPU )", _read_traced),
    Opener("ddb-frames", "ddb", r"(?:\(null\)|[A-Za-z_][\w.$@]*)(?:\([^()]*\))? at (?:[A-Za-z_][\w.$@]*|0x)", _read_bare),
    Opener(
        "ddb-other-frames",
        "ddb",
        r"[A-Za-z_][\w.$@]*\+(?:0x)?[0-9a-f]+ \([^)]{1,80}\) ra [0-9a-f]"
        r"|0x[0-9a-f]{8,16}: (?:at [A-Za-z_]|kernel [^:]{1,60} by )",
        _read_bare,
    ),
)
