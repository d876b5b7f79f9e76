"""What gdb scripts print that walk the kernel's process list: one line a thread, as the author likes it.

``td 0x.. tid 100047 name bhyvectl wmesg vmstat wchan 0x.. inhib 2 state 1 oncpu -1``, or with
``key=value``. td_state and td_inhibitors are numbers of sys/sys/proc.h: enum td_states
(TDS_INHIBITED 1, CAN_RUN 2, RUNQ 3, RUNNING 4) and TDI_SUSPENDED 1, TDI_SLEEPING 2,
TDI_SWAPPED 4, TDI_LOCK 8, TDI_IWAIT 16. Stacks come as ``info symbol`` prints return addresses:
``mi_switch + 210 in section .text``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hangdiag.model import Frame, Process, Thread
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.readers.stacks import may_follow
from hangdiag.text.lazy import lazy

_KEYS = {
    "pid": "pid", "p_pid": "pid", "comm": "command", "p_comm": "command", "tid": "tid", "td_tid": "tid",
    "td": "address", "thread": "address", "name": "name", "td_name": "name", "wmesg": "wmesg", "td_wmesg": "wmesg",
    "wchan": "wchan", "td_wchan": "wchan", "inhib": "inhibitors", "inhibitors": "inhibitors",
    "td_inhibitors": "inhibitors", "state": "state", "td_state": "state", "oncpu": "cpu", "td_oncpu": "cpu",
    "pcb": "", "td_pcb": "", "proc": "process", "thr": "", "lockname": "lock", "td_lockname": "lock",
    "flags": "", "td_flags": "", "lastcpu": "", "td_lastcpu": "", "pri": "", "td_priority": "", "blocked": "",
    "td_blocked": "", "pcb_rip": "", "pcb_rsp": "", "pcb_rbp": "", "kstack": "", "td_kstack": "",
}  # fmt: skip
_KEY = lazy(rf"(?:(?<=\s)|\A)({'|'.join(sorted(_KEYS, key=len, reverse=True))})(?:\[\d+\])?(?:=|: ?| (?=\S))")
_SYMBOL = lazy(r"(?P<name>[A-Za-z_][\w.$@]*)(?: \+ (?P<offset>\d+))? in section \S+(?: of (?P<object>\S+))?\s*\Z")
_NAMED = lazy(r"tid (?P<tid>\d+) (?P<name>.*?): pcb_rip ")
_BEGINS = lazy(r"\s*(?:proc|td|pid|tid)[ =:\[]")
_ELISION = lazy(r"\s*[\[(<]?(?:\.{2,}|\u2026|snip|cut)[\])>]?\s*\Z")
_STATES = {0: "inactive", 2: "runnable", 3: "runnable", 4: "running"}
_INHIBITORS = ((0x8, "lock"), (0x2, "sleeping"), (0x1, "suspended"), (0x10, "iwait"), (0x4, "swapped"))
_NOTHING = frozenset({"(null)", "(nil)", "0x0", "0", "", "<NULL>", '""', "(none)"})
_NOISE = lazy(r"\s*(?:>\s*)*(?:echo\b.*|walk\w*|No symbol matches .*)?\Z")


def thread_state(state: int | None, inhibitors: int | None) -> str | None:
    """The model's word for td_state and td_inhibitors."""
    if state == 1 or (state is None and inhibitors):
        for bit, word in _INHIBITORS:
            if (inhibitors or 0) & bit:
                return word
        return None
    return _STATES.get(state) if state is not None else None


def fields_of(line: str) -> dict[str, str]:
    """The known ``key value`` or ``key=value`` pairs of ``line``, by the model's names."""
    found = list(_KEY.finditer(line))
    fields: dict[str, str] = {}
    for index, match in enumerate(found):
        end = found[index + 1].start() if index + 1 < len(found) else len(line)
        name = _KEYS[match.group(1)]
        if name:
            fields.setdefault(name, line[match.end() : end].strip().strip(",").strip())
    return fields


