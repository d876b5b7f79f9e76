"""``show lockedvnods``, ``show vnode``, ``show buffer``: who holds a vnode's or a buffer's lock.

From vn_printf in sys/kern/vfs_subr.c and lockmgr_printinfo in sys/kern/kern_lock.c. The stack behind a lock is where
it was taken (DEBUG_LOCKS), not where its owner sleeps now.
"""

from __future__ import annotations

import re

from hangdiag.model import LockFact, Thread
from hangdiag.readers.ddb.kdb import frame_number, read_numbered
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.text.lazy import lazy

_VNODE = r"\s*(?:vnode )?\(?0x[0-9a-f]+\)?: (?:\(?0x[0-9a-f]+\)?: )?(?:tag \S+, type V|type V[A-Z]+)"
_LOCK = lazy(
    r"\s*lock type (?P<name>.{1,40}?): (?:EXCL by (?:(?P<kernproc>KERNPROC)|thread (?P<td>0x[0-9a-f]+) \(pid (?P<pid>\d+)"
    r"(?:, (?P<command>.*?))?(?:, tid (?P<tid>\d+))?\))|SHARED \(count (?P<count>\d+)\)|UNLOCKED|not owned)"
)
_HEADER = lazy(_VNODE)
_PLACE = lazy(r"\s*(?:vnode )?\(?(0x[0-9a-f]+)")
# VOP_PRINT of the file systems: a line with a tab, or one that begins with the tag
_LINE = lazy(r"\t| {3,8}\S|\s*(?:tag VT_|type V[A-Z]+ |VI_LOCKed|with (?:exclusive|shared) )")

_FRAME = lazy(r"#\d+ +0x[0-9a-f]+ at ")


def _read_vnode(section: Section, start: int, match: re.Match[str]) -> int:
    return _read_on(section, start, None)


def _read_on(section: Section, start: int, vnode: int | None) -> int:
    """What is told of ``vnode`` from line ``start`` on, and of those behind it."""
    lines = section.lines
    index = start
    section.context["kdb last number"] = -1
    while index < len(lines):
        held = _LOCK.match(lines[index])
        if _HEADER.match(lines[index]) is not None and (place := _PLACE.match(lines[index])) is not None:
            vnode = int(place.group(1), 16)
        elif held is not None:
            _note_lock(section, index, held, vnode)
            section.context["kdb last number"] = -1
        elif index > start and _LINE.match(lines[index]) is None and _HEADER.match(lines[index]) is None:
            following = read_numbered(section, index)[1]
            if following == index:
                break
            index = following
            continue
        index += 1
    last = section.context["kdb last number"]
    section.pending = Pending(index, lambda section, index: _go_on(section, index, vnode, last))
    return index


def _go_on(section: Section, start: int, vnode: int | None, last: object) -> int:
    """Read on if line ``start`` tells who locks ``vnode``, or holds the next frame behind number ``last``."""
    line = section.lines[start]
    next_frame = isinstance(last, int) and _FRAME.match(line) is not None and frame_number(line) == last + 1
    if _LOCK.match(line) is None and not (next_frame and (last != -1 or "lockmgr" in line)):
        return start
    return _read_on(section, start, vnode)


def _note_lock(section: Section, index: int, held: re.Match[str], vnode: int | None) -> None:
    where = section.where(index, index + 1)
    tid = int(held.group("tid")) if held.group("tid") else None
    address = int(held.group("td"), 16) if held.group("td") else None
    state = "shared" if held.group("count") else "kernproc" if held.group("kernproc") else "unlocked"
    if address is not None:
        state = "exclusive"
        section.draft.add_threads(
            [
                Thread(
                    pid=int(held.group("pid")),
                    tid=tid,
                    address=address,
                    command=held.group("command"),
                    where=(where,),
                )
            ]
        )
    section.draft.add_lock(
        LockFact(
            name=held.group("name"),
            lock_class="lockmgr",
            state=state,
            owner=tid,
            owner_address=address if tid is None else None,
            vnode=vnode,
            where=where,
        )
    )


OPENERS = (
    Opener("vnode", "ddb", _VNODE, _read_vnode),
    Opener("vnode-lock", "ddb", r"\s*lock type .{1,40}?: (?:EXCL|SHARED|UNLOCKED|not owned)", _read_vnode),
    Opener("vnode-tag", "ddb", r"\s*tag \S+, type V", _read_vnode),
    Opener(
        "vnode-title",
        "ddb",
        r"Locked vnodes\s*\Z|List of (?:in)?active vnodes\s*\Z",
        lambda section, start, match: start + 1,
    ),
)
