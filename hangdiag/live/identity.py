"""Whether the symbols are those of the kernel that runs: its version text and its build id are compared."""

from __future__ import annotations

from dataclasses import dataclass

from hangdiag.errors import DebuggerError
from hangdiag.live import mi
from hangdiag.live.gdb_memory import GdbMemory, build_id_place
from hangdiag.live.host import read_version


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one kernel from another: its version text and its build id (the note at ``place``)."""

    version: str | None
    place: tuple[int, int] | None
    build_id: bytes | None


def identity_of_file(session: mi.Session) -> Identity:
    """The identity of the symbols' file, read while there is no target."""
    memory = GdbMemory(session)
    place = build_id_place(session)
    return Identity(
        read_version(memory, memory.symbols(["version"])), place, memory.read([place])[0] if place else None
    )


def compare(session: mi.Session, of_file: Identity) -> None:
    """Raises DebuggerError unless the symbols are those of the kernel that runs."""
    memory = GdbMemory(session)
    version = read_version(memory, memory.symbols(["version"]))
    advice = "give the kernel.full of the kernel that runs with --symbols"
    if of_file.version and version is None:
        raise DebuggerError(
            f"the kernel's version cannot be read where the symbols ({_trimmed(of_file.version)}) say; {advice}"
        )
    if of_file.version and version and of_file.version != version:
        raise DebuggerError(
            f"the symbols are those of {_trimmed(of_file.version)!r}, but {_trimmed(version)!r} runs; {advice}"
        )
    build_id = memory.read([of_file.place])[0] if of_file.place and of_file.build_id else None
    # Not every loader maps the note: unreadable says nothing.
    if build_id is not None and build_id != of_file.build_id:
        raise DebuggerError(f"the symbols are those of another build (the build ids differ); {advice}")


def _trimmed(version: str) -> str:
    return version.strip("\N{REPLACEMENT CHARACTER} ")[:100]
