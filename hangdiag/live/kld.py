"""Finds where the sections of a loaded kernel module lie, to load its symbols.

On amd64 a module is a relocatable object: the kernel, or its loader, places its allocated sections that are not
empty one after the other, each aligned, from the module's address on (sys/kern/link_elf_obj.c,
stand/common/load_elf_obj.c). On arm64 it is a shared object, whose sections lie at their own addresses above
the module's (sys/kern/link_elf.c).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

_ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_ET_REL = 1
_ALLOCATED = 0x2
# SHT_PROGBITS, SHT_NOBITS, SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_X86_64_UNWIND.
_LOADED_TYPES = frozenset({1, 8, 14, 15, 0x70000001})
_LARGEST_NAMES = 1 << 20


def find_symbols(module: str, folders: Sequence[str]) -> Path | None:
    """The file with the symbols of ``module`` (``vmm.ko``) in the first of ``folders`` that has one."""
    for folder in folders:
        for name in (f"{module}.debug", f"{module}.full", module):
            path = Path(folder) / name
            if path.is_file():
                return path
    return None


def section_addresses(path: Path, address: int) -> dict[str, int]:
    """Where the allocated sections of the module at ``path`` lie in a kernel that loaded it at ``address``.

    Empty if the file cannot be read or is no 64-bit little-endian ELF file.
    """
    try:
        with path.open("rb") as file:
            return _addresses(file, address)
    except (OSError, struct.error, IndexError, ValueError):
        return {}


def _addresses(file: BinaryIO, address: int) -> dict[str, int]:
    header = _ELF_HEADER.unpack(file.read(_ELF_HEADER.size))
    kind, table, entry_size, count, names_index = header[1], header[6], header[11], header[12], header[13]
    if header[0][:6] != b"\x7fELF\x02\x01" or entry_size != _SECTION_HEADER.size:
        return {}
    file.seek(table)
    sections = list(_SECTION_HEADER.iter_unpack(file.read(count * entry_size)))
    file.seek(sections[names_index][4])
    names = file.read(min(sections[names_index][5], _LARGEST_NAMES))
    found: dict[str, int] = {}
    place = address
    for section in sections:
        name_offset, section_type, flags, own_address, _, size, _, _, alignment, _ = section
        if not flags & _ALLOCATED or section_type not in _LOADED_TYPES or not size:
            continue
        name = names[name_offset : names.index(b"\0", name_offset)].decode("ascii", "replace")
        if kind == _ET_REL:
            place = -(-place // max(alignment, 1)) * max(alignment, 1)
            found.setdefault(name, place)
            place += size
        else:
            found.setdefault(name, address + own_address)
    return found
