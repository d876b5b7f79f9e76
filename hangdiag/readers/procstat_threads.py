"""``procstat -t`` (``procstat threads``): states and wait messages of threads, without stacks.

Columns from usr.bin/procstat/procstat_threads.c: ``%5d %6d %-19s %-19s %3d %4d %-7s %-9s`` (11 and before: 16 for
19). A wait message or a lock's name (``*name``) is cut to 8 characters (WMESGLEN, LOCKNAMELEN, sys/sys/user.h).
"""

from __future__ import annotations

import re

from hangdiag.model import Thread, Where
from hangdiag.readers.procstat import split_names
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_CUT = 8
#: ki_stat in words, and the state that each tells. ``run`` is on a CPU or on a run queue: that it can run is sure.
STATES = {
    "run": "runnable", "stop": "suspended", "sleep": "sleeping", "lock": "lock", "wait": "iwait", "zomb": "zombie",
    "idle": "new", "??": None,
}  # fmt: skip
_ROW = lazy(
    r"\s*(?P<pid>\d+) +(?P<tid>\d+) (?P<who>.{1,60}?) {1,30}(?P<cpu>\d{1,4}|-) {1,9}(?P<priority>-?\d{1,4}) "
    r"(?P<state>run|stop|sleep|lock|wait|zomb|idle|\?\?) {1,9}(?P<lock>\*)?(?P<wmesg>\S.{0,8}?)?(?: {2,40}\S.*| *<-.*)?\s*\Z"
)


def _read_threads(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    header = lines[start]
    names = header.index("TDNAME") - header.index("COMM")
    index = start + 1
    if "WCHAN" not in header:
        if index >= len(lines) or lines[index].strip() != "WCHAN":
            return start
        index += 1  # folded by a mailer
    rows: list[Thread] = []
    begun: set[int | None] = set()
    while index < len(lines):
        row = _ROW.match(lines[index][:300])
        if row is None:
            blank = not lines[index].strip() and index + 1 < len(lines)
            following = index + 1 if blank else section.pass_foreign(index, _is_row) if rows else index
            if following == index or not _is_row(lines[following]):
                break
            index = following
            continue
        end = index + 1
        if end < len(lines) and (not row.group("wmesg") or lines[end].lstrip().startswith(("<-", "-- "))):
            # a mailer broke it before the wait message, or before what somebody wrote behind it
            whole = _ROW.match(f"{lines[index].rstrip()} {lines[end].strip()}"[:300])
            if whole is not None:
                row, end = whole, end + 1
        thread = _thread(section, index, end, row, names)
        if thread.tid in begun and rows and thread.tid == rows[0].tid:
            # the command's next look (-w)
            section.draft.add_threads(rows, table="procstat -t")
            section.draft.timeline.pass_time()
            rows, begun = [], set()
        rows.append(thread)
        begun.add(thread.tid)
        index = end
    section.draft.add_threads(rows, table="procstat -t")
    return index


def _is_row(line: str) -> bool:
    return _ROW.match(line[:300]) is not None


def _thread(section: Section, index: int, end: int, row: re.Match[str], names: int) -> Thread:
    command, name = split_names(row.group("who").rstrip(), names)
    state = STATES[row.group("state")]
    if state == "runnable" and "on-CPU" in row.group():
        state = "running"
    return make_thread(
        int(row.group("pid")),
        int(row.group("tid")),
        command,
        name,
        state,
        row.group("wmesg"),
        row.group("lock") is not None,
        section.where(index, end),
    )


def make_thread(
    pid: int | None,
    tid: int | None,
    command: str,
    name: str,
    state: str | None,
    message: str | None,
    is_locked: bool,
    where: Where,
) -> Thread:
    """A thread from the values of a row; ``message`` is a lock's name if ``is_locked``."""
    if message == "-" and (is_locked or state != "sleeping"):
        message = None
    wmesg = None if is_locked else message
    return Thread(
        pid,
        tid,
        command=command if command not in ("-", "") else None,
        name=name if name not in ("-", "") else None,
        state="lock" if is_locked else state,
        wmesg=wmesg,
        wmesg_cut=_CUT if wmesg is not None and len(wmesg) >= _CUT else None,
        lock=(message or "?") if is_locked else None,
        where=(where,),
    )


OPENERS = (
    Opener(
        "procstat-threads",
        "procstat",
        r"\s*PID\s+TID\s+COMM\b.*\bTDNAME\b.*\bSTATE(?:\s+WCHAN)?\s*\Z",
        _read_threads,
    ),
)
