"""``ps``, ``show all procs``, with ``/a`` too, and ``show proc``.

From sys/kern/kern_proc.c and sys/ddb/db_ps.c (db_ps_proc, dumpthread, db_show_proc). A
process line ends in its only thread, or in ``(threaded)`` and is followed by one line a
thread. A wmesg is cut to 7 characters (8 up to 11); ``*`` in front of it marks a thread
that is blocked on a turnstile, and ``CPU n`` in its place one that runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hangdiag.model import Process, Thread
from hangdiag.readers.section import Opener, Section
from hangdiag.readers.stacks import number
from hangdiag.text.lazy import lazy

# pid ppid pgrp uid state [(threaded)] wmesg wchan cmd
_PROCESS = lazy(
    r" {0,5}(?P<pid>\d+) +(?P<ppid>\d+) +(?P<pgrp>\d+) +(?P<uid>-?\d+) +(?P<state>[A-Z?][A-Za-z+?]{0,7})"
    r"(?P<rest> .*|)\Z"
)
# a widespread gdb script prints the priority before the state
_THREAD = lazy(r" {0,10}(?P<tid>\d{4,9})(?: {10,20}| {1,6}\d{1,3} {4,12})(?P<state>[A-Za-z?]{1,8})(?P<rest> .*|)\Z")
# where blanks in a row are lost, as browsers and chats show them, the header tells it
_NARROW_HEADER = lazy(r"\s*pid {1,2}ppid {1,2}pgrp {1,2}uid {1,2}state ")
_NARROW_THREAD = lazy(r" {0,2}(?P<tid>\d{4,9}) {1,2}(?:\d{1,3} {1,2})?(?P<state>[A-Z?s][A-Za-z?]{0,7})(?P<rest> .*|)\Z")
# rows that are plainly of this table, whatever stands before them
_CHANNEL = r"\*?[^ ].{0,9} +0x[0-9a-f]{8,16} "
_ROW = (
    r" {0,5}\d{1,7} +\d{1,7} +\d{1,7} +-?\d{1,10} {2,3}[A-Z?][A-Za-z+?]{0,7} +"
    rf"(?:\(threaded\) |{_CHANNEL}|CPU +\d)"
    r"|\d{6,7} {18,19}(?:Run|RunQ|CanRun|Inactv|[LSDWIs]{1,4}|\?\?\?) {2,7}"
    rf"(?:CPU +\d| {{20,30}}\[?[^ ]| ?{_CHANNEL})"
)
_ROWS = lazy(_ROW)
# the message may hold blanks ("lab sx "); "CPU 1" stands in its place without a channel
_REST = lazy(
    r"\s+(?:(?:(?P<lock>\*)?(?P<wmesg>\S.{0,40}?)\s+(?P<wchan>0x[0-9a-f]+)|(?P<cpu>CPU\s+\d+))\s+)?(?P<cmd>\S.*)"
)
_CPU = lazy(r"CPU\s+(\d+)\Z")
_STATES = {"Run": "running", "RunQ": "runnable", "CanRun": "runnable", "Inactv": "inactive", "s": "suspended"}
_NAME_ALONE = lazy(r"\s*\[[^\[\]]{1,30}\]\s*\Z|\s*[A-Za-z][\w.-]{0,20}\s*\Z")
_PROC_HEADER = lazy(r"Process (?P<pid>\d+) \((?P<name>.*)\) at (?P<address>0x[0-9a-f]+):")
# the lines of show proc
_PROC_LINE = lazy(r" [a-zA-Z][a-zA-Z ]{1,20}: |   \((?:map|pmap)")
#: Where a channel begins in a row up to 11, whose messages have one more column.
_WIDE_CHANNEL = 42
#: What ``ps/a`` prints behind the name is the command line.
_WITH_ARGUMENTS = lazy(r"(?:ps|show +all +procs|show +allprocs)/\w*a")


@dataclass(frozen=True, slots=True)
class _Table:
    """What a row's meaning depends on: the process it is of, and how wide a wait message can be."""

    pid: int | None = None
    command: str | None = None
    wide: bool = False
    with_arguments: bool = False
    #: whether blanks were lost: one or two stand between columns
    narrow: bool = False


def _read_table(section: Section, start: int, match: re.Match[str]) -> int:
    command = section.context.get("ddb command")
    table = _Table(
        wide=re.search(r"uid   state", section.lines[start]) is not None,
        with_arguments=isinstance(command, str) and _WITH_ARGUMENTS.match(command) is not None,
        narrow=_NARROW_HEADER.match(section.lines[start]) is not None,
    )
    index = _read_rows(section, start + 1, table)
    if index == start + 1:
        return start
    section.note_listing(whole=True)
    return index


def _read_more(section: Section, start: int, match: re.Match[str]) -> int:
    """Rows whose header, or what came behind it, is a few lines up or was not copied."""
    before = section.context.get("ddb ps")
    return _read_rows(section, start, before if isinstance(before, _Table) else _Table())


