"""The kernel's hash tables (hashinit(9)): an array of list heads, and a mask that is one less than its length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hangdiag.live.memory import KernelMemory, Layout
from hangdiag.live.structs import View, read_numbers, read_views, words

_BLOCK = 1 << 15


def read_buckets(memory: KernelMemory, symbols: dict[str, int], table: str, mask: str) -> list[int]:
    """The first elements of the chains of the hash ``table`` (a symbol) whose mask is ``mask``.

    None of them if the table cannot be read, or is dearer than a question for each process.
    """
    size = memory.pointer_size
    numbers = read_numbers(
        memory,
        {
            name: (symbols[name], 4 if name == "nprocs" else size)
            for name in (table, mask, "nprocs")
            if name in symbols
        },
        signed=False,
    )
    place, last, processes = (numbers.get(name, 0) for name in (table, mask, "nprocs"))
    length = (last + 1) * size
    if not place or not last or last & (last + 1) or length > processes * memory.round_trip_bytes:
        return []
    ranges = [(place + begin, min(_BLOCK, length - begin)) for begin in range(0, length, _BLOCK)]
    heads: dict[int, None] = {}
    for block in memory.read(ranges):
        if block is not None:
            heads.update(dict.fromkeys(words(block, memory)))
    heads.pop(0, None)
    return list(heads)


def read_chains(
    memory: KernelMemory, layout: Layout, heads: Sequence[int], link: str, most: int
) -> Iterator[list[View]]:
    """The elements of chains that begin at ``heads`` and go on by member ``link``: all first ones, all second ones, ...

    No element comes twice, and no more are read after ``most``.
    """
    pending = list(heads)
    seen: set[int] = set()
    while pending and len(seen) < most:
        seen.update(pending)
        views = [view for view in read_views(memory, layout, pending) if view is not None]
        yield views
        following = dict.fromkeys(view.unsigned(link) or 0 for view in views)
        pending = [address for address in following if address and address not in seen]
