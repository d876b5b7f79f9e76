"""``procstat -k`` and ``-kk``: one line a thread.

Columns from usr.bin/procstat/procstat_kstack.c: ``%5d %6d %-19s %-19s %-29s`` (12.0 and
later), ``%5s %6s %-16s %-16s %-29s`` (11 and before). The stack is all on one line,
innermost first, ``name`` or ``name+0xoffset``; it is missing, or a mark such as
``<running>``, where the kernel could not take it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hangdiag.model import Frame, Thread, Where
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import FrameMemo
from hangdiag.text.lazy import lazy

#: Marks in place of a stack (procstat_kstack.c) and the state that each tells.
_MARKS = {"<running>": "running", "<swapped>": "swapped", "<unknown>": None}
#: What authors write for frames that they left out.
ELISIONS = frozenset({"...", "[...]", "…", "..", "\\", "[…]", "[..]", "<snip>", "[snip]"})
_CONTINUATION = lazy(r"\s+[A-Za-z_<.\[…]|[A-Za-z_][\w.$]*\+(?:0x[0-9a-f]|\.\.\.)")
_FUNCTION = lazy(r"(?:[\w.-]+`)?[A-Za-z_][\w.$]*(?:\+(?:0x[0-9a-f]+|\.\.\.))?,?\Z")
#: The innermost function of a thread that is not running, with or without an offset.
_SWITCHES = ("mi_switch", "sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch", "fork_trampoline")


def _read_table(section: Section, start: int, match: re.Match[str]) -> int:
    header = section.lines[start]
    comm = header.index("COMM")
    stack_column = header.index("KSTACK") - comm
    has_name = "TDNAME" in header
    name_column = header.index("TDNAME") - comm if has_name else stack_column
    rows, index = _read_rows(section, start + 1, name_column, stack_column, has_name)
    index = section.before_blanks(start, index)
    if rows:
        section.draft.add_threads(rows, table="procstat")
        section.count_stacks("procstat", len(rows))
    return index


def _read_rows(
    section: Section, index: int, name_column: int, stack_column: int, has_name: bool
) -> tuple[list[Thread], int]:
    lines = section.lines
    first_numbers, last_numbers = section.page.first, section.page.last
    source = section.source
    memo = new_memo()
    stacks: dict[str, tuple[Frame, ...]] = {}
    heads: dict[str, tuple[str | None, str]] = {}
    rows: list[Thread] = []
    end = len(lines)
    while index < end:
        line = lines[index]
        parts = line.split(None, 2)
        if len(parts) < 3 or not (parts[0].isdecimal() and parts[1].isdecimal()) or len(parts[1]) < 4:
            if not parts:
                index += 1  # blank lines between rows
                continue
            following = _continue_row(rows, lines, index, memo, last_numbers, source) if rows else index
            if following == index:
                break
            index = following
            continue
        rest = parts[2]
        head, text = rest[:stack_column], rest[stack_column:]
        who = heads.get(head)
        if who is None:
            who = heads[head] = _who(head, name_column, stack_column, has_name)
        command, name = who
        # a row whose columns are not where the header says
        if command is None or (text and text[0] == " "):
            command, name, text = split_unaligned(rest, has_name)
        frames = stacks.get(text)
        if frames is None:
            frames = stacks[text] = _frames(text, memo)
        state = _MARKS.get(frames[0].function) if len(frames) == 1 else None
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
        index += 1
    return rows, index


def _who(head: str, name_column: int, stack_column: int, has_name: bool) -> tuple[str | None, str]:
    """Command and thread name in the columns before the stack; no command if they are not in their columns."""
    command = head[:name_column].rstrip() if has_name else head.rstrip()
    name = head[name_column:].rstrip() if has_name else ""
    if (
        (len(head) == stack_column and head[-1] != " ")
        or (name and (head[name_column - 1] != " " or "+" in name))
        or "  " in name
        or "  " in command
    ):
        return None, ""
    return command, name


def new_memo() -> FrameMemo:
    """Frames by their text, the marks among them."""
    memo = FrameMemo()
    for mark in _MARKS:
        memo[mark] = Frame(mark)
    return memo


def _frames(text: str, memo: FrameMemo) -> tuple[Frame, ...]:
    made = [memo[token] for token in text.split()]
    return tuple([frame for frame in made if frame is not None])


def _continue_row(
    rows: list[Thread], lines: list[str], index: int, memo: FrameMemo, numbers: Sequence[int], source: int
) -> int:
    """Lines of a stack that a terminal or an author wrapped: appended to the last row.

    Returns the index of the line behind them; ``index`` itself if this is no such line.
    """
    begin = index
    extra: list[Frame] = []
    while index < len(lines):
        line = lines[index]
        if _CONTINUATION.match(line) is None:
            break
        tokens = line.split()
        frames = [memo[token] for token in tokens]
        if any(frame is None and token not in ELISIONS for frame, token in zip(frames, tokens, strict=True)):
            break
        if len(tokens) > 1 and not any("+" in token or "_" in token for token in tokens):
            break  # words of prose
        extra.extend(frame for frame in frames if frame is not None)
        index += 1
    if index == begin:
        return index
    last = rows[-1]
    where = Where(source, last.where[0].first, numbers[index - 1])
    rows[-1] = replace(last, frames=last.frames + tuple(extra), where=(where,), stack_where=where)
    return index


def split_unaligned(rest: str, has_name: bool) -> tuple[str, str, str]:
    """Command, thread name and stack of a row whose columns are not where the header says.

    The stack begins at the first word that looks like one (an offset, a context switch, a
    mark); what lies before is the command and, after two blanks or the first word, the name.
    """
    words = [(found.group(), found.start()) for found in re.finditer(r"\S+", rest)]
    begin = len(rest)
    for word, position in words[1:]:
        if "+0x" in word or word in _MARKS or word.partition("+")[0] in _SWITCHES:
            begin = position
            break
    else:
        # functions without offsets: all the words at the end that can be functions, when there are several
        tail = len(words)
        while tail > 1 and _FUNCTION.match(words[tail - 1][0]) and "_" in words[tail - 1][0]:
            tail -= 1
        if len(words) - tail > 2:
            begin = words[tail][1]
    head = rest[:begin].rstrip()
    if not has_name:
        return head, "", rest[begin:]
    halves = re.split(r"\s{2,}", head, maxsplit=1)
    if len(halves) == 1:
        halves = head.split(None, 1)
    return halves[0] if halves else "", halves[1] if len(halves) > 1 else "", rest[begin:]


OPENERS = (Opener("procstat-table", "procstat", r"\s*PID\s+TID\s+COMM\b.*\bKSTACK\b", _read_table),)
