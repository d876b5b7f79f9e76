"""Reads bhyve's virtual machines: ``struct vm`` and ``struct vcpu`` as this kernel lays them out.

The VMs are on the list ``head`` of vmm_dev.c (``struct vmmdev_softc``). The vCPUs are an array of structs
inside ``struct vm`` up to FreeBSD 13.1, and an array of pointers later, whose unused entries are NULL
(sys/amd64/vmm/vmm.c, sys/dev/vmm/vmm_vm.h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hangdiag.live.cache import Remembered
from hangdiag.live.layouts import VM_LIST
from hangdiag.live.memory import KernelMemory, Layout, Name
from hangdiag.live.structs import View, follow, read_views, words
from hangdiag.model import Thread, Vcpu, VirtualMachine

_MAXIMUM_VMS = 1024
_MAXIMUM_VCPUS = 4096
_LARGEST_ARRAY = 16384
# enum vcpu_state, sys/amd64/include/vmm.h (VCPU_IDLE, ...).
_VCPU_STATES = {0: "IDLE", 1: "FROZEN", 2: "RUNNING", 3: "SLEEPING"}
_SETS = (
    "active_cpus",
    "suspended_cpus",
    "debug_cpus",
    "halted_cpus",
    "rendezvous_req_cpus",
    "rendezvous_done_cpus",
)


@dataclass(frozen=True, slots=True)
class RawVm:
    """One VM as read: its softc, ``struct vm`` (without the vCPUs) and vCPUs by id."""

    softc: View
    vm: View
    vcpus: tuple[tuple[int, View], ...]


def read_vms(
    memory: KernelMemory,
    layouts: dict[str, Layout],
    symbols: dict[str, int],
    notes: list[str],
) -> list[RawVm]:
    """All VMs of the host; empty where the kernel has no vmm, or where its symbols are not loaded."""
    head = next((symbols[name] for name in VM_LIST if name in symbols), None)
    softc_layout, vm_layout = layouts.get("softc"), layouts.get("vm")
    if (
        head is None
        or softc_layout is None
        or vm_layout is None
        or not softc_layout.has("vm", "link.sle_next")
    ):
        return []
    first = memory.read([(head, memory.pointer_size)])[0]
    if first is None:
        notes.append("the list of virtual machines cannot be read")
        return []
    address = int.from_bytes(first, "big" if memory.byte_order == "big" else "little")
    softcs, trouble = follow(memory, softc_layout, address, "link.sle_next", _MAXIMUM_VMS)
    if trouble is not None:
        notes.append(f"the list of virtual machines {trouble}")
    # The vCPUs may be large, and lie inside.
    members = [
        name
        for name, place in vm_layout.fields.items()
        if name != "vcpu" or place.size == memory.pointer_size
    ]
    views = read_views(memory, vm_layout, [softc.unsigned("vm") or 0 for softc in softcs], members)
    found: list[RawVm] = []
    for softc, view in zip(softcs, views, strict=True):
        if view is None:
            notes.append(f"struct vm at {softc.unsigned('vm') or 0:#x} cannot be read")
            continue
        if VM_LIST[0] not in symbols and not _is_plausible(view):
            # Many a file has a list that it calls head.
            notes.append("the list of virtual machines cannot be told from others: no VM was read")
            return []
        found.append(RawVm(softc, view, _read_vcpus(memory, layouts, view, notes)))
    return found


def _is_plausible(vm: View) -> bool:
    name, count = vm.text("name"), vm.unsigned("maxcpus")
    return bool(name) and "\N{REPLACEMENT CHARACTER}" not in (name or "") and (count is None or 0 < count <= _MAXIMUM_VCPUS)


def _read_vcpus(
    memory: KernelMemory, layouts: dict[str, Layout], vm: View, notes: list[str]
) -> tuple[tuple[int, View], ...]:
    layout = layouts.get("vcpu")
    place = vm.layout.fields.get("vcpu")
    if layout is None or place is None:
        return ()
    size = memory.pointer_size
    base = vm.address + place.offset
    if place.element == layout.size and place.size != size:
        # struct vcpu vcpu[VM_MAXCPU], inline.
        count = min(place.size // layout.size, _MAXIMUM_VCPUS)
        addresses = [(index, base + index * layout.size) for index in range(count)]
        if place.size <= _LARGEST_ARRAY:
            # One read for all, which the views then find remembered.
            memory = Remembered(memory)
            memory.read([(base, place.size)])
    else:
        addresses = _vcpu_pointers(memory, vm, base, place.size, place.element)
    views = read_views(memory, layout, [address for _, address in addresses])
    found = [(index, view) for (index, _), view in zip(addresses, views, strict=True) if view is not None]
    if len(found) < len(addresses):
        notes.append(f"{len(addresses) - len(found)} vCPUs of the VM at {vm.address:#x} cannot be read")
    return tuple(found)


def _vcpu_pointers(
    memory: KernelMemory, vm: View, base: int, length: int, element: int | None
) -> list[tuple[int, int]]:
    """(id, address) of the vCPUs behind ``struct vcpu **vcpu`` or ``struct vcpu *vcpu[]``."""
    size = memory.pointer_size
    if length == size and element == size:
        # A pointer to the array of pointers: maxcpus entries.
        base = vm.unsigned("vcpu") or 0
        count = vm.unsigned("maxcpus") or 0
    else:
        count = length // size
    count = min(count, _MAXIMUM_VCPUS)
    block = memory.read([(base, count * size)])[0] if base and count else None
    if block is None:
        return []
    return [(index, pointer) for index, pointer in enumerate(words(block, memory)) if pointer]


def build_vm(
    raw: RawVm, names: dict[int, Name], threads: Sequence[Thread], pid: int | None
) -> VirtualMachine:
    """The VM in the model's words. ``names`` must know the rendezvous' function."""
    vm = raw.vm
    sets = {name: vm.bits(name) for name in _SETS}
    function = vm.unsigned("rendezvous_func")
    function_name: str | None = None
    if function is not None:
        function_name = ""
        if function:
            named = names.get(function)
            function_name = named.function if named is not None else f"{function:#x}"
    active = sets["active_cpus"]
    vcpus = tuple(
        _build_vcpu(index, view)
        for index, view in raw.vcpus
        # An inline array has room for VM_MAXCPU; the rest were never started.
        if active is None or index in active or (view.unsigned("state") or 0) != 0
    )
    cdev = raw.softc.unsigned("cdev")
    return VirtualMachine(
        address=vm.address,
        name=vm.text("name") or None,
        pid=pid,
        active=active,
        suspended=sets["suspended_cpus"],
        debugged=sets["debug_cpus"],
        halted=sets["halted_cpus"],
        requested=sets["rendezvous_req_cpus"],
        done=sets["rendezvous_done_cpus"],
        rendezvous_function=function_name,
        rendezvous_channel=vm.place("rendezvous_func"),
        suspend=vm.signed("suspend"),
        destroying=None if cdev is None else cdev == 0,
        vcpus=vcpus,
    )


def _build_vcpu(index: int, view: View) -> Vcpu:
    state = view.unsigned("state")
    hostcpu = view.signed("hostcpu")
    reqidle = view.unsigned("reqidle")
    return Vcpu(
        id=index,
        address=view.address,
        state=None if state is None else _VCPU_STATES.get(state, f"{state}"),
        # sys/amd64/include/vmm.h: NOCPU is -1.
        hostcpu=None if hostcpu is None or hostcpu < 0 else hostcpu,
        reqidle=None if reqidle is None else bool(reqidle),
    )


def find_pid(raw: RawVm, threads: Sequence[Thread], arguments: dict[int, str]) -> int | None:
    """The bhyve process of a VM; None if nothing shows it.

    No pointer leads from a VM to its process. A vCPU's thread that sleeps on one of its vCPUs (or on the state
    of one), in the VM's rendezvous or on another part of it belongs to it; else the one process whose command line
    names the VM.
    """
    places = [(raw.vm.address, raw.vm.layout.size)]
    places += [(view.address, view.layout.size) for _, view in raw.vcpus]
    pids = {
        thread.pid
        for thread in threads
        if thread.wchan is not None
        and thread.pid is not None
        and (thread.name or "").startswith("vcpu ")
        and any(begin <= thread.wchan < begin + size for begin, size in places)
    }
    if len(pids) == 1:
        return pids.pop()
    name = raw.vm.text("name")
    commands = {thread.pid: thread.command for thread in threads if thread.pid is not None}
    named = [
        pid
        for pid, line in arguments.items()
        if name
        and name in line.split()
        and (commands.get(pid) or "").startswith("bhyve")
        and commands.get(pid) not in ("bhyvectl", "bhyveload")
    ]
    return named[0] if len(named) == 1 else None


def moved(before: RawVm, after: RawVm) -> bool:
    """True if a VM's rendezvous changed between two readings: what was read of it is no single instant."""
    return any(
        before.vm.raw(name) != after.vm.raw(name)
        for name in ("rendezvous_func", "rendezvous_req_cpus", "rendezvous_done_cpus")
    )


def without_rendezvous(machine: VirtualMachine) -> VirtualMachine:
    """The VM with its rendezvous as unknown, for one that moved while it was read."""
    return replace(machine, requested=None, done=None, rendezvous_function=None)
