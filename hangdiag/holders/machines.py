"""Finds the VMs of a capture and which threads belong to which.

A VM is a bhyve process; without process ids (a gdb stub that names only thread ids) its
threads share the ``struct vm``, the open file of /dev/vmm/NAME or the rendezvous channel.
Several VMs never mix: a thread of another process (bhyvectl, a destroyer) is tied to a VM
only by what the capture shows, or because there is only one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace

from hangdiag.holders.arguments import vm_cpus, vm_name
from hangdiag.holders.need import Machine
from hangdiag.model import Capture, Thread, VirtualMachine
from hangdiag.waits import Wait

_VCPU_NAME = re.compile(r"vcpu[ -]?(\d+)\Z")
#: Functions whose ``vcpuid`` argument is the vCPU that the thread itself runs.
_OWN_VCPU = re.compile(
    r"vm_(?:run|handle_\w+|smp_rendezvous)|vioapic_mmio_\w+|vlapic_\w+|lapic_\w+|vmm_emulate_instruction|emulate_\w+|svm_vmrun|vmx_run"
)
_IN_DEVICE = frozenset(
    {
        "vmmdev_ioctl", "vmmdev_machdep_ioctl", "vmmdev_rw", "vmmdev_mmap_single", "devmem_mmap_single",
        "vmmdev_do_ioctl", "vmm_write_lock",
        "vcpu_lock_one", "vcpu_lock_all", "vcpu_set_state", "vcpu_set_state_locked", "vcpu_set_state_all",
    }
)  # fmt: skip
#: Who is in one of these has its own vCPU locked: VM_RUN and what it calls (a stack may be cut or abridged
#: before vm_run). An I/O APIC write through VM_SET_KERNEMU_DEV has it locked as well.
_HOLDS_VCPU = frozenset(
    {
        "vm_run", "vm_handle_rendezvous", "vm_handle_hlt", "vm_handle_wfi", "vm_handle_suspend", "vm_handle_paging",
        "vm_handle_inst_emul", "vm_smp_rendezvous", "vioapic_mmio_write", "vioapic_mmio_rw",
    }
)  # fmt: skip
#: Who is in one of these wants every vCPU, and keeps those that it has passed (vmm_write_lock: illumos).
LOCKS_ALL = frozenset({"vcpu_lock_all", "vcpu_set_state_all", "vmm_write_lock"})
#: Who sleeps with one of these wait messages is inside VM_RUN too (sys/amd64/vmm/vmm.c), its stack shown or not.
_WMESG_IN_RUN = frozenset({"vmrndv", "vmidle", "vmhalt", "vmsusp"})
#: vm_handle_hlt() and vm_handle_suspend() sleep on the struct vcpu of the vCPU that runs (msleep_spin(vcpu, ...)).
_ON_OWN_VCPU = frozenset({"vmidle", "vmhalt", "vmsusp"})
#: Of a thread with such a wait nothing says that it is none of a vCPU.
_MAY_RUN = frozenset({"running", "runnable", "unknown"})
#: Numbers below are a vCPU's id, not its address.
LEAST_ADDRESS = 4096
#: struct vm is one allocation; its fields lie within this many bytes of each other (FreeBSD 11 to 15: under 64 KB).
_VM_SIZE = 0x10000


def functions_of(thread: Thread) -> list[str]:
    """The names on the thread's stack, innermost first."""
    return [frame.function for frame in thread.frames]


def in_device(thread: Thread) -> bool:
    """Is the thread inside /dev/vmm/NAME?"""
    return (
        in_vm_run(thread) or thread.wmesg == "vmstat" or not _IN_DEVICE.isdisjoint(functions_of(thread))
    )


def in_vm_run(thread: Thread) -> bool:
    """Is the thread inside VM_RUN: does it have its vCPU locked (FROZEN, RUNNING or SLEEPING)?"""
    return thread.wmesg in _WMESG_IN_RUN or not _HOLDS_VCPU.isdisjoint(functions_of(thread))


