"""One VM from several expressions that were printed of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from hangdiag.model import VirtualMachine
from hangdiag.readers.merging import add_places

_VM_FIELDS = tuple(item.name for item in fields(VirtualMachine) if item.name not in ("vcpus", "where"))


def join_vms(vms: Iterable[VirtualMachine]) -> tuple[VirtualMachine, ...]:
    """VMs that were read through several expressions as one: by address, by name, or if nothing speaks against it.

    What has neither address nor name is of the only VM there is, if it contradicts nothing that is known of it.
    """
    known = list(vms)
    if len(known) < 2:
        return tuple(known)
    joined: list[VirtualMachine] = []
    anonymous: list[VirtualMachine] = []
    for vm in known:
        if vm.address is None and vm.name is None:
            anonymous.append(vm)
            continue
        place = next((index for index, other in enumerate(joined) if _is_same_vm(vm, other)), None)
        if place is None:
            joined.append(vm)
        else:
            joined[place] = _merge_vms(joined[place], vm)
    for vm in anonymous:
        if len(joined) == 1 and not _contradict(joined[0], vm):
            joined[0] = _merge_vms(joined[0], vm)
        else:
            joined.append(vm)
    return tuple(joined)


def _is_same_vm(one: VirtualMachine, other: VirtualMachine) -> bool:
    if one.address is not None and other.address is not None:
        return one.address == other.address
    return one.name is not None and one.name == other.name


def _contradict(one: VirtualMachine, other: VirtualMachine) -> bool:
    return any(
        None not in (getattr(one, name), getattr(other, name)) and getattr(one, name) != getattr(other, name)
        for name in _VM_FIELDS
    )


def _merge_vms(before: VirtualMachine, after: VirtualMachine) -> VirtualMachine:
    """What was printed of one VM, the first value known of each field; of both sets, those of one look."""
    values = {
        name: getattr(after, name) if getattr(before, name) is None else getattr(before, name) for name in _VM_FIELDS
    }
    if None in (before.requested, before.done) and None not in (after.requested, after.done):
        values["requested"], values["done"] = after.requested, after.done
    seen = {vcpu.id for vcpu in before.vcpus}
    vcpus = [*before.vcpus, *(vcpu for vcpu in after.vcpus if vcpu.id not in seen)]
    return VirtualMachine(
        **values, vcpus=tuple(sorted(vcpus, key=lambda vcpu: vcpu.id)), where=add_places(before.where, after.where)
    )
