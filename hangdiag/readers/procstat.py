"""``procstat -k`` and ``-kk``: one line a thread.

Columns from usr.bin/procstat/procstat_kstack.c: ``%5d %6d %-19s %-19s %-29s`` (12.0 and
later), ``%5s %6s %-16s %-16s %-29s`` (11 and before). The stack is all on one line,
innermost first, ``name`` or ``name+0xoffset``; it is missing or ``<running>`` where the
kernel could not take it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import Frame, Thread, Where
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import FrameMemo

_MARKS = {"<running>": "running", "<swapped>": "swapped", "<unknown>": None}
_ELISION = frozenset({"...", "[...]", "…", "..", "\\"})
_CONTINUATION = re.compile(r"\s+[A-Za-z_<.\[][\w.$@+<>\[\]` ]*\Z")


def _read_table(section: Section, start: int, match: re.Match[str]) -> int:
    header = section.lines[start]
    comm = header.index("COMM")
    stack_column = header.index("KSTACK") - comm
    has_name = "TDNAME" in header
    name_column = header.index("TDNAME") - comm if has_name else stack_column
    lines = section.lines
    first_numbers, last_numbers = section.page.first, section.page.last
    source = section.source
    memo = FrameMemo()
    stacks: dict[str, tuple[Frame, ...]] = {}
    rows: list[Thread] = []
    index = start + 1
    end = len(lines)
    last_row = start
    while index < end:
        line = lines[index]
        parts = line.split(None, 2)
        if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()) or len(parts[1]) < 4:
            if not parts:
                index += 1  # blank lines between rows
                continue
            joined = _continue_row(rows[-1], line, memo, last_numbers[index]) if last_row == index - 1 and rows else None
            if joined is None:
                break
            rows[-1] = joined
            last_row = index
            index += 1
            continue
        rest = parts[2] if len(parts) > 2 else ""
        command = rest[:name_column].rstrip()
        name = rest[name_column:stack_column].rstrip() if has_name else ""
        text = rest[stack_column:]
        if (text and rest[stack_column - 1] != " ") or (command and name_column < len(rest) and rest[name_column - 1] != " "):
            command, name, text = _split_unaligned(rest, has_name)
        frames = stacks.get(text)
        state = None
        if frames is None:
            made = tuple([memo[token] for token in text.split()])
            frames = tuple([frame for frame in made if frame is not None]) if None in made else made  # type: ignore[assignment]
            assert frames is not None
            stacks[text] = frames
        if not frames and text:
            state = _MARKS.get(text.strip())
        where = Where(source, first_numbers[index], last_numbers[index])
        rows.append(
            Thread(
                int(parts[0]),
                int(parts[1]),
                None,
                command or None,
                None if name in ("-", "") else name,
                state,
                frames=frames,
                where=(where,),
                stack_where=where,
            )
        )
        last_row = index
        index += 1
    while index > start + 1 and not lines[index - 1].strip():
        index -= 1
    if rows:
        section.draft.add_threads(rows, table="procstat")
        section.count_stacks("procstat", len(rows))
    return index


def _continue_row(last: Thread, line: str, memo: FrameMemo, last_line: int) -> Thread | None:
    """A stack that a terminal or an author wrapped: the last row with more frames, or None."""
    if _CONTINUATION.match(line) is None:
        return None
    frames = []
    for token in line.split():
        frame = memo[token]
        if frame is None and token not in _ELISION:
            return None
        if frame is not None:
            frames.append(frame)
    where = Where(last.where[0].source, last.where[0].first, last_line)
    return replace(last, frames=last.frames + tuple(frames), where=(where,), stack_where=where)


def _split_unaligned(rest: str, has_name: bool) -> tuple[str, str, str]:
    """Command, thread name and stack of a row whose columns are not where the header says.

    The stack begins at the first word that looks like one (an offset, a context switch, a
    mark); what lies before is the command and, after two blanks or the first word, the name.
    """
    words = [(found.group(), found.start()) for found in re.finditer(r"\S+", rest)]
    begin = len(rest)
    for word, position in words[1:]:
        if "+0x" in word or word in _MARKS or word in ("mi_switch", "sched_switch", "fork_trampoline"):
            begin = position
            break
    head = rest[:begin].rstrip()
    if not has_name:
        return head, "", rest[begin:]
    halves = re.split(r"\s{2,}", head, maxsplit=1)
    if len(halves) == 1:
        halves = head.split(None, 1)
    return halves[0] if halves else "", halves[1] if len(halves) > 1 else "", rest[begin:]


OPENERS = (
    Opener("procstat-table", "procstat", r"\s*PID\s+TID\s+COMM\b.*\bKSTACK\b", _read_table),
)
