"""A member of an archive: what it may be called, and what it may be."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from hangdiag.errors import InputError


class Member(NamedTuple):
    """``content`` is to be read before the next member is asked for; without one, ``trouble`` says why.
    What ``is_text`` is not looked into for further members.
    """

    name: str
    content: BinaryIO | None
    trouble: str = ""
    is_text: bool = False


def check_member(path: str, name: str, other: str | None = None) -> None:
    """Raises InputError for a member of ``path`` that could do harm where somebody unpacks it: such an
    archive was not made by a collector. ``other`` says what it is where it is no file.
    """
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or parts[0].endswith(":") or ".." in parts:
        other = "lies outside the archive"
    if other is not None:
        raise InputError(f"{path}: member {name!r} {other}; unpack what you trust and give those files")
