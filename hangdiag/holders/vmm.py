"""Who must act before a wait inside vmm(4) ends: rendezvous, vCPU state, suspend.

The rules are those of sys/amd64/vmm/vmm.c and vmm_dev.c (11.0 to 14) and sys/dev/vmm/vmm_vm.c
(15 on); docs/diagnosis.md derives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hangdiag.holders.machines import LEAST_ADDRESS, functions_of, own_vcpu, vcpu_of
from hangdiag.holders.need import Holder, Machine, Need, Resource, Scene, holders_of, without_crowd
from hangdiag.model import Thread, release_numbers

#: &vcpu->state lies this far into struct vcpu, behind its mutex (FreeBSD 11 to main, LP64).
_STATE_OFFSET = 0x20
#: vm_run() lies this deep in a stack at least, below what a sleeping thread has on top.
_TELLS_RUN = 5
#: No release before has the fix, whichever branches got it.
_FIRST_FIXED = (14, 3)
#: The first release whose rendezvous and suspension notice that the process exits.
_FIRST_KILLABLE = (12, 2)
#: Rendezvous started from here ask every active vCPU (sys/amd64/vmm/io/vioapic.c, vioapic_write).
_ASKS_ALL = frozenset({"vioapic_write", "vioapic_mmio_rw", "vioapic_mmio_write"})


def rendezvous(scene: Scene, index: int) -> Need | None:
    """A rendezvous waits for the vCPUs that were asked to join and have not."""
    machine = scene.machine_of.get(index)
    return None if machine is None else _unless_killed(scene, machine, index, _rendezvous(scene, machine))


def _unless_killed(scene: Scene, machine: Machine, index: int, need: Need) -> Need:
    """``need`` of a wait that from 12.2 on ends within a second when its process exits (thread_check_susp): while a thread
    of that is in thread_single() it proves nothing. The report of 2023 said that kill -9 did not help.
    """
    numbers = release_numbers(scene.capture.host.release)
    exiting = bool(scene.threads_in(["thread_single"], machine.members))
    looks = "sleepq_wait" not in functions_of(scene.capture.threads[index])
    if not exiting or not looks or (numbers is not None and numbers < _FIRST_KILLABLE):
        return need
    return replace(
        need,
        open=True,
        likely_open=need.open if need.likely_open is None else need.likely_open,
        basis="rule",
        why=f"{need.why}; but the process is exiting, which ends this wait within a second from 12.2 on",
    )


def _rendezvous(scene: Scene, machine: Machine) -> Need:
    resource = Resource("rendezvous", f"rendezvous of {machine.label}", ("rendezvous", machine.number))
    joined = {vcpu for vcpu, thread in machine.vcpus.items() if scene.waits[thread].kind == "rendezvous"}
    answering = _answering(scene, machine)
    read = machine.read
    if (
        read is not None
        and read.requested is not None
        and read.done is not None
        and read.rendezvous_function != ""
    ):
        missing = (read.requested if read.active is None else read.requested & read.active) - read.done
        shown = [vcpu for vcpu in sorted(missing) if vcpu in machine.vcpus]
        if missing and not missing & (joined | answering):
            holders = tuple(
                Holder(
                    machine.vcpus[vcpu], "observed", read.where[:1] + scene.thread_where(machine.vcpus[vcpu])
                )
                for vcpu in shown
            )
            return Need(
                resource,
                "all",
                holders,
                open=not holders,
                why=f"read in struct vm: asked {_ids(read.requested)}, done {_ids(read.done)}, so it waits for {_ids(missing)}",
            )
    if read is not None and read.rendezvous_function == "":
        return Need(
            resource, "any", (), open=True, why="read in struct vm: no rendezvous is pending any more"
        )
    absent = [vcpu for vcpu in machine.vcpus if vcpu not in joined]
    helped = _is_helped(scene, machine)
    if helped:
        # vcpu_set_state_all() runs the function for every vCPU that it found idle
        absent = [vcpu for vcpu in absent if machine.vcpus[vcpu] in scene.in_run]
    if not answering.issuperset(absent):
        absent = [vcpu for vcpu in absent if vcpu not in answering]
    threads = [machine.vcpus[vcpu] for vcpu in absent]
    certainty = "observed" if len(threads) == 1 and machine.complete else "possible"
    asked_all = bool(scene.threads_in(_ASKS_ALL, {machine.vcpus[vcpu] for vcpu in joined}))
    nameless = _nameless(scene, machine) if not machine.complete else []
    if nameless and not threads and not helped:
        return Need(
            resource,
            "any",
            holders_of(nameless, scene, "possible"),
            open=True,
            likely_open=False if machine.nameless and not _hides_vcpu(scene, machine) else None,
            possible_open=False,
            basis="rule",
            why="which threads run the vCPUs that have not joined is not shown; those listed are inside the VM's"
            " device and may be theirs",
        )
    if not threads:
        return Need(
            resource,
            "any",
            (),
            open=True,
            basis="rule",
            why="vcpu_set_state_all() acts for the vCPUs that have not joined"
            if helped
            else "every vCPU thread that the capture shows has joined: the one that is missing is not in it",
        )
    if answering.issuperset(absent):
        return Need(
            resource,
            "any",
            holders_of(threads, scene, "possible"),
            open=True,
            basis="rule",
            why=f"joined: {_ids(joined)}; vm_handle_suspend() of {_ids(absent)} looks every second and joins by itself",
        )
    return Need(
        resource,
        "any",
        holders_of(threads, scene, certainty),
        open=bool(answering) or not machine.complete,
        likely_mode="all",
        likely_open=not machine.complete,
        possible_open=False,
        basis="exhaustive",
        why=f"joined: {_ids(joined)}; it has not ended, so at least one of {_ids(absent)} is missing"
        + (" (an I/O APIC write asks all)" if asked_all else ""),
    )


def _answering(scene: Scene, machine: Machine) -> set[int]:
    """The vCPUs in vm_handle_suspend(), which from 11.0 on joins a rendezvous by itself (sys/amd64/vmm/vmm.c)."""
    major = (scene.capture.host.release or "").partition(".")[0]
    if major.isdigit() and int(major) < 11:
        return set()
    return {vcpu for vcpu, thread in machine.vcpus.items() if scene.waits[thread].kind == "vcpu-suspend"}


def _nameless(scene: Scene, machine: Machine) -> list[int]:
    """Threads of the VM inside its device whose vCPU is not known: bhyve's ioctls come from vCPU threads mostly."""
    return sorted((machine.members & scene.in_device) - scene.in_run - set(machine.vcpus.values()))


