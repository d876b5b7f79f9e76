"""``ps -l``, ``ps -axHl``, ``ps -o ...wchan...`` and ``top -H``: who waits for what, without stacks.

From bin/ps/print.c (state: D, I, L, R, S, T, W, Z and flags; mwchan prints the lock's name of a thread on a turnstile,
with ``*`` before it in old releases) and usr.bin/top/machine.c (``CPU3``, ``RUN``, ``*name`` or the wait message, cut to 6
characters). The kernel cuts wait messages and locks' names to 8 (WMESGLEN, LOCKNAMELEN, sys/sys/user.h).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hangdiag.model import Process, Thread
from hangdiag.readers.columns import read_row
from hangdiag.readers.commands import Who, who_of_ps, who_of_top
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

#: So many characters are shown of a wait message.
_CUT = {"ps": 8, "top": 6}
#: Of a runnable thread it is not told whether it has a CPU (SRUN).
_LETTERS: dict[str, tuple[str | None, bool | None]] = {
    "D": ("sleeping", False),
    "I": ("sleeping", True),
    "S": ("sleeping", True),
    "L": ("lock", None),
    "R": ("runnable", None),
    "T": ("suspended", None),
    "W": ("iwait", None),
    "Z": ("zombie", None),
}
_TOP_STATES: dict[str, str | None] = {
    "RUN": "runnable", "SLEEP": "sleeping", "STOP": "suspended", "ZOMB": "zombie", "WAIT": "iwait", "START": "new",
    "LOCK": "lock",
}  # fmt: skip
#: Headers of rows that stand for themselves: of ps -l, aux, ax, and of a common choice of columns.
_BARE_HEADERS = (
    "UID PID PPID CPU PRI NI VSZ RSS MWCHAN STAT TT TIME COMMAND", "USER PID %CPU %MEM VSZ RSS TT STAT STARTED TIME COMMAND",
    "PID TT STAT TIME COMMAND", "PID STAT MWCHAN COMMAND", "PID LWP STAT MWCHAN COMMAND",
)  # fmt: skip
#: Columns by other names than those above them (bin/ps/keyword.c).
_KEYWORDS = {"STATE": "STAT", "WCHAN": "MWCHAN", "TID": "LWP", "UCOMM": "COMM"}
# from one p to the next: far quicker than letter by letter
_CHOSEN_COLUMNS = (
    r"(?:[^p]{0,120}p){1,40}?(?<=\bp)s [^|]{0,80}?-?\w{0,8}o\s?(?P<columns>%?[a-z]{2,10}=?(?:,%?[a-z]{2,10}=?){1,20})(?![\w,:])"
)
_CHOSEN = lazy(_CHOSEN_COLUMNS)
_STATE = r"[DILRSTWZ][A-Zs0-9<>+]{0,8}"
_IN_WORDS = lazy(rf"\s*pid (?P<pid>\d{{1,7}}),? +state:? +(?P<state>{_STATE}),? +(?P<command>\S.{{0,300}})")
_ON_CPU = lazy(r"CPU(\d+)\Z")
#: A screen has so many rows at least.
_SCREEN = 15
#: No thread's name is longer (MAXCOMLEN, sys/sys/param.h, and its brace).
_LONGEST_NAME = 21
_SEAM = lazy(r"[A-Z]COMMAND\s*\Z")
_ADDRESS = lazy(r"(?:0x)?f{4}[0-9a-f]{8,12}\Z")
_HEX = lazy(r"(?:0x)?[0-9a-f]{6,16}\Z")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: names and values of its columns, the process and thread that it is of, its (last) line's index."""

    index: int
    pid: int | None
    tid: int | None
    cells: list[tuple[str, str]]
    last: int = -1

    def first(self, *names: str) -> str:
        """The first value that one of the columns ``names`` holds."""
        return next((value for wanted in names for name, value in self.cells if name == wanted and value), "")


