"""Large files: traces are islands in a log of many megabytes, and only they are read line by line.

Blocks of bytes that hold none of the marks of any format are counted, not decoded. So the
memory that is needed depends on the islands, not on the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from hangdiag.containers.decode import decode
from hangdiag.model import Source, Unread, Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.ledger import join_unread
from hangdiag.readers.scan import Scanner

if TYPE_CHECKING:
    import hashlib

#: Every trace has one of these near.
MARKS: tuple[bytes, ...] = (
    b"+0x", b"mi_switch", b"KSTACK", b"sched_", b"wchan", b"WCHAN", b"#0 ", b"#1 ", b"frame #", b"db> ", b"db) ", b"(pid ",
    b"locked @", b"panic: ", b"KDB: ", b"load: ", b"FreeBSD ", b"<<BOOT", b"() -", "→".encode(), b"COMMAND",
    b"thread_id", b"wait-channel",
)  # fmt: skip
_LONGEST_MARK = max(map(len, MARKS))
#: Most marks have a pair of letters, the one of +BCcd, the other of 0:HKOS_bhk: +0, ch, CK, db, c:, BS, d_ and so on.
#: With all of the first alike, and all of the others, one search finds them all; prose has few such pairs.
_ALIKE = bytes.maketrans(b"+BCcd\xe2" b"0:HKOS_bhk\x86", b"cccccc" b"hhhhhhhhhhh")
_PAIR = b"ch"
#: So many places are looked at one by one whether a mark is there.
_MOST_FOUND = 20
#: Those that have none, by a letter that prose may not have at all.
_OTHERS = ((b"#", re.compile(rb"#(?:[01] |(?<=frame #))")), (b"(", re.compile(rb"\((?:pid |\) -)")))
#: Blocks are looked at in this size; an island takes one more on either side.
BLOCK = 1 << 16
#: An island longer than this is read in parts; a line counts for as many bytes more as it costs by itself.
LONGEST_ISLAND = 16 << 20
_LINE = 40
#: A line longer than this is read in parts too.
LONGEST_LINE = 4 << 20
#: So many items of unread lines are kept apart at most.
MOST_UNREAD = 100_000


@dataclass(frozen=True, slots=True)
class _Island:
    """Bytes that may hold a trace; empty ``data`` stands for ``lines`` lines that hold none."""

    first: int
    lines: int
    data: bytes


def read_large(draft: Draft, chunks: Iterable[bytes], path: str, container: str | None = None) -> Source:
    """Read a source that comes in ``chunks`` of bytes into ``draft``; returns its description."""
    import hashlib  # OpenSSL: worth its import for so much data

    digest = hashlib.sha256()
    number = len(draft.sources)
    scanner = Scanner(draft, number)
    unread = len(draft.unread)
    lines = 0
    replaced = 0
    whole = True
    for island in _islands(_with_line_ends(_hashed(chunks, digest))):
        lines = island.first + island.lines - 1
        whole = not island.data or island.data.endswith(b"\n")
        if not island.data:
            draft.unread.append(Unread(Where(number, island.first, lines), "prose"))
            continue
        text, damaged = decode(island.data)
        replaced += damaged
        scanner.read(text, island.first)
        if len(draft.unread) - unread > MOST_UNREAD:
            draft.unread[unread:] = join_unread(draft.unread[unread:], apart=False)
    scanner.finish(lines, whole)
    draft.unread[unread:] = join_unread(draft.unread[unread:])
    source = Source(path, scanner.format(), lines, replaced, container, digest.hexdigest())
    draft.sources.append(source)
    return source


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """The same, each hashed while it is looked at: OpenSSL holds no lock of Python's meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        for chunk in chunks:
            hashing = pool.submit(digest.update, chunk)
            yield chunk
            hashing.result()


