"""Which fact of the capture a printed value is: fields of vmm's structures, threads, the host.

Fields from struct vm and struct vcpu in sys/amd64/vmm/vmm.c (11 to 14) and
sys/dev/vmm/vmm_vm.h (15 on), struct thread and struct proc in sys/sys/proc.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hangdiag.model import Process, Thread, Vcpu, VirtualMachine, Where
from hangdiag.readers.gdb.locks import note_lock, note_lock_word, note_owner_thread, note_vnode
from hangdiag.readers.gdb.scalars import cpu_set, first_string, function_name, integer
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
_VCPU_STATES = ("IDLE", "FROZEN", "RUNNING", "SLEEPING")  # enum vcpu_state, as p/x prints it
#: A field of struct vm behind an expression for the VM; the members of a set may be printed word by word.
_FIELD = lazy(
    r"(?P<vm>\S.{0,300}?)(?:->|\.)(?P<field>(?P<set>(?:active|suspended|debug|halted|rendezvous_req|rendezvous_done)_cpus)"
    r"(?:\.__bits(?:\[(?P<word>\d{1,3})\])?)?|rendezvous_func|suspend|name|vcpu\[(?P<vcpu>\d{1,4})\](?:(?:->|\.)(?P<member>\w+))?|\w+)\Z"
)
_IS_VM = lazy(r"(?:.*(?:->|\.|[*(&\s]))?(?:vm|\$\w*vm\w*)\)*\Z|.*\(struct vm \*\) ?\(?(?:0x[0-9a-f]+|\$\w+)\)*\Z")
#: Who has not answered yet, as owners of the question print it: ``req.__bits[0] & ~done.__bits[0]``.
_OWED = lazy(
    r"(?P<vm>\S.{0,200}?)(?:->|\.)rendezvous_req_cpus\.__bits\[0\] & ~ ?\S.{0,200}?(?:->|\.)rendezvous_done_cpus\.__bits\[0\]\Z"
)
_IDENTIFIER = lazy(r"[A-Za-z_]\w*\Z")
_STRUCT_AT = lazy(r".{0,60}?\(struct (?P<type>\w+) \*\) ?\(?(?P<address>0x[0-9a-f]{4,16})\)*\Z")
_THREAD_FIELD = lazy(
    r"\(+struct thread \*\) ?\(?(?P<address>0x[0-9a-f]{4,16})\)+(?:->|\.)(?P<field>td_(?:tid|name|wmesg|wchan|lockname))\Z"
)


def note(section: Section, expression: str, value: object, text: str, where: Where) -> None:
    """Write what ``p EXPRESSION`` printed into the draft, if it says something of threads, VMs, locks or the host."""
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
    if _note_vm_field(section, expression, value, where) or note_lock_word(section, expression, value, where):
        return
    field = _THREAD_FIELD.match(expression)
    if field is not None:
        # td_state is not printed with it: a thread that sleeps has a message, one on a turnstile a lock's name
        thread = _thread({field.group("field"): value, "td_inhibitors": "8"}, where)
        draft.add_threads([replace(thread, state=None, address=int(field.group("address"), 16))])
    elif re.search(r"(?:->|\.)vm\Z|\Avm\Z", expression):
        address = integer(value)
        if address:
            draft.add_vm(
                key_of(expression), lambda vm: replace(vm, address=address, where=add_places(vm.where, (where,)))
            )
    elif _IDENTIFIER.match(expression) and isinstance(value, str) and len(text) < 200:
        draft.set_host(fact=(expression, text.strip()))


def key_of(expression: str) -> str:
    """What the draft calls the VM of an expression: the same for ``*vm``, ``(*vm)`` and ``vm``."""
    return re.sub(r"[*&()\s]|struct vm", "", expression) or "$"


def _note_vm_field(section: Section, expression: str, value: object, where: Where) -> bool:
    """A single field of a VM or of one of its vCPUs."""
    draft = section.draft
    owed = _OWED.match(expression)
    if owed is not None and _IS_VM.match(owed.group("vm")):
        missing = cpu_set(value)
        if missing is not None:
            draft.add_vm(key_of(owed.group("vm")), lambda vm: _with_owed(vm, missing, where))
        return True
    part = _FIELD.match(expression)
    if part is None or _IS_VM.match(part.group("vm")) is None:
        return False
    key, field, member = key_of(part.group("vm")), part.group("field"), part.group("member")
    address = _address_in(part.group("vm"), "vm")
    if address is not None:
        draft.add_vm(key, lambda vm: replace(vm, address=address))
    if part.group("vcpu") is not None:
        number = int(part.group("vcpu"))
        known = value if member is None and isinstance(value, Mapping) else {member or "address": value}
        draft.add_vm(key, lambda vm: with_vcpu(vm, number, known, where))
    elif part.group("set") is not None:
        word = int(part.group("word") or 0)
        members = cpu_set(value)
        if members is not None:
            name = _SETS[part.group("set")]
            shifted = frozenset(member + 64 * word for member in members)
            draft.add_vm(key, lambda vm: _with_set(vm, name, shifted, word, where))
    else:
        draft.add_vm(key, lambda vm: _from_struct(vm, {field: value}, where))
    return True


def _with_set(vm: VirtualMachine, name: str, members: frozenset[int], word: int, where: Where) -> VirtualMachine:
    """``vm`` with a set, or one word of it: the words before it are kept."""
    if word:
        members |= getattr(vm, name) or frozenset()
    return replace(vm, where=add_places(vm.where, (where,)), **{name: members})  # type: ignore[arg-type]


def _with_owed(vm: VirtualMachine, missing: frozenset[int], where: Where) -> VirtualMachine:
    """``vm`` of which only the difference of the two sets was printed."""
    places = add_places(vm.where, (where,))
    if vm.requested is None:
        return replace(vm, requested=missing, done=frozenset(), where=places)
    return replace(vm, done=vm.requested - missing if vm.done is None else vm.done, where=places)


def _address_in(expression: str, kind: str) -> int | None:
    """The address in ``*(struct KIND *)0x...``."""
    found = _STRUCT_AT.match(expression)
    return int(found.group("address"), 16) if found is not None and found.group("type") == kind else None


def _note_struct(section: Section, expression: str, value: Mapping[str, object], where: Where) -> bool:
    """A whole structure, known by its fields."""
    draft = section.draft
    if "rendezvous_req_cpus" in value:
        address = _address_in(expression, "vm")
        title = first_string(value.get("name"))
        key = key_of(expression) if expression != "$" else title or "$"
        draft.add_vm(key, lambda vm: _from_struct(replace(vm, address=vm.address or address), value, where))
    elif {"vm", "cdev", "link"} <= value.keys():
        address = integer(value["vm"])
        gone = integer(value["cdev"]) == 0
        draft.add_vm(
            key_of(expression) + "->vm",
            lambda vm: replace(vm, address=address, destroying=gone, where=add_places(vm.where, (where,))),
        )
    elif "td_tid" in value:
        thread = _thread(value, where)
        draft.add_threads([replace(thread, address=_address_in(expression, "thread"))])
        if thread.tid is not None:
            note_owner_thread(section, expression, thread.tid, where)
    elif "p_pid" in value:
        pid = integer(value["p_pid"])
        if pid is not None:
            draft.add_process(
                Process(pid, first_string(value.get("p_comm")), None, _address_in(expression, "proc"), (where,))
            )
    elif "v_lock" in value:
        return note_vnode(section, expression, value, where)
    else:
        return note_lock(section, expression, value, where)
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
        if name == "state":
            number_of = integer(value)
            if isinstance(value, str) and value in _STATES:
                known["state"] = _STATES[value]
            elif number_of is not None and 0 <= number_of < len(_VCPU_STATES):
                known["state"] = _VCPU_STATES[number_of]
        elif name == "address":
            known["address"] = integer(value) or None
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
