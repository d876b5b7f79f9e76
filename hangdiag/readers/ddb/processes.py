"""``ps``, ``show all procs``, ``show proc``.

From sys/kern/kern_proc.c and sys/ddb/db_ps.c (db_ps_proc, dumpthread, db_show_proc). A
process line ends in its only thread, or in ``(threaded)`` and is followed by one line a
thread. A wmesg is cut to 7 characters (8 up to 11); ``*`` in front of it marks a thread
that is blocked on a turnstile, and ``CPU n`` in its place one that runs.
"""

from __future__ import annotations

import re

from hangdiag.model import Process, Thread
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

# pid ppid pgrp uid state [(threaded)] wmesg wchan cmd
_PROCESS = lazy(
    r" {0,5}(?P<pid>\d+) +(?P<ppid>\d+) +(?P<pgrp>\d+) +(?P<uid>-?\d+) +(?P<state>[A-Z?][A-Za-z+?]{0,7})"
    r"(?P<rest> .*|)\Z"
)
_THREAD = lazy(r" {0,4}(?P<tid>\d{4,7}) {10,20}(?P<state>[A-Z?][A-Za-z?]{0,7})(?P<rest> .*|)\Z")
# the message may hold blanks ("lab sx "); "CPU 1" stands in its place without a channel
_REST = lazy(
    r"\s+(?:(?P<lock>\*)?(?P<wmesg>\S.{0,40}?)\s+(?P<wchan>0x[0-9a-f]+)|(?P<cpu>CPU\s+\d+))?\s+(?P<cmd>\S.*)"
)
_CPU = lazy(r"CPU\s+(\d+)\Z")
_STATES = {"Run": "running", "RunQ": "runnable", "CanRun": "runnable", "Inactv": "inactive", "I": "iwait"}
_NAME_ALONE = lazy(r"\s*\[[^\[\]]{1,30}\]\s*\Z|\s*[A-Za-z][\w.-]{0,20}\s*\Z")
_PROC_HEADER = lazy(r"Process (?P<pid>\d+) \((?P<name>.*)\) at (?P<address>0x[0-9a-f]+):")


def _read_table(section: Section, start: int, match: re.Match[str]) -> int:
    cut = 8 if re.search(r"wmesg {9}wchan", section.lines[start]) else 7
    return _read_rows(section, start, start + 1, cut, None, None)


def _read_rows(section: Section, start: int, index: int, cut: int, pid: int | None, command: str | None) -> int:
    lines = section.lines
    threads: list[Thread] = []
    end = len(lines)
    section_start = start
    while index < end:
        line = lines[index]
        found = _THREAD.match(line)
        if found is not None:
            thread = _thread(section, index, found, cut, pid, command)
            threads.append(thread)
        else:
            found = _PROCESS.match(line)
            if found is None:
                break
            pid = int(found.group("pid"))
            rest = found.group("rest")
            if "(threaded)" in rest:
                command = _bare(rest.partition("(threaded)")[2])
                begin = index
                if command is None and index + 1 < end and _NAME_ALONE.match(lines[index + 1]):
                    index += 1  # folded by a mailer
                    command = _bare(lines[index])
                section.draft.add_process(Process(pid, command, where=(section.where(begin, index + 1),)))
            else:
                row = _thread(section, index, found, cut, pid, None)
                section.draft.add_row(row)
        index += 1
    if index == section_start + 1:
        return section_start
    section.draft.add_threads(threads)
    return index


def _thread(
    section: Section, index: int, found: re.Match[str], cut: int, pid: int | None, command: str | None
) -> Thread:
    letters = found.group("state")
    where = section.where(index, index + 1)
    tid = int(found.group("tid")) if "tid" in found.re.groupindex else None
    state, interruptible = thread_state(letters)
    rest = _REST.match(found.group("rest"))
    if rest is None:
        return Thread(pid, tid, command=command, state=state, interruptible=interruptible, where=(where,))
    wmesg = rest.group("wmesg") or rest.group("cpu")
    name = _bare(rest.group("cmd"))
    if tid is None:
        # the name of a process' only thread stands where its command would
        command = name
    lock = None
    cpu = None
    wchan = rest.group("wchan")
    if rest.group("lock"):
        lock, wmesg, state = wmesg or "?", None, "lock"
    elif wmesg is not None:
        on_cpu = _CPU.match(wmesg)
        if on_cpu is not None:
            cpu, wmesg, state = int(on_cpu.group(1)), None, "running"
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


def thread_state(letters: str) -> tuple[str | None, bool | None]:
    """State and interruptibility from the letters of db_ps.c, of a process or a thread."""
    if letters in _STATES:
        return _STATES[letters], None
    first = letters[0]
    if "s" in letters and letters.rstrip("s") in ("", "S", "D", "L") and len(letters) < 3 and letters != "Ss":
        return "suspended", None
    if first == "L":
        return "lock", None
    if first == "D":
        return "sleeping", False
    if first == "S":
        return "sleeping", True
    if first == "R":
        return None, None
    return {"W": ("iwait", None), "T": ("suspended", None), "Z": ("zombie", None), "N": ("new", None)}.get(
        first, (None, None)
    )


def _bare(text: str) -> str | None:
    name = text.strip()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name or None


def _read_proc(section: Section, start: int, match: re.Match[str]) -> int:
    """``show proc``: the process' own lines, then its threads as ``ps`` prints them."""
    found = _PROC_HEADER.match(section.lines[start])
    if found is None:
        return start
    pid, command = int(found.group("pid")), found.group("name")
    arguments = None
    index = start + 1
    lines = section.lines
    while index < len(lines) and lines[index].startswith(" ") and _THREAD.match(lines[index]) is None:
        key, _, value = lines[index].strip().partition(": ")
        if key == "arguments":
            arguments = value.strip()
        index += 1
        if key == "threads":
            break
    section.draft.add_process(
        Process(pid, command, arguments, int(found.group("address"), 16), (section.where(start, index),))
    )
    end = _read_rows(section, index - 1, index, 7, pid, command)
    return max(end, index)


OPENERS = (
    Opener("ddb-ps", "ddb", r"\s*pid\s+ppid\s+pgrp\s+uid\s+state\s+wmesg\s+wchan\s+cmd", _read_table),
    Opener("ddb-proc", "ddb", r"Process \d+ \(.*\) at 0x[0-9a-f]+:", _read_proc),
)