def _with_line_ends(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same, with the CRs of an old Macintosh as line ends."""
    old = None
    for chunk in chunks:
        if old is None:
            old = b"\n" not in chunk and b"\r" in chunk
        yield chunk.replace(b"\r", b"\n") if old else chunk


def has_marks(block: bytes) -> bool:
    """Could there be part of a trace in ``block``: is one of the marks in it?"""
    if any(letter in block and pattern.search(block) for letter, pattern in _OTHERS):
        return True
    found = list(islice(_paired().finditer(block.translate(_ALIKE)), _MOST_FOUND))
    near = [block[max(one.start() - _LONGEST_MARK, 0) : one.end() + _LONGEST_MARK] for one in found]
    return any(mark in part for part in (near if len(near) < _MOST_FOUND else [block]) for mark in MARKS)


@cache
def _paired() -> re.Pattern[bytes]:
    """What finds the marks that have a pair in a block of which letters are alike, and little else."""
    forms = [mark.translate(_ALIKE).partition(_PAIR) for mark in MARKS]
    ends = [re.escape(after) + b"(?<=" + re.escape(before + pair + after) + b")" for before, pair, after in forms if pair]
    return re.compile(_PAIR + b"(?:" + b"|".join(ends) + b")")


def _islands(chunks: Iterable[bytes]) -> Iterator[_Island]:
    """The file in order, cut into islands and the lines between them."""
    first = 1  # the line that ``held`` begins with
    held: list[bytes] = []  # blocks of an island that is not finished
    before: bytes | None = None  # the block before, should the next one begin an island
    quiet = 0  # lines without marks before ``before``
    open_until = 0  # blocks that the island still takes
    size = 0
    for block, marked in _blocks(chunks):
        if held and (marked or open_until):
            held.append(block)
            size += _size(block)
            open_until = 1 if marked else open_until - 1
            if size >= LONGEST_ISLAND:
                data = b"".join(held)
                end = _place_to_part(data)
                count = data.count(b"\n", 0, end)
                yield _Island(first, count, data[:end])
                first += count
                held, size = [data[end:]], _size(data[end:])
            continue
        if held:
            data = b"".join(held)
            count = data.count(b"\n")
            yield _Island(first, count, data)
            first += count
            held = []
            before = block
            continue
        if marked:
            if quiet:
                yield _Island(first, quiet, b"")
                first += quiet
                quiet = 0
            held = [before, block] if before is not None else [block]
            size = sum(map(_size, held))
            before = None
            open_until = 1
            continue
        if before is not None:
            quiet += before.count(b"\n")
        before = block
    if held:
        data = b"".join(held)
        yield _Island(first, data.count(b"\n") + (bool(data) and not data.endswith(b"\n")), data)
        return
    if before is not None:
        quiet += before.count(b"\n") + (not before.endswith(b"\n"))
    if quiet:
        yield _Island(first, quiet, b"")


def _size(data: bytes) -> int:
    return len(data) + _LINE * data.count(b"\n")


def _place_to_part(data: bytes) -> int:
    """Behind the shortest line of the last block: a blank one, be it under a prefix, or a row's end. No stack lies over it."""
    begin = data.rfind(b"\n", 0, max(len(data) - BLOCK, 0)) + 1
    lines = data[begin:].split(b"\n")[:-1]
    place = min(range(len(lines)), key=lambda index: (len(lines[index]), -index), default=-1)
    return begin + sum(len(line) + 1 for line in lines[: place + 1]) if lines else len(data)


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The bytes in blocks that end in a line end, and whether each has marks."""
    rest = b""
    for chunk in chunks:
        position, end = 0, chunk.rfind(b"\n") + 1
        while position < end:
            stop = chunk.find(b"\n", min(position + BLOCK, end) - 1) + 1
            block = rest + chunk[position:stop]
            rest = b""
            yield block, has_marks(block)
            position = stop
        rest += chunk[end:]
        if len(rest) > LONGEST_LINE:
            yield rest, has_marks(rest)
            rest = b""
    if rest:
        yield rest, has_marks(rest)