def vcpu_of(thread: Thread) -> int | None:
    """The id of the vCPU that this thread runs: from its name, else from arguments under vm_run."""
    named = _VCPU_NAME.match(thread.name or "")
    if named is not None:
        return int(named.group(1))
    if not in_vm_run(thread):
        return None
    for frame in thread.frames:
        if _OWN_VCPU.match(frame.function):
            value = frame.number("vcpuid")
            if value is not None and 0 <= value < LEAST_ADDRESS:
                return value
    return None


def own_vcpu(thread: Thread) -> int | None:
    """The address of the struct vcpu that this thread runs: what it halts on, or passes down from vm_run() (13.2 and later)."""
    if thread.wmesg in _ON_OWN_VCPU and thread.wchan is not None:
        return thread.wchan
    if not in_vm_run(thread):
        return None
    # the callers' first: functions further in may work on other vCPUs
    values = (frame.number("vcpu") for frame in reversed(thread.frames) if _OWN_VCPU.match(frame.function))
    return next((value for value in values if value is not None and value >= LEAST_ADDRESS), None)


def find_machines(capture: Capture, waits: tuple[Wait, ...]) -> tuple[Machine, ...]:
    """All VMs of the capture, in the order of their first thread."""
    groups = _groups(capture)
    processes = {process.pid: process for process in capture.processes}
    machines = []
    reads = list(capture.vms)
    strays = {index for index, thread in enumerate(capture.threads) if thread.pid is None and thread.tid is None}
    for order, (key, members) in enumerate(groups.items()):
        pid = key if isinstance(key, int) else None
        vcpus: dict[int, int] = {}
        for index in members:
            identity = vcpu_of(capture.threads[index])
            if identity is not None:
                vcpus.setdefault(identity, index)
        process = processes.get(pid) if pid is not None else None
        arguments = process.arguments if process is not None else None
        read = _structure(capture, members, reads, len(groups), vm_name(arguments))
        if read is not None:
            _fill_by_address(capture, vcpus, members, read)
        if pid is None:
            _fill_row_of_tids(capture, vcpus, members, read)
        active = read.active if read is not None else None
        if active is not None:
            lacks_one = not active <= vcpus.keys()
        else:
            lacks_one = len(vcpus) < max(max(vcpus, default=-1) + 1, vm_cpus(arguments))
        name = read.name if read is not None and read.name else vm_name(arguments)
        machines.append(
            Machine(
                number=order,
                label=name or (f"bhyve pid {pid}" if pid is not None else "an unnamed VM"),
                pid=pid,
                vcpus=dict(sorted(vcpus.items())),
                members=frozenset(members),
                visitors={},
                read=read,
                complete=bool(vcpus)
                and not lacks_one
                and (
                    active is not None
                    or (
                        not capture.is_abridged
                        and _lists_runners(capture, vcpus)
                        and (process is None or (process.threads or 0) <= len(members))
                        and not _has_nameless_vcpu(capture, waits, set(members) - set(vcpus.values()))
                        and not (pid is not None and any(in_vm_run(capture.threads[index]) for index in strays))
                    )
                ),
            )
        )
    return _with_visitors(capture, waits, machines)


def _lists_runners(capture: Capture, vcpus: dict[int, int]) -> bool:
    """Would a vCPU thread that runs be in the capture too?

    `show allchains` alone skips threads that run (sys/kern/subr_turnstile.c: db_show_allchains); it prints neither
    a command nor a stack.
    """
    threads = [capture.threads[index] for index in vcpus.values()]
    return any(thread.command is not None or thread.frames for thread in threads)


def _has_nameless_vcpu(capture: Capture, waits: tuple[Wait, ...], others: set[int]) -> bool:
    """Is one of ``others`` that of one more vCPU, or may it be: in VM_RUN or running without a name, or with the name of another?

    One that has joined the rendezvous is known to wait.
    """
    return any(
        waits[index].kind != "rendezvous"
        and (
            vcpu_of(thread) is not None
            or (thread.name is None and (in_vm_run(thread) or waits[index].kind in _MAY_RUN))
        )
        for index in others
        for thread in (capture.threads[index],)
    )


