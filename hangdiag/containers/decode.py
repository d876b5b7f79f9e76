"""From bytes to text: which encoding, or not text at all."""

from __future__ import annotations

import codecs

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGICS = (
    (b"\x7fELF", "an ELF file (a program or a kernel core dump)"),
    (b"minidump FreeBSD", "a kernel core dump"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"LZIP\x01", "a file compressed by lzip"),
    (b"\x04\x22\x4d\x18", "a file compressed by lz4"),
    (b"\x1f\x9d", "a file compressed by compress"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"SQLite format 3", "a database"),
)
#: How Python tells bytes that are no UTF-8. What word processors put into text has a meaning in Windows-1252.
_ESCAPED = tuple(chr(0xDC00 + code) for code in range(128, 256))
_WINDOWS = {code: bytes([code]).decode("cp1252") for code in (0x85, 0x91, 0x92, 0x93, 0x94, 0x96, 0x97, 0xA0, 0xAD)}
_SURROGATES = {0xDC00 + code: _WINDOWS.get(code, "\ufffd") for code in range(128, 256)}
#: Control characters that text has: tab, newline, CR, form feed, backspace, bell, escape, NUL.
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\a\x1b\x00")
_CONTROLS = bytes(code for code in range(32) if code not in _TEXT_CONTROLS)
#: How many bytes decide whether this is text.
SNIFFED = 1 << 16


def describe_binary(head: bytes) -> str | None:
    """What kind of binary file begins with ``head``, or None for text."""
    for magic, what in _MAGICS:
        if head.startswith(magic):
            return what
    if any(head.startswith(bom) for bom, _ in _BOMS) or _guess_utf16(head):
        return None
    head = head[:SNIFFED]
    if not head:
        return None
    controls = len(head) - len(head.translate(None, _CONTROLS))
    # logs of serial lines hold NULs and noise, but they are mostly text
    if controls > len(head) * 0.05 or head.count(0) > len(head) * 0.5:
        return "a binary file"
    return None


def _guess_utf16(head: bytes) -> str | None:
    """``utf-16-le`` or ``-be`` for text in it without a byte order mark."""
    sample = head[:2048]
    pairs = len(sample) // 2
    if pairs < 8:
        return None
    for name, zeros, letters in (("utf-16-le", sample[1::2], sample[::2]), ("utf-16-be", sample[::2], sample[1::2])):
        if zeros.count(0) > pairs * 0.9 and letters.count(0) < pairs * 0.05:
            return name
    return None


def encoding_of(head: bytes) -> str:
    """The encoding of text that begins with ``head``."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    return _guess_utf16(head) or "utf-8"


def decode(data: bytes) -> tuple[str, int]:
    """The text, and how many bytes of it were no valid text.

    Those that Windows-1252 has for quotes, dashes and blanks become such, others U+FFFD.
    """
    name = encoding_of(data[:SNIFFED])
    try:
        return data.decode(name), 0
    except UnicodeDecodeError:
        pass
    if not name.startswith("utf-8"):
        text = data.decode(name, "replace")
        return text, max(text.count("\ufffd"), 1)
    text = data.decode(name, "surrogateescape")
    return text.translate(_SURROGATES), sum(map(text.count, _ESCAPED))