def _number(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(text.split()[0].rstrip(",:"), 0)
    except ValueError:
        return None


def _word(text: str | None) -> str | None:
    if text is None or text in _NOTHING:
        return None
    quoted = re.search(r'"([^"]*)"', text)
    return quoted.group(1) if quoted is not None else text


def thread_of(fields: Mapping[str, str]) -> dict[str, object]:
    """Keyword arguments of a Thread from :func:`fields_of`."""
    state = thread_state(_number(fields.get("state")), _number(fields.get("inhibitors")))
    cpu = _number(fields.get("cpu"))
    return {
        "pid": _number(fields.get("pid")),
        "tid": _number(fields.get("tid")),
        "address": _number(fields.get("address")) or None,
        "command": _word(fields.get("command")),
        "name": _word(fields.get("name")),
        "state": state,
        "wmesg": _word(fields.get("wmesg")) if state in (None, "sleeping") else None,
        "wchan": (_number(fields.get("wchan")) or None) if state in (None, "sleeping") else None,
        "lock": _word(fields.get("lock")) if state == "lock" else None,
        "cpu": cpu if cpu is not None and 0 <= cpu < 4096 and state == "running" else None,
    }


def _is_thread(fields: Mapping[str, str]) -> bool:
    return "wchan" in fields or "wmesg" in fields or ("inhibitors" in fields and "state" in fields)


def _is_process(fields: Mapping[str, str]) -> bool:
    return "pid" in fields and ("command" in fields or "process" in fields)


def _is_row(line: str) -> bool:
    fields = fields_of(line) if _BEGINS.match(line) else {}
    return _is_thread(fields) or _is_process(fields)


def _read_walk(section: Section, start: int, match: re.Match[str]) -> int:
    """Lines of threads, between them lines of the processes that they belong to."""
    lines = section.lines
    index = start
    threads = []
    pid: int | None = None
    command: str | None = None
    taken = start
    while index < len(lines):
        line = lines[index]
        fields = fields_of(line) if " " in line else {}
        where = section.where(index, index + 1)
        if _is_thread(fields):
            known = thread_of(fields)
            if known["pid"] is None and "command" not in fields:
                known["pid"], known["command"] = pid, command
            if known["tid"] is None and known["address"] is None:
                break
            threads.append(Thread(**known, where=(where,)))  # type: ignore[arg-type]
        elif _is_process(fields):
            pid, command = _number(fields["pid"]), _word(fields.get("command"))
            if pid is not None:
                section.draft.add_process(Process(pid, command, None, _number(fields.get("process")), (where,)))
        elif _NOISE.match(line) is None:
            following = section.pass_foreign(index, _is_row) if taken > start else index
            if following == index:
                break
            if any(_ELISION.match(passed) for passed in lines[index:following]):
                pid = command = None  # the next process' own line may be among what is left out
            index = following
            continue
        else:
            index += 1
            continue
        index += 1
        taken = index
    section.draft.add_threads(threads)
    return taken


def _read_symbols(section: Section, start: int, match: re.Match[str]) -> int:
    """A stack of ``info symbol`` lines below ``tid N NAME: pcb_rip ...``."""
    head = _NAMED.match(section.lines[start])
    frames, end = _collect(section.lines, start + 1 if head is not None else start)
    if head is None and not frames:
        return start
    where = section.where(start, end)
    thread = Thread(frames=frames, where=(where,), stack_where=where if frames else None)
    if head is not None:
        thread = replace(thread, tid=int(head.group("tid")), name=head.group("name"))
    if head is not None or len(frames) > 1:
        section.draft.add_threads([thread])
        _keep_open(section, end, thread)
    if head is not None and frames:
        section.count_stacks("kgdb")
    return end


def _collect(lines: list[str], index: int) -> tuple[tuple[Frame, ...], int]:
    """The frames from line ``index`` on, and the index behind them."""
    frames: list[Frame] = []
    taken = index
    while index < len(lines):
        symbol = _SYMBOL.match(lines[index])
        if symbol is not None:
            offset = symbol.group("offset")
            frames.append(Frame(symbol.group("name"), int(offset) if offset else None, symbol.group("object")))
            taken = index + 1
        elif lines[index].startswith("No symbol matches "):
            taken = index + 1
        elif _NOISE.match(lines[index]) is None:
            break
        index += 1
    return tuple(frames), taken


def _keep_open(section: Section, end: int, thread: Thread) -> None:
    """The stack of ``thread`` may go on behind line ``end``."""
    section.pending = Pending(end, lambda section, index: _go_on(section, index, thread), bool(thread.frames))


def _go_on(section: Section, start: int, thread: Thread) -> int:
    """Read the frames from line ``start`` on if they may be the next ones of ``thread``."""
    if _SYMBOL.match(section.lines[start]) is None:
        return start
    frames, end = _collect(section.lines, start)
    if not may_follow(thread.frames[-1].function if thread.frames else None, frames[0].function):
        return start
    whole = section.lengthen(thread, frames, start, end)
    if whole is None:
        return start
    _keep_open(section, end, whole)
    return end


OPENERS = (
    Opener("gdb-walk", "kgdb", r"\s*(?:proc|td)(?: |\[\d+\] )(?:0x[0-9a-f]+ )?(?:pid|tid)[ =]\d+ \w", _read_walk),
    Opener("gdb-walk-thread", "kgdb", r"\s*(?:pid|tid|td)[=: ].*\bwmesg[=: ]", _read_walk),
    Opener("gdb-symbols", "kgdb", r"tid \d+ .*: pcb_rip |[A-Za-z_][\w.$@]* \+ \d+ in section ", _read_symbols),
    Opener(
        "gdb-script",
        "kgdb",
        r"(?: *>)+ *(?:(?:printf?|set|while|if|end|else|info|echo|silent|x|call)\b.*)?\s*\Z|echo \S+\\n\s*\Z",
        lambda section, start, match: start + 1,
    ),
)
