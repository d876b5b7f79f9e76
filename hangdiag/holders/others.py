"""Waits outside vmm whose holders the capture can show: device teardown, single-threading, children."""

from __future__ import annotations

from hangdiag.holders.need import Machine, Need, Resource, Scene, holders_of, without_crowd

_VMM_TEARDOWN = (
    "sysctl_vmm_destroy",
    "vmmdev_lookup_and_destroy",
    "vmmctl_dtor",
    "devmem_destroy",
    "vmmdev_destroy",
)


def device_drain(scene: Scene, index: int) -> Need | None:
    """``devdrn``: destroy_dev() waits until no thread is inside the device (sys/kern/kern_conf.c, destroy_devl)."""
    machine, certainty = _destroyed(scene, index)
    if machine is None:
        resource = Resource("device", "no thread inside a device", ("device", index))
        why = "which device is destroyed is not shown"
        if len(scene.machines) > 1:
            why += ": it may be that of any of the VMs"
        return Need(resource, "any", (), open=True, basis="rule", why=why)
    inside = sorted((machine.threads & scene.in_device) - {index})
    return Need(
        Resource("device", f"no thread inside /dev/vmm/{machine.label}", ("device", machine.number)),
        "all",
        holders_of(without_crowd(inside, scene), scene, certainty),
        open=not inside,
        basis="observed" if certainty == "observed" else "rule",
        why="it needs every thread out of the device"
        + ("" if certainty == "observed" else f"; {machine.label} is the only VM shown"),
    )


def _destroyed(scene: Scene, index: int) -> tuple[Machine | None, str]:
    """The VM that a thread in destroy_dev() destroys, and how certain that is."""
    tied = scene.machine_of.get(index)
    if tied is not None:
        return tied, tied.visitors.get(index, "observed")
    destroying = [
        machine for machine in scene.machines if machine.read is not None and machine.read.destroying
    ]
    if len(destroying) == 1:
        return destroying[0], "observed"
    thread = scene.capture.threads[index]
    arguments = next((item.arguments or "" for item in scene.capture.processes if item.pid == thread.pid), "")
    named = [machine for machine in scene.machines if machine.label in arguments.replace("=", " ").split()]
    if len(named) == 1:
        return named[0], "observed"
    callers = [frame.function for frame in thread.frames]
    of_vmm = any(caller in _VMM_TEARDOWN for caller in callers)
    if len(scene.machines) == 1 and (of_vmm or not _destroys_another(callers)):
        return scene.machines[0], "observed" if of_vmm else "inferred"
    return None, ""


def _destroys_another(callers: list[str]) -> bool:
    """Does the stack show that another driver than vmm destroys its device? The taskqueue may do it for any (destroy_dev_tq)."""
    last = max((place for place, caller in enumerate(callers) if caller.startswith("destroy_dev")), default=-1)
    return last >= 0 and callers[last] != "destroy_dev_tq" and len(callers) > last + 1


def single_threading(scene: Scene, index: int) -> Need | None:
    """thread_single() waits until all other threads of the process have left or stopped (kern_thread.c)."""
    thread = scene.capture.threads[index]
    if thread.pid is None:
        return None
    others = [
        other
        for other in scene.by_pid.get(thread.pid, ())
        if other != index and scene.waits[other].kind != "stopped"
    ]
    return Need(
        Resource("process", f"the other threads of pid {thread.pid}", ("single-threading", thread.pid)),
        "all",
        holders_of(others, scene, "observed"),
        open=not others,
        why="thread_single() waits for every other thread of the process",
    )
