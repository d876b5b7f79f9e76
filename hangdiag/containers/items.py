"""Finds the texts in what the user named: files, directories, archives, compressed files."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from hangdiag.containers import compressed, mail, tar, zip
from hangdiag.containers.limits import Budget, BudgetedStream, Limits
from hangdiag.containers.members import Member
from hangdiag.errors import DamagedError, InputError

#: How much of a stream is looked at to tell what it is: at least a tar header.
_HEAD = 1 << 16
_DAMAGED = "damaged compressed data"


@dataclass(frozen=True, slots=True)
class Item:
    """One text to read: its name, the archive that holds it, its first bytes and a stream of the rest.

    ``named`` is true for what the user named, false for a member of a directory or an archive; ``trouble``
    says why a member, or the rest of its archive, could not be opened.
    """

    path: str
    container: str | None
    head: bytes
    rest: BinaryIO
    named: bool
    trouble: str | None = None

    def chunks(self, damage: list[str], size: int = 1 << 22) -> Iterator[bytes]:
        """All of it, piece by piece; up to where its container is damaged, and how is added to ``damage``."""
        yield self.head
        try:
            while piece := self.rest.read(size):
                yield piece
        except compressed.errors() as error:
            damage.append(f"{_DAMAGED} ({error})")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stream stands: its name, what it is in, and how much may be read at each depth of archives."""

    path: str
    container: str | None
    limits: Limits
    budgets: tuple[Budget, ...]
    named: bool
    depth: int = 0


def _at_top(path: str, container: str | None, limits: Limits) -> _Place:
    budgets = [Budget(limits.file_bytes, path, "it holds more")]
    budgets += [Budget(limits.unpacked_bytes, path, "it unpacks to more") for _ in range(limits.depth)]
    return _Place(path, container, limits, tuple(budgets), container is None)


def open_items(path: str, stdin: BinaryIO | None, limits: Limits) -> Iterator[Item]:
    """The texts that ``path`` (``-`` is standard input) holds; raises InputError."""
    if path == "-":
        if stdin is None:
            raise InputError("-: there is no standard input; name a file")
        yield from _open_stream(stdin, _at_top("-", None, limits))
        return
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            yield from _open_directory(path, limits)
            return
        with open(path, "rb") as stream:
            yield from _open_stream(stream, _at_top(path, None, limits))
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
    """All regular files below a directory. Links are named, not followed: what they point to is inside, or
    none of ours.
    """
    count = 0
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders.sort()
        for name in sorted(names):
            member = os.path.join(folder, name)
            mode = os.lstat(member).st_mode
            count += 1
            if count > limits.members:
                raise InputError(f"{path}: more than {limits.members} files; name those with traces, or raise --max-files")
            if not stat.S_ISREG(mode):
                what = "a link, not followed" if stat.S_ISLNK(mode) else "a device, a pipe or a socket"
                yield _trouble(member, path, what)
                continue
            with open(member, "rb") as stream:
                yield from _open_stream(stream, _at_top(member, path, limits))
    if not count:
        raise InputError(f"{path}: an empty directory; name one with captures in it")


def _raise(error: OSError) -> None:
    raise InputError(_explain(str(error.filename), error))


def _damaged(path: str, error: Exception) -> DamagedError:
    return DamagedError(f"{path}: {_DAMAGED} ({error}); copy it again")


def _trouble(path: str, container: str | None, what: str) -> Item:
    return Item(path, container, b"", io.BytesIO(), False, what)


def _open_stream(stream: BinaryIO, place: _Place) -> Iterator[Item]:
    """The texts in a stream; what is wrong with a member is told by an item of its own, with what the user
    named it is an error.
    """
    counted = cast(BinaryIO, BudgetedStream(stream, place.budgets[place.depth]))
    found = False
    try:
        for item in _open_content(counted, place):
            yield item
            found = True
    except DamagedError as error:
        damage = error
    except compressed.errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault
        damage = _damaged(place.path, error)
    else:
        return
    if place.named and not found:
        raise damage from None
    yield _trouble(place.path, place.container, str(damage).removeprefix(f"{place.path}: ").partition(";")[0])


def _open_content(stream: BinaryIO, place: _Place) -> Iterator[Item]:
    path, limits = place.path, place.limits
    whole = cast(BinaryIO, _Joined(b"", stream))
    try:
        head = whole.read(_HEAD)
    except compressed.errors() as error:
        raise _damaged(path, error) from None
    stream, whole = whole, cast(BinaryIO, _Joined(head, whole))
    form = compressed.form_of(head)
    members: Iterator[Member] | None = None
    if form is None:
        if tar.is_tar(head):
            members = tar.read_members(whole, path, limits)
        elif zip.is_zip(head):
            members = zip.read_members(whole, path, limits)
        elif mail.is_mail(head):
            data = whole.read(mail.LARGEST)
            head, stream = data[:_HEAD], cast(BinaryIO, _Joined(data[_HEAD:], stream))
            members = mail.read_members(data, path, limits) if len(data) < mail.LARGEST else None
        if members is None:
            yield Item(path, place.container, head, stream, place.named)
            return
    if place.depth >= limits.depth:
        raise InputError(
            f"{path}: more than {limits.depth} archives in each other; unpack it yourself, or raise --max-depth"
        )
    if form is not None:
        inner = compressed.unpacked(whole, form, path)
        yield from _open_stream(inner, replace(place, depth=place.depth + 1))
        return
    for member in members or ():
        if member.content is None:
            yield _trouble(member.name, path, member.trouble)
        elif member.is_text:
            yield Item(member.name, path, member.content.read(_HEAD), member.content, False)
        else:
            inside = replace(place, path=member.name, container=path, named=False, depth=place.depth + 1)
            yield from _open_stream(member.content, inside)


class _Joined:
    """The bytes already taken, then those of the stream: as many as were asked for, or all that come before
    an error. It is raised by the next read.
    """

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream
        self._error: Exception | None = None

    def read(self, number: int = -1) -> bytes:
        parts: list[bytes] = []
        left = number if number >= 0 else sys.maxsize
        while left and (part := self._some(min(left, 1 << 20), bool(parts))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _some(self, number: int, is_begun: bool) -> bytes:
        if self._head:
            taken, self._head = self._head[:number], self._head[number:]
            return taken
        if self._error is not None:
            raise self._error
        try:
            return self._stream.read(number)
        except Exception as error:
            if not is_begun:
                raise
            self._error = error
            return b""
