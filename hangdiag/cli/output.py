"""Writes a file for the user: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from hangdiag.cli import common
from hangdiag.errors import UsageError


def deliver(text: str, path: Path | None) -> None:
    """Writes ``text`` to ``path``, or to standard output if there is none; raises UsageError where that cannot be."""
    if path is None:
        common.write(text)
        return
    try:
        write(path, text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; choose another file") from None


def check(path: Path) -> None:
    """Raises OSError if :func:`write` could not write to ``path`` now."""
    found = _status(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if found is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if _is_replaced(found):
        # Only an attempt tells a folder without rights from a disk that is full or read-only.
        descriptor, name = _beside(path.resolve())
        os.close(descriptor)
        name.unlink()


def write(path: Path, text: str) -> None:
    """Writes ``text``; a file of that name stays as it is until the new one is complete. Raises OSError.

    What cannot be replaced (a pipe, a device, the file that standard output goes to) is written at its end.
    """
    # Only lone surrogates, from file names, are no UTF-8; JSON and JavaScript read them so.
    data = text.encode("utf-8", "backslashreplace")
    found = _status(path)
    if not _is_replaced(found):
        with path.open("ab") as stream:
            stream.write(data)
        return
    # A link stays a link.
    target = path.resolve()
    descriptor, name = _beside(target)
    try:
        with open(descriptor, "wb") as stream:
            if found is not None:
                with contextlib.suppress(OSError):
                    os.fchown(descriptor, found.st_uid, found.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        name.replace(target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_replaced(found: os.stat_result | None) -> bool:
    if found is None:
        return True
    with contextlib.suppress(OSError):
        if os.path.samestat(found, os.fstat(1)):
            return False
    return stat.S_ISREG(found.st_mode)


def _beside(target: Path) -> tuple[int, Path]:
    """A new, empty file in the folder of ``target``, open for writing."""
    name = target.with_name(f".hangdiag-{os.urandom(6).hex()}")
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), name