def _read_ps(section: Section, start: int, match: re.Match[str]) -> int:
    titles = section.lines[start].split()
    if titles[0] == "F" or "START" in titles:
        return start  # Linux', whose columns are called otherwise
    index = _read_rows(section, start + 1, section.lines[start], "ps")
    return index if index > start + 1 else start


def _read_top(section: Section, start: int, match: re.Match[str]) -> int:
    index = _read_rows(section, start + 1, section.lines[start], "top")
    return index if index > start + 1 else start


def _read_bare_rows(section: Section, start: int, match: re.Match[str]) -> int:
    """Rows whose header was not copied: those of ``-l``, of ``aux``, of ``ax``, and of a choice of columns."""
    for header in _BARE_HEADERS:
        end = _read_rows(section, start, header, "ps", placed=False)
        if end > start:
            return end
    return start


def read_command(section: Section, start: int, match: re.Match[str]) -> int:
    """``ps -axo pid,state,wchan,command | grep bhyve``: names the columns of the rows below, whose header grep took."""
    found = _CHOSEN.match(section.lines[start])
    if found is None or start + 1 >= len(section.lines):
        return start
    names = found.group("columns").replace("=", "").upper().split(",")
    if "CMD" in names:
        return start  # Linux'
    header = " ".join(_KEYWORDS.get(name, name) for name in names)
    end = _read_rows(section, start + 1, header, "ps", placed=False)
    return end if end > start + 1 else start


def _read_words(section: Section, start: int, match: re.Match[str]) -> int:
    """A process in a report's words: ``pid 31195  state DJ  /sbin/ifconfig``."""
    found = _IN_WORDS.match(section.lines[start])
    if found is None:
        return start
    cells = [("PID", found.group("pid")), ("STAT", found.group("state")), ("COMMAND", found.group("command").strip())]
    add_table(section, [Row(start, int(found.group("pid")), None, cells)], "ps")
    return start + 1


def _read_rows(section: Section, start: int, header: str, tool: str, placed: bool = True) -> int:
    """Rows of a table from line ``start`` on; the index of the line behind them. ``placed``: the header was printed."""
    lines = section.lines
    # with thread ids instead of process ids, top calls the first column THR (format_header)
    by_tid = tool == "top" and header.split(None, 1)[0] in ("THR", "THRID", "TID")
    printed = header
    # a header that was broken before its last name, and joined without the blank
    seam = len(header.rstrip()) - len("COMMAND") if _SEAM.search(header) else 0
    header = _mend(header, seam)

    def is_next(line: str) -> bool:
        """Is it the row of a process that was not there before, or of a further thread of the last one?"""
        row = _row(header, _mend(line, seam), 0, by_tid, placed)
        return row is not None and (row.pid not in pids or row.pid == rows[-1].pid)

    rows: list[Row] = []
    pids: set[int | None] = set()
    index = start
    while index < len(lines):
        line = _mend(lines[index], seam)
        row = _row(header, line, index, by_tid, placed)
        if row is not None:
            rows.append(row)
            pids.add(row.pid)
        elif rows and placed and (whole := _with_rest(section, header, rows[-1], index, by_tid)) is not None:
            rows[-1] = whole
        else:
            blank = not line.strip() and index + 1 < len(lines)
            if blank and rows and index + 2 < len(lines) and lines[index + 1] == printed:
                following_row = _row(header, _mend(lines[index + 2], seam), 0, by_tid)
                # a screen further (ps -h), not the same command again
                pid = following_row.pid if following_row is not None else rows[0].pid
                if len(rows) >= _SCREEN if pid == rows[-1].pid else pid not in pids:
                    index += 2
                    continue
            following = section.pass_foreign(index, is_next) if rows or placed else index
            if following == index:
                break
            index = following
            continue
        index += 1
    if not rows:
        return start
    add_table(section, rows, tool)
    return index


def _mend(line: str, seam: int) -> str:
    return f"{line[:seam]} {line[seam:]}" if seam and line[seam - 1 : seam + 1].strip() else line


