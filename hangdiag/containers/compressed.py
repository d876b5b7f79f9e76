"""gzip, xz, bzip2 and (where this Python has it, 3.14) zstd: recognised by their first bytes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, BinaryIO, cast

from hangdiag.errors import DamagedError

if TYPE_CHECKING:
    import bz2
    import gzip

_ZSTD = b"\x28\xb5\x2f\xfd"
#: What an xz file may ask of memory to be unpacked.
_XZ_MEMORY = 256 << 20


def form_of(head: bytes) -> str | None:
    """The compression that ``head`` begins, or None."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2"
    return "zstd" if head.startswith(_ZSTD) else None


def errors() -> tuple[type[Exception], ...]:
    """What a damaged compressed stream makes the standard library raise."""
    import gzip
    import lzma
    import tarfile
    import zipfile
    import zlib

    return (
        EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, ValueError, tarfile.TarError, zipfile.BadZipFile,
        NotImplementedError, RuntimeError, OSError,  # bz2 raises a plain OSError
    )  # fmt: skip


class _XzStream:
    """lzma.LZMAFile knows no memory limit; this reads with one."""

    def __init__(self, stream: BinaryIO) -> None:
        from lzma import LZMADecompressor

        self._stream = stream
        self._make = LZMADecompressor
        self._decompressor = LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, number: int = -1) -> bytes:
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data or self._stream.read(1 << 16)
                if not rest.strip(b"\x00"):
                    return b""
                self._decompressor = self._make(memlimit=_XZ_MEMORY)
                feed = rest
            elif self._decompressor.needs_input:
                feed = self._stream.read(1 << 16)
                if not feed:
                    raise EOFError("cut short")
            else:
                feed = b""
            data = self._decompressor.decompress(feed, number)
            if data:
                return data


class _Readily:
    """Hands out what is unpacked: filling up a longer piece would lose it, should the rest be damaged."""

    def __init__(self, stream: gzip.GzipFile | bz2.BZ2File) -> None:
        self._stream = stream

    def read(self, number: int = -1) -> bytes:
        return self._stream.read1(number)


def unpacked(stream: BinaryIO, form: str, path: str) -> BinaryIO:
    """A stream of what compressed ``stream`` holds; it may raise one of :func:`errors` when read."""
    if form == "gzip":
        import gzip

        return cast(BinaryIO, _Readily(gzip.GzipFile(fileobj=stream, mode="rb")))
    if form == "bzip2":
        import bz2

        return cast(BinaryIO, _Readily(bz2.BZ2File(stream, "rb")))
    if form == "xz":
        return cast(BinaryIO, _XzStream(stream))
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        raise DamagedError(f"{path}: this Python cannot unpack zstd; unpack it with 'zstd -d' first") from None
    return cast(BinaryIO, _Readily(zstd.ZstdFile(stream, "rb")))
