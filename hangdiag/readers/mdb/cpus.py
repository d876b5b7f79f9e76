"""``::cpuinfo`` and ``::cpuinfo -v``: the thread on each CPU, those that interrupts pinned, those in its queue.

From usr/src/cmd/mdb/common/modules/genunix/genunix.c (cpuinfo_walk_cpu). With -v the CPU's flags stand at the left of
the lists of threads: ``            RUNNING <--+    |    +--> PIL THREAD``.
"""

from __future__ import annotations

import re

from hangdiag.model import Thread
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_HEADING = lazy(r"\s{0,3}ID +ADDR +FLG +NRUN +BSPL +PRI +RNRN +KRNRN +SWITCH +THREAD +PROC\s*\Z")
_CPU = lazy(
    r"\s{0,3}(?P<cpu>\d{1,4}) [0-9a-f]{8,16} +[0-9a-f]{1,4} +\d+ +\d+ +(?:-?\d+|-) +\w+ +\w+ +(?:t-\d+|-) +"
    r"(?P<td>[0-9a-f]{1,16}) (?P<who>\S.{0,40}?)\s*\Z"
)
#: A line of -v: flags and strokes, then the head of a list or a thread of it.
_MORE = lazy(
    r"[ |]{0,60}+(?:[A-Z]{4,9}(?: <--\+)?[ |]{0,60}+)?(?:\+-->  ?(?:PRI|PIL) THREAD(?: +PROC)?"
    r"|(?P<pri>-|-?\d{1,3}) (?P<td>[0-9a-f]{8,16})(?: (?P<who>\S.{0,40}?))?)?\s*\Z"
)
_IDLE = ("(idle)", "-")


def read_cpus(section: Section, start: int, match: re.Match[str]) -> int:
    """The threads of all CPUs; those that idle are no threads that wait."""
    lines = section.lines
    index = start
    while index < len(lines):
        line = lines[index]
        cpu = _CPU.match(line)
        more = _MORE.match(line) if cpu is None and line.strip() else None
        if cpu is not None:
            _add(section, index, cpu, state="running", cpu=int(cpu.group("cpu")))
        elif more is not None and more.group("td"):
            # an interrupt's thread has no process there, and runs as well
            _add(section, index, more, state="runnable" if more.group("who") else "running")
        elif more is None and line.strip() and _HEADING.match(line) is None:
            break
        index += 1
    return section.before_blanks(start, index)


def _add(section: Section, index: int, found: re.Match[str], **known: object) -> None:
    if found.group("who") in _IDLE:
        return
    thread = Thread(
        address=int(found.group("td"), 16), command=found.group("who"), where=(section.where(index, index + 1),), **known  # type: ignore[arg-type]
    )
    section.draft.add_threads([thread])