def _with_rest(section: Section, header: str, row: Row, index: int, by_tid: bool) -> Row | None:
    """``row`` together with line ``index``, where a terminal or a mailer broke it before the command or in
    the thread's name.
    """
    command = row.cells[-1][1]
    is_open = "{" in command and "}" not in command
    if (command and not is_open) or row.index != index - 1 or section.opens(section.lines[index]) is not None:
        return None
    before, rest = section.lines[row.index], section.lines[index]
    if is_open and "}" not in rest[:_LONGEST_NAME]:
        return None
    for whole in (before + rest, f"{before} {rest}"):
        made = _row(header, whole, row.index, by_tid)
        if made is not None and made.cells[-1][1] != command and made.cells[:-1] == row.cells[:-1]:
            return Row(row.index, made.pid, made.tid, made.cells, index)
    return None


def add_table(section: Section, rows: list[Row], tool: str) -> None:
    """Hand on what the rows of one table say."""
    shown: dict[int | None, int] = {}
    for row in rows:
        shown[row.pid] = shown.get(row.pid, 0) + 1
    whose = [_who(row, tool, shown[row.pid] > 1) for row in rows]
    threads = [_thread(section, row, who, tool) for row, who in zip(rows, whose, strict=True)]
    section.draft.add_threads([thread for thread in threads if thread.tid is not None], table=tool)
    section.draft.add_rows([thread for thread in threads if thread.tid is None], table=tool)
    # only now: the threads may have begun a new instant
    for row, who, thread in zip(rows, whose, threads, strict=True):
        if row.pid is not None and who.arguments is not None:
            section.draft.add_process(Process(row.pid, who.command, who.arguments, where=thread.where))
    section.count_stacks(tool, 0)


def _row(header: str, line: str, index: int, by_tid: bool, placed: bool = True) -> Row | None:
    if not (line[:1] in " \t0123456789-" or line[:1].isalpha()):
        return None
    cells = read_row(header, line, placed)
    if cells is None:
        return None
    numbers: dict[str, int] = {}
    for position, (name, value) in enumerate(cells):
        if value.isdecimal():
            numbers.setdefault("LWP" if by_tid and position == 0 else name, int(value))
    tid = next((numbers[key] for key in ("LWP", "TID", "THRID") if key in numbers), None)
    pid = numbers.get("PID")
    return Row(index, pid, tid, cells) if pid is not None or tid is not None else None


def _thread(section: Section, row: Row, who: Who, tool: str) -> Thread:
    where = section.where(row.index, max(row.index, row.last) + 1)
    state, interruptible, cpu = None, None, None
    message = row.first("MWCHAN", "WCHAN")
    if tool == "top":
        message = row.first("STATE")
        on_cpu = _ON_CPU.match(message)
        if on_cpu is not None:
            state, cpu, message = "running", int(on_cpu.group(1)), ""
        elif message in _TOP_STATES:
            state, message = _TOP_STATES[message], ""
        elif message:
            state = "sleeping"
    else:
        state, interruptible = _LETTERS.get(row.first("STAT", "STATE")[:1], (None, None))
    lock: str | None = row.first("LOCK").removeprefix("-") or None
    if message.startswith("*"):
        lock, message, state = message[1:] or "?", "", "lock"
    elif state == "lock" and message not in ("", "-"):
        lock, message = lock or message, ""
    elif message == "-" and state != "sleeping":
        message = ""
    channel = row.first("NWCHAN")
    if _ADDRESS.match(message):
        channel, message = message, ""  # it has no message (print.c, wchan)
    wmesg = message or None
    cut = _CUT[tool]
    return Thread(
        pid=row.pid,
        tid=row.tid,
        address=_address(row.first("TDADDR")),
        # a thread with an id gets its command from who knows it, a guess from the arguments comes last
        command=who.command if row.tid is None or who.is_sure else None,
        name=row.first("TDNAME") or who.name,
        state=state,
        interruptible=interruptible,
        wmesg=wmesg,
        wmesg_cut=cut if wmesg is not None and len(wmesg) >= cut else None,
        wchan=_address(channel),
        lock=lock,
        cpu=cpu,
        where=(where,),
    )


