"""The sentences of findings: short, in FreeBSD's words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hangdiag.holders import Machine, Need, Scene
from hangdiag.holders.machines import in_device, in_vm_run
from hangdiag.knowledge import Knowledge

_STARTS_RENDEZVOUS = {
    "vm_smp_rendezvous": "",
    "vioapic_write": "I/O APIC write",
    "vioapic_mmio_rw": "I/O APIC write",
    "vioapic_mmio_write": "I/O APIC write",
    "vm_handle_ipi": "INIT IPI",
}
#: What a thread that panicked is in (sys/kern/kern_shutdown.c).
_PANIC = frozenset({"panic", "vpanic"})
#: Where a thread finds that the owner of a mutex sleeps (sys/kern/subr_turnstile.c).
_TO_SLEEPER = "propagate_priority"
_LONGEST_PANIC = 120


def name(scene: Scene, index: int) -> str:
    """What a thread is called in a sentence: its name, its process, else its tid."""
    thread = scene.capture.threads[index]
    machine = scene.machine_of.get(index)
    if machine is not None:
        for vcpu, member in machine.vcpus.items():
            if member == index:
                return f"vcpu {vcpu}"
    title = thread.name or thread.command
    if title and thread.command and title != thread.command:
        title = f"{thread.command}/{title}"
    if thread.name is None and thread.tid is None and machine is not None and machine.pid in (None, thread.pid):
        if in_vm_run(thread):
            return "a vCPU thread"
        if in_device(thread):
            return "a thread in an ioctl"
        if title is None:
            return "a thread of its process"
    if title is None:
        return f"tid {thread.tid}" if thread.tid is not None else "a thread"
    return title if thread.tid is None else f"{title} (tid {thread.tid})"


def vcpus_shown(scene: Scene, machine: Machine) -> str:
    """How many of a VM's vCPUs the capture shows: ``4 vCPUs``, ``2 vCPUs and 2 more not named``, ``3 of 4 vCPUs``."""
    if not machine.vcpus:
        return "vCPUs not named"
    named = set(machine.vcpus.values())
    nameless = sum(1 for index in machine.members - named if in_vm_run(scene.capture.threads[index]))
    active = len(machine.read.active or ()) if machine.read is not None else 0
    number = f"{len(named)} of {active}" if active > len(named) + nameless else f"{len(named)}"
    plural = "" if number == "1" else "s"
    return f"{number} vCPU{plural}" + (f" and {nameless} more not named" if nameless else "")


def listed(words: Sequence[str], most: int = 6) -> str:
    """``a, b and c``; the rest of a long list is counted."""
    if len(words) > most:
        return f"{', '.join(words[: most - 1])} and {len(words) - most + 1} more"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def several(word: str, number: int) -> str:
    """``3 vCPU threads`` for three times ``a vCPU thread``."""
    if not word.startswith("a "):
        return f"{word} ({number} times)"
    first, space, rest = word[2:].partition(" in ")
    return f"{number} {first}s{space}{rest}"


def names(scene: Scene, indices: Iterable[int], most: int = 6) -> str:
    """The names of threads, with the VM's where all are vCPUs of one."""
    members = list(indices)
    machines = {
        machine.number: machine for index in members if (machine := scene.machine_of.get(index)) is not None
    }
    counted = Counter(name(scene, index) for index in members)
    text = listed([word if number == 1 else several(word, number) for word, number in counted.items()], most)
    all_vcpus = all(index in machine.vcpus.values() for machine in machines.values() for index in members)
    if len(machines) == 1 and all_vcpus:
        text += f" of {next(iter(machines.values())).label}"
    return text


def starts_rendezvous(scene: Scene, index: int) -> bool:
    """Did this thread start the rendezvous that it waits in?"""
    return scene.waits[index].kind == "rendezvous" and any(
        frame.function in _STARTS_RENDEZVOUS for frame in scene.capture.threads[index].frames
    )


def activity(scene: Scene, index: int, need: Need, knowledge: Knowledge) -> str:
    """What the thread does and waits for: ``I/O APIC write: started the rendezvous; waits for vcpu 2``."""
    wait = scene.waits[index]
    frames = scene.capture.threads[index].frames
    targets = list(dict.fromkeys(name(scene, holder.thread) for holder in need.holders))
    who = (listed(targets, 8) if need.mode == "all" else one_of(targets)) if targets else ""
    if wait.kind == "rendezvous":
        started = next(
            (what for frame in reversed(frames) if (what := _STARTS_RENDEZVOUS.get(frame.function))), ""
        )
        does = "started the rendezvous" if starts_rendezvous(scene, index) else "joined the rendezvous"
        does = f"{started}: {does}" if started else does
        return f"{does}; waits for {who}" if who else f"{does}; {need.why}"
    if wait.kind == "vcpu-state":
        asked = ioctl_name(scene, index, knowledge)
        does = (
            f"ioctl {asked}"
            if asked
            else {"destroy": "destroys the VM", "vm-run": "VM_RUN"}.get(wait.via or "", "ioctl")
        )
        if any(frame.function == "vcpu_lock_all" for frame in frames):
            return f"{does}: locks all vCPUs; waits until idle: {who or 'not shown'}"
        if not who:
            return f"{does}: waits until a vCPU is idle; {need.why}"
        return f"{does}: waits until {who} is idle"
    if wait.kind == "lock":
        held = (
            f"held by {'itself' if [holder.thread for holder in need.holders] == [index] else who}"
            if who
            else need.why
        )
        return f"{need.resource.label}, {held}" if who else held
    return f"{wait.title}; waits for {who}" if who else f"{wait.title}; {need.why}"


