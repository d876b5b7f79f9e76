"""Members of a tar archive (a textdump(4) is one): names checked, nothing unpacked to disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from hangdiag.containers.limits import Limits
from hangdiag.errors import InputError

if TYPE_CHECKING:
    import tarfile

#: A textdump's members (sys/ddb/db_textdump.c) in the order that makes the debugger's capture the first.
_ORDER = {"ddb.txt": 0, "panic.txt": 2, "version.txt": 3, "msgbuf.txt": 4, "config.txt": 5}


def is_tar(head: bytes) -> bool:
    """Does ``head`` (512 bytes or more) begin with a tar header whose sum is right?"""
    if len(head) < 512 or not head[0] or head[148:156].strip(b" 0\x00") == b"":
        return False
    # the header's checksum is written in octal digits: of most texts none stands there
    if head[148:154].strip(b" 01234567\x00"):
        return False
    import tarfile

    try:
        return tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape").chksum > 0
    except tarfile.HeaderError:
        return False


def read_members(stream: BinaryIO, path: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Names and contents, the most telling first. ``stream`` is read once, from its begin.

    Raises InputError for a member that could do harm where somebody unpacks it: such an
    archive was not made by a collector.
    """
    import tarfile

    members: list[tuple[str, bytes]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for number, member in enumerate(archive):
                if number >= limits.members:
                    raise InputError(
                        f"{path}: more than {limits.members} members; unpack it and give the files with traces"
                    )
                _check(member, path)
                if member.isreg():
                    held = archive.extractfile(member)
                    members.append((member.name, held.read() if held is not None else b""))
    except (tarfile.TarError, EOFError) as error:
        if not members:
            raise InputError(f"{path}: damaged tar archive ({error}); copy it again") from None
    members.sort(key=lambda member: _ORDER.get(member[0].rpartition("/")[2], 1))
    yield from members


def _check(member: tarfile.TarInfo, path: str) -> None:
    what = None
    name = member.name
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
        what = "lies outside the archive"
    elif member.issym() or member.islnk():
        what = f"is a link (to {member.linkname!r})"
    elif not (member.isreg() or member.isdir()):
        what = "is a device or a pipe, not a file"
    if what is not None:
        raise InputError(f"{path}: member {name!r} {what}; unpack what you trust and give those files")
