"""Members of a tar archive (a textdump(4) is one): names checked, nothing unpacked to disk."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from hangdiag.containers.limits import Limits
from hangdiag.containers.members import Member, check_member
from hangdiag.errors import DamagedError, InputError

if TYPE_CHECKING:
    import tarfile

#: A textdump's members that are read after the debugger's capture, in this order (sys/ddb/db_textdump.c).
_LATER = ("panic.txt", "version.txt", "msgbuf.txt", "config.txt")
#: Headers of names and attributes longer than this are hostile: tarfile searches them in quadratic time.
_LONGEST_HEADER = 8192
#: How tarfile says that there are no more headers.
_ENDS = ("EOFHeaderError", "EmptyHeaderError")
#: Types of members that hold the next one's name or attributes (POSIX pax, GNU, Solaris).
_HEADERS = (b"x", b"g", b"X", b"L", b"K")


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


def read_members(stream: BinaryIO, path: str, limits: Limits) -> Iterator[Member]:
    """Names and contents, in the archive's order, but what explains a textdump's ddb.txt at the end.

    ``stream`` is read once, from its begin; a member's content is to be read before the next one is asked
    for. Raises InputError for a member that could do harm where somebody unpacks it, and DamagedError, when
    all that is whole was handed out, for an archive that is not whole.
    """
    import tarfile

    damage: list[str] = []

    class Header(tarfile.TarInfo):
        """A header of a bounded length, whose damage is noted: tarfile takes it for the archive's end."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            try:
                made = super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if type(error).__name__ not in _ENDS:
                    damage.append(str(error))
                raise
            if made.type in _HEADERS and made.size > _LONGEST_HEADER:
                raise tarfile.ReadError(f"a header of {made.size} bytes")
            return made

    later: list[Member] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=Header) as archive:
            for number, member in enumerate(archive):
                if number >= limits.members:
                    raise InputError(
                        f"{path}: more than {limits.members} members; give the files with traces, or raise --max-files"
                    )
                check_member(path, member.name, _describe(member))
                if not member.isreg():
                    continue
                content = cast(BinaryIO, _Content(archive, member, damage))
                if member.name.rpartition("/")[2] in _LATER:
                    later.append(Member(member.name, io.BytesIO(content.read())))
                else:
                    yield Member(member.name, content)
    except (tarfile.TarError, EOFError) as error:
        damage.append(str(error))
    yield from sorted(later, key=lambda member: _LATER.index(member.name.rpartition("/")[2]))
    if damage:
        raise DamagedError(f"{path}: damaged tar archive ({damage[0]}); copy it again") from None


class _Content:
    """A member's bytes, also of one that is cut short."""

    def __init__(self, archive: tarfile.TarFile, member: tarfile.TarInfo, damage: list[str]) -> None:
        # of a sparse file, what is stored is not what it holds
        self._sparse = archive.extractfile(member) if member.issparse() else None
        self._archive = archive
        self._position = member.offset_data
        self._left = member.size
        self._damage = damage

    def read(self, number: int = -1) -> bytes:
        if self._sparse is not None:
            return self._sparse.read(number)
        number = self._left if number < 0 else min(number, self._left)
        stream = self._archive.fileobj
        assert stream is not None
        stream.seek(self._position)
        data = stream.read(number)
        self._position += len(data)
        self._left -= len(data)
        if len(data) < number and self._left:
            self._left = 0
            self._damage.append("cut short")
        return data


def _describe(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return f"is a link (to {member.linkname!r})"
    return None if member.isreg() or member.isdir() else "is a device or a pipe, not a file"
