"""Where every line of a text went: to a reader, to the unread ones, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hangdiag.model import Capture
from hangdiag.readers import read_text, scan
from hangdiag.readers.parts import stretches_of
from hangdiag.readers.section import Opening, Section
from hangdiag.text import html, terminal
from hangdiag.text.prefixes import compiled
from tests.readers.essence import covered


class Lost(AssertionError):
    """A line that belongs to nothing, or to two things."""


@contextmanager
def _noted(taken: set[int]) -> Iterator[None]:
    """While this is open, the original numbers of the lines that readers take are added to ``taken``."""
    genuine, going_on = scan.find_opener, Section.resume

    def note(section: Section, begin: int, end: int) -> None:
        for index in range(begin, end):
            # between the first and the last line of what was joined other hosts' may stand
            for where in stretches_of(section.where(index, index + 1), section.draft.parts):
                taken.update(range(where.first, where.last + 1))

    def resume(section: Section, start: int) -> int:
        following = going_on(section, start)
        note(section, start, following)
        return following

    def find(line: str) -> Opening | None:
        found = genuine(line)
        if found is None:
            return None
        opener = found[0]

        def read(section: Section, start: int, match: object) -> int:
            following = opener.read(section, start, match)  # type: ignore[arg-type]
            begin = start if following == start or section.loose_end is None else section.loose_end
            note(section, begin, following)
            return following

        return replace(opener, read=read), found[1]

    scan.find_opener, Section.resume = find, resume  # type: ignore[method-assign]
    try:
        yield
    finally:
        scan.find_opener, Section.resume = genuine, going_on  # type: ignore[method-assign]


def check_lines(text: str) -> tuple[Capture, ...]:
    """Read ``text``; raises :class:`Lost` for a line that is not in exactly one place."""
    taken: set[int] = set()
    with _noted(taken):
        captures = read_text(text)
    lines = captures[0].sources[0].lines
    unread: list[int] = []
    for item in captures[0].unread:
        unread.extend(range(item.where.first, item.where.last + 1))
    read = set().union(*[covered(capture) for capture in captures])
    listed = set(unread)
    if len(listed) != len(unread):
        raise Lost(f"listed twice as unread: {sorted({line for line in unread if unread.count(line) > 1})[:5]}")
    everything = listed | read | taken
    if everything and not 1 <= min(everything) <= max(everything) <= lines:
        raise Lost(f"lines {min(everything)} to {max(everything)} of {lines}")
    later = {
        number
        for item in captures[0].unread
        if item.why not in ("prose", "looks like a trace")  # a reader took them for what they turned out not to be
        for number in range(item.where.first, item.where.last + 1)
    }
    if listed & read or listed & taken - later:
        raise Lost(f"both read and unread: {sorted(listed & (read | taken - later))[:5]}")
    # of those alone that no reader took: to see what is noise takes longer than to read
    content = {
        number
        for number, line in enumerate(split_lines(text), 1)
        if number not in taken and (number in read or number not in listed) and not _is_noise(line)
    }
    if content & read:
        raise Lost(f"a thread's, but taken by no reader: {sorted(content & read)[:5]}")
    if content - listed:
        raise Lost(f"nowhere: {sorted(content - listed)[:5]}")
    return captures


def _is_noise(line: str) -> bool:
    """Nothing but what terminals, pagers, web pages and quotes leave?"""
    cleaned = terminal.clean_lines(line.replace("\\n", ""))[0]
    stripped = html.strip_lines(cleaned, range(len(cleaned)), range(len(cleaned)))[0]
    return all(_is_layer(part) for part in stripped)


def _is_layer(part: str) -> bool:
    prefixes = compiled().values()
    for _ in range(3):
        begin = next((found.end() for found in (prefix.match(part) for prefix in prefixes) if found), 0)
        part = part[begin:].lstrip()
    return not part


def split_lines(text: str) -> list[str]:
    """The lines of ``text`` as :mod:`hangdiag.text` counts them."""
    return text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")
