"""Whether a text ends where its tool did: threads may be missing from one that was cut off."""

from __future__ import annotations

from hangdiag.model import Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.stacks import OUTERMOST, SWITCHES

#: The kernel saves so many frames, and none of a caller further out (STACK_MAX, sys/sys/_stack.h).
_STACK_MAX = 18
#: Stacks of no more frames tell nothing about their last one.
_STUB = 3
_NOWHERE = Where(0, 0, 0)


def is_cut(draft: Draft, source: int, last: int) -> bool:
    """Does the text of ``source`` end, in line ``last``, inside a stack? Its last function then lacks the others' offset."""
    return any(
        len(thread.frames) > _STUB
        and thread.stack_where is not None
        and (thread.stack_where.source, thread.stack_where.last) == (source, last)
        and thread.frames[-1].offset is None
        and all(frame.offset is not None for frame in thread.frames[:-1])
        for thread in draft.now.threads.values()
    ) or any(item.trace_like and (item.where.source, item.where.last) == (source, last) for item in draft.unread[-1:])


def lacks_end(draft: Draft, source: int, last: int) -> bool:
    """Does the text end inside the stack of a thread that sleeps, while others go on to where the kernel begins?"""
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