def _groups(capture: Capture) -> dict[object, list[int]]:
    """Thread indices by process (or by struct vm, open file or rendezvous channel where no pid is known)."""
    by_pid: dict[int, list[int]] = defaultdict(list)
    without: list[int] = []
    for index, thread in enumerate(capture.threads):
        if thread.pid is not None:
            by_pid[thread.pid].append(index)
        else:
            without.append(index)
    groups: dict[object, list[int]] = {}
    for pid, members in by_pid.items():
        threads = [capture.threads[index] for index in members]
        if any(
            thread.command == "bhyve" or vcpu_of(thread) is not None or in_vm_run(thread)
            for thread in threads
        ):
            groups[pid] = members
    files: dict[object, object] = {}
    for index in without:
        thread = capture.threads[index]
        if in_vm_run(thread):
            key = (
                _vm_argument(thread) or ("channel", thread.wchan)
                if thread.wmesg == "vmrndv"
                else _vm_argument(thread)
            )
            key = key or "?"
            groups.setdefault(key, []).append(index)
            files.setdefault(_open_file(thread), key)
    alone = [key for key in groups if not isinstance(key, int)]
    # one VM, known by its process: who is in a device without a process is a visitor of it
    known = len(groups) == 1 and not alone
    for index in without:
        thread = capture.threads[index]
        if in_vm_run(thread):
            continue
        file, argument = _open_file(thread), _vm_argument(thread)
        if file is not None and file in files:
            groups[files[file]].append(index)
        elif argument in groups:
            groups[argument].append(index)
        elif vcpu_of(thread) is not None or (
            not known and in_device(thread) and thread.command in (None, "bhyve")
        ):
            # nothing tells which process it is of: it belongs to the only VM there is, or to none
            groups.setdefault(alone[0] if len(alone) == 1 else "?", []).append(index)
    return groups


def _vm_argument(thread: Thread) -> object:
    for frame in thread.frames:
        if frame.function in ("vm_run", "vm_handle_rendezvous", "vcpu_set_state", "vcpu_set_state_locked"):
            value = frame.number("vm")
            if value:
                return ("vm", value)
    return None


def _open_file(thread: Thread) -> object:
    """The struct file that the system call works on: threads of one process share the one of /dev/vmm/NAME."""
    if not in_device(thread):
        return None
    for frame in thread.frames:
        if frame.function in ("vn_ioctl", "fo_ioctl", "devfs_ioctl_f"):
            value = frame.number("fp")
            if value:
                return value
    return None


def _fill_by_address(
    capture: Capture, vcpus: dict[int, int], members: list[int], read: VirtualMachine
) -> None:
    """Name the threads that run a vCPU whose struct vcpu was read."""
    ids = {vcpu.address: vcpu.id for vcpu in read.vcpus if vcpu.address is not None}
    for index in members:
        address = own_vcpu(capture.threads[index])
        if address in ids:
            vcpus.setdefault(ids[address], index)


def _fill_row_of_tids(
    capture: Capture, vcpus: dict[int, int], members: list[int], read: VirtualMachine | None
) -> None:
    """Name vCPU threads that are not in VM_RUN by their place in the row of thread ids.

    bhyve creates its vCPU threads one after the other (usr.sbin/bhyve, fbsdrun_addcpu), so their
    ids follow each other. Used only for a thread of the same process inside the VM's
    device, where at least two known vCPUs agree on the row.
    """
    bases = {(capture.threads[index].tid or 0) - vcpu for vcpu, index in vcpus.items()}
    if len(vcpus) < 2 or len(bases) != 1:
        return
    base = bases.pop()
    limit = max(vcpus) + 1
    if read is not None and read.active:
        limit = max(limit, max(read.active) + 1)
    for index in members:
        tid = capture.threads[index].tid
        if tid is not None and 0 <= tid - base < limit and tid - base not in vcpus:
            vcpus[tid - base] = index