def _who(row: Row, tool: str, has_threads: bool) -> Who:
    """Whose row it is: the surest command of its columns, and the longest arguments."""
    found = Who(None, None, None)
    last = len(row.cells) - 1
    for position, (name, value) in enumerate(row.cells):
        if name not in ("COMMAND", "ARGS", "COMM", "UCOMM") or not value:
            continue
        who = who_of_top(value) if tool == "top" else who_of_ps(value, name, position == last, has_threads)
        surer = who if (who.is_sure, who.command is not None) > (found.is_sure, found.command is not None) else found
        arguments = max(who.arguments or "", found.arguments or "", key=len) or None
        found = Who(surer.command, who.name or found.name, arguments, surer.is_sure)
    return found


def _address(text: str) -> int | None:
    return int(text, 16) if text and _HEX.match(text) else None


OPENERS = (
    Opener(
        "top-table",
        "top",
        r"\s*(?:PID|THR|TID|THRID)(?: {1,12}(?:USERNAME|JID|THR|THRID|TID|UID|USER)\b){1,4}.{0,120}\bSTATE\b.{0,80}"
        r"\bCOMMAND\s*\Z",
        _read_top,
    ),
    Opener(
        "ps-table",
        "ps",
        r"\s*(?!ADDR +PROC)(?=[A-Z%][A-Z0-9% \t]+\Z)(?=(?:[A-Z%]\S*[ \t]+){1,40}[A-Z])(?=.*\b(?:PID|LWP)\b)"
        r"(?=.*\b(?:MWCHAN|WCHAN|STAT|NWCHAN|LWP|LOCK|WMESG)\b)",
        _read_ps,
    ),
    Opener(
        "ps-row",
        "ps",
        r"\s*\d{1,10} +\d{1,6} +\d{1,6} +\d{1,3} +-?\d{1,3} +-?\d{1,3} +\d{1,12} +\d{1,12} +\S.{0,8}? +"
        rf"{_STATE} +\S{{1,8}} +\d{{1,7}}:\d\d[.,]\d\d "
        rf"|[\w.-]{{1,32}}+ ++\d{{1,6}}+ ++\d{{1,3}}[.,]\d +\d{{1,3}}[.,]\d +\d{{1,12}} +\d{{1,12}} +\S{{1,8}} +{_STATE}"
        r" +\S{1,8} +\d{1,7}:\d\d[.,]\d\d "
        rf"|\s{{0,8}}\d{{1,6}} {{1,3}}\S{{1,3}} +{_STATE} +\d{{1,7}}:\d\d[.,]\d\d \S"
        # the state's column is four wide at least
        rf"|\s{{0,8}}\d{{1,6}} (?:1\d{{5}} )?(?={_STATE} )(?:\S{{4,8}} |\S {{4,8}}|\S\S {{3,7}}|\S{{3}} {{2,6}})"
        r"(?:[a-z][\w*-]{2,7}|-) +\S",
        _read_bare_rows,
    ),
    Opener("ps-command", "ps", _CHOSEN_COLUMNS, read_command, ("ps ",)),
    Opener("ps-words", "ps", rf"\s*pid \d{{1,7}},? +state:? +{_STATE},? +\S", _read_words),
    Opener(
        "top-head",
        "top",
        r"last pid: +\d+; +load averages?:|\d+ (?:processes|threads): +\d+|CPU(?: \d+)?: +[\d.,]+% user|Mem: \d+\w Active"
        r"|ARC: \d+|Swap: \d+\w Total|\s+\d+\w (?:MFU|Compressed), ",
        lambda section, start, match: start + 1,
    ),
)
