"""Whose threads mdb shows: ``::ps``, ``::pgrep``, and commands that name a process.

Columns of ``::ps`` from usr/src/cmd/mdb/common/modules/genunix/genunix.c (ps): ``S PID PPID PGID SID UID FLAGS ADDR NAME``,
with -f the arguments, with -t and -l the threads and LWPs below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hangdiag.model import Process, Thread
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_ROW = lazy(
    r"\s{0,4}(?P<state>[A-Z?]) +(?P<pid>\d+)(?: +\d+){4,8} +0x[0-9a-f]+ +(?P<address>[0-9a-f]{8,16}) +(?P<name>\S.*?)\s*\Z"
)
_THREAD = lazy(r"\s+T +0x(?P<address>[0-9a-f]{8,16}) <TS_(?P<state>\w+)>")
_LWP = lazy(r"\s+L +0x[0-9a-f]{8,16} ID: \d+")
_PGREP = lazy(r".{0,80}?::pgrep (?:-\w )*\^?(?P<name>[\w-]+)")
_PID = lazy(r".{0,80}?\b(?P<base>0t|0x)?(?P<pid>[0-9a-f]+)::pid2proc")
#: illumos keeps so much of a command line (PSARGSZ): a longer one was cut, and its last word is not the VM's name.
_PSARGSZ = 80
#: States of threads, as ``::thread``, ``::stacks`` and ``::ps -t`` name them.
STATES = {
    "sleep": "sleeping", "run": "runnable", "onproc": "running", "stopped": "suspended", "wait": "sleeping", "zomb": "zombie",
    "panic": "running", "free": "inactive",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Owner:
    """The process of a thread, as far as it is known."""

    pid: int | None = None
    command: str | None = None


def owners(section: Section) -> dict[int, Owner]:
    """The processes that ``::ps`` lists anywhere in the text, by the address of their proc_t."""
    known: object = section.context.get("mdb owners")
    if known is None or section.context.get("mdb page") is not section.page:
        found: dict[int, Owner] = {}
        for line in section.lines:
            if " 0x" in line and (row := _ROW.match(line)) is not None:
                found[int(row.group("address"), 16)] = Owner(int(row.group("pid")), command_of(row.group("name")))
        known = section.context["mdb owners"] = found
        section.context["mdb page"] = section.page
    assert isinstance(known, dict)
    return known


def command_of(arguments: str) -> str:
    """The command of a command line or of ``u_comm``."""
    return arguments.split()[0].rpartition("/")[2]


def add_arguments(section: Section, pid: int, arguments: str, start: int) -> None:
    """Note a process and, unless it was cut, its command line."""
    whole = len(arguments) < _PSARGSZ - 1 and " " in arguments.strip()
    section.draft.add_process(
        Process(pid, command_of(arguments), arguments.strip() if whole else None, where=(section.where(start, start + 1),))
    )


def read_processes(section: Section, start: int, match: re.Match[str]) -> int:
    """``::ps`` and ``::pgrep``."""
    lines = section.lines
    index = start + 1
    owner = Owner()
    while index < len(lines):
        line = lines[index]
        row = _ROW.match(line)
        if row is not None:
            owner = Owner(int(row.group("pid")), command_of(row.group("name")))
            add_arguments(section, int(row.group("pid")), row.group("name"), index)
        elif (thread := _THREAD.match(line)) is not None:
            section.draft.add_threads(
                [
                    Thread(
                        pid=owner.pid,
                        address=int(thread.group("address"), 16),
                        command=owner.command,
                        state=STATES.get(thread.group("state").lower()),
                        where=(section.where(index, index + 1),),
                    )
                ]
            )
        elif not _LWP.match(line):
            break
        index += 1
    return index


def read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    """A command: the threads that it shows may be those of one process."""
    line = section.lines[start][:300]
    pgrep, pid = _PGREP.match(line), _PID.match(line)
    owner = Owner()
    if pid is not None:
        base = 10 if pid.group("base") == "0t" else 16
        try:
            number = int(pid.group("pid"), base)
        except ValueError:
            number = 0
        owner = Owner(number or None)
        named = {one.command for one in owners(section).values() if one.pid == number}
        if len(named) == 1:
            owner = Owner(number, named.pop())
    elif pgrep is not None:
        name = pgrep.group("name")
        pids = {one.pid for one in owners(section).values() if one.command == name}
        owner = Owner(pids.pop() if len(pids) == 1 else None, name if name in ("bhyve", "bhyvectl") else None)
    section.context["mdb owner"] = owner
    return start + 1


def owner_at_prompt(section: Section) -> Owner:
    """The process that the last command asked about."""
    owner = section.context.get("mdb owner")
    return owner if isinstance(owner, Owner) else Owner()
