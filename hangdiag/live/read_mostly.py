"""Who reads under a read-mostly lock (rmlock(9)).

A writer first has every CPU put its readers on the lock's own list ``rm_activeReaders``, then waits on the lock's
turnstile until the list is empty (sys/kern/kern_rmlock.c, _rm_wlock() and rm_cleanIPI()). So for a lock that a writer
waits for, the list is complete, and the queues of the CPUs (``pc_rm_queue``) add nothing. Readers that find a writer
wait for the inner mutex or sx lock instead, as for any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.live.memory import KernelMemory, Layout
from hangdiag.live.structs import follow, read_views

#: The names of the lock classes (lock_class_rm, lock_class_rm_sleepable).
CLASSES = frozenset({"rm", "sleepable rm"})
_MOST_READERS = 4096


def find_readers(
    memory: KernelMemory, layouts: dict[str, Layout], addresses: Sequence[int], notes: list[str]
) -> dict[int, tuple[int, ...]]:
    """The struct threads that read under each lock of ``addresses`` (those of its lock_object); without readers, none."""
    lock, tracker = layouts.get("rm"), layouts.get("rm_priotracker")
    if (
        lock is None
        or tracker is None
        or not lock.has("lock_object", "rm_activeReaders.lh_first")
        or not tracker.has("rmp_thread", "rmp_qentry.le_next")
    ):
        return {}
    offset = lock.fields["lock_object"].offset
    views = read_views(
        memory, lock, [address - offset for address in addresses], ["rm_activeReaders.lh_first"]
    )
    found: dict[int, tuple[int, ...]] = {}
    for address, view in zip(addresses, views, strict=True):
        place = view.unsigned("rm_activeReaders.lh_first") if view is not None else None
        entries, trouble = follow(memory, tracker, place or 0, "rmp_qentry.le_next", _MOST_READERS)
        if trouble is not None:
            notes.append(f"the list of the readers of the lock at {address:#x} {trouble}")
        readers = dict.fromkeys(entry.unsigned("rmp_thread") or 0 for entry in entries)
        readers.pop(0, None)
        if readers:
            found[address] = tuple(readers)
    return found
