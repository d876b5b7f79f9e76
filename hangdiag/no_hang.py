"""When nobody waits for anybody: is that a host without a hang, or does the capture not tell?

A guest hangs as well where its process is stopped, or where one of its threads waits for a disk or a terminal that does
not answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from hangdiag import wording
from hangdiag.findings import Finding
from hangdiag.holders import Machine, Scene

#: A host has so many threads of the kernel at least, and twice as many mostly.
_LEAST_HOST = 40
#: Kinds of wait that end without help from another thread of the capture, or are noticed by its waker.
CAN_MOVE = frozenset({"running", "runnable", "vcpu-halt"})


def no_hang(scene: Scene) -> Finding:
    """Nobody waits for anybody: no hang, unless too little is known to say so."""
    threads = scene.capture.threads
    if not threads:
        return Finding("inconclusive", "possible", "no thread was found in the input")
    dark = [
        index
        for index, wait in enumerate(scene.waits)
        if (wait.kind in ("unknown", "sleep") and (index in scene.machine_of or len(threads) < 4))
        # a mutex of the program, whose owner only its memory tells
        or (wait.kind == "user-lock" and threads[index].is_user_stack and is_suspicious(scene, index))
    ]
    if dark:
        return _finding(scene, "inconclusive", "possible", wording.inconclusive(scene, dark), dark)
    if not scene.machines and all(wait.on_cpu for wait in scene.waits) and not wording.has_panicked(scene):
        return Finding("inconclusive", "possible", wording.only_running(scene), tuple(range(len(threads))))
    userland = [index for machine in scene.machines for index in _held_in_userland(scene, machine)]
    if unowned := [index for index in userland if not _may_be_held(scene, scene.machine_of[index])]:
        return _finding(scene, "inconclusive", "possible", wording.held_in_userland(scene, unowned), unowned, causes=True)
    if stopped := [index for machine in scene.machines for index in _stopped(scene, machine)]:
        return _finding(scene, "blocked", "likely", wording.stopped(scene, stopped), stopped, causes=True)
    if halted := [index for machine in scene.machines for index in _halted_for_good(scene, machine)]:
        known = all(scene.machine_of[index].complete for index in halted)
        return _finding(scene, "blocked", "likely" if known else "possible", wording.halted(scene, halted), halted, causes=True)
    waiting = sorted({index for machine in scene.machines for index in _waits_for_the_world(scene, machine)})
    sure = (_shows_all(scene) or wording.has_panicked(scene)) and not (scene.capture.is_abridged or userland or waiting)
    certainty = at_most(scene, range(len(threads)), "likely" if sure else "possible")
    return Finding("no-hang", certainty, wording.no_hang(scene, waiting))


def _shows_all(scene: Scene) -> bool:
    """May the capture show everybody who could hang: the vCPUs of each VM, or as many threads as a host has?"""
    if scene.machines:
        return all(machine.vcpus or not scene.in_run.isdisjoint(machine.members) for machine in scene.machines)
    return len(scene.waits) >= _LEAST_HOST


def at_most(scene: Scene, indices: Iterable[int], certainty: str) -> str:
    """``certainty``, but no more than "possible" for what no tool showed at one instant."""
    return "possible" if any(scene.capture.threads[index].told for index in indices) else certainty


def waits_for_storage(scene: Scene, index: int) -> bool:
    """Does the thread wait for a disk, a file system or a file server?"""
    wait = scene.waits[index]
    if wait.kind == "network":
        return wait.rule is not None and wait.rule.subsystem == "nfs"
    return wait.kind in ("io", "filesystem") and not wait.idle


def is_suspicious(scene: Scene, index: int) -> bool:
    rule = scene.waits[index].rule
    return rule is not None and rule.normal == "suspicious"


def _finding(
    scene: Scene, verdict: str, certainty: str, summary: str, members: list[int], causes: bool = False
) -> Finding:
    return Finding(
        verdict,
        certainty,
        summary,
        tuple(members),
        causes=tuple(members) if causes else (),
        evidence=tuple(sorted({where for index in members for where in scene.thread_where(index)})),
    )


def _held_in_userland(scene: Scene, machine: Machine) -> list[int]:
    """The vCPU threads of a VM that wait for another thread of bhyve: none of them rests there."""
    vcpus = sorted(machine.vcpus.values())
    return [index for index in vcpus if scene.waits[index].kind == "user-lock" and not scene.waits[index].idle]


def _may_be_held(scene: Scene, machine: Machine) -> bool:
    """May a thread of this bhyve have the mutex and be at work? Who rests, or is inside VM_RUN, holds none."""
    return any(
        not scene.waits[index].idle and scene.waits[index].kind != "user-lock"
        for index in machine.members - scene.in_run
    )


def _stopped(scene: Scene, machine: Machine) -> list[int]:
    """The vCPU threads of a VM, or where none has a name all that do not rest, if none is other than stopped."""
    vcpus = sorted(machine.vcpus.values() or [index for index in machine.members if not scene.waits[index].idle])
    return vcpus if all(scene.waits[index].kind == "stopped" for index in vcpus) else []


def _halted_for_good(scene: Scene, machine: Machine) -> list[int]:
    """The vCPU threads of a VM whose guest executed HLT with interrupts disabled on every one: no interrupt wakes any
    (sys/amd64/vmm/vmm.c, vm_handle_hlt; with hw.vmm.halt_detection the VM would have been suspended).
    """
    vcpus = sorted(machine.vcpus.values())
    return vcpus if all(scene.capture.threads[index].wmesg == "vmhalt" for index in vcpus) else []


def _waits_for_the_world(scene: Scene, machine: Machine) -> list[int]:
    """The threads of a VM that a disk, a server or a terminal keeps from their work, which may be slow, or dead.

    A worker that waits for storage is everyday as long as a vCPU runs; a vCPU's thread and the event loop have one place
    each to rest in.
    """
    vcpus = set(machine.vcpus.values())
    moving = any(scene.waits[index].kind in ("running", "runnable") for index in vcpus)
    return [
        index
        for index in sorted(machine.members)
        if (
            (index in vcpus or scene.capture.threads[index].name == "mevent")
            and scene.waits[index].kind not in CAN_MOVE
            and not scene.waits[index].idle
        )
        or (vcpus and not moving and waits_for_storage(scene, index))
    ]
