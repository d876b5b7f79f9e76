"""Which fact of the capture a printed value is: fields of vmm's structures, threads, the host.

Fields from struct vm and struct vcpu in sys/amd64/vmm/vmm.c (11 to 14) and
sys/dev/vmm/vmm_vm.h (15 on), struct thread and struct proc in sys/sys/proc.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hangdiag.model import Process, Thread, Vcpu, VirtualMachine, Where
from hangdiag.readers.gdb.walks import thread_state
from hangdiag.readers.merging import add_places
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_STATES = {"VCPU_IDLE": "IDLE", "VCPU_FROZEN": "FROZEN", "VCPU_RUNNING": "RUNNING", "VCPU_SLEEPING": "SLEEPING"}
_SETS = {
    "active_cpus": "active",
    "suspended_cpus": "suspended",
    "debug_cpus": "debugged",
    "halted_cpus": "halted",
    "rendezvous_req_cpus": "requested",
    "rendezvous_done_cpus": "done",
}
_VM = lazy(r"(?P<vm>[^\s].{0,300}?(?:\bvm\b|\$vm\w*|struct vm \*\) ?0x[0-9a-f]+\)?))(?:->|\.)(?P<field>\w.*)\Z")
_VCPU = lazy(r"vcpu\[(?P<id>\d{1,4})\](?:(?:->|\.)(?P<field>\w+))?\Z")
_IDENTIFIER = lazy(r"[A-Za-z_]\w*\Z")


def note(section: Section, expression: str, value: object, text: str, where: Where) -> None:
    """Write what ``p EXPRESSION`` printed into the draft, if it says something of threads, VMs or the host."""
    draft = section.draft
    if isinstance(value, Mapping) and _note_struct(section, expression, value, where):
        return
    if expression == "version":
        banner = first_string(value)
        if banner:
            note_version(section, banner)
        return
    if expression == "osreldate" and text.strip().isdecimal():
        draft.set_host(osreldate=int(text))
        return
    part = _VM.match(expression)
    if part is not None:
        field = part.group("field")
        vcpu = _VCPU.match(field)
        if vcpu is not None:
            number, name = int(vcpu.group("id")), vcpu.group("field")
            known = value if name is None and isinstance(value, Mapping) else {name or "": value}
            draft.add_vm(part.group("vm"), lambda vm: with_vcpu(vm, number, known, where))
        else:
            draft.add_vm(part.group("vm"), lambda vm: _from_struct(vm, {field: value}, where))
    elif re.search(r"(?:->|\.)vm\Z|\Avm\Z", expression):
        address = integer(value)
        if address:
            draft.add_vm(expression, lambda vm: replace(vm, address=address, where=add_places(vm.where, (where,))))
    elif _IDENTIFIER.match(expression) and isinstance(value, str) and len(text) < 200:
        draft.set_host(fact=(expression, text.strip()))


def _note_struct(section: Section, expression: str, value: Mapping[str, object], where: Where) -> bool:
    """A whole structure, known by its fields."""
    draft = section.draft
    key = re.sub(r"\A\*", "", expression)
    if "rendezvous_req_cpus" in value:
        draft.add_vm(key, lambda vm: _from_struct(vm, value, where))
    elif {"vm", "cdev", "link"} <= value.keys():
        address = integer(value["vm"])
        gone = integer(value["cdev"]) == 0
        draft.add_vm(
            key + "->vm",
            lambda vm: replace(vm, address=address, destroying=gone, where=add_places(vm.where, (where,))),
        )
    elif "td_tid" in value:
        draft.add_threads([_thread(value, where)])
    elif "p_pid" in value:
        pid = integer(value["p_pid"])
        if pid is not None:
            draft.add_process(Process(pid, first_string(value.get("p_comm")), where=(where,)))
    else:
        return False
    return True


def _thread(fields: Mapping[str, object], where: Where) -> Thread:
    inhibitors = integer(fields.get("td_inhibitors"))
    printed = fields.get("td_state")
    words = {"TDS_INACTIVE": 0, "TDS_INHIBITED": 1, "TDS_CAN_RUN": 2, "TDS_RUNQ": 3, "TDS_RUNNING": 4}
    state = thread_state(words.get(str(printed), integer(printed)), inhibitors)
    cpu = integer(fields.get("td_oncpu"))
    return Thread(
        tid=integer(fields.get("td_tid")),
        name=first_string(fields.get("td_name")),
        state=state,
        wmesg=first_string(fields.get("td_wmesg")),
        wchan=integer(fields.get("td_wchan")) or None,
        lock=first_string(fields.get("td_lockname")) if state == "lock" else None,
        cpu=cpu if state == "running" and cpu is not None and cpu >= 0 else None,
        where=(where,),
    )


def note_version(section: Section, banner: str) -> None:
    """Host facts from the kernel's ``version`` string: "FreeBSD 13.1-STABLE #0 stable/13-n...: ..."."""
    banner = banner.replace("\\n", " ").replace("\n", " ").strip()
    found = re.match(r"FreeBSD (?P<release>\d+\.\d+\S*)", banner)
    if found is not None:
        section.draft.set_host(release=found.group("release"), uname=banner)


