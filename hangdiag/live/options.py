"""What the user asked ``hangdiag attach`` for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """One way in, and how to go it.

    ``way`` is ``kernel``, ``core``, ``remote``, ``ui`` or ``ddb``; ``place`` is what that way leads to: a
    kernel's file, a crash dump, a HOST:PORT or device; empty for ``ui``. ``timeout`` is how long any one
    answer may stay away, in seconds. ``stop`` permits to stop a remote target that runs.
    """

    way: str
    place: str = ""
    symbols: str | None = None
    gdb: str | None = None
    gdb_arguments: tuple[str, ...] = ()
    sysroot: str | None = None
    kld_path: tuple[str, ...] = ()
    timeout: float = 30.0
    stop: bool = False
    samples: int = 1
    interval: float = 1.0
