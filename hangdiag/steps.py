"""What to do next: exact commands for this capture, thread ids and addresses filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hangdiag.findings import Finding
from hangdiag.holders import Machine, Need, Scene


def next_steps(finding: Finding, scene: Scene, needs: Mapping[int, Need]) -> Finding:
    """The finding with its next steps: what would confirm it, what to save, what to try."""
    steps: list[str] = []
    machine = _machine(finding, scene)
    if finding.verdict == "deadlock":
        if finding.known_bug is not None and finding.known_bug.rule.workaround:
            steps.append(finding.known_bug.rule.workaround.strip().replace("\n", " "))
        steps += _confirm(finding, scene, machine)
        steps.append(
            "save the evidence before you reboot: procstat -kk -a; ps -axHl; dmesg; uname -a"
        )
    elif finding.verdict in ("inconclusive", "blocked", "contention"):
        steps += _gather(finding, scene, needs, machine)
    elif finding.verdict == "no-hang" and scene.machines:
        steps.append(
            "if the guest does not answer, take a second capture some seconds later: procstat -kk -a"
        )
    elif finding.verdict == "memory-starvation":
        steps.append("vmstat -s; swapinfo; ps -axo pid,rss,state,wchan,comm: who holds the memory?")
    elif finding.verdict == "io-stall":
        if finding.certainty == "possible":
            steps.append("whether it moves: a second capture some seconds later (procstat -kk -a)")
        steps.append(
            "zpool status -v; gstat -b; camcontrol devlist; dmesg | tail -50: which device does not answer?"
        )
    return replace(finding, next_steps=tuple(steps))


def _machine(finding: Finding, scene: Scene) -> Machine | None:
    for index in (*finding.threads, *finding.causes):
        if index in scene.machine_of:
            return scene.machine_of[index]
    return None


def _confirm(finding: Finding, scene: Scene, machine: Machine | None) -> list[str]:
    kinds = {scene.waits[index].kind for index in finding.threads}
    threads = scene.capture.threads
    if "lock" in kinds:
        tids = [str(threads[index].tid) for index in finding.threads if threads[index].tid is not None]
        return (
            [f"to confirm, in ddb: show locks {tid}" for tid in tids[:3]]
            if finding.certainty != "proven"
            else []
        )
    if machine is None or kinds.isdisjoint({"rendezvous", "vcpu-state", "vcpu-suspend"}):
        return []
    vm = "'vmm_dev.c'::head.slh_first->vm"
    if machine.read is not None and machine.read.address is not None:
        vm = f"((struct vm *){machine.read.address:#x})"
    if "vcpu-suspend" in kinds and "rendezvous" not in kinds:
        if machine.read is not None and machine.read.suspended is not None:
            return []
        return [
            f"to confirm, in kgdb: p/x {vm}->active_cpus.__bits[0] & ~{vm}->suspended_cpus.__bits[0]"
            " (the vCPUs that have not suspended)"
        ]
    if machine.read is not None and machine.read.done is not None:
        return []
    return [
        f"to confirm, in kgdb: p/x {vm}->rendezvous_req_cpus.__bits[0] & ~{vm}->rendezvous_done_cpus.__bits[0]"
        " (the vCPUs that have not joined)"
    ]


def _gather(finding: Finding, scene: Scene, needs: Mapping[int, Need], machine: Machine | None) -> list[str]:
    steps = []
    threads = scene.capture.threads
    unknown = [index for index in finding.threads if index in needs and not needs[index].holders]
    locks = [index for index in unknown if scene.waits[index].kind == "lock"]
    if locks:
        tids = [threads[index].tid for index in locks if threads[index].tid is not None]
        if tids:
            steps.append(
                f"who owns the lock: in ddb, show lockchain {tids[0]} (and show alllocks, if WITNESS is in the kernel)"
            )
        addresses = [
            need.resource.key[1] for index in locks if isinstance((need := needs[index]).resource.key[1], int)
        ]
        if addresses:
            steps.append(f"or in ddb: show lock {addresses[0]:#x}")
    if any(scene.waits[index].kind in ("rendezvous", "vcpu-state") for index in unknown):
        steps.append("the missing vCPU thread: procstat -kk -a (all threads of all processes, not only some)")
    for cause in finding.causes[:2]:
        thread = threads[cause]
        if thread.pid is not None and scene.waits[cause].kind in (
            "user-lock",
            "event",
            "timer",
            "sleep",
            "unknown",
        ):
            steps.append(
                f"what it does in userland: gdb -p {thread.pid} -batch -ex 'thread apply all bt'"
                " (this stops the process for a moment)"
            )
            break
    if pid := next((threads[i].pid for i in finding.causes if scene.waits[i].kind == "stopped"), None):
        steps.append(f"who stopped it: procstat -i {pid}, ps -o pid,stat,command -p {pid}; kill -CONT {pid} lets it go on")
    steps.append("whether it moves: a second capture some seconds later (procstat -kk -a)")
    return steps
