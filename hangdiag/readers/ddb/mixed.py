"""Stacks that several CPUs printed at once, a frame of this one and a frame of that one.

``kdb_backtrace()`` takes no lock: two CPUs that panic print their frames line by line into one
another. Each frame tells its frame pointer (``/frame 0xfffffe0047d2f4e0``, sys/amd64/amd64/db_trace.c),
which lies on the stack of its thread and grows from the innermost frame outwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import dropwhile, pairwise

from hangdiag.model import Frame
from hangdiag.readers.stacks import OUTERMOST, SWITCHES
from hangdiag.text.lazy import lazy

POINTER = lazy(r"0x([0-9a-f]{8,16})\s*\Z")
#: The name of both is the same, unless letters are mixed as well.
_FRAME = lazy(r"(?P<name>[A-Za-z_][\w.$@]*)\(\) at (?P=name)\+0x[0-9a-f]+\Z")
_OTHER_COMMAND = ("db>", "db:", "Tracing ")
#: A kernel stack has 4 pages or a few more, and an unmapped page below it (kstack_pages, KSTACK_GUARD_PAGES):
#: between two frames of one stack is never so much.
GAP = 0x4000
#: A quarter of a kernel's stack: no function of it needs so much.
_LARGEST_FRAME = 0x1000
#: Of amd64's pointers: "0x" and 16 digits.
_WIDTH = 18
#: So many lines in a row may be no frames, and so many are looked at.
_LONGEST_GAP = 6
_LOOKED_AT = 256

_Pointer = tuple[int, int]


def find_mixed(lines: list[str], start: int, beginnings: frozenset[str]) -> list[list[int]] | None:
    """The lines of each stack, if several are mixed from line ``start`` on; None if none are.

    A stack that begins anew has one of ``beginnings`` as its first function. Frames of which it is not
    sure to which stack they belong are left out.
    """
    pointers = _find_pointers(lines, start)
    bounds = _find_bounds(pointers)
    if not bounds:
        return None
    places = [(index, bisect_right(bounds, pointer)) for index, pointer in pointers]
    stacks: list[list[int]] = []
    for place in range(len(bounds) + 1):
        own = [pointer for pointer, (_, at) in zip(pointers, places, strict=True) if at == place]
        if not lines[own[0][0] - 1].startswith("--- "):  # a trap's own stack: whose, is not known
            stacks += _part(lines, own, beginnings)
    read = sum(map(len, stacks))
    sure = [stack for stack in stacks if len(stack) > 1]
    if _go_to_and_fro(places):
        return sure if read * 2 > len(pointers) else None
    return sure if read == len(pointers) and _overlap(lines, sorted(stacks), beginnings) else None


def _find_pointers(lines: list[str], start: int) -> list[_Pointer]:
    """The frames from line ``start`` on: their lines and frame pointers."""
    found: list[_Pointer] = []
    for index in range(start, min(start + _LOOKED_AT, len(lines))):
        line = lines[index]
        head, _, tail = line.partition("/frame ")
        pointer = POINTER.match(tail) if tail else None
        if pointer is not None and _FRAME.match(head):
            found.append((index, int(pointer.group(1), 16)))
        elif line.startswith(_OTHER_COMMAND) or (found and index - found[-1][0] > _LONGEST_GAP):
            break
    return found


def _find_bounds(pointers: list[_Pointer]) -> list[int]:
    """Where one stack's addresses end and the next one's begin."""
    return [
        high for low, high in pairwise(sorted({pointer for _, pointer in pointers})) if high - low >= GAP
    ]


def _go_to_and_fro(places: list[_Pointer]) -> bool:
    """Do frames that follow one another go from a stack to another and back? No thread's own ones do."""
    left: set[int] = set()
    for (before, old), (index, new) in pairwise(places):
        if index != before + 1:
            left = set()
        elif new != old:
            if new in left:
                return True
            left.add(old)
    return False


def _overlap(lines: list[str], stacks: list[list[int]], beginnings: frozenset[str]) -> bool:
    """Does a stack begin before another has ended, or right behind it as if it were the same?"""
    return any(
        following[0] < stack[-1] or (following[0] == stack[-1] + 1 and _function(lines[following[0]]) in beginnings)
        for stack, following in pairwise(stacks)
    )


def _function(line: str) -> str:
    return line.partition("(")[0]


def _part(lines: list[str], pointers: list[_Pointer], beginnings: frozenset[str]) -> list[list[int]]:
    """The lines of one stack, or of several of one thread, one after the other; none where the order is not clear."""
    stacks: list[list[int]] = []
    last = 0
    for index, pointer in pointers:
        if not stacks or (pointer < last and _function(lines[index]) in beginnings):
            stacks.append([])
        elif pointer < last:
            return []
        stacks[-1].append(index)
        last = pointer
    return stacks


def _grow(pointers: list[str], begin: str = "") -> bool:
    """Does none of ``pointers``, which begin so, lie before the one above it, or far from it?"""
    if not pointers:
        return not begin
    return pointers[0].startswith(begin) and pointers == sorted(pointers) and pointers[0][:-4] == pointers[-1][:-4]


def find_tear(lines: list[str], frames: Sequence[Frame], start: int, end: int) -> int | None:
    """The line of the first of ``frames``, in lines ``start`` to ``end``, that is on another stack than those before it.

    Its header was lost. The innermost functions alone switch a thread away, unless the debugger stopped it there, and frame
    pointers grow outwards: such as do so nowhere tell nothing. Behind a trap, both begin anew.
    """
    if SWITCHES.isdisjoint(dropwhile(SWITCHES.__contains__, [frame.function for frame in frames])):
        last = end - lines[end - 1].startswith("--- ")
        if _grow([line[-_WIDTH:] for line in lines[start:last]], "0x"):
            return None  # most are whole
        if _grow([tail for line in lines[start:end] if (tail := line.partition("/frame ")[2])]):
            return None
    previous = before = first = ""
    in_place = 0
    out_of_place: list[int] = []
    for index in range(start, end):
        line = lines[index]
        if line.startswith("--- "):
            previous = before = first = ""
            continue
        head, at, tail = line.partition(" at ")
        if not at:
            continue
        name = head.partition("(")[0]
        first = first or name
        found = POINTER.match(tail.partition("/frame ")[2])
        pointer = found.group(1) if found is not None else ""
        step = None
        if pointer and len(pointer) == len(previous):  # else one of the two was broken in two
            step = int(pointer, 16) - int(previous, 16)
            if 0 <= step < GAP:
                in_place += 1
            else:
                out_of_place.append(index)
        slept = first in SWITCHES or before in OUTERMOST
        again = before not in SWITCHES or (before == "mi_switch") > (name == "mi_switch")
        if before and name in SWITCHES and slept and again and (step is None or not 0 <= step < _LARGEST_FRAME):
            return (out_of_place or [index])[0]
        previous = pointer or previous
        before = name
    return out_of_place[0] if len(out_of_place) == 1 or (out_of_place and in_place) else None