def _structure(
    capture: Capture, members: list[int], reads: list[VirtualMachine], groups: int, name: str | None
) -> VirtualMachine | None:
    """The struct vm that was read for this group of threads, whose VM is called ``name`` as far as its command line tells."""
    by_argument = {
        value[1] for index in members if isinstance(value := _vm_argument(capture.threads[index]), tuple)
    }
    channels = {capture.threads[index].wchan for index in members if capture.threads[index].wmesg == "vmrndv"}
    own = {capture.threads[index].wchan for index in members if capture.threads[index].wmesg in _ON_OWN_VCPU}
    pids = {capture.threads[index].pid for index in members}
    found = []
    named = []
    for vm in reads:
        if vm.address is not None and vm.address in by_argument:
            return vm
        if vm.rendezvous_channel is not None and vm.rendezvous_channel in channels:
            return vm
        if vm.pid is not None and vm.pid in pids:
            return vm
        if any(vcpu.address is not None and vcpu.address in own for vcpu in vm.vcpus):
            return vm
        if vm.address is not None and any(
            channel is not None and 0 <= channel - vm.address < _VM_SIZE for channel in channels
        ):
            return vm
        if name is not None and vm.name is not None:
            if vm.name == name:
                named.append(vm)
        elif vm.address is None or not by_argument:
            found.append(vm)
    if groups == 1:
        named += found
    return _merged(named) if named else None


def _merged(vms: list[VirtualMachine]) -> VirtualMachine | None:
    """One VM from several expressions that were printed of it; None if they are of different ones."""
    addresses = {vm.address for vm in vms if vm.address is not None}
    if len(addresses) > 1:
        return None
    best = max(vms, key=lambda vm: (vm.requested is not None, vm.address is not None, len(vm.vcpus)))
    for vm in vms:
        for field in ("name", "pid", "active", "suspended", "debugged"):
            if getattr(best, field) is None and getattr(vm, field) is not None:
                best = replace(best, **{field: getattr(vm, field)})  # what bhyvectl says of it as well
    return best


def _with_visitors(capture: Capture, waits: tuple[Wait, ...], machines: list[Machine]) -> tuple[Machine, ...]:
    """Tie threads of other processes inside a VM's device to the VM."""
    taken = {index for machine in machines for index in machine.members}
    arguments = {process.pid: process.arguments or "" for process in capture.processes}
    visitors: list[dict[int, str]] = [{} for _ in machines]
    for index, thread in enumerate(capture.threads):
        if index in taken or not (in_device(thread) or waits[index].kind in ("vcpu-state", "rendezvous")):
            continue
        shown = [
            machine.number
            for machine in machines
            if _shares_channel(capture, machine, thread)
            or _names(machine, arguments.get(thread.pid or -1, ""))
        ]
        if len(shown) == 1:
            visitors[shown[0]][index] = "observed"
        elif not shown and len(machines) == 1:
            visitors[0][index] = "inferred"
    counts = Counter(machine.label for machine in machines)
    return tuple(
        Machine(
            machine.number,
            machine.label
            if counts[machine.label] == 1 or machine.pid is None
            else f"{machine.label} (pid {machine.pid})",
            machine.pid,
            machine.vcpus,
            machine.members,
            visitors[machine.number],
            machine.read,
            machine.complete,
        )
        for machine in machines
    )


def _shares_channel(capture: Capture, machine: Machine, thread: Thread) -> bool:
    """Does the thread sleep on a channel that lies within this VM's structures?

    Waiters for one vCPU share a channel. Up to 13.1 struct vcpu lies within struct vm, so a channel near
    the rendezvous' is of the same VM.
    """
    argument = _vm_argument(thread)
    for index in machine.members:
        member = capture.threads[index]
        if argument is not None and argument == _vm_argument(member):
            return True
        if thread.wchan is None or member.wchan is None or not (member.wmesg or "").startswith("vm"):
            continue
        if thread.wchan == member.wchan:
            return True
        if member.wmesg == "vmrndv" and 0 < thread.wchan - member.wchan < _VM_SIZE:
            return True
    read = machine.read
    return bool(
        read is not None
        and read.address is not None
        and argument is not None
        and argument == ("vm", read.address)
    )


def _names(machine: Machine, arguments: str) -> bool:
    """Does a command line name the VM: ``bhyvectl --vm=NAME``, ``--vm NAME``, ``hw.vmm.destroy=NAME``?"""
    return machine.label in re.split(r"[\s=]+", arguments)
