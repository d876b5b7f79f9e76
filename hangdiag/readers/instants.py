"""Whether a section speaks of the instant that is being read, or of another time or host.

Merging two instants may prove a deadlock that never was; keeping one apart only says less. But sections that
were taken for each other's sake (ps, then the stacks of one process, then of all) are one.
"""

from __future__ import annotations

from collections.abc import Sequence

from hangdiag.model import Thread
from hangdiag.readers.merging import Instant, are_different
from hangdiag.readers.rows import agree, says_other

#: A share of threads that may disagree before two sections count as two instants (a thread may exit meanwhile).
_TOLERATED = 0.2
#: Tables of the same tool that share so much of both show the same processes twice.
_SAME_TABLE = 0.8


def is_another_table(instant: Instant, batch: Sequence[Thread], table: str | None) -> bool:
    """Does a section with thread ids begin a new instant? ``table`` names a tool that prints each thread once."""
    known = instant.threads
    shared = [(known[thread.tid], thread) for thread in batch if thread.tid is not None and thread.tid in known]
    if any(instant.vcpus.get((thread.pid, thread.name), thread.tid) != thread.tid for thread in batch):  # type: ignore[arg-type]
        return True
    others = _are_other_processes(instant, batch)
    if not shared:
        return others or (table is not None and _goes_back(instant, batch, table))
    if others:
        return True
    if any(thread.tid in instant.before for _, thread in shared):
        return True
    if table is not None and table in instant.tables:
        if table not in instant.stale and not any(after.frames for _, after in shared):
            moved = sum(1 for before, after in shared if says_other(before, after))
            return moved > len(shared) * _TOLERATED
        # one process and then all of them, with the same stacks, is one look; all of them twice is two
        printed = len(instant.tables[table])
        again = sum(thread.tid in instant.tables[table] for thread in batch)
        if again >= len(batch) * _SAME_TABLE and again >= printed * _SAME_TABLE:
            return True
        if table in instant.stale or any(_has_changed(before, after) for before, after in shared):
            return True
    differ = [are_different(*pair) for pair in shared]
    if not any(differ):
        return False
    # most threads of a host rest for days: those of VMs tell more
    machines = {pid for pid, _ in instant.vcpus}
    of_machines = [
        different
        for different, pair in zip(differ, shared, strict=True)
        if pair[0].pid in machines or any(map(_is_in_machine, pair))
    ]
    return any(sum(some) > len(some) * _TOLERATED for some in (differ, of_machines))


def _is_in_machine(thread: Thread) -> bool:
    return any(frame.function == "vmmdev_ioctl" for frame in thread.frames)


def _are_other_processes(instant: Instant, batch: Sequence[Thread]) -> bool:
    """Are the commands of processes whose threads are shown again others than before?"""
    commands = instant.commands
    now = {
        thread.pid: thread.command
        for thread in batch
        if thread.command is not None and thread.tid not in instant.threads and thread.pid in commands
    }
    other = sum(not agree(commands[pid], command) for pid, command in now.items() if pid is not None)
    return other > len(now) * _TOLERATED


def _goes_back(instant: Instant, batch: Sequence[Thread], table: str) -> bool:
    """Does a tool print threads of a process of which it has printed others? It prints all of them at once."""
    printed = instant.printed.get(table, ())
    return any(thread.pid in printed for thread in batch if thread.pid is not None)


def _has_changed(before: Thread, after: Thread) -> bool:
    """Did a tool that prints stacks print another one?"""
    if not before.frames or not after.frames:
        return False
    return [frame.function for frame in before.frames] != [frame.function for frame in after.frames]
