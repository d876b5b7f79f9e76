"""Who holds a kernel lock: only what the capture says (chains, alllocks, lock words, arguments)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hangdiag.holders.need import CUT_NAME, Holder, Need, Resource, Scene, holders_of, without_crowd
from hangdiag.lockwords import LOCK_IN_VNODE
from hangdiag.model import LockFact

#: Arguments that carry the lock's address, by function. The first is the lock word at +0x18 for mtx and rw
#: from 12 on (struct lock_object is 24 bytes, sys/sys/_lock.h).
_LOCK_ARGUMENTS = {
    "_sx_xlock_hard": ("sx",),
    "_sx_slock_hard": ("sx",),
    "_sx_xlock": ("sx",),
    "_sx_slock": ("sx",),
    "__lockmgr_args": ("lk",),
    "lockmgr_xlock_hard": ("lk",),
    "lockmgr_slock_hard": ("lk",),
    "sleeplk": ("lk",),
}
#: Functions whose argument c is the lock's word, behind its struct lock_object.
_LOCK_WORDS = frozenset({"__mtx_lock_sleep", "__rw_wlock_hard", "__rw_rlock_hard"})
#: Functions that lock the vnode that is their argument (sys/kern/vfs_vnops.c, vfs_subr.c), so near the top of a stack.
_VNODE_LOCKERS = frozenset({"VOP_LOCK1", "_vn_lock", "vn_lock", "vget", "vget_finish"})
_DEEPEST_VNODE = 14


def lock(scene: Scene, index: int) -> Need | None:
    """The owner of the lock that a thread is blocked on."""
    thread = scene.capture.threads[index]
    address = _address(scene, index)
    facts = _facts(scene, index, address)
    address = address if address is not None else next((fact.address for fact in facts if fact.address), None)
    name = thread.lock or next((fact.name for fact in facts if fact.name), None) or thread.wmesg
    label = f"lock {name}" if name else "a lock"
    resource = Resource("lock", label, ("lock", address if address is not None else ("thread", index)))
    owners: dict[int, Holder] = {}
    sharers: set[int] = set()
    claims: dict[int, list[LockFact]] = {}
    handed_over = released = unseen = False
    for fact in facts:
        if fact.state == "kernproc":
            handed_over = True
        released = released or fact.state == "unlocked"
        owner = scene.by_tid.get(fact.owner) if fact.owner is not None else None
        if owner is None and fact.owner_address is not None:
            owner = scene.by_address.get(fact.owner_address)
        if owner is not None:
            claims.setdefault(owner, []).append(fact)
            owners.setdefault(
                owner, Holder(owner, "observed", (fact.where,) if fact.where is not None else ())
            )
        elif fact.owner is not None or fact.owner_address is not None:
            unseen = True
        for tid in fact.sharers:
            if tid in scene.by_tid:
                sharer = scene.by_tid[tid]
                sharers.add(sharer)
                owners.setdefault(
                    sharer, Holder(sharer, "observed", (fact.where,) if fact.where is not None else ())
                )
    if released and not owners:
        return Need(resource, "any", (), open=True, why=f"{label} is free: the thread is about to get it")
    # who is only said to wait for it tells no more than its name
    telling = any(fact.address is not None or fact.state is not None for fact in facts)
    if not owners and not telling and (named := _only_held(scene, index)) is not None:
        owner, fact = named
        held = Holder(owner, "inferred", (fact.where,) if fact.where is not None else ())
        return Need(
            replace(resource, label=f"lock {fact.name}", key=("lock", fact.address)),
            "all",
            (held,),
            open=True,
            likely_open=False,
            basis="rule",
            why=f"lock {fact.name}: of all locks shown as held, only one has this name",
        )
    if not owners:
        shares = max((fact.shares or 0 for fact in facts), default=0)
        why = "the capture does not show who holds it"
        if unseen:
            why = "its owner is not in the capture"
        elif shares:
            holders = "one thread" if shares == 1 else f"{shares} threads"
            why = f"{holders} hold{'s' if shares == 1 else ''} it shared; the kernel does not record which"
        if handed_over:
            why = "it was handed to LK_KERNPROC: an I/O that is under way will release it"
        return Need(resource, "any", (), open=True, basis="rule", why=f"{label}: {why}")
    sure = sharers | {owner for owner, told in claims.items() if _is_sure(told)}
    if sure:
        owners = {owner: holder for owner, holder in owners.items() if owner in sure}
    how = "the thread itself holds it" if index in owners else "the capture names who holds it"
    gives_up, several = _gives_up(scene, index), len(owners.keys() - sharers) > 1
    if gives_up:
        how += "; it waits with a time limit and then gives up"
    if several:
        how = "the capture names several owners, of which one at most can have it"
    return Need(
        resource,
        "all",
        tuple(owners.values()),
        open=gives_up or several,
        basis="observed" if sure else "order",
        why=f"{label}: {how}",
    )


def _is_sure(claims: list[LockFact]) -> bool:
    """Does more than the order of two lines say who owns a lock?"""
    return any(not fact.by_order for fact in claims) or len({fact.where for fact in claims}) > 1


def _gives_up(scene: Scene, index: int) -> bool:
    """Does a thread wait for a lockmgr lock with a time limit (LK_TIMELOCK: sleeplk() in sys/kern/kern_lock.c)?"""
    functions = [frame.function for frame in scene.capture.threads[index].frames[:10]]
    return any(
        inner in ("sleepq_timedwait", "sleepq_timedwait_sig") and outer == "sleeplk"
        for inner, outer in pairwise(functions)
    )


def memory_segments(scene: Scene, index: int) -> Need | None:
    """The sx lock "vm mem_segs" of struct vm: held across vcpu_lock_all() by who is in it.

    sys/amd64/vmm/vmm_dev.c (13.2) and sys/dev/vmm/vmm_dev.c: the lock is taken first, then all vCPUs.
    """
    return _held_in_lock_all(scene, index, queued=True)


def vcpu_table(scene: Scene, index: int) -> Need | None:
    """The sx lock "vm vcpus" of struct vm: vcpu_lock_all() takes it, so who waits in there for a vCPU has it.

    vm_slock_vcpus() (13.2 to 15.0), exclusively in vm_lock_vcpus() (sys/dev/vmm/vmm_vm.c, 15.1).
    """
    return _held_in_lock_all(scene, index, queued=False)


def _held_in_lock_all(scene: Scene, index: int, queued: bool) -> Need | None:
    """``queued``: does a thread have the lock that waits for another one in vcpu_lock_all()?"""
    need = lock(scene, index)
    machine = scene.machine_of.get(index)
    if need is None or need.holders or machine is None:
        return need
    inside = [
        other
        for other in sorted(scene.threads_in(["vcpu_lock_all"], machine.threads) - {index})
        if queued or scene.waits[other].kind != "lock"
    ]
    if not inside:
        return need
    return replace(
        need,
        mode="all",
        holders=holders_of(without_crowd(inside, scene), scene, "inferred"),
        likely_open=False,
        why=f"{need.resource.label}: a thread in vcpu_lock_all() holds it, as the ioctls take it before the vCPUs",
    )


def _address(scene: Scene, index: int) -> int | None:
    """The address of the lock: the wait channel of an sx or lockmgr lock, or an argument."""
    thread = scene.capture.threads[index]
    for frame in thread.frames[:10]:
        for name in _LOCK_ARGUMENTS.get(frame.function, ()):
            value = frame.number(name)
            if value:
                return value
        if frame.function in _LOCK_WORDS and (word := frame.number("c")):
            return word - (24 if word >> 32 else 16)
    functions = {frame.function for frame in thread.frames}
    if thread.wchan is not None and (not functions or not functions.isdisjoint(_LOCK_ARGUMENTS)):
        return thread.wchan
    return None


def _only_held(scene: Scene, index: int) -> tuple[int, LockFact] | None:
    """The owner of the one lock on a turnstile that is held, by another thread, under the name waited for.

    A lock with waiters has an owner, and WITNESS (`show alllocks`) lists what each thread holds; but many
    locks share a name, and some are not watched.
    """
    name = scene.capture.threads[index].lock
    if name is None:
        return None
    held: dict[int, tuple[int, LockFact]] = {}
    for fact in scene.turnstile_facts.get(name[:CUT_NAME], ()):
        if fact.name is None or fact.address is None:
            continue
        if fact.name != name and not (len(name) >= CUT_NAME and fact.name.startswith(name)):
            continue
        owner = scene.by_tid.get(fact.owner) if fact.owner is not None else None
        if fact.state != "exclusive" or owner is None:
            return None
        if owner != index:
            held[fact.address] = (owner, fact)
        if len(held) > 1:
            return None
    return next(iter(held.values()), None)


def _facts(scene: Scene, index: int, address: int | None) -> list[LockFact]:
    """The statements about this lock: those that name the waiter, and those with its address."""
    tid = scene.capture.threads[index].tid
    facts = list(scene.facts_of_waiter.get(tid, ())) if tid is not None else []
    addresses = {fact.address for fact in facts if fact.address is not None}
    if address is not None:
        addresses.add(address)
    for place in sorted(addresses):
        facts.extend(scene.facts_at.get(place, ()))
    if not facts and scene.vnode_facts:
        facts += _facts_of_vnode(scene, index, address)
    return facts


def _facts_of_vnode(scene: Scene, index: int, address: int | None) -> list[LockFact]:
    """The statements about a vnode's own lock (`show lockedvnods` prints the vnode's address, not the lock's): that of
    the lock's vnode or, if the lock is not known, of the one that the thread's frames say it locks.
    """
    thread = scene.capture.threads[index]
    if address is not None:
        vnodes = [address - offset for offset in LOCK_IN_VNODE]
    else:
        frames = [frame for frame in thread.frames[:_DEEPEST_VNODE] if frame.function in _VNODE_LOCKERS]
        vnodes = [vnode for frame in frames if (vnode := frame.number("vp"))][:1]
    name = thread.wmesg
    for vnode in vnodes:
        facts = [
            fact
            for fact in scene.vnode_facts.get(vnode, ())
            if fact.name is None or name is None or fact.name.startswith(name)
        ]
        if facts:
            return facts
    return []
