"""Kernel threads that others wait for: ZFS' sync thread, whoever runs a taskqueue or a callout, the page daemon.

Which pool or queue a waiter means is not on its stack, so these are candidates: nothing is
proven with them, but the chain is followed, and where it ends in hardware or memory, that is the answer.
"""

from __future__ import annotations

from hangdiag.holders.machines import functions_of
from hangdiag.holders.need import Need, Resource, Scene, holders_of

_SYNC = frozenset({"txg_sync_thread", "txg_quiesce_thread", "spa_sync"})
_QUEUES = frozenset({"taskqueue_run_locked", "gtaskqueue_run_locked"})
_CALLOUTS = frozenset({"softclock_call_cc", "softclock_thread", "softclock"})
_PAGERS = frozenset({"vm_pageout_worker", "vm_pageout_laundry_worker", "vm_pageout", "uma_reclaim_worker"})


def _workers(scene: Scene, index: int, functions: frozenset[str]) -> list[int]:
    """Threads at work in one of ``functions``: those that rest there have nothing to finish."""
    return sorted(
        other for other in scene.threads_in(functions) if other != index and not scene.waits[other].idle
    )


def _candidates(resource: Resource, scene: Scene, members: list[int], why: str, nobody: str) -> Need:
    if not members:
        return Need(resource, "any", (), open=True, basis="rule", why=nobody)
    certainty = "inferred" if len(members) == 1 else "possible"
    # the strict reading stays open: the one that is meant may not be among them
    return Need(
        resource,
        "any",
        holders_of(members, scene, certainty),
        open=True,
        likely_open=False,
        basis="rule",
        why=why,
    )


def txg(scene: Scene, index: int) -> Need | None:
    """A transaction group is synced by the pool's txg_sync_thread (sys/contrib/openzfs/module/zfs/txg.c)."""
    if not _SYNC.isdisjoint(functions_of(scene.capture.threads[index])):
        return None  # the sync thread itself: what it waits for is I/O
    return _candidates(
        Resource("txg", "a ZFS transaction group to be synced", ("txg",)),
        scene,
        _workers(scene, index, _SYNC),
        "the sync thread of its pool has to finish the transaction group",
        "no sync thread that is at work is shown",
    )


def drain(scene: Scene, index: int) -> Need | None:
    """taskqueue_drain() and callout_drain() wait for whoever runs the task or callout (subr_taskqueue.c, kern_timeout.c)."""
    functions = functions_of(scene.capture.threads[index])
    if any(name.startswith(("_callout_", "callout_")) for name in functions):
        what, where = "a callout to finish", _CALLOUTS
    elif any("taskqueue" in name for name in functions):
        what, where = "a task to finish", _QUEUES
    else:
        return None
    return _candidates(
        Resource("drain", what, ("drain", what)),
        scene,
        _workers(scene, index, where),
        f"it waits for {what}, which one of these threads runs",
        f"it waits for {what}, and no thread that runs one is shown",
    )


def page_daemon(scene: Scene, index: int) -> Need | None:
    """Free pages come from the page daemon, or from anybody who frees memory (sys/vm/vm_pageout.c)."""
    if scene.waits[index].idle:
        return None
    return _candidates(
        Resource("memory", "free memory", ("memory",)),
        scene,
        _workers(scene, index, _PAGERS),
        "the page daemon has to free memory",
        "the page daemon is at rest or not shown",
    )
