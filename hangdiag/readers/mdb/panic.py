"""What illumos prints on the console when it panics: the thread and why (usr/src/uts/common/os/panic.c, panicsys), then its
stack (traceback in usr/src/uts/intel/os/archdep.c): ``fffffe007ae3d900 unix:trap+12b7 (fffffe007ae3d910, 10, 2)``.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_PANIC = lazy(r"panic\[cpu(?P<cpu>\d+)\]/thread=(?P<td>[0-9a-f]{8,16}):\s*(?P<why>.*)")
_FRAME = lazy(r"\s*[0-9a-f]{8,16} (?P<module>[\w.-]+):(?P<name>[A-Za-z_][\w.$]*)\+(?P<offset>[0-9a-f]{1,8}) \([^()]*\)\s*\Z")


def read_panic(section: Section, start: int, match: re.Match[str]) -> int:
    """Who panics, and why: said on the same line, or on the next one."""
    lines = section.lines
    found = _PANIC.match(lines[start])
    if found is None:
        return start
    end = start + 1
    why = found.group("why").strip()
    if not why and end < len(lines) and lines[end].strip():
        why = lines[end].strip()
        end += 1
    section.draft.set_host(panic=why or None)
    section.context["mdb panicked"] = (int(found.group("td"), 16), int(found.group("cpu")), section.where(start, end))
    return end


def read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    """The stack of the thread that panicked."""
    lines = section.lines
    index = start
    frames = []
    while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
        module = found.group("module")
        frames.append(
            Frame(found.group("name"), int(found.group("offset"), 16), module if module not in ("unix", "genunix") else None)
        )
        index += 1
    if not frames:
        return start
    where = section.where(start, index)
    known = section.context.pop("mdb panicked", None)
    address, cpu, before = known if isinstance(known, tuple) else (None, None, None)
    places = (before, where) if before is not None else (where,)
    thread = Thread(address=address, state="running", cpu=cpu, frames=tuple(frames), where=places, stack_where=where)
    section.draft.add_threads([thread])
    section.count_stacks("mdb")
    return index
