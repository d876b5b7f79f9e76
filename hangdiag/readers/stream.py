"""Large files: traces are islands in a log of many megabytes, and only they are read line by line.

Blocks of bytes that hold none of the marks of any format are counted, not decoded. So the
memory that is needed depends on the islands, not on the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hangdiag.containers.decode import decode
from hangdiag.model import Source, Unread, Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.ledger import join_unread
from hangdiag.readers.scan import Scanner

if TYPE_CHECKING:
    import hashlib

#: Every trace has one of these near; a mark is looked for only where its rarest letter is, which is quicker to tell.
MARKS: tuple[tuple[bytes, bytes], ...] = (
    (b"+", b"+0x"), (b"_", b"mi_switch"), (b"K", b"KSTACK"), (b"_", b"sched_"), (b"w", b"wchan"), (b"W", b"WCHAN"),
    (b"#", b"#0 "), (b"#", b"#1 "), (b"#", b"frame #"), (b">", b"db> "), (b"b)", b"db) "), (b"(", b"(pid "),
    (b"@", b"locked @"), (b"p", b"panic: "), (b"K", b"KDB: "), (b"l", b"load: "), (b"F", b"FreeBSD "),
    (b"<", b"<<BOOT"), (b">", b"() -"), (b"\xe2", "→".encode()), (b"C", b"COMMAND"),
    (b"_", b"thread_id"), (b"-", b"wait-channel"),
)  # fmt: skip
#: Blocks are looked at in this size; an island takes one more on either side.
BLOCK = 1 << 16
#: An island longer than this is read in parts.
LONGEST_ISLAND = 16 << 20
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
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _with_line_ends(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same, with the CRs of an old Macintosh as line ends."""
    old = None
    for chunk in chunks:
        if old is None:
            old = b"\n" not in chunk and b"\r" in chunk
        yield chunk.replace(b"\r", b"\n") if old else chunk


def has_marks(block: bytes) -> bool:
    """Could there be part of a trace in ``block``?"""
    return any(letter in block and mark in block for letter, mark in MARKS)


def _islands(chunks: Iterable[bytes]) -> Iterator[_Island]:
    """The file in order, cut into islands and the lines between them."""
    first = 1  # the line that ``held`` begins with
    held: list[bytes] = []  # blocks of an island that is not finished
    before: bytes | None = None  # the block before, should the next one begin an island
    quiet = 0  # lines without marks before ``before``
    open_until = 0  # blocks that the island still takes
    size = 0
    for block, marked in _blocks(chunks):
        if held:
            if marked or open_until:
                held.append(block)
                size += len(block)
                open_until = 1 if marked else open_until - 1
                if size < LONGEST_ISLAND:
                    continue
            data = b"".join(held)
            count = data.count(b"\n")
            yield _Island(first, count, data)
            first += count
            held, size = [], 0
            if marked:
                continue
            if open_until:
                open_until = 0
                continue
            before = block
            continue
        if marked:
            if quiet:
                yield _Island(first, quiet, b"")
                first += quiet
                quiet = 0
            held = [before, block] if before is not None else [block]
            size = sum(map(len, held))
            before = None
            open_until = 1
            continue
        if before is not None:
            quiet += before.count(b"\n")
        before = block
    if held:
        data = b"".join(held)
        yield _Island(first, data.count(b"\n") + (not data.endswith(b"\n")), data)
        return
    if before is not None:
        quiet += before.count(b"\n") + (not before.endswith(b"\n"))
    if quiet:
        yield _Island(first, quiet, b"")


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The bytes in blocks that end in a line end, and whether each has marks; what has none in large ones."""
    rest: list[bytes] = []
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest.append(chunk)
            if sum(map(len, rest)) > LONGEST_LINE:
                whole = b"".join(rest)
                rest = []
                yield whole, has_marks(whole)
            continue
        whole = b"".join([*rest, chunk[:end]]) if rest else chunk[:end]
        rest = [chunk[end:]] if end < len(chunk) else []
        if not has_marks(whole):
            # an island takes a little of it on either side
            head, tail = whole.find(b"\n", BLOCK) + 1, whole.rfind(b"\n", 0, -BLOCK) + 1
            if 0 < head < tail:
                yield from ((part, False) for part in (whole[:head], whole[head:tail], whole[tail:]))
            else:
                yield whole, False
            continue
        position = 0
        while position < len(whole):
            stop = whole.find(b"\n", min(position + BLOCK, len(whole) - 1)) + 1
            block = whole[position : stop or len(whole)]
            yield block, has_marks(block)
            position = stop or len(whole)
    if rest:
        block = b"".join(rest)
        yield block, has_marks(block)
