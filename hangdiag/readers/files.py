"""From what the user named on the command line to captures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from textwrap import shorten
from typing import BinaryIO

from hangdiag.containers import Item, Limits, decode, open_items
from hangdiag.containers.decode import describe_binary, encoding_of
from hangdiag.digest import sha256
from hangdiag.errors import InputError
from hangdiag.model import Capture, Source, Unread, Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.scan import read_source
from hangdiag.readers.stream import read_large

#: A saved capture (``hangdiag attach --save``) begins so, blanks aside.
_SAVED = b'{"schema":"hangdiag-capture/'
#: Sources larger than this are read as a stream.
LARGE = 1 << 20
#: So much is repeated of a message that was all there was.
_LONGEST_SEEN = 80
_ADVICE = "give the output of 'procstat -kk -a', of ddb's 'alltrace' or of kgdb's 'thread apply all bt'"


def read_paths(paths: Sequence[str], stdin: BinaryIO | None, limits: Limits | None = None) -> tuple[Capture, ...]:
    """Read files, directories, archives and (``-``) standard input: one capture for each instant.

    Raises InputError, one line ``PATH: what is wrong; what to do``, when something cannot be
    read or nothing in all of it was recognised.
    """
    limits = limits if limits is not None else Limits()
    draft = Draft()
    saved: list[Capture] = []
    for path in paths:
        for item in open_items(path, stdin, limits):
            _read_item(draft, saved, item)
    captures = [capture for capture in draft.captures() if draft.sources]
    if not any(_has_content(capture) for capture in captures):
        if not saved:
            _complain(paths, draft)
        captures = []
    return (*captures, *saved)


def _read_item(draft: Draft, saved: list[Capture], item: Item) -> None:
    what = item.trouble or describe_binary(item.head)
    if what is not None:
        if item.named:
            raise InputError(f"{item.path}: {what}, not text; {_ADVICE}")
        _note_skipped(draft, item, what)
        return
    if not item.head:
        if item.named:
            raise InputError(f"{item.path}: an empty file; {_ADVICE}")
        draft.sources.append(Source(item.path, None, 0, container=item.container))
        return
    draft.timeline.begin_source(item.path, item.container)
    damage: list[str] = []
    _read_chunks(draft, saved, item, item.chunks(damage))
    for what in damage:
        _note_skipped(draft, item, what)


def _read_chunks(draft: Draft, saved: list[Capture], item: Item, chunks: Iterator[bytes]) -> None:
    start, is_large = _read_start(chunks)
    if is_large and encoding_of(item.head) == "utf-8" and not _is_saved(item.head):
        read_large(draft, chain(start, chunks), item.path, item.container)
        return
    data = b"".join(chain(start, chunks))
    text, replaced = decode(data)
    if _is_saved(item.head):
        saved.extend(_load(text, item.path))
        return
    digest = sha256(data)
    del data
    if not text.strip("\x00 \t\r\n\ufeff") and item.named:
        raise InputError(f"{item.path}: nothing but blanks in it; {_ADVICE}")
    number = len(draft.sources)
    if _is_message_buffer(draft, item):
        source = _read_message_buffer(draft, item, text, replaced)
    else:
        source = read_source(draft, text, item.path, item.container, replaced)
    draft.sources[number] = replace(source, sha256=digest)


def _read_start(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The first chunks, and whether the source is too large to be read in one piece."""
    start: list[bytes] = []
    size = 0
    for chunk in chunks:
        start.append(chunk)
        size += len(chunk)
        if size > LARGE:
            return start, True
    return start, False


def _is_saved(head: bytes) -> bool:
    return b"".join(head[:60].split()).startswith(_SAVED)


def _is_message_buffer(draft: Draft, item: Item) -> bool:
    """Is this a textdump's msgbuf.txt, next to a ddb.txt that tells the threads?"""
    name = item.path.rpartition("/")[2]
    return name == "msgbuf.txt" and any(
        source.container == item.container and source.path.endswith("ddb.txt") and source.format is not None
        for source in draft.sources
    )


def _read_message_buffer(draft: Draft, item: Item, text: str, replaced: int) -> Source:
    """Host facts of what the console showed before the debugger was entered. Threads in it are older
    than those of ddb.txt, and not of another capture that anybody asked about.
    """
    scratch = Draft()
    source = read_source(scratch, text, item.path, item.container, replaced)
    host = scratch.now.host
    draft.set_host(
        release=host.release,
        arch=host.arch,
        uname=host.uname,
        hostname=host.hostname,
        osreldate=host.osreldate,
        panic=host.panic,
    )
    if source.lines:
        where = Where(len(draft.sources), 1, source.lines)
        draft.unread.append(Unread(where, "message buffer, older than the debugger's output"))
    draft.sources.append(source)
    return source


def _note_skipped(draft: Draft, item: Item, what: str) -> None:
    """A member that is no text is named among what was not read."""
    number = len(draft.sources)
    draft.sources.append(Source(item.path, None, 0, container=item.container))
    draft.unread.append(Unread(Where(number, 1, 1), what))


def _load(text: str, path: str) -> tuple[Capture, ...]:
    from hangdiag import savefile

    try:
        return savefile.load_all(text)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged saved capture ({error}); save it again") from None


def _has_content(capture: Capture) -> bool:
    return bool(capture.threads or capture.locks or capture.vms)


def _complain(paths: Sequence[str], draft: Draft) -> None:
    name = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    lines = sum(source.lines for source in draft.sources)
    troubles = [item.why for item in draft.unread if not draft.sources[item.where.source].lines]
    but = f" ({troubles[0]})" if troubles else ""
    panic = next((instant.host.panic for instant in draft.timeline.instants if instant.host.panic), None)
    seen = ({"a panic": panic} if panic else {}) | draft.seen
    told = [f"{what} ({shorten(line, _LONGEST_SEEN, placeholder=' ...')})" for what, line in seen.items()]
    only = f", only {' and '.join(told)}" if told else ""
    raise InputError(f"{name}: no thread recognised in {lines} {'line' if lines == 1 else 'lines'}{only}{but}; {_ADVICE}")
