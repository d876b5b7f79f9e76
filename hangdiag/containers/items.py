"""Finds the texts in what the user named: files, directories, archives, compressed files."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from hangdiag.containers import compressed, tar
from hangdiag.containers.limits import Budget, BudgetedStream, Limits
from hangdiag.errors import InputError

#: How much of a stream is looked at to tell what it is: at least a tar header.
_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Item:
    """One text to read: its name, the archive that holds it, its first bytes and a stream of the rest.

    ``named`` is true for what the user named, false for a member of a directory or an archive.
    """

    path: str
    container: str | None
    head: bytes
    rest: BinaryIO
    named: bool

    def read(self) -> bytes:
        """All of it."""
        try:
            return self.head + self.rest.read()
        except compressed.errors() as error:
            raise InputError(f"{self.path}: damaged compressed data ({error}); copy it again") from None

    def chunks(self, size: int = 1 << 22) -> Iterator[bytes]:
        """All of it, piece by piece."""
        yield self.head
        try:
            while piece := self.rest.read(size):
                yield piece
        except compressed.errors() as error:
            raise InputError(f"{self.path}: damaged compressed data ({error}); copy it again") from None


def open_items(path: str, stdin: BinaryIO | None, limits: Limits) -> Iterator[Item]:
    """The texts that ``path`` (``-`` is standard input) holds; raises InputError."""
    if path == "-":
        if stdin is None:
            raise InputError("-: there is no standard input; name a file")
        yield from _open_stream(stdin, "-", None, limits, Budget(limits.file_bytes, "-", "more"), True, 0)
        return
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            yield from _open_directory(path, limits)
            return
        with open(path, "rb") as stream:
            budget = Budget(limits.file_bytes, path, "it holds more")
            yield from _open_stream(stream, path, None, limits, budget, True, 0)
    except OSError as error:
        raise InputError(_explain(path, error)) from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{path!r}: no file name ({error}); check it") from None


def _explain(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; check the name"
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it; run as its owner or copy it"
    return f"{path}: cannot be read ({error.strerror or error}); copy it elsewhere"


def _open_directory(path: str, limits: Limits) -> Iterator[Item]:
    """All regular files below a directory, links left out: what they point to is inside, or none of ours."""
    count = 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            member = os.path.join(folder, name)
            if not stat.S_ISREG(os.lstat(member).st_mode):
                continue
            count += 1
            if count > limits.members:
                raise InputError(f"{path}: more than {limits.members} files; name those with traces, or raise --max-files")
            with open(member, "rb") as stream:
                budget = Budget(limits.file_bytes, member, "it holds more")
                yield from _open_stream(stream, member, path, limits, budget, False, 0)
    if not count:
        raise InputError(f"{path}: an empty directory; name one with captures in it")


def _open_stream(
    stream: BinaryIO, path: str, container: str | None, limits: Limits, budget: Budget, named: bool, depth: int
) -> Iterator[Item]:
    counted = cast(BinaryIO, BudgetedStream(stream, budget))
    head = _read_head(counted, path)
    form = compressed.form_of(head)
    whole = cast(BinaryIO, _Joined(head, counted))
    if form is not None or tar.is_tar(head):
        if depth >= limits.depth:
            raise InputError(f"{path}: more than {limits.depth} archives in each other; unpack it yourself")
        if depth == 0:
            budget = Budget(limits.unpacked_bytes, path, "it unpacks to more")
    if form is not None:
        inner = compressed.unpacked(whole, form, path)
        yield from _open_stream(inner, path, container, limits, budget, named, depth + 1)
    elif tar.is_tar(head):
        limited = cast(BinaryIO, BudgetedStream(whole, budget))
        for name, data in tar.read_members(limited, path, limits):
            yield from _open_stream(io.BytesIO(data), name, path, limits, budget, False, depth + 1)
    else:
        yield Item(path, container, head, counted, named)


def _read_head(stream: BinaryIO, path: str) -> bytes:
    """The first bytes: a pipe may hand them out in small pieces."""
    parts = []
    length = 0
    try:
        while length < _HEAD and (part := stream.read(_HEAD - length)):
            parts.append(part)
            length += len(part)
    except compressed.errors() as error:
        if not parts:
            raise InputError(f"{path}: damaged compressed data ({error}); copy it again") from None
    return b"".join(parts)


class _Joined:
    """The bytes already taken, then those of the stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, number: int = -1) -> bytes:
        if self._head:
            taken = self._head if number < 0 else self._head[:number]
            self._head = self._head[len(taken) :]
            return taken + self._stream.read() if number < 0 else taken
        return self._stream.read(number)
