"""Who must act before a wait can end: one resolver for each kind of resource.

A wait rule names its resolver in ``holders``; :data:`RESOLVERS` finds it. A resolver takes the
scene and a thread's index and returns its :class:`Need`, or None when nothing can be said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from hangdiag.holders import locks, others, vmm, workers
from hangdiag.holders.machines import LOCKS_ALL, find_machines, in_device, in_vm_run
from hangdiag.holders.need import CUT_NAME, Holder, Machine, Need, Resource, Scene
from hangdiag.model import Capture, LockFact
from hangdiag.waits import Wait

#: Locks whose waiters are on a turnstile: its address, not the lock's, is what ddb's `ps` prints as wchan.
_TURNSTILE_CLASSES = frozenset({"sleep mutex", "rw", "rm"})

Resolver = Callable[[Scene, int], Need | None]

RESOLVERS: dict[str, Resolver] = {
    "rendezvous": vmm.rendezvous,
    "vcpu-state": vmm.vcpu_state,
    "suspend": vmm.suspend,
    "memsegs": locks.memory_segments,
    "vcpu-table": locks.vcpu_table,
    "lock": locks.lock,
    "vnode": locks.lock,
    "buffer": locks.lock,
    "device-drain": others.device_drain,
    "single-threading": others.single_threading,
    "txg": workers.txg,
    "drain": workers.drain,
    "pagedaemon": workers.page_daemon,
}


def make_scene(capture: Capture, waits: tuple[Wait, ...]) -> Scene:
    """Find the VMs and index the threads."""
    machines = find_machines(capture, waits)
    machine_of = {index: machine for machine in machines for index in (*machine.members, *machine.visitors)}
    by_tid = {thread.tid: index for index, thread in enumerate(capture.threads) if thread.tid is not None}
    by_address = {
        thread.address: index for index, thread in enumerate(capture.threads) if thread.address is not None
    }
    facts_of_waiter: dict[int, list[LockFact]] = defaultdict(list)
    facts_at: dict[int, dict[object, LockFact]] = defaultdict(dict)
    vnodes: dict[int, list[LockFact]] = defaultdict(list)
    for fact in capture.locks:
        for tid in fact.waiters:
            facts_of_waiter[tid].append(fact)
        if fact.vnode is not None:
            vnodes[fact.vnode].append(fact)
        if fact.address is not None:
            # a chain says of each of a thousand waiters who owns the lock: once is enough
            claim = (fact.state, fact.owner, fact.owner_address, fact.sharers, fact.name)
            facts_at[fact.address].setdefault(claim, fact)
    at = {address: list(claims.values()) for address, claims in facts_at.items()}
    by_name: dict[str, list[LockFact]] = defaultdict(list)
    for facts in at.values():
        for fact in facts:
            if fact.name is not None and fact.lock_class in _TURNSTILE_CLASSES:
                by_name[fact.name[:CUT_NAME]].append(fact)
    by_pid: dict[int, list[int]] = defaultdict(list)
    by_function: dict[str, set[int]] = defaultdict(set)
    for index, thread in enumerate(capture.threads):
        if thread.pid is not None:
            by_pid[thread.pid].append(index)
        for frame in thread.frames:
            by_function[frame.function].add(index)
    in_run, inside = (
        frozenset([index for index, thread in enumerate(capture.threads) if is_there(thread)])
        for is_there in (in_vm_run, in_device)
    )
    want_all = frozenset[int]().union(*[by_function.get(name, ()) for name in LOCKS_ALL])
    past_lock = {index for index in inside if waits[index].kind != "vcpu-state"}
    return Scene(
        capture=capture,
        waits=waits,
        in_run=in_run,
        in_device=inside,
        locks_all=want_all,
        may_lock_vcpu=in_run | want_all | past_lock,
        machines=machines,
        machine_of=machine_of,
        sort_of=_sorts(capture, waits, machines, facts_of_waiter),
        by_tid=by_tid,
        by_pid=by_pid,
        by_address=by_address,
        by_function=by_function,
        facts_of_waiter=facts_of_waiter,
        facts_at=at,
        turnstile_facts=by_name,
        vnode_facts=vnodes,
    )


def _sorts(
    capture: Capture,
    waits: tuple[Wait, ...],
    machines: tuple[Machine, ...],
    facts_of_waiter: Mapping[int, Sequence[LockFact]],
) -> dict[int, int]:
    numbers: dict[object, int] = {}
    sorts = {}
    for machine in machines:
        for index, tie in machine.visitors.items():
            thread, wait = capture.threads[index], waits[index]
            if thread.tid not in facts_of_waiter:
                where = (thread.wmesg, thread.wchan, thread.lock, *[(frame.function, frame.args) for frame in thread.frames])
                sort = (machine.number, tie, wait.kind, wait.via, wait.holders, where)
                sorts[index] = numbers.setdefault(sort, len(numbers))
    return sorts


def find_needs(scene: Scene) -> dict[int, Need]:
    """The need of every thread that waits for other threads, by thread index."""
    needs = {}
    moved = scene.capture.moved
    for index, wait in enumerate(scene.waits):
        if moved and scene.capture.threads[index].tid in moved:
            continue
        name = wait.holders or ("lock" if wait.kind == "lock" else None)
        resolver = RESOLVERS.get(name) if name is not None else None
        if resolver is not None:
            need = resolver(scene, index)
            if need is not None:
                needs[index] = need
    return needs


__all__ = ["RESOLVERS", "Holder", "Machine", "Need", "Resource", "Scene", "find_needs", "make_scene"]