def _is_helped(scene: Scene, machine: Machine) -> bool:
    return bool(scene.threads_in(["vcpu_set_state_all"], machine.threads))


def vcpu_state(scene: Scene, index: int) -> Need | None:
    """``vmstat``: an ioctl waits until a vCPU is idle, that is until whoever has it locked lets go."""
    machine = scene.machine_of.get(index)
    if machine is None:
        return _of_some_vm(scene, index)
    thread = scene.capture.threads[index]
    need = _idle_vcpu(scene, machine, index)
    if thread.frames or need.open or not _may_be_fixed(scene.capture.host.release):
        return need
    # only its wait message is shown: it may be in vcpu_set_state_all(), which does not block a rendezvous
    return replace(
        need,
        open=True,
        likely_open=bool(need.likely_open),
        basis="rule",
        why=f"{need.why} (without its stack: unless it is in vcpu_set_state_all() of a kernel with the fix)",
    )


def _may_be_fixed(release: str | None) -> bool:
    """May the kernel have vcpu_set_state_all() (commit f39768e52e51, autumn 2025)?"""
    numbers = release_numbers(release)
    return numbers is None or numbers >= _FIRST_FIXED


def _idle_vcpu(scene: Scene, machine: Machine, index: int) -> Need:
    thread = scene.capture.threads[index]
    target, how = _target(scene, machine, index)
    if index in scene.locks_all:
        return _all_vcpus(scene, machine, index)
    label = (
        f"vcpu {target} of {machine.label} idle" if target is not None else f"a vCPU of {machine.label} idle"
    )
    resource = Resource(
        "vcpu-state", label, ("vcpu", machine.number, target, None if target is not None else thread.wchan)
    )
    tied = machine.visitors.get(index, "observed")
    owner = machine.vcpus.get(target) if target is not None else _runner(scene, machine, index)
    if owner is not None and owner != index:
        if target is None:
            how = "the struct vcpu that it wants is that of a thread's own vm_run()"
        if owner in scene.in_run:
            return Need(
                resource,
                "all",
                holders_of([owner], scene, tied),
                basis="observed" if tied == "observed" else "rule",
                why=f"{how}: it waits for {f'vcpu {target}' if target is not None else 'that vCPU'}, whose thread is inside"
                " VM_RUN and so has it locked",
            )
    candidates = _lockers(scene, machine, index, target)
    if not candidates:
        return Need(resource, "any", (), open=True, basis="rule", why="no thread shown has a vCPU locked")
    what = (
        f"vcpu {target}"
        if target is not None
        else "one vCPU that is not idle, the capture does not show which"
    )
    listed = without_crowd(candidates, scene)
    beside = f", but for {len(candidates) - len(listed)} more like these" if len(listed) < len(candidates) else ""
    return Need(
        resource,
        "any",
        holders_of(
            listed,
            scene,
            tied
            if len(candidates) == 1 and tied != "observed"
            else "possible"
            if len(candidates) > 1
            else "observed",
        ),
        open=not machine.complete or (target is None and _has_unknown(scene, machine)),
        likely_open=False if machine.nameless and not _hides_vcpu(scene, machine) else None,
        possible_open=False,
        basis="exhaustive" if tied == "observed" else "rule",
        why=f"it waits for {what}: "
        + ("the only thread" if len(candidates) == 1 else "each of the threads")
        + f" that can have it locked is listed{beside}",
    )


