"""What the user asked ``hangdiag attach`` for."""

from __future__ import annotations

from dataclasses import dataclass

from hangdiag.errors import UsageError

WAYS = ("kernel", "core", "remote", "ui", "ddb")
_MOST_SAMPLES, _LONGEST_TIMEOUT, _LONGEST_INTERVAL = 1000, 3600, 86400


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


def check(options: Options) -> None:
    """Raises UsageError if the way or a number makes no sense; neither NaN nor an infinity does."""
    if options.way not in WAYS:
        raise UsageError(f"unknown way to attach: {options.way}")
    if not 1 <= options.samples <= _MOST_SAMPLES:
        raise UsageError(f"--samples must be 1 to {_MOST_SAMPLES}")
    if not 0 <= options.interval <= _LONGEST_INTERVAL:
        raise UsageError(f"--interval must be 0 to {_LONGEST_INTERVAL} seconds")
    if not 0 < options.timeout <= _LONGEST_TIMEOUT:
        raise UsageError(f"--timeout must be more than 0 and at most {_LONGEST_TIMEOUT} seconds")