def first_string(value: object) -> str | None:
    """The text in a printed ``char`` array or pointer: up to its end, None if there is none."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str) and item), None)
    if not isinstance(value, str):
        return None
    quoted = re.search(r'"([^"]*)"', value)
    if quoted is not None:
        value = quoted.group(1)
    elif value.startswith(("0x", "'", "<")):
        return None
    return value.split("\\000")[0] or None


def _from_struct(vm: VirtualMachine, fields: Mapping[str, object], where: Where) -> VirtualMachine:
    known: dict[str, object] = {}
    for name, target in _SETS.items():
        members = cpu_set(fields.get(name))
        if members is not None:
            known[target] = members
    function = fields.get("rendezvous_func")
    if function is not None:
        known["rendezvous_function"] = function_name(function)
    suspend = integer(fields.get("suspend"))
    if suspend is not None:
        known["suspend"] = suspend
    title = first_string(fields.get("name"))
    if title and vm.name is None:
        known["name"] = title
    vm = replace(vm, where=add_places(vm.where, (where,)), **known)  # type: ignore[arg-type]
    vcpus = fields.get("vcpu")
    if isinstance(vcpus, list):
        for number, vcpu in enumerate(vcpus[:1024]):
            if isinstance(vcpu, Mapping):
                vm = with_vcpu(vm, number, vcpu, where)
    return vm


def with_vcpu(vm: VirtualMachine, number: int, fields: Mapping[str, object], where: Where) -> VirtualMachine:
    """``vm`` with the fields of one vCPU added."""
    known: dict[str, object] = {}
    for name, value in fields.items():
        if name == "state" and isinstance(value, str) and value in _STATES:
            known["state"] = _STATES[value]
        elif name == "hostcpu":
            known["hostcpu"] = integer(value)
        elif name == "reqidle":
            flag = integer(value)
            known["reqidle"] = None if flag is None else bool(flag)
    if not known:
        return vm
    rest = [vcpu for vcpu in vm.vcpus if vcpu.id != number]
    before = next((vcpu for vcpu in vm.vcpus if vcpu.id == number), Vcpu(number, where=where))
    after = replace(before, **known)  # type: ignore[arg-type]
    return replace(vm, vcpus=tuple(sorted([*rest, after], key=lambda vcpu: vcpu.id)))


def cpu_set(value: object) -> frozenset[int] | None:
    """The members of a printed cpuset_t, ``{__bits = {15, 0, 0, 0}}``."""
    if isinstance(value, Mapping):
        value = value.get("__bits")
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    members: set[int] = set()
    for word, text in enumerate(value[:64]):
        bits = integer(text)
        if bits is None:
            return None
        bits &= (1 << 64) - 1
        members.update(word * 64 + bit for bit in range(64) if bits >> bit & 1)
    return frozenset(members)


def function_name(value: object) -> str | None:
    """The symbol in a printed function pointer, "" for a null pointer."""
    text = " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    found = re.search(r"<([^<>+]+)", text)
    if found is not None:
        return found.group(1)
    number = re.search(r"0x[0-9a-f]+", text)
    if number is None:
        return None
    return "" if int(number.group(), 16) == 0 else number.group()


def integer(value: object) -> int | None:
    """A printed number: 12, 0xc, ``(type *) 0x1 <symbol>``, ``12 '\\f'``; None for anything else."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        return None
    found = re.match(r"(?:\([^()]*\) ?)?(-?(?:0x[0-9a-f]{1,32}|\d{1,32}))(?![\w.])", value)
    return int(found.group(1), 0 if "0x" in found.group(1) else 10) if found is not None else None
