"""Decides which reader takes which lines, and accounts for every line.

One expression made of all readers' openers is tried at each line that no reader has taken.
Lines that nobody takes are listed as unread; those that look like part of a trace are marked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from hangdiag.model import LEFT_OUT, Source
from hangdiag.readers import ddb, gdb, headings, host, procstat, procstat_threads, ps, rare, stack_lines
from hangdiag.readers.cuts import are_picked, is_cut, lacks_end
from hangdiag.readers.draft import Draft
from hangdiag.readers.gdb.stacks import lacks_threads
from hangdiag.readers.ledger import join_unread
from hangdiag.readers.merging import Instant
from hangdiag.readers.parts import Part, unread_in_source
from hangdiag.readers.section import Opener, Opening, Section, passes
from hangdiag.text.hosts import Share
from hangdiag.text.layers import Peeler
from hangdiag.text.lazy import lazy
from hangdiag.text.page import Page, make_page
from hangdiag.text.prefixes import OF_HOSTS, TAGS
from hangdiag.text.terminal import quit_pagers

#: In the order in which they are asked. The first part is what most captures are made of: the
#: expressions of the second are compiled only when a line does not begin any of the first.
_COMMON: tuple[Opener, ...] = (*procstat.OPENERS, *ddb.OPENERS, *gdb.OPENERS)
_OTHERS: tuple[Opener, ...] = (
    *rare.LLDB,
    *rare.MI,
    *rare.BHYVECTL,
    *host.OPENERS,
    *headings.OPENERS,
    *procstat_threads.OPENERS,
    *procstat.ROW_OPENERS,
    *stack_lines.OPENERS,
    *ps.OPENERS,
    *rare.LIBXO,
    *rare.DTRACE,
    *rare.MDB,
    *rare.ARROWS,
)
OPENERS = _COMMON + _OTHERS

#: A number of more than 4,300 digits cannot be read (sys.set_int_max_str_digits): its line is not either.
GUARDED: tuple[type[Exception], ...] = (ValueError,)
#: Openers of lines that may as well be the rest of a folded one.
_RESTS = frozenset({"bare-stack", "stack-column", "ddb-cdev", "ddb-registers", "gdb-noise", "gdb-remark", "gdb-stopped"})
#: Openers of what a tool prints of all threads or processes that it was asked for.
_LISTS = {
    "procstat-table": "procstat", "procstat-row": "procstat", "procstat-threads": "procstat -t", "libxo": "libxo",
    "ddb-traced": "ddb", "ddb-ps": "ddb ps", "ddb-alllocks": "ddb locks", "gdb-thread": "gdb",
    "gdb-info-threads": "gdb threads", "lldb-thread": "lldb", "ps-table": "ps", "ps-row": "ps", "top-table": "top",
    "mdb-stacks": "mdb", "mdb-threadlist": "mdb",
}  # fmt: skip
#: Who says in words how a stack goes may put anything before a colon.
_AROUND_ANYTHING = OF_HOSTS - TAGS


@cache
def _at_begin(common: bool) -> tuple[re.Pattern[str], dict[str, Opener]]:
    """One expression for the openers of a part that look at a line's begin, and whose its groups are."""
    part = _COMMON if common else _OTHERS
    names = {f"o{index}": opener for index, opener in enumerate(part) if not opener.needles}
    # an opener's own groups would hide which opener matched; an empty group behind each tells it, and leaves
    # its first letter where the engine looks before it tries an alternative
    alternatives = "|".join(f"(?:{_ungroup(opener.pattern)})(?P<{name}>)" for name, opener in names.items())
    return re.compile(alternatives), names


@cache
def _anywhere(ascii_only: bool) -> tuple[tuple[str, re.Pattern[str], Opener], ...]:
    """The openers that may begin anywhere in a line, by a needle that the line must hold: one of ASCII, in such a line."""
    return tuple(
        [
            (needle, lazy(opener.pattern), opener)
            for opener in OPENERS
            for needle in opener.needles
            if needle.isascii() or not ascii_only
        ]
    )


