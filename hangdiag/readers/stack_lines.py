"""Stacks on one line without a table's header: ``procstat`` rows cut out, SIGINFO, bare stacks; ``procstat -t``.

SIGINFO from sys/kern/tty_info.c: `` load: 0.46  cmd: sh 47077 [ttyin] 628.14r 0.00u 0.00s 0% 1784k``, and with
kern.tty_info_kstacks the thread's stack on the next line. ``procstat -t`` from
usr.bin/procstat/procstat_threads.c.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.procstat import ELISIONS, new_memo, split_unaligned
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_SWITCH = r"(?:mi_switch|sched_switch|sched_ule_sswitch|sched_4bsd_sswitch|sleepq_\w+|turnstile_wait|fork_trampoline)"
_SIGINFO = lazy(
    r".{0,200}?load: [\d.,]+ +cmd: (?P<command>.{1,40}?) (?P<pid>\d+) \[(?P<lock>\*)?(?P<state>[^\]]*)\] [\d.,]+r"
)
_STATES = {
    "running": "running", "runnable": "runnable", "suspended": "suspended", "iwait": "iwait", "intrwait": "iwait",
    "zombie": "zombie",
}  # fmt: skip
_TABLE_STATES = {
    "run": None, "stop": "suspended", "sleep": "sleeping", "lock": "lock", "wait": "iwait", "zomb": "zombie",
    "idle": "new",
}  # fmt: skip
_TABLE_ROW = lazy(
    r"\s*(?P<pid>\d+) +(?P<tid>\d+) (?P<who>.{10,60}?) {1,40}(?P<cpu>\d+|-) +(?P<priority>-?\d+) "
    r"(?P<state>run|stop|sleep|lock|wait|zomb|idle|\?\?) +(?P<lock>\*)?(?P<wmesg>\S.{0,8}?)?\s*(?:<-.*)?\Z"
)


def frames_of(line: str) -> tuple[Frame, ...]:
    """The functions in a line of ``name+0xoffset`` words; nothing if there are other words in it."""
    memo = new_memo()
    frames = []
    for token in line.split():
        frame = memo[token]
        if frame is None and token not in ELISIONS:
            return ()
        if frame is not None:
            frames.append(frame)
    return tuple(frames)


def _read_bare(section: Section, start: int, match: re.Match[str]) -> int:
    frames = frames_of(section.lines[start])
    if len(frames) < 2:
        return start
    index = start + 1
    lines = section.lines
    while index < len(lines) and lines[index][:1] in (" ", "\t") and "_" in lines[index]:
        more = frames_of(lines[index])
        if not more:
            break
        frames += more
        index += 1
    where = section.where(start, index)
    section.draft.add_threads([Thread(frames=frames, where=(where,), stack_where=where)])
    section.count_stacks("procstat")
    return index


def _read_row(section: Section, start: int, match: re.Match[str]) -> int:
    """A row of ``procstat -k`` whose header was not copied."""
    pid, tid, rest = section.lines[start].split(None, 2)
    command, name, text = split_unaligned(rest, True)
    frames = frames_of(text)
    if not frames or not command:
        return start
    where = section.where(start, start + 1)
    thread = Thread(
        int(pid),
        int(tid),
        command=command,
        name=None if name in ("-", "") else name,
        state={"<running>": "running", "<swapped>": "swapped"}.get(frames[0].function),
        frames=frames,
        where=(where,),
        stack_where=where,
    )
    section.draft.add_threads([thread])
    section.count_stacks("procstat")
    return start + 1


def _read_siginfo(section: Section, start: int, match: re.Match[str]) -> int:
    found = _SIGINFO.match(section.lines[start])
    if found is None:
        return start
    state = found.group("state")
    known = _STATES.get(state)
    end = start + 1
    frames: tuple[Frame, ...] = ()
    if end < len(section.lines):
        frames = frames_of(section.lines[end])
        frames = frames if len(frames) > 1 else ()
        end += bool(frames)
    where = section.where(start, end)
    locked = found.group("lock") is not None
    section.draft.add_row(
        Thread(
            pid=int(found.group("pid")),
            command=found.group("command"),
            state="lock" if locked else known or "sleeping",
            wmesg=None if locked or known is not None else state,
            lock=state if locked else None,
            frames=frames,
            where=(where,),
            stack_where=where if frames else None,
        )
    )
    return end


def _read_threads(section: Section, start: int, match: re.Match[str]) -> int:
    """``procstat -t``."""
    lines = section.lines
    header = lines[start]
    names = header.index("TDNAME") - header.index("COMM")
    index = start + 1
    threads = []
    while index < len(lines) and (row := _TABLE_ROW.match(lines[index][:300])) is not None:
        who = row.group("who")
        state = _TABLE_STATES.get(row.group("state"))
        locked = row.group("lock") is not None
        wmesg = row.group("wmesg")
        name = who[names:].strip()
        if row.group("state") != "sleep" and wmesg == "-":
            wmesg = None
        on_cpu = row.group("state") == "run" and "on-CPU" in lines[index]
        threads.append(
            Thread(
                int(row.group("pid")),
                int(row.group("tid")),
                command=who[:names].strip() or None,
                name=name if name not in ("-", "") else None,
                state="lock" if locked else "running" if on_cpu else state,
                wmesg=None if locked else wmesg,
                wmesg_cut=8 if wmesg is not None and not locked and len(wmesg) >= 8 else None,
                lock=wmesg if locked else None,
                where=(section.where(index, index + 1),),
            )
        )
        index += 1
    section.draft.add_threads(threads, table="procstat -t")
    return index


OPENERS = (
    Opener("procstat-threads", "procstat", r"\s*PID\s+TID\s+COMM\b.*\bTDNAME\b.*\bSTATE\s+WCHAN", _read_threads),
    Opener(
        "procstat-row",
        "procstat",
        rf"\s*\d{{1,6}}\s+\d{{5,7}}\s+\S.{{0,60}}?\s(?:{_SWITCH}\b|<running>|[a-z_]\w+\+0x[0-9a-f]+\s)",
        _read_row,
    ),
    Opener("siginfo", "console", r".{0,200}?\bload: [\d.,]+ +cmd: ", _read_siginfo, ("load: ",)),
    Opener("bare-stack", "procstat", rf"{_SWITCH}(?:\+0x[0-9a-f]+|\+\.\.\.)?\s+[A-Za-z_][\w.]*(?:\s|\+|\Z)", _read_bare),
    Opener(
        "procstat-error",
        "procstat",
        r"procstat: (?:sysctl|procstat_|no such|\w+\()",
        lambda section, start, match: start + 1,
    ),
)
