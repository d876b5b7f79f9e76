"""``ps -l``, ``ps -axHl``, ``ps -o ...wchan...`` and ``top -H``: who waits for what, without stacks.

From bin/ps/print.c (state: D, I, L, R, S, T, W, Z and flags; a lock is shown as ``*name``) and
usr.bin/top/machine.c (``CPU3``, ``RUN``, ``*name`` or the wait message; threads as
``command{thread}``). Both cut a wait message to 8 characters (WMESGLEN, sys/sys/user.h).
"""

from __future__ import annotations

import re

from hangdiag.model import Process, Thread
from hangdiag.readers.columns import read_row
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_CUT = 8
_LETTERS: dict[str, tuple[str | None, bool | None]] = {
    "D": ("sleeping", False),
    "I": ("sleeping", True),
    "S": ("sleeping", True),
    "L": ("lock", None),
    "R": (None, None),
    "T": ("suspended", None),
    "W": ("iwait", None),
    "Z": ("zombie", None),
}
_TOP_STATES: dict[str, str | None] = {
    "RUN": "runnable", "SLEEP": "sleeping", "STOP": "suspended", "ZOMB": "zombie", "WAIT": "iwait", "START": "new",
    "LOCK": "lock", "-": None,
}  # fmt: skip
_ON_CPU = lazy(r"CPU(\d+)\Z")
_NAMED = lazy(r"(?P<command>[^{}]*)\{(?P<name>[^{}]*)\}\Z")
_KERNEL = lazy(r"\[(?P<command>[^/\]]*)(?:/(?P<name>.*))?\]\Z")
# ps -H without arguments prints comm/thread (bin/ps/print.c, ucomm)
_THREAD = lazy(r"(?P<command>[\w-]+)/(?P<name>(?:(?! -)[^/]){1,19})\Z")
_PROGRAM = lazy(r"(?:\S*/)?(?P<name>[^\s/:]+)")


def _read_ps(section: Section, start: int, match: re.Match[str]) -> int:
    return _read_table(section, start, "ps")


def _read_top(section: Section, start: int, match: re.Match[str]) -> int:
    return _read_table(section, start, "top")


def _read_table(section: Section, start: int, tool: str) -> int:
    lines = section.lines
    header = lines[start]
    index = start + 1
    threads = []
    begins: dict[int, int] = {}
    while index < len(lines):
        row = read_row(header, lines[index]) if lines[index][:1] in " \t0123456789-" or lines[index][:1].isalpha() else None
        pid = row.get("PID", "") if row is not None else ""
        if row is None or not pid.isdecimal():
            break
        begins[int(pid)] = begins.get(int(pid), 0) + 1
        threads.append(_thread(section, index, row, tool))
        index += 1
    if not threads:
        return start
    known = [thread for thread in threads if thread.tid is not None]
    if known:
        section.draft.add_threads(known, table=tool)
    for thread in threads:
        if thread.tid is None:
            section.draft.add_row(thread)
    section.count_stacks(tool, 0)
    return index


def _thread(section: Section, index: int, row: dict[str, str], tool: str) -> Thread:
    pid = int(row["PID"])
    where = section.where(index, index + 1)
    tid = next((int(row[key]) for key in ("LWP", "TID", "THRID") if row.get(key, "").isdecimal()), None)
    printed = row.get("COMMAND") or row.get("ARGS") or row.get("COMM") or ""
    command, name, arguments = _who(printed)
    name = row.get("TDNAME") or name
    if arguments is not None:
        section.draft.add_process(Process(pid, command, arguments, where=(where,)))
    state, interruptible = None, None
    if "STAT" in row:
        state, interruptible = _LETTERS.get(row["STAT"][:1], (None, None))
    elif tool == "ps" and "STATE" in row:
        state, interruptible = _LETTERS.get(row["STATE"][:1], (None, None))
    message = row.get("MWCHAN") or row.get("WCHAN") or ""
    cpu: int | None = None
    if tool == "top":
        message = row.get("STATE", "")
        on_cpu = _ON_CPU.match(message)
        if on_cpu is not None:
            state, cpu, message = "running", int(on_cpu.group(1)), ""
        elif message in _TOP_STATES:
            state, message = _TOP_STATES[message], ""
        elif message:
            state = "sleeping"
    lock = None
    if message.startswith("*"):
        lock, message, state = message[1:] or "?", "", "lock"
    elif message == "-" and state != "sleeping":
        message = ""
    wmesg = message or None
    return Thread(
        pid=pid,
        tid=tid,
        command=command,
        name=name,
        state=state,
        interruptible=interruptible,
        wmesg=wmesg,
        wmesg_cut=_CUT if wmesg is not None and len(wmesg) >= _CUT else None,
        lock=lock,
        cpu=cpu,
        where=(where,),
    )


def _who(printed: str) -> tuple[str | None, str | None, str | None]:
    """Command, thread name and command line from what stands under COMMAND."""
    if not printed:
        return None, None, None
    kernel = _KERNEL.match(printed)
    if kernel is not None:
        return kernel.group("command"), kernel.group("name"), None
    named = _NAMED.match(printed)
    if named is not None:
        return named.group("command").strip() or None, named.group("name"), None
    program = _PROGRAM.match(printed)
    command = program.group("name") if program is not None else printed
    thread = _THREAD.match(printed)
    if thread is not None:
        return thread.group("command"), thread.group("name"), None
    return command, None, printed


OPENERS = (
    Opener(
        "top-table",
        "top",
        r"\s*PID(?: (?:USERNAME|JID|THRID|TID|UID|USER)\b)+.{0,120}\bSTATE\b.{0,80}\bCOMMAND\s*\Z",
        _read_top,
    ),
    Opener(
        "ps-table",
        "ps",
        r"\s*(?=(?:[A-Z%]\S* +){1,25}[A-Z])(?=.*\bPID\b)(?=.*\b(?:MWCHAN|WCHAN|STAT|NWCHAN)\b)[A-Z% \t]+\Z",
        _read_ps,
    ),
    Opener(
        "top-head",
        "top",
        r"last pid: +\d+; +load averages?:|\d+ (?:processes|threads): +\d+|CPU(?: \d+)?: +[\d.]+% user|Mem: \d+\w Active"
        r"|ARC: \d+|Swap: \d+\w Total|\s+\d+\w MFU, ",
        lambda section, start, match: start + 1,
    ),
)