def one_of(words: Sequence[str], most: int = 6) -> str:
    """``a, b or c``; the rest of a long list is counted."""
    if len(words) > most:
        return f"{', '.join(words[: most - 1])} or one of {len(words) - most + 1} more"
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} or {words[-1]}"


def ioctl_name(scene: Scene, index: int, knowledge: Knowledge) -> str | None:
    """The vmm ioctl in the arguments of the thread's stack: group 'v', number in the low byte (sys/ioccom.h)."""
    for frame in scene.capture.threads[index].frames:
        if frame.function in (
            "vmmdev_ioctl",
            "vmmdev_machdep_ioctl",
            "fo_ioctl",
            "kern_ioctl",
            "vn_ioctl",
            "devfs_ioctl_f",
        ):
            for argument in ("cmd", "com"):
                command = frame.number(argument)
                if command is not None and command >> 8 & 0xFF == ord("v"):
                    known = (ioctl.name for ioctl in knowledge.ioctls if ioctl.number == command & 0xFF)
                    return next(known, f"v/{command & 0xFF}")
    return None


def deadlock(scene: Scene, core: Sequence[int], certainty: str) -> str:
    """The summary of a deadlock."""
    if len(core) == 1:
        return f"{names(scene, core)} waits for itself"
    verb = {"proven": "wait", "likely": "very probably wait", "possible": "may wait"}[certainty]
    return f"{names(scene, core)} {verb} for each other"


def blocked(
    scene: Scene, needs: Mapping[int, Need], verdict: str, causes: Sequence[int], members: Sequence[int]
) -> str:
    """The summary of a finding without a cycle."""
    what = listed(list(dict.fromkeys(needs[index].resource.label for index in members)), 3)
    waits = "wait" if len(members) > 1 else "waits"
    who = names(scene, members)
    if not causes:
        return f"{who} {waits} for {what}; who must act is not shown"
    doing = listed([f"{name(scene, cause)} ({scene.waits[cause].title})" for cause in causes], 4)
    if verdict == "contention":
        return f"{who} {waits} for {what}, behind {doing}, which can go on"
    if verdict == "inconclusive":
        return f"{who} {waits} for {what}; not all who must act are shown"
    return f"{who} {waits} for {what}, and that for {doing}"


def suspicious(scene: Scene, verdict: str, members: Sequence[int]) -> str:
    """The summary for waits that are never normal."""
    title = scene.waits[members[0]].title
    return f"{names(scene, members)}: {title}"


def stalled_guest(scene: Scene, guest: str, members: Sequence[int]) -> str:
    """The summary for a guest that has nothing left to do but to wait for storage."""
    titles = listed(list(dict.fromkeys(scene.waits[index].title for index in members)), 3)
    return f"nothing of {guest} runs, and {names(scene, members)} wait for storage ({titles}); a busy disk looks the same"


def inconclusive(scene: Scene, dark: Sequence[int]) -> str:
    """Too little is known."""
    wait = "waits" if len(dark) == 1 else "wait"
    return f"nothing shown waits for another thread, but what {names(scene, dark)} {wait} for is not known"


def only_running(scene: Scene) -> str:
    """None of the threads shown waits, and none that sleeps is shown."""
    if len(scene.waits) == 1:
        return f"only one thread is shown, {name(scene, 0)}, and it runs; what others wait for is not known"
    return "only threads that run are shown; what others wait for is not known"


def has_panicked(scene: Scene) -> bool:
    """Is a thread shown that has panicked?"""
    stacks = [thread.frames for thread in scene.capture.threads if not thread.is_user_stack]
    return any(frame.function in _PANIC for frames in stacks for frame in frames) or any(
        wait.rule is not None and wait.rule.id == "run-panic" for wait in scene.waits
    )


def held_in_userland(scene: Scene, members: Sequence[int]) -> str:
    """vCPU threads that wait for a thread of bhyve, of which none seems to be at work."""
    wait = "waits" if len(members) == 1 else "wait"
    return f"{names(scene, members)} {wait} for another thread of bhyve, and which one only bhyve's memory tells"


def stopped(scene: Scene, members: Sequence[int]) -> str:
    """Guests of which all vCPU threads are stopped."""
    return f"{names(scene, members)} {'is' if len(members) == 1 else 'are'} stopped, by a signal or a debugger"


def halted(scene: Scene, members: Sequence[int]) -> str:
    """Guests that halted every vCPU with interrupts disabled."""
    have = "has" if len(members) == 1 else "have"
    return f"{names(scene, members)} {have} halted with interrupts disabled: the guest has stopped itself, or died"


def no_hang(scene: Scene, waiting: Sequence[int] = ()) -> str:
    """Nothing wrong was found; ``waiting`` are threads of guests that wait for something that is no thread."""
    if waiting:
        titles = listed(list(dict.fromkeys(scene.waits[index].title for index in waiting)), 3)
        does = "waits" if len(waiting) == 1 else "wait"
        return f"no thread waits for another one, but {names(scene, waiting)} {does} for something else ({titles})"
    if scene.machines:
        idle = all(scene.waits[index].idle for machine in scene.machines for index in machine.vcpus.values())
        if idle and any(machine.vcpus for machine in scene.machines):
            return "no thread waits for another one; the vCPUs are halted, as an idle guest's are"
    waits = "no thread waits for another one in the kernel"
    if not has_panicked(scene):
        return waits
    message = scene.capture.host.panic or ""
    about = f" ({textwrap.shorten(message, _LONGEST_PANIC, placeholder=' ...')})" if message else ""
    stacks = [thread.frames for thread in scene.capture.threads]
    if any(frame.function == _TO_SLEEPER for frames in stacks for frame in frames):
        waits = "it was about to wait for a mutex whose owner sleeps"
    return f"the kernel panicked{about}; {waits}"
