"""What witness(4) warns of: lock order reversals, duplicate locks, locks held where none may be.

From sys/kern/subr_witness.c (witness_checkorder, witness_warn, witness_debugger, sbuf_print_witness_badstacks). Their
stacks say what may happen, or what was wrong once: they are no thread's present stack.
"""

from __future__ import annotations

import re

from hangdiag.readers.ddb import stacks
from hangdiag.readers.ddb.frames import parse_frame
from hangdiag.readers.ddb.kdb import read_numbered
from hangdiag.readers.ddb.locks import HELD, behind_held
from hangdiag.readers.section import Opener, Pending, Section
from hangdiag.text.lazy import lazy

_LINE = lazy(
    r"\s*(?:\d(?:st|nd|rd|th) |lock order |KDB: stack backtrace|stack backtrace:?|where |while |#\d|\S{1,200}:\d+\s*\Z"
    r"|--- )",
    re.I,
)

_LATER = lazy(r"\s*#[1-9]\d? +0x[0-9a-f]+ at |\s*(?:2nd|3rd) 0x[0-9a-f]|lock order .{1,200} (?:attempted|established) at:")


def _read_warning(section: Section, start: int, match: re.Match[str]) -> int:
    """A warning with the locks and stacks that it names."""
    section.draft.seen.setdefault("a warning of witness", section.lines[start].strip().rstrip(":"))
    return _read_on(section, start + 1)


def _read_on(section: Section, index: int) -> int:
    """What is below a warning from line ``index`` on, be it broken off there before."""
    lines = section.lines
    while index < len(lines):
        following = read_numbered(section, index)[1]
        if following == index:
            following = stacks.read_frames(section, index)[1]
        held = HELD.match(lines[index]) if following == index else None
        if held is not None:
            following = behind_held(lines, index, held)
        if following > index:
            index = following
        elif _LINE.match(lines[index]):
            index += 1
        elif not lines[index].strip() and index + 1 < len(lines) and _ORDER.match(lines[index + 1]):
            index += 1  # show badstacks leaves a line blank
        elif section.peeler is not None and section.peeler.uncover(index):
            continue
        else:
            break
    section.pending = Pending(index, _go_on)
    return index


def _go_on(section: Section, index: int) -> int:
    """Read on if line ``index`` can only be the rest of a warning: no stack of a thread begins so."""
    line = section.lines[index]
    if _LATER.match(line) is None:
        frame = parse_frame(line.partition("/frame")[0])
        if frame is None or frame.function in stacks.BEGINNINGS:
            return index
    return _read_on(section, index)


_ORDER = lazy(r'Lock order (?:reversal between )?"')

OPENERS = (
    Opener(
        "witness-reversal",
        "ddb",
        r"\s*(?:lock order reversal|1st 0x[0-9a-f]+ .{1,120} @ \S+:\d|"
        r'lock order .{1,200} (?:attempted|established) at:|Lock order (?:reversal between )?"'
        r"|acquiring duplicate lock of same type|Number of known direct relationships is )",
        _read_warning,
    ),
    Opener(
        "witness-held",
        "ddb",
        r".{0,160}?(?:with|exiting with) the following .{0,80}locks? held:",
        _read_warning,
        ("the following ",),
    ),
    Opener(
        "witness-mismatch",
        "ddb",
        r"(?:shared|exclusive|forbidden) (?:lock|unlock) of \(|while (?:exclusively|share) locked from ",
        lambda section, start, match: start + 1,
    ),
)