def _of_some_vm(scene: Scene, index: int) -> Need:
    """A thread of another process in an ioctl of one of several VMs, which is said to be ambiguous, or of one not shown."""
    labels = " or ".join(machine.label for machine in scene.machines[:6]) or "no thread of any VM is in it"
    return Need(
        Resource("vcpu-state", "a vCPU of some VM idle", ("vcpu of some VM", index)),
        "any",
        (),
        open=True,
        basis="rule",
        why=f"the capture does not show which VM it means: {labels}",
    )


def _all_vcpus(scene: Scene, machine: Machine, index: int) -> Need:
    """vcpu_lock_all() needs every vCPU, one after the other: it is stuck if any one of them stays locked."""
    # who is inside VM_RUN has some vCPU locked, whether its id is known or not
    inside = sorted((machine.members & scene.in_run) - {index})
    tied = machine.visitors.get(index, "observed")
    if machine.pid is None and not machine.vcpus:
        tied = "inferred"  # that these threads are of one VM is not shown
    return Need(
        Resource("vcpu-state", f"all vCPUs of {machine.label} idle", ("vcpus", machine.number)),
        "all",
        holders_of(inside, scene, tied),
        open=not inside,
        basis="observed" if tied == "observed" else "rule",
        why="vcpu_lock_all() needs every vCPU idle, and those listed are inside VM_RUN",
    )


def _target(scene: Scene, machine: Machine, index: int) -> tuple[int | None, str]:
    """The vCPU that a thread in vcpu_set_state() waits for, and how that is known."""
    for value, how in _wanted(scene.capture.threads[index]):
        if value < LEAST_ADDRESS:
            return value, how
        if (found := _vcpu_at(scene, machine, value)) is not None:
            return found, how
    read = machine.read
    if read is not None and len(read.vcpus) > 1 and {vcpu.id for vcpu in read.vcpus} >= (read.active or machine.vcpus.keys()):
        asked = [vcpu.id for vcpu in read.vcpus if vcpu.reqidle is not False]
        busy = [vcpu.id for vcpu in read.vcpus if vcpu.state != "IDLE"]
        if len(asked) == 1 and asked[0] in busy:
            return asked[0], "reqidle is set in that vCPU alone"
        if len(busy) == 1:
            return busy[0], "it is the only vCPU that is not idle"
    return None, ""


def _wanted(thread: Thread) -> Iterator[tuple[int, str]]:
    """The id, or the address of the struct vcpu, that a thread in vcpu_set_state() waits for, and how that is known."""
    for frame in thread.frames:
        if frame.function in ("vcpu_set_state_locked", "vcpu_set_state", "vcpu_lock_one", "vcpu_wait_idle"):
            for name in ("vcpuid", "vcpu"):
                value = frame.number(name)
                if value is not None:
                    yield value, "an argument"
    if thread.wchan is not None:
        yield thread.wchan - _STATE_OFFSET, "its wait channel lies in that vCPU"


