"""Addresses of variables, straight from the symbol table of the kernel's file.

gdb finds a variable by its debug information, and reads all of a compilation unit for each: for some twenty
variables of a kernel that takes longer than the whole walk. The symbol table has them at hand.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_EXECUTABLE = 2
_SYMBOL_TABLE = 2
_OBJECT = 1
_GLOBAL = 1
_LARGEST = 1 << 28


def read_variables(path: str, names: Sequence[str]) -> dict[str, int]:
    """The addresses of those ``names`` that the file's symbol table has once; a global is preferred to file-local ones.

    Empty if the file cannot be read, is no 64-bit little-endian ELF file, or has no fixed address. Raises nothing.
    """
    try:
        with open(path, "rb") as file:
            table, strings = _read_tables(file)
    except (OSError, struct.error, ValueError, IndexError):
        return {}
    found: dict[str, int] = {}
    for name in names:
        place = strings.find(b"\0" + name.encode() + b"\0")
        address = _address(table, place + 1) if place >= 0 else None
        if address:
            found[name] = address
    return found


def _read_tables(file: BinaryIO) -> tuple[bytes, bytes]:
    """The symbol table and its strings."""
    header = file.read(_HEADER.size)
    fields = _HEADER.unpack(header)
    place, size, count = fields[6], fields[11], fields[12]
    if header[:6] != b"\x7fELF\x02\x01" or fields[1] != _EXECUTABLE or size != _SECTION.size:
        return b"", b""
    file.seek(place)
    sections = list(_SECTION.iter_unpack(file.read(size * count)))
    for section in sections:
        if section[1] == _SYMBOL_TABLE:
            return _contents(file, section), _contents(file, sections[section[6]])
    return b"", b""


def _contents(file: BinaryIO, section: tuple[int, ...]) -> bytes:
    if section[5] > _LARGEST:
        return b""
    file.seek(section[4])
    return file.read(section[5])


def _address(table: bytes, name: int) -> int | None:
    """The address of the one variable whose name lies at ``name`` in the strings; None if there is none or several."""
    wanted = struct.pack("<I", name)
    local: list[int] = []
    place = table.find(wanted)
    while place >= 0:
        if place % _SYMBOL.size == 0 and place + _SYMBOL.size <= len(table):
            _, info, _, section, value, _ = _SYMBOL.unpack_from(table, place)
            if info & 0xF == _OBJECT and section:
                if info >> 4 == _GLOBAL:
                    return int(value)
                local.append(value)
        place = table.find(wanted, place + 1)
    return local[0] if len(local) == 1 else None
