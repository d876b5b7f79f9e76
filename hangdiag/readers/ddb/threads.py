"""``show thread`` and ``show threads``.

From sys/kern/kern_thread.c and sys/ddb/db_thread.c (db_show_thread, db_show_threads).
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, LockFact, Thread
from hangdiag.readers.ddb.frames import has_tail_in, parse_frame
from hangdiag.readers.ddb.stacks import read_frames
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_HEADER = lazy(r"Thread (\d+) at (0x[0-9a-f]+):")
#: A row is never longer: line ends were lost.
_LONGEST = 160
_ROW = lazy(r" *(?P<tid>\d+) \((?P<td>0x[0-9a-f]+)\) \(stack 0x[0-9a-f]+\)(?P<frame>.*)")
_FIELD = lazy(r" ([a-z][a-z ]*?)(?: \(pid (\d+)\))?: (.*)")
_SLEEP = lazy(r"(?P<wmesg>.{0,100}?) {1,40}wchan: (?P<wchan>0x[0-9a-f]+)")
_LOCK = lazy(r"(?P<lock>.{0,100}?) {1,40}turnstile: (?P<turnstile>0x[0-9a-f]+)")
_AGO = lazy(r"(\d+) ms ago|(\d+\.\d+) s ago")


def _read_thread(section: Section, start: int, match: re.Match[str]) -> int:
    found = _HEADER.match(section.lines[start])
    if found is None:
        return start
    known: dict[str, object] = {"tid": int(found.group(1)), "address": int(found.group(2), 16)}
    index = start + 1
    begin = start
    places = []
    lines = section.lines
    while index < len(lines):
        field = _FIELD.match(lines[index])
        if field is None:
            following = section.pass_foreign(index, _FIELD)
            if following == index:
                break
            if index > begin:
                places.append(section.where(begin, index))
            begin = index = following
            continue
        _take(known, *field.groups())
        index += 1
    where = section.where(begin, index)
    places.append(where)
    section.draft.add_threads([Thread(**known, where=tuple(places))])  # type: ignore[arg-type]
    section.note_listing(whole=False)
    lock = known.get("lock")
    if isinstance(lock, str):
        section.draft.add_lock(LockFact(name=lock, waiters=(int(found.group(1)),), where=where))
    return index


def _take(known: dict[str, object], key: str, pid: str | None, value: str) -> None:
    if key == "proc" and pid is not None:
        known["pid"] = int(pid)
    elif key == "name":
        known["name"] = value.strip()
    elif key == "state":
        known.update(_state(value))
    elif key == "wmesg":
        sleep = _SLEEP.match(value)
        if sleep is not None:
            known["wmesg"] = sleep.group("wmesg")
            known["wchan"] = int(sleep.group("wchan"), 16)
    elif key == "lock":
        lock = _LOCK.match(value)
        if lock is not None:
            known["lock"] = lock.group("lock")
    elif key == "last voluntary switch":
        ago = _AGO.match(value)
        if ago is not None:
            known["since"] = int(ago.group(1)) / 1000 if ago.group(1) else float(ago.group(2))


def _state(value: str) -> dict[str, object]:
    running = re.match(r"RUNNING \(CPU (\d+)\)", value)
    if running is not None:
        return {"state": "running", "cpu": int(running.group(1))}
    if value.startswith(("CAN RUN", "RUNQ")):
        return {"state": "runnable"}
    if value.startswith("INACTIVE"):
        return {"state": "inactive"}
    for word, state in (("LOCK", "lock"), ("SLEEPING", "sleeping"), ("SUSPENDED", "suspended"), ("IWAIT", "iwait")):
        if word in value:
            return {"state": state}
    return {}


def _read_threads(section: Section, start: int, match: re.Match[str]) -> int:
    """``show threads``: the innermost frame of each thread, worth little but its address."""
    lines = section.lines
    threads = []
    index = start
    while index < len(lines):
        row = _ROW.match(lines[index])
        if row is None:
            break
        if len(lines[index]) > _LONGEST and section.peeler is not None and section.peeler.split_lost(index):
            continue
        begin = index
        text = row.group("frame").strip()
        if not text and index + 1 < len(lines) and parse_frame(lines[index + 1].partition("/frame")[0]) is not None:
            index += 1  # folded by a mailer
            text = lines[index]
        frame = parse_frame(text.partition("/frame")[0])
        if index + 1 < len(lines) and frame is not None and has_tail_in(lines[index], lines[index + 1]):
            index += 1
        frames: tuple[Frame, ...] = (frame,) if frame is not None else ()
        if frame is not None:
            # arm64's db_trace_thread does not count: the whole stack follows
            more, following = read_frames(section, index + 1)
            frames, index = frames + more, following - 1
        where = section.where(begin, index + 1)
        threads.append(
            Thread(
                tid=int(row.group("tid")),
                address=int(row.group("td"), 16),
                frames=frames,
                where=(where,),
                stack_where=where if frames else None,
            )
        )
        index += 1
    section.draft.add_threads(threads)
    return index


OPENERS = (
    Opener("ddb-thread", "ddb", r"Thread \d+ at 0x[0-9a-f]+:", _read_thread),
    Opener("ddb-threads", "ddb", r" {0,8}\d{1,9} \(0x[0-9a-f]+\) \(stack 0x", _read_threads),
)
