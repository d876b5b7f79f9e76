"""``show pcpu``, ``show allpcpu``, ``show registers``, ``show cdev``, ``show witness`` and the like.

From sys/kern/subr_pcpu.c (show_pcpu): which thread is on which CPU (up to 10 without its tid), and the spin locks
that it holds. The others say nothing of threads: their lines are recognised so that they are not taken for something unknown.
"""

from __future__ import annotations

import re

from hangdiag.model import Thread
from hangdiag.readers.ddb.locks import HELD, behind_held, held_lock
from hangdiag.readers.section import Opener, Read, Section
from hangdiag.text.lazy import lazy

_FIELD = lazy(r"(\w[\w ]{0,30}?)\s*= (.*)")
#: Where blanks were lost, it looks like a panic's.
_CPU = lazy(r"cpuid = (\d+)\s*\Z")
_THREAD = lazy(r"(?P<td>0x[0-9a-f]+): pid (?P<pid>\d+)(?: tid (?P<tid>\d+))?(?: critnest \d+)? \"(?P<name>[^\"]*)\"")


def _read_pcpu(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    index = start
    narrow = _CPU.match(lines[start - 1]) if start else None
    cpu = None if narrow is None else int(narrow.group(1))
    tid: int | None = None
    threads = []
    while index < len(lines):
        line = lines[index]
        if "Tracing " in line and section.peeler is not None and section.peeler.split_lost(index):
            continue
        field = _FIELD.match(line)
        held = HELD.match(line) if field is None or line.startswith(("exclusive ", "shared ")) else None
        if held is not None:
            if tid is not None:
                section.draft.add_lock(held_lock(section, index, held, tid))
            index = behind_held(lines, index, held)
            continue
        if field is not None:
            key, value = field.groups()
            if key == "cpuid" and value.strip().isdecimal():
                cpu, tid = int(value), None
            elif key == "curthread" and (found := _THREAD.match(value)) is not None:
                tid = int(found.group("tid")) if found.group("tid") else None
                threads.append(
                    Thread(
                        pid=int(found.group("pid")),
                        tid=tid,
                        address=int(found.group("td"), 16),
                        name=found.group("name"),
                        state="running",
                        cpu=cpu,
                        where=(section.where(index, index + 1),),
                    )
                )
        elif line.strip() and not line.startswith(("Current CPU:", "spin locks held:")):
            break
        index += 1
    section.draft.add_threads(threads)
    return section.before_blanks(start, index)


def _skip_while(pattern: str) -> Read:
    accepted = re.compile(pattern)

    def skip(section: Section, start: int, match: re.Match[str]) -> int:
        lines = section.lines
        index = start + 1
        while index < len(lines) and accepted.match(lines[index]):
            index += 1
        return index

    return skip


_REGISTER = r"(?:[cdefgs]s|[re]?(?:[abcd]x|[sd]i|[sb]p|ip|fl(?:ags)?)|r\d+|dr\d|x\d+|lr|elr|spsr|pc|sp)\s+(?:0x[0-9a-f]+|0)\b"
_WITNESS_LOCK = r"\s{0,80}\S.{0,200}? \(type: .{0,80}?depth: \d+"
_WITNESS = _WITNESS_LOCK + r"|(?:Sleep|Spin) locks:|Locks which were never acquired:|\s*\Z"
OPENERS = (
    Opener("ddb-pcpu", "ddb", r"cpuid\s+= \d|Current CPU: \d|dynamic pcpu\s+= 0x", _read_pcpu),
    Opener("ddb-registers", "ddb", _REGISTER, _skip_while(_REGISTER + r"|\S+\+0x[0-9a-f]+:")),
    Opener("ddb-cdev", "ddb", r"[\w./-]+ 0x[0-9a-f]{8,16}\Z", _skip_while(r"[\w./-]+ 0x[0-9a-f]{8,16}\Z")),
    Opener("ddb-witness", "ddb", r"(?:Sleep|Spin) locks:\Z|Locks which were never acquired:", _skip_while(_WITNESS)),
    Opener("ddb-witness-lock", "ddb", _WITNESS_LOCK, _skip_while(_WITNESS), ("(type: ",)),
)