def _ungroup(pattern: str) -> str:
    return re.sub(r"(?<!\\)\((?!\?)", "(?:", pattern)


def find_opener(line: str) -> Opening | None:
    """The opener that can read from ``line`` on, and its match."""
    if not line:
        return None
    for common in (True, False):
        expression, names = _at_begin(common)
        found = expression.match(line)
        if found is not None and found.lastgroup is not None:
            return names[found.lastgroup], found
    for needle, pattern, opener in _anywhere(line.isascii()):
        if needle in line:
            found = pattern.match(line)
            if found is not None:
                return opener, found
    return None


def _opens(line: str) -> bool:
    found = find_opener(line)
    return found is not None and not found[0].vague


def _begins(line: str) -> bool:
    """Can ``line`` stand for itself? Functions alone may as well be the rest of a line that was folded."""
    found = find_opener(line)
    return found is not None and found[0].name not in _RESTS and not found[0].vague


def read_source(
    draft: Draft, text: str, path: str, container: str | None = None, replaced: int = 0
) -> Source:
    """Read one source into ``draft``; returns its description."""
    number = len(draft.sources)
    scanner = Scanner(draft, number)
    scanner.read(text)
    end = "\n" if "\n" in text else "\r"  # the CRs of an old Macintosh
    lines = text.count(end) + (0 if text.endswith(end) or not text else 1)
    scanner.finish(lines, text.endswith(end) or not text)
    source = Source(path, scanner.format(), lines, replaced, container)
    draft.sources.append(source)
    return source


@dataclass(slots=True)
class _Host:
    """One of several hosts in a source: what is known of its lines so far, and the instant that they are of."""

    section: Section
    now: Instant


