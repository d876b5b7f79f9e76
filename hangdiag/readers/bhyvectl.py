"""``bhyvectl``: which vCPUs are active and suspended; registers and statistics are taken note of only as read.

Output of usr.sbin/bhyvectl/bhyvectl.c (print_cpus, get_all_registers, show_memmap, main) and, from 15 on, of
amd64/bhyvectl_machdep.c: ``active cpus:\\t 0, 1, 2, 3``, ``suspended cpus:\\t (none)``, ``rip[0]\\t\\t0x...``. The VM is
named only on the command line.
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import VirtualMachine
from hangdiag.readers.merging import add_places
from hangdiag.readers.rare import BHYVECTL_OUTPUT
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_CPUS = lazy(r"\s{0,8}(?P<which>active|suspended|debug(?:ged)?) cpus:\s+(?:(?P<ids>\d{1,4}(?:, \d{1,4}){0,1023})|\(none\))\s*\Z")
_COMMAND = lazy(r".{0,200}?\bbhyvectl\b(?P<options>.{0,300})\Z")
_NAME = lazy(r"--vm(?:=|\s+)[\"']?(?P<name>[^\s\"']{1,128})")
_STATISTICS = lazy(r"\s{0,8}vcpu ?(?P<vcpu>\d{1,4}) stats:\s*\Z")
_STATISTIC = lazy(r"\s{0,8}(?P<name>[A-Za-z][\w ,/()%#.-]{2,60}?)\s{1,60}(?P<value>-?\d{1,20})\s*\Z")
_OUTPUT = lazy(rf"\s{{0,8}}{BHYVECTL_OUTPUT}")
_MEMORY = lazy(
    r"\s{0,8}[0-9A-F]{1,16} {1,12}\d[\d.]{0,6}[BKMGTP]{0,2} {1,12}\S{1,40}"
    r"(?: {1,12}[0-9A-F]{1,16} {1,12}[R-][W-][X-].{0,20})?\s*\Z"
)
_RUN = lazy(
    r"\t(?:rip|inst_length|reason|direction|bytes|flags|port|eax|status|exit_reason|qualification|inst_type|inst_error"
    r"|exitinfo\d)\t"
)


def read_command(section: Section, start: int, match: re.Match[str]) -> int:
    """The command, where its output follows: it names the VM."""
    lines = section.lines
    found = _COMMAND.match(lines[start][:520])
    if found is None or start + 1 >= len(lines) or not _OUTPUT.match(lines[start + 1]):
        return start
    named = _NAME.search(found.group("options"))
    section.context["bhyvectl vm"] = named.group("name") if named is not None else None
    return start + 1


def read_output(section: Section, start: int, match: re.Match[str]) -> int:
    """Lines of the output, up to one that is none."""
    lines = section.lines
    index = start
    while index < len(lines):
        line = lines[index]
        if (cpus := _CPUS.match(line)) is not None:
            _note_cpus(section, index, cpus)
        elif (statistics := _STATISTICS.match(line)) is not None:
            index = _read_statistics(section, index, int(statistics.group("vcpu")))
            continue
        elif not (_OUTPUT.match(line) or _RUN.match(line) or (index > start and _MEMORY.match(line))):
            break
        index += 1
    return index


def _note_cpus(section: Section, index: int, cpus: re.Match[str]) -> None:
    ids = frozenset(int(text) for text in (cpus.group("ids") or "").split(", ") if text)
    field = {"active": "active", "suspended": "suspended"}.get(cpus.group("which"), "debugged")
    name = section.context.get("bhyvectl vm")
    where = section.where(index, index + 1)

    def change(vm: VirtualMachine) -> VirtualMachine:
        places = add_places(vm.where, (where,))
        return replace(vm, name=name if isinstance(name, str) else vm.name, where=places, **{field: ids})  # type: ignore[arg-type]

    section.draft.add_vm(("bhyvectl", name), change)


def _read_statistics(section: Section, start: int, vcpu: int) -> int:
    """``vcpu0 stats:`` and its lines; those of other vCPUs are told apart by their number."""
    lines = section.lines
    index = start + 1
    while index < len(lines) and (found := _STATISTIC.match(lines[index])) is not None:
        name = found.group("name").strip()
        section.draft.set_host(fact=(name if vcpu == 0 else f"vcpu {vcpu}: {name}", found.group("value")))
        index += 1
    return index
