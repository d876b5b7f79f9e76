"""Reads ahead, to save round trips: what is found here is remembered, and the walk then asks for nothing.

A list costs a round trip an element. The kernel also files its threads by id in a hash table
(``tidhashtbl``, sys/kern/kern_thread.c), whose chains are short and can all be followed at once. What is read here
is no authority: the walk goes the lists' own way and reads whatever it does not find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hangdiag.live.memory import KernelMemory, Layout
from hangdiag.live.structs import View, read_numbers, read_views
from hangdiag.live.threads import MAXIMUM_THREADS, with_pcb

_LONGEST_CHAIN = 64
_BLOCK = 1 << 15
# Variables that every walk asks for sooner or later, and their sizes where they are no pointers.
_VARIABLES = {"osreldate": 4, "ticks": 4, "hz": 4, "kdb_active": 1, "dumptid": 4, "nprocs": 4, "version": 256}
_POINTERS = ("allproc", "zombproc", "tidhashtbl", "tidhash", "linker_files", "panicstr", "stoppcbs")


def read_variables(memory: KernelMemory, symbols: dict[str, int], lists: Sequence[str] = ()) -> None:
    """Reads the kernel's variables that the walk needs, in one go; ``lists`` are more symbols of pointers."""
    sizes = {**dict.fromkeys((*_POINTERS, *lists), memory.pointer_size), **_VARIABLES}
    memory.read([(symbols[name], size) for name, size in sizes.items() if name in symbols])


def read_threads(memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int]) -> None:
    """Reads all threads and their processes by way of the hash table, where that is cheaper than the lists."""
    layout = layouts["thread"]
    if not layout.has("td_hash.le_next", "td_proc"):
        return
    buckets = _read_buckets(memory, symbols)
    pending = [address for address in dict.fromkeys(buckets) if address]
    if not pending:
        return
    layout = with_pcb(memory, layout, layouts.get("pcb"), pending[0])
    seen: set[int] = set()
    processes: dict[int, None] = {}
    for _ in range(_LONGEST_CHAIN):
        seen.update(pending)
        views = [view for view in read_views(memory, layout, pending) if view is not None]
        processes.update(dict.fromkeys(_values(views, "td_proc")))
        pending = [address for address in _values(views, "td_hash.le_next") if address not in seen]
        if not pending or len(seen) > MAXIMUM_THREADS:
            break
    read_views(memory, layouts["proc"], list(processes))


def _read_buckets(memory: KernelMemory, symbols: dict[str, int]) -> list[int]:
    """The heads of the hash table's chains; none if the table is dearer than a question for each process."""
    size = memory.pointer_size
    numbers = read_numbers(
        memory,
        {
            name: (symbols[name], 4 if name == "nprocs" else size)
            for name in ("tidhashtbl", "tidhash", "nprocs")
            if name in symbols
        },
        signed=False,
    )
    table, mask, processes = (numbers.get(name, 0) for name in ("tidhashtbl", "tidhash", "nprocs"))
    length = (mask + 1) * size
    if not table or not mask or mask & (mask + 1) or length > processes * memory.round_trip_bytes:
        return []
    ranges = [(table + begin, min(_BLOCK, length - begin)) for begin in range(0, length, _BLOCK)]
    order: Literal["little", "big"] = "big" if memory.byte_order == "big" else "little"
    return [
        int.from_bytes(block[place : place + size], order)
        for block in memory.read(ranges)
        if block is not None
        for place in range(0, len(block), size)
    ]


def _values(views: Sequence[View], member: str) -> list[int]:
    return [value for view in views if (value := view.unsigned(member))]