class Scanner:
    """Reads the text of one source, whole or part by part."""

    def __init__(self, draft: Draft, number: int) -> None:
        self._draft = draft
        self._number = number
        self._section = _section(draft, number)
        self._hosts: dict[str, _Host] = {}
        #: within these (None is the source itself) there were lines of several
        self._shared: set[str | None] = set()
        self._formats: list[str] = []

    def format(self) -> str | None:
        """The format that most stacks came in, else that of the first lines that were read."""
        stacks = self._section.stacks
        # of a panic that was printed, and shown by a debugger, the debugger's comes last
        best = max(reversed(stacks), key=lambda name: stacks[name], default=None)
        return best or (self._formats[0] if self._formats else None)

    def read(self, text: str, first_line: int = 1) -> None:
        """Read ``text``, whose first line is the source's line ``first_line``."""
        self._section.context["ddb pager quit"] = quit_pagers(text, first_line)
        self._read_page(self._section, make_page(text, first_line, _begins))

    def finish(self, lines: int, whole: bool) -> None:
        """All ``lines`` were read, the last one ``whole`` or not: note where a host's lines end too early."""
        draft = self._draft
        now = draft.now
        for owner in (_Host(self._section, now), *self._hosts.values()):
            section = owner.section
            draft.timeline.now = owner.now
            if not whole and section.last == lines and is_cut(draft, section.source, lines):
                draft.set_host(fact=(LEFT_OUT, "the last line is cut"))
            elif lacks_end(draft, section.source, section.last) or lacks_threads(section.context):
                draft.set_host(fact=(LEFT_OUT, "the end is cut off"))
            elif section.context.get("ddb list quit") and not section.context.get("ddb ps whole"):
                draft.set_host(fact=(LEFT_OUT, "a list of ddb was quit"))
            elif section.lists_some:
                draft.set_host(fact=(LEFT_OUT, "threads were asked for one by one"))
            elif are_picked(draft, section.context.get("rows without a header")):
                draft.set_host(fact=(LEFT_OUT, "rows were picked out"))
        draft.timeline.now = now

    def _read_page(self, section: Section, page: Page) -> None:
        peeler = Peeler(page, _opens, _begins, is_shared=self._draft.timeline.host in self._shared)
        section.turn_to(page, peeler)
        lines = page.lines
        formats = self._formats
        index = 0
        unread = -1
        while index < len(lines):
            line = lines[index]
            found = find_opener(line)
            while line and (
                peeler.uncover(index)
                if found is None
                else found[0].needles and peeler.uncover(index, _AROUND_ANYTHING if found[0].name == "arrows" else OF_HOSTS)
            ):
                line = lines[index]
                found = find_opener(line)
            if peeler.shares:
                if unread >= 0:
                    section.note_unread(unread, index)
                    unread = -1
                self._read_shares(peeler.shares)
                peeler.shares = []
                index = peeler.shared_end
                continue
            pending = section.pending
            if pending is not None and index > pending.end:
                following = self._resume(section, index)
                if following > index:
                    if unread >= 0:
                        section.note_unread(unread, index)
                        unread = -1
                    index = following
                    continue
            if found is not None:
                opener, match = found
                section.loose = unread if unread >= 0 else index
                section.loose_end = None
                mark = len(section.draft.unread)
                if peeler.hosts:
                    section.draft.timeline.see_host(peeler.host_of(index) or "", is_sure=False)
                if opener.name in _LISTS:
                    section.draft.timeline.begin_list(_LISTS[opener.name])
                try:
                    following = opener.read(section, index, match)
                except GUARDED:
                    following = index
                if following <= index:
                    del section.draft.unread[mark:]
                else:
                    if unread >= 0:
                        section.note_unread(unread, index if section.loose_end is None else section.loose_end)
                        unread = -1
                    if pending is section.pending and pending and not passes(found, line, pending.sure, taken=True):
                        section.pending = None
                    if opener.format and opener.format not in formats:
                        formats.append(opener.format)
                    index = following
                    continue
                if lines[index] != line or peeler.uncover(index):
                    continue  # the reader took off what it knows, or a layer hid what the line begins
            if unread < 0:
                unread = index
            index += 1
        if unread >= 0:
            section.note_unread(unread, len(lines))
        section.last = next(
            (page.last[index] for index in range(len(lines) - 1, -1, -1) if lines[index].strip()), section.last
        )

    def _resume(self, section: Section, index: int) -> int:
        """Let what was broken off go on in line ``index``, as a reader of its own."""
        mark = len(section.draft.unread)
        try:
            following = section.resume(index)
        except GUARDED:
            following = index
        if following <= index:
            del section.draft.unread[mark:]
        return following

    def _read_shares(self, shares: list[Share]) -> None:
        """Read the lines of each of several hosts, as if they were a text of its own."""
        draft = self._draft
        now, around, mark = draft.now, draft.timeline.host, len(draft.unread)
        self._shared.add(around)
        for share in shares:
            if share.is_file:
                key = f"file {share.host}"
                draft.timeline.now = now
                draft.timeline.begin_part(share.host)
            else:
                key = draft.timeline.host = share.host if around is None else f"{around} {share.host}"
            owner = self._hosts.get(key)
            if owner is None:
                draft.parts.append(Part(self._number))
                if not share.is_file:
                    draft.timeline.enter_host(key)
                section = _section(draft, -len(draft.parts), self._section.stacks)
                if draft.now is now and not share.is_file:  # the one whose lines all were before others had any: they go on here
                    section.context, self._section.context = self._section.context, {}
                owner = self._hosts[key] = _Host(section, draft.now)
            draft.timeline.now = owner.now
            draft.parts[-1 - owner.section.source].add(share.numbers)
            self._read_page(owner.section, share.page)
            owner.now = draft.now
        draft.timeline.begin_part("")
        draft.timeline.now, draft.timeline.host = now, around
        left = unread_in_source(draft.unread[mark:], draft.parts)
        draft.unread[mark:] = join_unread(sorted(left, key=lambda item: item.where))


def _section(draft: Draft, source: int, stacks: dict[str, int] | None = None) -> Section:
    return Section(Page([], (), ()), source, draft, stacks={} if stacks is None else stacks, opens=find_opener)