def _runner(scene: Scene, machine: Machine, index: int) -> int | None:
    """The thread that runs the vCPU that thread ``index`` waits for, where the vCPUs' numbers are not known."""
    addresses = {value for value, _ in _wanted(scene.capture.threads[index])}
    found = [
        other for other in machine.members & scene.in_run if own_vcpu(scene.capture.threads[other]) in addresses
    ]
    return found[0] if len(found) == 1 else None


def _vcpu_at(scene: Scene, machine: Machine, address: int) -> int | None:
    """The vCPU whose struct vcpu is at ``address``: it was read, or is that of its own thread."""
    if machine.read is not None:
        for read in machine.read.vcpus:
            if read.address == address:
                return read.id
    for vcpu, index in machine.vcpus.items():
        thread = scene.capture.threads[index]
        if thread.wchan == address and scene.waits[index].kind in ("vcpu-halt", "vcpu-suspend"):
            return vcpu
        if own_vcpu(thread) == address:
            return vcpu
    return None


def _lockers(scene: Scene, machine: Machine, index: int, target: int | None) -> list[int]:
    """The threads that can have the wanted vCPU locked: inside VM_RUN, in vcpu_lock_all(), or past the lock."""
    others = (machine.threads & scene.may_lock_vcpu) - {index}
    return sorted(
        other
        for other in others
        if target is None or other not in scene.in_run or vcpu_of(scene.capture.threads[other]) in (None, target)
    )


def _hides_vcpu(scene: Scene, machine: Machine) -> bool:
    """May a thread that runs, that was left out, or of which too little is shown, be a vCPU's? Asked where none has a name."""
    return scene.capture.is_abridged or any(
        scene.capture.threads[index].name is None
        and (scene.waits[index].kind in ("running", "runnable") or _shows_too_little(scene, index))
        for index in machine.members - scene.in_device
    )


def _has_unknown(scene: Scene, machine: Machine) -> bool:
    """Is there a vCPU thread of which is not known whether it is inside VM_RUN: without a stack, or with its top alone?"""
    return any(_shows_too_little(scene, thread) for thread in machine.vcpus.values())


def _shows_too_little(scene: Scene, index: int) -> bool:
    """Is the stack missing, or too short to tell whether it goes through vm_run()?"""
    frames = scene.capture.threads[index].frames
    return scene.waits[index].kind in ("unknown", "sleep") and len(frames) < _TELLS_RUN


def suspend(scene: Scene, index: int) -> Need | None:
    """``vmsusp`` ends when every active vCPU has suspended."""
    machine = scene.machine_of.get(index)
    return None if machine is None else _unless_killed(scene, machine, index, _suspend(scene, machine, index))


def _suspend(scene: Scene, machine: Machine, index: int) -> Need:
    resource = Resource("suspend", f"suspension of all vCPUs of {machine.label}", ("suspend", machine.number))
    read = machine.read
    suspended = {vcpu for vcpu, thread in machine.vcpus.items() if scene.waits[thread].kind == "vcpu-suspend"}
    if read is not None and read.active is not None and read.suspended is not None:
        missing = read.active - read.suspended
        shown = [machine.vcpus[vcpu] for vcpu in sorted(missing) if vcpu in machine.vcpus]
        # sets of another moment than the stacks say nothing about these
        if shown and not missing & suspended:
            return Need(
                resource,
                "all",
                holders_of(shown, scene, "observed"),
                why=f"read in struct vm: active {_ids(read.active)}, suspended {_ids(read.suspended)}",
            )
    others = [
        thread
        for thread in machine.vcpus.values()
        if scene.waits[thread].kind != "vcpu-suspend" and thread != index
    ]
    if not others:
        return Need(resource, "any", (), open=True, basis="rule", why="every vCPU thread shown has suspended")
    return Need(
        resource,
        "any",
        holders_of(others, scene, "observed" if len(others) == 1 else "possible"),
        open=not machine.complete,
        likely_mode="all",
        possible_open=False,
        basis="exhaustive",
        why="at least one vCPU that has not suspended is missing",
    )


def _ids(vcpus: object) -> str:
    numbers = sorted(vcpus) if isinstance(vcpus, (set, frozenset, list)) else []
    return "{" + ", ".join(str(value) for value in numbers) + "}"
