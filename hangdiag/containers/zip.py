"""Members of a zip archive: names checked, nothing unpacked to disk."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from hangdiag.containers.limits import Limits
from hangdiag.containers.members import Member, check_member
from hangdiag.errors import DamagedError, InputError

if TYPE_CHECKING:
    import zipfile

#: The begin of an entry of a zip archive's table of contents.
_ENTRY = b"PK\x01\x02"


def is_zip(head: bytes) -> bool:
    """Does ``head`` begin with a member of a zip archive, or with the end of an empty one?"""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read_members(stream: BinaryIO, path: str, limits: Limits) -> Iterator[Member]:
    """All files in it. Raises InputError for a member that could do harm where somebody unpacks it, DamagedError for no archive.
    """
    import zipfile

    data = stream.read()
    if data.count(_ENTRY) > limits.members:
        raise InputError(f"{path}: more than {limits.members} members; give the files with traces, or raise --max-files")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise DamagedError(f"{path}: damaged zip archive ({error}); copy it again") from None
    members = archive.infolist()
    for member in members:
        check_member(path, member.filename, _describe(member))
    for member in members:
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            yield Member(member.filename, None, "encrypted; unpack it with its password")
            continue
        try:
            content = cast(BinaryIO, archive.open(member))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError) as error:
            yield Member(member.filename, None, f"damaged, or packed in an unknown way ({error})")
            continue
        yield Member(member.filename, content)


def _describe(member: zipfile.ZipInfo) -> str | None:
    """What a Unix zip program says of it: the mode is in the upper half of the attributes."""
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a link"
    kind = stat.S_IFMT(mode)
    return "is a device or a pipe, not a file" if kind not in (0, stat.S_IFREG, stat.S_IFDIR) else None
