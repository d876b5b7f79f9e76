"""Whether a text ends where its tool did: threads may be missing from one that was cut off."""

from __future__ import annotations

from hangdiag.model import Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.stacks import OUTERMOST, SWITCHES

#: The kernel saves so many frames, and none of a caller further out (STACK_MAX, sys/sys/_stack.h).
_STACK_MAX = 18
#: Stacks of no more frames tell nothing about their last one.
_STUB = 3
#: Processes of the kernel.
_KERNEL = frozenset({"kernel", "intr", "idle", "sched"})
_NOWHERE = Where(0, 0, 0)


def _lacks_threads(draft: Draft, source: int, last: int) -> bool:
    """Does a list of all threads end too early, though behind a whole one?

    `procstat -a` and `ps -a` list themselves. A list that ends, as the text does, with a VM's thread may have had more.
    """
    threads = [
        thread for thread in draft.now.threads.values() if any(where.source == source for where in thread.where)
    ]
    if not any(thread.pid == 0 or thread.command in _KERNEL for thread in threads):
        return False  # of some processes only, as it was asked for
    if any(thread.command in ("procstat", "ps") for thread in threads):
        return False
    at_end = [
        thread
        for thread in threads
        if any(where.source == source and where.last >= last for where in thread.where)
    ]
    return len(at_end) == 1 and at_end[0].command == "bhyve"  # several: all is in one line


def are_picked(draft: Draft, pids: object) -> bool:
    """Were rows picked out of those of a bhyve among ``pids``, whose rows have no header?

    Its main thread and its devices' are in any whole list; who shows the vCPUs' alone may have left out some of these too.
    """
    if not isinstance(pids, set):
        return False
    threads = [thread for thread in draft.now.threads.values() if thread.command == "bhyve" and thread.pid in pids]
    others = {thread.pid for thread in threads if not (thread.name or "vcpu").startswith("vcpu")}
    return any(thread.pid not in others for thread in threads)


def is_cut(draft: Draft, source: int, last: int) -> bool:
    """Does the text of ``source`` end, in line ``last``, inside a stack? Its last function then lacks the others' offset.

    A line that nobody could read has its place in the log itself, also where several hosts share that.
    """
    log = source if source >= 0 else draft.parts[-1 - source].source
    return any(
        len(thread.frames) > _STUB
        and thread.stack_where is not None
        and (thread.stack_where.source, thread.stack_where.last) == (source, last)
        and thread.frames[-1].offset is None
        and all(frame.offset is not None for frame in thread.frames[:-1])
        for thread in draft.now.threads.values()
    ) or any(item.trace_like and (item.where.source, item.where.last) == (log, last) for item in draft.unread[-1:])


def lacks_end(draft: Draft, source: int, last: int) -> bool:
    """Does the text end where its tool did not: behind a VM's thread in a list of all, or inside the stack of a thread that
    sleeps, while others go on to where the kernel begins?
    """
    if _lacks_threads(draft, source, last):
        return True
    stacks = [
        thread
        for thread in draft.now.threads.values()
        if len(thread.frames) > _STUB and thread.stack_where is not None and thread.stack_where.source == source
    ]
    final = max(stacks, key=lambda thread: thread.stack_where or _NOWHERE, default=None)
    if final is None or (final.stack_where or _NOWHERE).last < last or len(final.frames) >= _STACK_MAX:
        return False
    asleep = any(frame.function in SWITCHES for frame in final.frames[:_STUB])
    whole = sum(thread.frames[-1].function in OUTERMOST for thread in stacks)
    return asleep and final.frames[-1].function not in OUTERMOST and len(stacks) <= whole * 2
