"""What the commands share: reading inputs, loading rules, writing output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hangdiag.errors import InputError, UsageError

if TYPE_CHECKING:
    from hangdiag.findings import Diagnosis
    from hangdiag.knowledge import Knowledge
    from hangdiag.model import Capture

_MOST_NOTES = 10


def parse_size(text: str) -> int:
    """``500M`` or ``2G`` in bytes; raises UsageError."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    unit = text[-1:].upper()
    digits = text[:-1] if unit in units else text
    if not digits.isascii() or not digits.isdigit():
        raise UsageError(f"no size: {text!r}; give bytes, or a number with K, M, G or T")
    return int(digits) << units.get(unit, 0)


def load(
    paths: Sequence[str],
    rules: Sequence[Path] = (),
    max_size: str | None = None,
    max_files: int | None = None,
    max_depth: int | None = None,
) -> tuple[tuple[Diagnosis, ...], Knowledge]:
    """Read ``paths`` (``-`` or nothing: standard input) and diagnose each capture in them.

    ``max_size``, ``max_files`` and ``max_depth`` replace the limits on what is read. Raises :class:`hangdiag.errors.HangdiagError`.
    """
    from hangdiag.containers import Limits
    from hangdiag.diagnosis import diagnose_all
    from hangdiag.knowledge import load_knowledge
    from hangdiag.readers.files import read_paths

    stdin: BinaryIO | None = None
    if not paths:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input; give a file, or pipe a trace into hangdiag (see hangdiag --help)")
        paths = ["-"]
    if "-" in paths:
        stdin = sys.stdin.buffer
    limits = Limits()
    if max_size is not None:
        size = parse_size(max_size)
        limits = replace(limits, file_bytes=size, unpacked_bytes=size)
    if max_files is not None:
        limits = replace(limits, members=max_files)
    if max_depth is not None:
        limits = replace(limits, depth=max_depth)
    captures = read_paths(paths, stdin, limits)
    knowledge = load_knowledge(rules)
    return diagnose_all(captures, knowledge), knowledge


def tell_skipped(captures: Iterable[Capture]) -> None:
    """Says on standard error what of a live kernel could not be read (host facts called ``skipped``)."""
    from hangdiag.report.places import escape

    notes = dict.fromkeys(value for capture in captures for value in capture.host.skipped)
    for value in list(notes)[:_MOST_NOTES]:
        print(f"hangdiag: skipped: {escape(value)}", file=sys.stderr)
    if len(notes) > _MOST_NOTES:
        print(f"hangdiag: skipped: {len(notes) - _MOST_NOTES} more; --format json has them all", file=sys.stderr)


def terminal_width() -> int:
    """Columns to use: those of the terminal, 80 in a pipe, never less than 40."""
    if os.environ.get("COLUMNS", "").isdigit():
        return max(int(os.environ["COLUMNS"]), 40)
    try:
        return min(max(os.get_terminal_size(sys.stdout.fileno()).columns, 40), 120)
    except (OSError, ValueError):
        return 80


def wants_colour() -> bool:
    """Is standard output a terminal that may be coloured (https://no-color.org)?"""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def speaks_unicode() -> bool:
    """Can standard output show box characters?"""
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def write(text: str) -> None:
    """Write to standard output whatever its encoding; what it cannot show is escaped.

    Raises BrokenPipeError if nobody reads it any more, InputError if it cannot be written.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(encoding, "backslashreplace"))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in its buffer must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"standard output: cannot be written ({error.strerror}); send it elsewhere") from error
