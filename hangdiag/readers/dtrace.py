"""dtrace's ``stack()``: one function a line, module first; an aggregation ends in its count.

``              kernel`mi_switch+0xd2`` (lib/libdtrace/common/dt_consume.c, dt_print_stack). Keys printed in
front of it, ``  2210   100860  bhyve``, tell whose stack it is.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame, Thread
from hangdiag.readers.section import Section
from hangdiag.readers.stacks import parse_offset
from hangdiag.text.lazy import lazy

_FRAME = lazy(
    r"\s+(?P<module>[\w.-]+)`"
    r"(?:(?P<name>[A-Za-z_][\w.$@]*)(?:\+(?P<offset>0x[0-9a-f]+))?|(?P<pc>0x[0-9a-f]+))\s*\Z"
)
_COUNT = lazy(r"\s+\d+\s*\Z")
_KEYS = lazy(r"\s*(?:(?P<pid>\d{1,6}) +)?(?P<tid>\d{6,7})(?: +(?P<command>[A-Za-z_][\w.-]*))?\s*\Z")


def read_stack(section: Section, start: int, match: re.Match[str]) -> int:
    lines = section.lines
    keys = _KEYS.match(lines[start])
    index = start + (keys is not None)
    frames = []
    while index < len(lines) and (found := _FRAME.match(lines[index])) is not None:
        module = found.group("module")
        frames.append(
            Frame(
                found.group("name") or found.group("pc"),
                parse_offset(found.group("offset")),
                None if module == "kernel" else module,
                address=int(found.group("pc"), 16) if found.group("pc") else None,
            )
        )
        index += 1
    if not frames:
        return start
    if index < len(lines) and _COUNT.match(lines[index]):
        index += 1
    where = section.where(start, index)
    section.draft.add_threads(
        [
            Thread(
                pid=int(keys.group("pid")) if keys is not None and keys.group("pid") else None,
                tid=int(keys.group("tid")) if keys is not None else None,
                command=keys.group("command") if keys is not None else None,
                frames=tuple(frames),
                where=(where,),
                stack_where=where,
            )
        ]
    )
    section.count_stacks("console")
    return index
