"""Reads what the host is: release, name, panic, and which modules are loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hangdiag.live.memory import KernelMemory, Layout, Name
from hangdiag.live.structs import c_string, follow, read_numbers, read_strings, read_views
from hangdiag.model import Host

_RELEASE = re.compile(r"FreeBSD (\d+\.\d+[-\w.]*)")
_MAXIMUM_MODULES = 1024
_VERSION_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Module:
    """A kernel module as the kernel's linker has loaded it."""

    name: str
    path: str | None
    address: int
    size: int


def read_version(memory: KernelMemory, symbols: dict[str, int]) -> str | None:
    """The kernel's ``version`` (sys/conf/newvers.sh); None if it cannot be read."""
    if "version" not in symbols:
        return None
    return read_strings(memory, [symbols["version"]], _VERSION_LENGTH).get(symbols["version"])


def read_host(memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int]) -> Host:
    """The host's facts; each is None where the kernel does not tell."""
    block = memory.read([(symbols["version"], _VERSION_LENGTH)])[0] if "version" in symbols else None
    if block is None and "version" in symbols:
        block = memory.read([(symbols["version"], 64)])[0]
    uname = _one_line(block) if block else None
    release = _RELEASE.search(uname) if uname else None
    numbers = read_numbers(memory, {"osreldate": (symbols["osreldate"], 4)}) if "osreldate" in symbols else {}
    pcb = layouts.get("pcb")
    arch = None
    if pcb is not None:
        arch = "amd64" if pcb.has("pcb_rip") else "arm64" if pcb.has("pcb_x") else None
    return Host(
        release=release.group(1) if release else None,
        arch=arch,
        uname=uname or None,
        hostname=_hostname(memory, layouts, symbols),
        osreldate=numbers.get("osreldate"),
        panic=_panic(memory, symbols),
    )


def _one_line(block: bytes) -> str:
    text = block.split(b"\0", 1)[0].decode("utf-8", "replace")
    return " ".join(text.split())


def _hostname(memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int]) -> str | None:
    layout = layouts.get("prison")
    if layout is None or "prison0" not in symbols:
        return None
    view = read_views(memory, layout, [symbols["prison0"]])[0]
    return (view.text("pr_hostname") or None) if view is not None else None


def _panic(memory: KernelMemory, symbols: dict[str, int]) -> str | None:
    if "panicstr" not in symbols:
        return None
    pointer = read_numbers(memory, {"panicstr": (symbols["panicstr"], memory.pointer_size)}, signed=False)
    address = pointer.get("panicstr", 0)
    return read_strings(memory, [address], 256).get(address) if address else None


def read_modules(
    memory: KernelMemory, layouts: dict[str, Layout], symbols: dict[str, int], notes: list[str]
) -> list[Module]:
    """The kernel's linker files, kernel itself included (``linker_files``, sys/kern/kern_linker.c)."""
    layout = layouts.get("linker_file")
    if layout is None or "linker_files" not in symbols or not layout.has("link.tqe_next", "address"):
        return []
    head = read_numbers(memory, {"head": (symbols["linker_files"], memory.pointer_size)}, signed=False)
    files, trouble = follow(memory, layout, head.get("head", 0), "link.tqe_next", _MAXIMUM_MODULES)
    if trouble is not None:
        notes.append(f"the list of kernel modules {trouble}")
    strings = read_strings(memory, [file.unsigned(name) or 0 for file in files for name in ("filename", "pathname")], 256)
    return [
        Module(
            strings.get(file.unsigned("filename") or 0) or "?",
            strings.get(file.unsigned("pathname") or 0),
            file.unsigned("address") or 0,
            file.unsigned("size") or 0,
        )
        for file in files
    ]


def names_by_module(modules: Sequence[Module], addresses: Sequence[int]) -> dict[int, Name]:
    """Names for addresses inside modules whose symbols are not there: ``??`` of that module, as gdb would say.

    With frame pointers a stack leads through such a module and on; the kernel itself is no module.
    """
    return {
        address: Name("??", address - module.address, module.name)
        for address in addresses
        for module in modules
        if module.name.endswith(".ko") and module.address <= address < module.address + module.size
    }


def read_arguments(
    memory: KernelMemory, layouts: dict[str, Layout], pointers: dict[int, int]
) -> dict[int, str]:
    """Command lines by pid, from ``p_args`` (struct pargs, sys/sys/proc.h): arguments joined by blanks."""
    layout = layouts.get("pargs")
    if layout is None or not layout.has("ar_length", "ar_args"):
        return {}
    pids = list(pointers)
    views = read_views(memory, layout, [pointers[pid] for pid in pids])
    ranges: list[tuple[int, int]] = []
    owners: list[int] = []
    for pid, view in zip(pids, views, strict=True):
        length = view.unsigned("ar_length") if view is not None else None
        if view is not None and length:
            ranges.append((view.address + layout.fields["ar_args"].offset, min(length, 1024)))
            owners.append(pid)
    found: dict[int, str] = {}
    for pid, block in zip(owners, memory.read(ranges), strict=True):
        if block is not None:
            found[pid] = " ".join(c_string(part + b"\0") for part in block.rstrip(b"\0").split(b"\0"))
    return found
