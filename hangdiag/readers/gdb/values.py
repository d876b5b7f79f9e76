"""What ``p`` printed of vmm's structures: observations that no backtrace shows.

The grammar is gdb's value printing (gdb/valprint.c): ``{a = 1, b = {...}, c = "x", '\\000'
<repeats 26 times>}``. Fields from struct vm and struct vcpu in sys/amd64/vmm/vmm.c (11 to 14)
and sys/dev/vmm/vmm_vm.h (15 on).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hangdiag.model import Vcpu, VirtualMachine, Where
from hangdiag.readers.section import Opener, Section

_TOKEN = re.compile(
    r"\s*(?:(?P<open>\{)|(?P<close>\})|(?P<comma>,)|(?P<string>\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?)|(?P<char>'(?:[^'\\]|\\.)*')"
    r"|(?P<name>[A-Za-z_]\w*) = |(?P<word>[^\s,{}\"']+))"
)
_EXPRESSION = re.compile(r"\((?:k?gdb)\) (?:p|print|output|inspect)(?:/[a-z]+)? (?P<expression>\S.*?)\s*\Z")
_RESULT = re.compile(r"\$\d+ = ")
_STATES = {"VCPU_IDLE": "IDLE", "VCPU_FROZEN": "FROZEN", "VCPU_RUNNING": "RUNNING", "VCPU_SLEEPING": "SLEEPING"}
_SETS = {
    "active_cpus": "active",
    "suspended_cpus": "suspended",
    "debug_cpus": "debugged",
    "halted_cpus": "halted",
    "rendezvous_req_cpus": "requested",
    "rendezvous_done_cpus": "done",
}
#: A value spread over more lines than this is not read.
MAX_LINES = 2000
_VM = re.compile(r"(?P<vm>.*?(?:\bvm\b|\$vm\w*|struct vm \*\)\s*0x[0-9a-f]+\)?))(?:->|\.)(?P<field>\w+.*)\Z")
_VCPU = re.compile(r"vcpu\[(?P<id>\d+)\](?:(?:->|\.)(?P<field>\w+))?\Z")


def parse_value(text: str) -> object:
    """A printed value as dict, list or str; what cannot be told apart stays text. Never raises."""
    stack: list[tuple[dict[str, object], list[object]]] = []
    members: dict[str, object] = {}
    items: list[object] = []
    name: str | None = None
    position = 0

    def put(value: object) -> None:
        nonlocal name
        if name is not None:
            members[name] = value
            name = None
        else:
            items.append(value)

    names: list[str | None] = []
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            break
        position = token.end()
        kind = token.lastgroup
        if kind == "open":
            stack.append((members, items))
            names.append(name)
            members, items, name = {}, [], None
        elif kind == "close":
            if not stack:
                break
            value: object = members if members else items
            members, items = stack.pop()
            name = names.pop()
            put(value)
        elif kind == "name":
            name = token.group("name")
        elif kind == "string":
            put(token.group("string").rstrip(".")[1:-1])
        elif kind in ("word", "char"):
            word = token.group().strip()
            if name is not None or not items or not _belongs(word):
                put(word)
    if members and not stack:
        return members
    return items[0] if len(items) == 1 else items


def _belongs(word: str) -> bool:
    """Words that go on with the value before: symbol names, repeat counts."""
    return word.startswith("<") or word.endswith(">") or word in ("repeats", "times")


def _read_print(section: Section, start: int, match: re.Match[str]) -> int:
    """``(gdb) p EXPRESSION`` and ``$N = VALUE``, which may be spread over lines."""
    lines = section.lines
    asked = _EXPRESSION.match(lines[start])
    index = start + 1
    if asked is None or index >= len(lines) or _RESULT.match(lines[index]) is None:
        return start + 1
    end = index + 1
    text = [lines[index]]
    while end < len(lines) and end - index < MAX_LINES and lines[end].startswith(" "):
        text.append(lines[end])
        end += 1
    value_text = " ".join(text).partition(" = ")[2]
    where = section.where(start, end)
    expression = asked.group("expression").strip()
    _note(section, expression, parse_value(value_text), value_text, where)
    return end


def _note(section: Section, expression: str, value: object, text: str, where: Where) -> None:
    draft = section.draft
    if expression == "version" and isinstance(value, (str, list)):
        banner = value if isinstance(value, str) else str(value[0]) if value else ""
        note_version(section, banner.replace("\\n", " ").strip())
        return
    if expression == "osreldate" and text.strip().isdigit():
        draft.set_host(osreldate=int(text))
        return
    if isinstance(value, Mapping) and "rendezvous_req_cpus" in value:
        key = re.sub(r"\A\*", "", expression)
        draft.add_vm(key, lambda vm: _from_struct(vm, value, where))
        return
    if isinstance(value, Mapping) and {"vm", "cdev", "link"} <= value.keys():
        address = _integer(value["vm"])
        key = re.sub(r"\A\*", "", expression) + "->vm"
        draft.add_vm(
            key,
            lambda vm: replace(
                vm, address=address, destroying=_integer(value["cdev"]) == 0, where=(*vm.where, where)
            ),
        )
        return
    part = _VM.match(expression)
    if part is not None:
        field = part.group("field")
        vcpu = _VCPU.match(field)
        if vcpu is not None:
            number, name = int(vcpu.group("id")), vcpu.group("field")
            known = value if name is None and isinstance(value, Mapping) else {name: value}
            draft.add_vm(part.group("vm"), lambda vm: with_vcpu(vm, number, known, where))
        else:
            draft.add_vm(part.group("vm"), lambda vm: _from_struct(vm, {field: value}, where))
    elif re.search(r"(?:->|\.)vm\Z|\Avm\Z", expression):
        address = _integer(value if not isinstance(value, list) else value[-1] if value else None)
        if address:
            draft.add_vm(expression, lambda vm: replace(vm, address=address, where=(*vm.where, where)))


def note_version(section: Section, banner: str) -> None:
    """Host facts from the kernel's ``version`` string: "FreeBSD 13.1-STABLE #0 stable/13-n...: ..."."""
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
    suspend = _integer(fields.get("suspend"))
    if suspend is not None:
        known["suspend"] = suspend
    name = fields.get("name")
    if isinstance(name, list) and name:
        name = name[0]
    if isinstance(name, str) and name and vm.name is None:
        known["name"] = name.split("\\000")[0]
    vm = replace(vm, where=(*vm.where, where), **known)  # type: ignore[arg-type]
    vcpus = fields.get("vcpu")
    if isinstance(vcpus, list):
        for number, vcpu in enumerate(vcpus):
            if isinstance(vcpu, Mapping):
                vm = with_vcpu(vm, number, vcpu, where)
    return vm


