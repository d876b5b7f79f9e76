"""Reads ahead, to save round trips: what is found here is remembered, and the walk then asks for nothing.

A list costs a round trip an element. The kernel also files its threads by id in a hash table
(``tidhashtbl``, sys/kern/kern_thread.c), whose chains are short and can all be followed at once. What is read here
is no authority: the walk goes the lists' own way and reads whatever it does not find.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from hangdiag.live.hashes import read_buckets, read_chains
from hangdiag.live.memory import KernelMemory, Layout
from hangdiag.live.structs import View, read_views
from hangdiag.live.threads import MAXIMUM_THREADS, with_pcb

_LONGEST_CHAIN = 64
# Variables that every walk asks for sooner or later, and their sizes where they are no pointers.
_VARIABLES = {"osreldate": 4, "ticks": 4, "hz": 4, "kdb_active": 1, "dumptid": 4, "nprocs": 4, "version": 256}
_POINTERS = (
    "allproc", "zombproc", "tidhashtbl", "tidhash", "pidhashtbl", "pidhash", "linker_files", "panicstr", "stoppcbs",
)  # fmt: skip


def read_variables(memory: KernelMemory, symbols: dict[str, int], lists: Sequence[str] = ()) -> None:
    """Reads the kernel's variables that the walk needs, in one go; ``lists`` are more symbols of pointers."""
    sizes = {**dict.fromkeys((*_POINTERS, *lists), memory.pointer_size), **_VARIABLES}
    memory.read([(symbols[name], size) for name, size in sizes.items() if name in symbols])


def read_threads(memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int]) -> None:
    """Reads all threads and their processes by way of the hash table, where that is cheaper than the lists."""
    layout = layouts["thread"]
    if not layout.has("td_hash.le_next", "td_proc"):
        return
    pending = read_buckets(memory, symbols, "tidhashtbl", "tidhash")
    if not pending:
        return
    layout = with_pcb(memory, layout, layouts.get("pcb"), pending[0])
    processes: dict[int, None] = {}
    chains = read_chains(memory, layout, pending, "td_hash.le_next", MAXIMUM_THREADS)
    for views in islice(chains, _LONGEST_CHAIN):
        processes.update(dict.fromkeys(_values(views, "td_proc")))
    read_views(memory, layouts["proc"], list(processes))


def _values(views: Sequence[View], member: str) -> list[int]:
    return [value for view in views if (value := view.unsigned(member))]
