"""The small interface that the kernel walker stands on: memory, symbols, layouts.

gdb over MI is one implementation (:mod:`hangdiag.live.gdb_memory`); another may read a crash
dump's file by itself. Every question takes many items at once, because each question may be a
round trip over a serial line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Field:
    """Where a member lies inside its structure, in bytes. ``element`` is the size of one array element."""

    offset: int
    size: int
    element: int | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """A structure as this kernel has it. A member that this release lacks is not in ``fields``."""

    name: str
    size: int
    fields: Mapping[str, Field] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """True if this kernel's structure has every member of ``names``."""
        return all(name in self.fields for name in names)


@dataclass(frozen=True, slots=True)
class Name:
    """The function that an address lies in; ``offset`` is that of the address asked for."""

    function: str
    offset: int
    module: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Registers:
    """The three registers that unwinding needs: program counter, stack and frame pointer.

    ``interrupted`` is true for a CPU's, which may have been stopped at any instruction; false where a function
    saved them in its middle.
    """

    pc: int
    sp: int
    fp: int
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A structure to ask for: where its type comes from and the members that are wanted.

    ``name`` is the key in the answer; ``types`` are the C types or expressions to try, in order
    (``"struct vm"``); ``members`` are the member paths (``"lock_object.lo_name"``), and ``arrays`` those of
    them whose element size is wanted too.
    """

    name: str
    types: tuple[str, ...]
    members: tuple[str, ...]
    arrays: tuple[str, ...] = ()


class KernelMemory(Protocol):
    """Memory and symbols of one kernel at one instant.

    Implementations raise :class:`hangdiag.errors.DebuggerError` when the source itself fails (the
    debugger died, the connection is gone). What merely cannot be answered is None or left out.
    """

    @property
    def pointer_size(self) -> int:
        """Bytes in a pointer."""
        ...

    @property
    def byte_order(self) -> str:
        """``little`` or ``big``."""
        ...

    @property
    def round_trip_bytes(self) -> int:
        """How many bytes take as long as one more question: thousands in QEMU, some dozens on a serial line."""
        ...

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each (address, length); None where any of them cannot be read."""
        ...

    def symbols(self, names: Sequence[str]) -> dict[str, int]:
        """Addresses of the global or (``'file.c'::name``) file-local symbols that exist."""
        ...

    def layouts(self, questions: Sequence[Question]) -> dict[str, Layout]:
        """The structures that the debug information knows, by the name of the question."""
        ...

    def names(self, addresses: Sequence[int]) -> dict[int, Name]:
        """The function of each address that lies in one."""
        ...

    def cpu_registers(self) -> dict[int, Registers]:
        """Registers by CPU number, where the source knows CPUs (QEMU's stub, ``bhyve -G``); else empty."""
        ...
