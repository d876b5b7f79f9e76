"""``procstat -k`` and ``-kk`` (``procstat kstack``): one line a thread.

Columns from usr.bin/procstat/procstat_kstack.c: ``%5d %6d %-19s %-19s %-29s`` (12.0 and
later), ``%5s %6s %-16s %-16s %-29s`` (11 and before). The stack is all on one line,
innermost first, ``name`` or ``name+0xoffset``; it is missing, or a mark such as
``<running>``, where the kernel could not take it. It ends after 18 frames (STACK_MAX,
sys/sys/stack.h) or 1,024 bytes (KKST_MAXLEN, sys/sys/user.h), then perhaps in the middle of a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from hangdiag.model import LEFT_OUT, Frame, Thread, Where
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import OUTERMOST, PROSE, FrameMemo
from hangdiag.text.lazy import lazy

#: Marks in place of a stack (procstat_kstack.c) and the state that each tells.
MARKS = {"<running>": "running", "<swapped>": "swapped", "<unknown>": None}
#: What authors write for frames that they left out.
ELISIONS = frozenset({"...", "[...]", "…", "..", "\\", "[…]", "[..]", "<snip>", "[snip]", "(...)", "[truncated]", "<truncated>"})
#: The innermost function of a thread that is not running, with or without an offset.
SWITCH = r"(?:mi_switch|sched_switch|sched_ule_sswitch|sched_4bsd_sswitch|sleepq_\w+|turnstile_wait|fork_trampoline)"
#: What neither a function nor a mark begins with.
_NOT_FIRST = " 123456789-:"
#: Functions at the end of a stack that may be all of a wrapped line.
_SHORT = frozenset({"ast", "btext", "swapper", "exit1", "calltrap", "trap", "syscall", "sigexit", "postsig"})
_SWITCHES = ("mi_switch", "sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch", "fork_trampoline")
_OWN = lazy(r"\s*\d{1,7}\s{1,20}(?P<tid>\d{6,7})\s{1,20}\S")
#: The begin of a row whose line end before it was lost.
_ROW_INSIDE = lazy(r"(?<=\s)\d{1,7} {1,20}\d{6,7} {1,20}\S")
#: No terminal is narrower.
_NARROWEST = 60
_WITH_OFFSET = lazy(r"(?:[A-Za-z_][\w.$]{0,200}\+0x[0-9a-f]{1,8}|\?\?\+0)\Z")
_CUT_OFFSET = lazy(r"[0-9a-f]{1,5}\Z")
_CONTINUATION = lazy(r"\s+[A-Za-z_<.\[…?]|[A-Za-z_][\w.$]*\+(?:0x[0-9a-f]|\.\.\.)")
_FUNCTION = lazy(r"(?:[\w.-]+`)?[A-Za-z_][\w.$]*(?:\+(?:0x[0-9a-f]+|\.\.\.))?,?\Z")
#: Widths of the command's and of the name's column, each with the blank behind it.
_WIDTHS = (20, 17)
#: So often a row that was there before is looked at as the begin of another sample.
_MOST_SAMPLES, _MOST_REFUSED = 1000, 20


def _read_table(section: Section, start: int, match: re.Match[str]) -> int:
    header = section.lines[start]
    comm = header.index("COMM")
    stack_column = header.index("KSTACK") - comm
    has_name = "TDNAME" in header
    name_column = header.index("TDNAME") - comm if has_name else stack_column
    if has_name and name_column in _WIDTHS:
        stack_column = max(stack_column, 2 * name_column)  # a mailer folded the header and took its blanks
    rows, index = _read_rows(section, start + 1, name_column, stack_column, has_name)
    section.note_listing(whole=True)
    index = section.before_blanks(start, index)
    add_rows(section, rows)
    return index


def _read_row(section: Section, start: int, match: re.Match[str]) -> int:
    """Rows whose header was not copied, or left out (``procstat -h``)."""
    rest = section.lines[start].split(None, 2)[2]
    command, _, text = split_unaligned(rest, True)
    if not command or not stack_of(text):
        return start
    width = next((width for width in _WIDTHS if len(rest) - len(text) == 2 * width and rest[width - 1] == " "), 0)
    rows, index = _read_rows(section, start, width, 2 * width, True, sure=False)
    if not rows:
        return start
    known = section.context.get("rows without a header")
    section.context["rows without a header"] = {row.pid for row in rows}.union(known if isinstance(known, set) else ())
    add_rows(section, rows, table=None)
    return section.before_blanks(start, index)


def add_rows(section: Section, rows: list[Thread], table: str | None = "procstat") -> None:
    """Hand on the threads of one command, which printed them over and over if it was told to (``-w``)."""
    begin = 0
    if len({row.tid for row in rows}) < len(rows):
        for end in _sample_ends(rows):
            section.draft.add_threads(rows[begin:end], table=table)
            section.draft.timeline.pass_time()
            begin = end
    if rows:
        section.draft.add_threads(rows[begin:], table=table)
        section.count_stacks("procstat", len(rows))


def _sample_ends(rows: list[Thread]) -> list[int]:
    """Where the rows begin anew: with the row they began with, or with a repeated one out of their order.

    Most of what came before must come again: a row that somebody quotes once more is no sample.
    """
    ends: list[int] = []
    seen = {rows[0].tid}
    first = rows[0].tid
    refused = 0
    for index in range(1, len(rows)):
        tid = rows[index].tid
        if tid in seen and len(ends) < _MOST_SAMPLES and refused < _MOST_REFUSED:
            again = tid == first and (len(seen) > 1 or rows[index].frames != rows[index - 1].frames)
            following = rows[index + 1].tid if index + 1 < len(rows) else None
            if again or (following != tid and following in seen and rows[index - 1].tid != tid):
                if len(seen.intersection(row.tid for row in rows[index : index + len(seen)])) * 2 >= len(seen):
                    ends.append(index)
                    seen = set()
                    first = tid
                else:
                    refused += 1
        seen.add(tid)
    return ends


def _read_rows(
    section: Section, index: int, name_column: int, stack_column: int, has_name: bool, sure: bool = True
) -> tuple[list[Thread], int]:
    """Rows from line ``index`` on and the index behind them. What is not in the columns is found by its looks.

    ``sure`` is false where no header told that these are rows: then only what looks like one is.
    """
    lines = section.lines
    first_numbers, last_numbers = section.page.first, section.page.last
    source = section.source
    memo = new_memo()
    stacks: dict[str, tuple[Frame, ...]] = {}
    heads: dict[str, tuple[str | None, str]] = {}
    rows: list[Thread] = []
    end = len(lines)
    may_be_joined = first_numbers != last_numbers
    left = ""
    while index < end:
        line = left or lines[index]
        parts = line.split(None, 2)
        if len(parts) < 3 or not (parts[0].isdecimal() and parts[1].isdecimal()) or len(parts[1]) < 4:
            if not parts:
                index += 1  # blank lines between rows
                continue
            if line in ELISIONS and rows:
                section.draft.set_host(fact=(LEFT_OUT, "rows were left out"))
            following = _continue_row(rows, lines, index, memo, last_numbers, source) if rows else index
            if following == index and (rows or sure):
                following = section.pass_foreign(index, partial(_is_new, {row.tid for row in rows}))
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
        if command is None or (text and text[0] in _NOT_FIRST):
            command, name, text = split_unaligned(rest, has_name, name_column)
        if may_be_joined and first_numbers[index] != last_numbers[index]:
            text = _mend(text)
        frames = stacks.get(text)
        left = ""
        if frames is None:
            inside = _ROW_INSIDE.search(text)
            if inside is not None:
                text, left = text[: inside.start()], text[inside.start() :]
            frames = stacks[text] = _frames(text, memo)
        if not sure and (len(parts[1]) < 6 or not (stack_of(text, memo) or (who[0] is not None and not text))):
            index += line is not lines[index]  # behind a row on the same line
            break
        state = MARKS.get(frames[0].function) if len(frames) == 1 else None
        where = Where(source, first_numbers[index], last_numbers[index])
        rows.append(
            Thread(
                int(parts[0]),
                int(parts[1]),
                None,
                command if command not in ("", "-") else None,
                None if name in ("-", "") else name,
                state,
                frames=frames,
                where=(where,),
                stack_where=where,
            )
        )
        index += not left
    return rows, index


def _is_new(seen: set[int | None], line: str) -> bool:
    """Is ``line`` the row of a thread that is not among those ``seen``? One that is there again may be of another look."""
    found = _OWN.match(line)
    return found is not None and int(found.group("tid")) not in seen


def _who(head: str, name_column: int, stack_column: int, has_name: bool) -> tuple[str | None, str]:
    """Command and thread name in the columns before the stack; no command if they are not in their columns."""
    command = head[:name_column].rstrip() if has_name else head.rstrip()
    name = head[name_column:].rstrip() if has_name else ""
    if (
        not name_column
        or (len(head) == stack_column and head[-1] != " ")
        or (name and (head[name_column - 1] != " " or ("+0x" in name and not head.endswith("  "))))
        or "+0x" in command
        or "\t" in head
        or "  " in name.lstrip()
        or "  " in command
    ):
        return None, ""
    return command, name


def new_memo() -> FrameMemo:
    """Frames by their text, the marks among them."""
    memo = FrameMemo()
    for mark in MARKS:
        memo[mark] = Frame(mark)
    return memo


def _frames(text: str, memo: FrameMemo) -> tuple[Frame, ...]:
    made = [memo[token] for token in text.split()]
    return tuple([frame for frame in made if frame is not None])


def stack_of(text: str, memo: FrameMemo | None = None) -> tuple[Frame, ...]:
    """The frames of a line that holds nothing but functions and what stands for left out ones, else none.

    Without offsets, words of prose look like functions: some must have an underscore.
    """
    memo = new_memo() if memo is None else memo
    frames = []
    plain = 0
    for token in text.split():
        frame = memo[token]
        if frame is not None:
            if token in PROSE:
                return ()
            frames.append(frame)
            plain += not ("_" in token or "+" in token or "`" in token or token[0] in "<0?")
        elif token not in ELISIONS:
            return ()
    return tuple(frames) if plain * 3 <= len(frames) * 2 else ()


def _continue_row(
    rows: list[Thread], lines: list[str], index: int, memo: FrameMemo, numbers: Sequence[int], source: int
) -> int:
    """Lines of a stack that a terminal or an author wrapped: appended to the last row.

    Returns the index of the line behind them; ``index`` itself if this is no such line.
    """
    begin = index
    last = rows[-1]
    extra = list(last.frames)
    with_offsets = any(frame.offset is not None for frame in extra)
    while index < len(lines):
        line = lines[index]
        if with_offsets and (glued := _glue(lines[index - 1], line, memo)) is not None:
            extra[-1:] = [glued[0]]
            line = " " + glued[1]
            if not glued[1]:
                index += 1
                continue
        if _CONTINUATION.match(line) is None:
            break
        frames = stack_of(line, memo)
        if (frames and with_offsets and "+" not in line and len(frames) > 1) or (
            not frames and line.strip() not in ELISIONS and not _is_lone_function(line, memo)
        ):
            break  # words of prose
        extra.extend(frames or [frame for token in line.split() if (frame := memo[token]) is not None])
        index += 1
    if index == begin:
        return index
    where = Where(source, last.where[0].first, numbers[index - 1])
    rows[-1] = replace(last, frames=tuple(extra), where=(where,), stack_where=where)
    return index


def _mend(text: str) -> str:
    """A stack of lines that were joined with a blank although a terminal had broken them in the middle of a word."""
    if "+0x" not in text:
        return text
    words: list[str] = []
    for word in text.split():
        before = words[-1] if words else ""
        if before and (
            _CUT_OFFSET.match(word)
            if _WITH_OFFSET.match(before)
            else _WITH_OFFSET.match(before + word) and before not in ELISIONS and not before.startswith("0x")
        ):
            words[-1] = before + word
        else:
            words.append(word)
    return " ".join(words)


def _glue(before: str, line: str, memo: FrameMemo) -> tuple[Frame, str] | None:
    """The function that a terminal broke at its edge, between two lines, and what follows in the second."""
    if not line or line[0] in " \t" or len(before) < _NARROWEST or before[-1] in " \t":
        return None
    head = before.rpartition(" ")[2]
    tail, _, rest = line.partition(" ")
    if _WITH_OFFSET.match(head + tail) is None or (_WITH_OFFSET.match(head) and _WITH_OFFSET.match(tail)):
        return None
    frame = memo[head + tail]
    return (frame, rest.strip()) if frame is not None else None


def _is_lone_function(line: str, memo: FrameMemo) -> bool:
    """Is ``line`` a function without an underscore, far to the right or a known one, and nothing else?"""
    words = line.split()
    if len(words) != 1 or memo[words[0]] is None:
        return False
    return words[0] in _SHORT or (words[0].islower() and len(line) - len(line.lstrip()) >= 16)


def split_unaligned(rest: str, has_name: bool, name_column: int = 0) -> tuple[str, str, str]:
    """Command, thread name and stack of a row whose columns are not where the header says.

    The stack begins at the first word that looks like one (an offset, a context switch, a
    mark); what lies before is the command and the name. They part where the header says, or behind a
    command that is longer than its column; else at two blanks, else at the first.
    """
    words = [(found.group(), found.start()) for found in re.finditer(r"\S+", rest)]
    begin = len(rest)
    for word, position in words[1:]:
        if "+0x" in word or word in MARKS or word.partition("+")[0] in _SWITCHES or word.startswith("??"):
            begin = position
            break
    else:
        # functions without offsets: all the words at the end that can be functions, when there are several
        tail = len(words)
        while tail > 1 and _FUNCTION.match(words[tail - 1][0]) and ("_" in words[tail - 1][0] or words[tail - 1][0] in OUTERMOST):
            tail -= 1
        if len(words) - tail > 2:
            begin = words[tail][1]
    head, stack = rest[:begin].rstrip(), rest[begin:]
    if has_name:
        return *split_names(head, name_column), stack
    if len(head) < name_column or head[name_column - 1 : name_column] == " " or "  " in head:
        # a name although the header has no column for it; the command alone may be longer than its own
        return *split_names(head, 0), stack
    return head, "", stack


def split_names(head: str, name_column: int) -> tuple[str, str]:
    """Command and thread name out of what stands before the stack: by tabs, or by columns if they can be right."""
    if "\t" in head.strip():
        command, _, name = head.strip().partition("\t")
        return command.rstrip(), name.strip()
    if 0 < name_column < len(head):
        # a command that is longer than its column pushes the name on
        blank = name_column - 1 if head[name_column - 1] == " " else head.find(" ", name_column)
        if blank > 0 and "  " not in head[:blank].rstrip():
            return head[:blank].rstrip(), head[blank:].strip()
    halves = re.split(r"\s{2,}", head, maxsplit=1)
    if len(halves) == 1:
        halves = head.split(None, 1)
    return halves[0] if halves else "", halves[1].strip() if len(halves) > 1 else ""


OPENERS = (Opener("procstat-table", "procstat", r"\s*PID\s+TID\s+COMM\b.*\bKSTACK\b", _read_table),)
#: Asked later: the header of another tool's table may be in between.
ROW_OPENERS = (
    Opener(
        "procstat-row",
        "procstat",
        rf"\s*\d{{1,6}}\s+\d{{5,7}}\s+\S.{{0,60}}?\s(?:{SWITCH}\b|<running>|(?:[a-z_]\w+|\?\?)\+(?:0x[0-9a-f]+|0)(?:\s|\Z)"
        # on a CPU (-k)
        r"|(?:\w{1,60} ){2,40}(?:calltrap|fork_trampoline|fast_syscall_common|Xfast_syscall|amd64_syscall|handle_el0_sync"
        r"|doreti_ast|nmi_calltrap)\s*\Z)",
        _read_row,
    ),
)