def with_vcpu(vm: VirtualMachine, number: int, fields: Mapping[str | None, object] | Mapping[str, object], where: Where) -> VirtualMachine:
    """``vm`` with the fields of one vCPU added."""
    known: dict[str, object] = {}
    for name, value in fields.items():
        if name == "state" and isinstance(value, str) and value in _STATES:
            known["state"] = _STATES[value]
        elif name == "hostcpu":
            known["hostcpu"] = _integer(value)
        elif name == "reqidle":
            flag = _integer(value)
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
    members = set()
    for word, text in enumerate(value):
        bits = _integer(text)
        if bits is None:
            return None
        bits &= (1 << 64) - 1
        members.update(word * 64 + bit for bit in range(64) if bits >> bit & 1)
    return frozenset(members)


def function_name(value: object) -> str | None:
    """The symbol in a printed function pointer, "" for a null pointer."""
    text = " ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    found = re.search(r"<([^>+]+)", text)
    if found is not None:
        return found.group(1)
    number = re.search(r"0x[0-9a-f]+", text)
    return "" if number is not None and int(number.group(), 16) == 0 else (number.group() if number else None)


def _integer(value: object) -> int | None:
    if isinstance(value, list) and value:
        value = value[0] if str(value[0])[:1].isdigit() else value[-1]
    if not isinstance(value, str):
        return None
    found = re.match(r"-?(?:0x[0-9a-f]+|\d+)", value)
    return int(found.group(), 0) if found is not None else None


def _read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    """A gdb command; ``tid N`` and ``proc N`` switch threads."""
    from hangdiag.readers.gdb.threads import Identity

    line = section.lines[start]
    rest = line[match.end() :].strip()
    if re.match(r"(?:p|print|output|inspect)(?:/\w+)? ", rest):
        return _read_print(section, start, match)
    switch = re.match(r"(?P<what>tid|proc) (?P<number>\d+)\s*\Z", rest)
    if switch is not None:
        value = int(switch.group("number"))
        section.context["gdb thread"] = Identity(tid=value) if switch.group("what") == "tid" else Identity(pid=value)
    return start + 1


OPENERS = (
    Opener("gdb-prompt", "kgdb", r"\((?:k?gdb)\) ?", _read_prompt),
    Opener("gdb-noise", "kgdb", r"Reading symbols from |Remote debugging using |warning: multi-threaded target|0x[0-9a-f]+ in \w+ \(.*\) at |\w+ \(.*\) at \S+:\d+\Z", lambda section, start, match: start + 1),
)