def _read_rows(section: Section, index: int, table: _Table) -> int:
    """The rows from line ``index`` on; returns the index of the line behind them."""
    lines = section.lines
    first, last = section.page.first, section.page.last  # of a row that was folded, and lost its blanks, they differ
    threads: list[Thread] = []
    pid, command = table.pid, table.command
    own = replace(table, with_arguments=False)
    end = len(lines)
    while index < end:
        line = lines[index]
        found = _THREAD.match(line) or (_NARROW_THREAD.match(line) if table.narrow or first[index] != last[index] else None)
        if found is not None:
            threads.append(_thread(section, index, found, own))
        else:
            found = _PROCESS.match(line)
            if found is None:
                following = section.pass_foreign(index, _ROWS)
                if following == index:
                    break
                index = following
                continue
            pid = int(found.group("pid"))
            rest = found.group("rest")
            if "(threaded)" in rest:
                name, arguments = _names(rest.partition("(threaded)")[2], table)
                begin = index
                if name is None and index + 1 < end and _NAME_ALONE.match(lines[index + 1]):
                    index += 1  # folded by a mailer
                    name, arguments = _names(lines[index], table)
                command = name
                where = section.where(begin, index + 1)
                section.draft.add_process(Process(pid, command, arguments, where=(where,)))
            else:
                section.draft.add_row(_thread(section, index, found, replace(table, pid=pid, command=None)))
            own = replace(own, pid=pid, command=command)
        index += 1
    section.context["ddb ps"] = replace(table, pid=pid, command=command)
    section.draft.add_threads(threads)
    return index


def _thread(section: Section, index: int, found: re.Match[str], table: _Table) -> Thread:
    letters = found.group("state")
    where = section.where(index, index + 1)
    is_thread = "tid" in found.re.groupindex
    tid = int(found.group("tid")) if is_thread else None
    pid, command = table.pid, table.command
    state, interruptible = thread_state(letters, is_thread)
    rest = _REST.match(found.group("rest"))
    if rest is None:
        return Thread(pid, tid, command=command, state=state, interruptible=interruptible, where=(where,))
    wmesg = rest.group("wmesg") or rest.group("cpu")
    name, arguments = _names(rest.group("cmd"), table)
    if tid is None:
        # the name of a process' only thread stands where its command would
        command = name
        if table.wide and interruptible:
            interruptible = None  # up to 11, db_ps.c takes every sleep of such a process for an S
        if arguments is not None and pid is not None:
            section.draft.add_process(Process(pid, command, arguments, where=(where,)))
    lock = None
    cpu = None
    wchan = rest.group("wchan")
    if rest.group("lock"):
        lock, wmesg, state = wmesg or "?", None, "lock"
    elif wmesg is not None:
        on_cpu = _CPU.match(wmesg)
        if on_cpu is not None:
            cpu, wmesg, state = int(on_cpu.group(1)), None, "running"
    cut = 8 if table.wide or (wchan and rest.start("wchan") + found.start("rest") == _WIDE_CHANNEL) else 7
    return Thread(
        pid,
        tid,
        None,
        command,
        name,
        state,
        interruptible,
        wmesg,
        cut if wmesg is not None and len(wmesg) >= cut else None,
        # for a turnstile the address is that of the turnstile, not of the lock
        int(wchan, 16) if wchan and lock is None else None,
        lock,
        cpu,
        where=(where,),
    )


def thread_state(letters: str, is_thread: bool = True) -> tuple[str | None, bool | None]:
    """State and interruptibility from the letters of db_ps.c, of a thread or of a process with only one.

    A thread that is asleep or blocked, and to be suspended once it is not (``Ss``), is asleep or blocked.
    """
    if is_thread and letters in _STATES:
        return _STATES[letters], None
    first = letters[0]
    if first == "D":
        return "sleeping", False
    if first == "S":
        return "sleeping", True
    if first == "I" and is_thread:
        return "iwait", None
    if first == "R":
        return "runnable", None  # on a CPU, the column of the message says so
    return {
        "L": ("lock", None), "W": ("iwait", None), "T": ("suspended", None), "Z": ("zombie", None), "N": ("new", None),
    }.get(first, (None, None))  # fmt: skip


def _names(text: str, table: _Table) -> tuple[str | None, str | None]:
    """The name at the end of a row, and the command line behind it where there is one."""
    if not table.with_arguments:
        return _bare(text), None
    text = text.strip()
    end = text.find("]") + 1 if text.startswith("[") else 0
    name, _, arguments = (text[:end], "", text[end:]) if end else text.partition(" ")
    return _bare(name), arguments.strip() or None


def _bare(text: str) -> str | None:
    name = " ".join(text.split())  # a mailer that folds may leave two
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name or None


def _read_proc(section: Section, start: int, match: re.Match[str]) -> int:
    """``show proc``: the process' own lines, then its threads as ``ps`` prints them."""
    found = _PROC_HEADER.match(section.lines[start])
    if found is None:
        return start
    pid, command = int(found.group("pid")), found.group("name")
    arguments = count = None
    index = start + 1
    begin = start
    places = []
    lines = section.lines
    while index < len(lines):
        if _PROC_LINE.match(lines[index]) is None:
            following = section.pass_foreign(index, _PROC_LINE)
            if following == index:
                break
            if index > begin:
                places.append(section.where(begin, index))
            begin = index = following
        key, _, value = lines[index].strip().partition(": ")
        if key == "arguments":
            arguments = value.strip()
        index += 1
        if key == "threads":
            count = number(value.strip())
            break
    places.append(section.where(begin, index))
    section.draft.add_process(Process(pid, command, arguments, int(found.group("address"), 16), tuple(places), count))
    following = index if index == len(lines) or _THREAD.match(lines[index]) else section.pass_foreign(index, _ROWS)
    if following < len(lines) and _THREAD.match(lines[following]):
        return _read_rows(section, following, _Table(pid, command))
    return index


OPENERS = (
    Opener("ddb-ps", "ddb", r"\s*pid\s+ppid\s+pgrp\s+uid\s+state\s+wmesg\s+wchan\s+cmd", _read_table),
    Opener("ddb-proc", "ddb", r"Process \d+ \(.*\) at 0x[0-9a-f]+:", _read_proc),
    Opener("ddb-rows", "ddb", _ROW, _read_more),
)
