"""Layers around single lines: quotes, comments, log prefixes, tables, indentation, lost line ends.

A layer is taken off only where a line cannot be read as it stands and can be read without
it: then it is taken off all lines behind it too. So plain captures cost nothing, and prose
keeps its form.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hangdiag.text.breaks import Lines, mend_breaks
from hangdiag.text.hosts import Share, share_files, share_out
from hangdiag.text.lazy import lazy
from hangdiag.text.literal import split_literal, strings_in, take_strings
from hangdiag.text.marks import form_of, marks_in, may_have_layer
from hangdiag.text.page import Page, mend
from hangdiag.text.peelings import INDENT, counts_on, peelings, split_lost, split_row, without, without_end
from hangdiag.text.prefixes import LOOSE, MAY_TELL_HOSTS, OF_FILES, OF_HOSTS, PREFIXES, TAGS, compiled
from hangdiag.text.tags import hosts_told, name_of, tag_of

_RULE = lazy(r"[ \t]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*\Z")
_TAB = lazy(r"[^\t]*\t")
#: How long a line is that a mailer folds.
_FOLDED = range(50, 100)
#: One level of a quote, and so many levels that are looked at one by one.
_QUOTE = lazy(r" ?>")
_LEVELS = 6
#: A line may lie under so many layers.
_DEPTH = 5
#: Lines that layers are taken off, as a multiple of the page's lines, so that work stays linear.
_WORK = 12
#: So many lines in a row may lack a prefix: behind them its block has ended.
_GAP = 20
#: Into so many parts the last line of a block may be broken.
_MOST_RESTS = 9
#: So many of those that a word before a colon, or in brackets, is taken off: it may be no host's.
_GAP_OF_TAGS = 8
#: So many lines are looked at whether such words are hosts.
_SHOWN = 8
#: So many forms of lines are remembered at most.
_MOST_FORMS = 20_000


@dataclass(slots=True)
class Peeler:
    """Takes layers off ``page``; ``opens`` tells whether a line can be read, ``begins``
    whether it can stand for itself."""

    page: Page
    opens: Callable[[str], bool]
    begins: Callable[[str], bool]
    work: int = 0
    #: lines in the block that had no prefix: they are no rests of those that had one
    strangers: set[str] = field(default_factory=set)
    #: the layers below the one that is taken off
    inner: list[str] = field(default_factory=list)
    #: original lines from which on a log is of another host, and that host
    hosts: list[tuple[int, str]] = field(default_factory=list)
    #: those of them that are words which may be no hosts
    guessed: set[str] = field(default_factory=lambda: {""})
    #: those of the marks that the page has at all: a page of prose has few. None until the first line needs them
    marks: tuple[str, ...] | None = None
    #: the forms of lines below whose layers nothing was found: logs repeat them by the million
    bare: set[str] = field(default_factory=set)
    #: the lines of a block that several hosts share, and the block's end: none of them is left on the page
    shares: list[Share] = field(default_factory=list)
    shared_end: int = 0
    #: several hosts had lines before this page: those of one alone are its, too
    is_shared: bool = False

    def host_of(self, index: int) -> str | None:
        """The host that wrote line ``index`` into a log, None if it was none that several may share."""
        place = bisect_right(self.hosts, (self.page.first[index], "\U0010ffff"))
        return self.hosts[place - 1][1] if place else None

    def uncover(self, index: int, among: frozenset[str] | None = None) -> bool:
        """Can line ``index``, which cannot be read as it stands, be read now?

        With ``among`` it can be read, but should not as long as one of these layers is around it.
        """
        lines = self.page.lines
        line = lines[index]
        if not line or not may_have_layer(line):
            return False
        if self.marks is None:
            self.marks = marks_in("\n".join(lines))
        for mark in self.marks:
            if mark in line:
                break
        else:
            return False
        form = form_of(line)
        if form in self.bare:
            return False
        after = lines[index + 1] if index + 1 < len(lines) else ""
        chain = self._find(line, after, _DEPTH, set(), among)
        if not chain and among is None and not counts_on(line, after) and len(self.bare) < _MOST_FORMS:
            self.bare.add(form)
        if not chain or self.work > _WORK * (len(lines) + 100) or not self._shows_hosts(chain, index):
            return False
        for place, layer in enumerate(chain):
            self.inner = chain[place + 1 :]
            self._apply(layer, index)
            if self.shares:
                break
        return True

    def _shows_hosts(self, chain: list[str], index: int) -> bool:
        """Is a tag that ``chain`` takes off line ``index`` a host's? Most lines then have one, and few hosts come often."""
        place = next((place for place, layer in enumerate(chain) if layer in TAGS), None)
        if place is None:
            return True
        lines = [line for line in self.page.lines[index : index + _SHOWN] if line.strip()]
        for layer in chain[:place]:
            lines = [without(layer, line).lstrip() for line in lines]
        pattern = compiled()[chain[place]]
        found = [match for match in map(pattern.match, lines) if match is not None]
        if len(found) < 2 or len(found) * 2 < len(lines):
            return False
        if chain[place] in LOOSE and (len(found) < len(lines) or len({match.group("host") for match in found}) * 2 > len(found)):
            return False
        return len({match.group("host") for match in found}) * 2 <= len(found) or all(
            self.begins(match.string[match.end() :].lstrip()) for match in found
        )

    def _find(self, line: str, after: str, depth: int, seen: set[str], among: frozenset[str] | None) -> list[str]:
        """Names of the layers, outermost first, without which ``line`` can be read; empty if there are none.

        ``seen`` is what was looked at: layers can be taken off in more than one order. The innermost is ``among`` those.
        """
        for layer, rest in peelings(line, after):
            if len(rest) == 1:
                if rest[0] in seen:
                    continue
                seen.add(rest[0])
            reads = self.begins if layer in TAGS else self.opens
            if (among is None or layer in among) and (
                any(map(reads, rest)) or (len(rest) == 1 and self._opens_folded(rest[0], without(layer, after)))
            ):
                return [layer]
            if depth > 1 and len(rest) == 1 and rest[0] != line and layer != "tabs":
                deeper = self._find(rest[0], without(layer, after), depth - 1, seen, among)
                if deeper:
                    return [layer, *deeper]
        return []

    def _opens_folded(self, line: str, after: str) -> bool:
        """Can ``line`` be read with ``after`` behind it, a table's head of which a mailer put the last word there?"""
        return len(line) in _FOLDED and line.isupper() and after.isupper() and self.opens(f"{line} {after.strip()}")

    def _apply(self, layer: str, index: int) -> None:
        if layer in PREFIXES:
            end = self._take_prefix(layer, index)
            if not self.shares:
                self._mend(index, end)
        elif layer == "indent":
            self._mend(index, self._dedent(index))
        elif layer == "lost":
            self._split(index, len(self.page.lines), split_lost)
        elif layer == "tabs":
            self._expand(index)
        elif layer.startswith("string "):
            self._take_strings(layer, index)
        elif layer == "literal":
            self._mend(index, self._split(index, index + 1, split_literal))
        else:
            self._take_table(index)

    def _take_prefix(self, layer: str, index: int) -> int:
        """Take a prefix off the block that begins at line ``index``; returns where the block ends."""
        pattern = compiled()[layer]
        if layer != "quote":
            return self._take(layer, pattern, index)
        # one level after the other: lines of a level may have been folded into a lower one, and a text has ">" of its own
        found = pattern.match(self.page.lines[index])
        levels = min(found.group().count(">"), _LEVELS) if found is not None else 0
        if not levels:
            return self._take(layer, pattern, index)
        for _ in range(levels - 1):
            self._mend(index, self._take(layer, _QUOTE, index))
        return self._take(layer, _QUOTE, index)

    def _take(self, layer: str, pattern: re.Pattern[str], index: int) -> int:
        lines = self.page.lines
        end = self._end_of_block(pattern, index, _GAP_OF_TAGS if layer in TAGS else _GAP)
        if layer != "code":
            end = self._unbreak(pattern, index, end)
        changed = []
        blank = True
        hosts: list[tuple[int, str]] = []
        tells_host = layer in OF_HOSTS
        tags: list[tuple[int, tuple[str, ...]]] = []
        self.strangers = set()
        for place in range(index, end):
            line = lines[place]
            found = pattern.match(line)
            if found is None:
                self.strangers.add(line)
                if tells_host and self.page.first[place] > self.page.last[place - 1] and self.begins(line):
                    hosts.append((place, ""))  # written by nobody knows whom
            else:
                rest = line[found.end() :]
                lines[place] = without_end(found.group(), rest) if layer == "code" else rest
                if tells_host and (not hosts or (found.group("host") or "") != hosts[-1][1]):
                    hosts.append((place, found.group("host") or ""))
                elif layer in MAY_TELL_HOSTS:
                    tags.append((place, tag_of(found.group())))
                changed.append(place)
                if rest and rest[0] not in " \t":
                    blank = False
        if blank:
            for place in changed:
                lines[place] = lines[place][1:]
        if hosts:
            self._part(hosts, end, layer in OF_FILES)
            if not self.shares and layer not in OF_FILES:
                self._note(hosts, end)
        else:
            self._part_by(tags, end)
        return end

    def _part(self, hosts: list[tuple[int, str]], end: int, are_files: bool = False) -> None:
        """Take the lines of a block that several hosts share off the page, those of each host for themselves."""
        if not hosts:
            return
        page = self.page
        shares = share_files(page, hosts, end) if are_files else share_out(page, hosts, end, self.is_shared)
        for share in shares:
            own = share.page
            mended = mend(own.lines, own.first, own.last, self._begins, "\n".join(own.lines))
            self.shares.append(share if mended is None else replace(share, page=Page(*mended)))
        if shares:
            begin = hosts[0][0]
            page.lines[begin:end] = [""] * (end - begin)
            self.shared_end = end

    def _end_of_block(self, pattern: re.Pattern[str], index: int, longest_gap: int) -> int:
        """The line behind the last of those that have a prefix, a few without it left aside."""
        lines = self.page.lines
        last = index
        place = index
        while place < len(lines) and place - last <= longest_gap:
            if pattern.match(lines[place]) is not None:
                last = place
            place += 1
        self.work += place - index
        last += 1
        while last < len(lines) and self.page.first[last] <= self.page.last[last - 1]:
            last += 1  # the rest of the same original line
        return last

    def _unbreak(self, prefix: re.Pattern[str], start: int, end: int) -> int:
        """Join lines that were broken when they had the prefix, so that their rests have none; returns the block's end."""
        page = self.page
        if all(prefix.match(line) for line in page.lines[start:end] if line):
            return end
        stop = end  # the rests of the last one
        while stop < min(end + _MOST_RESTS, len(page.lines)) and page.lines[stop]:
            stop += 1
        mended = mend_breaks(
            page.lines[start:stop], page.first[start:stop], page.last[start:stop], self.begins, prefix
        )
        if mended is None:
            return end
        self._replace(start, stop, mended)
        stop = start + len(mended[0])
        while stop > start + 1 and prefix.match(page.lines[stop - 1]) is None:
            stop -= 1
        return stop

    def _mend(self, start: int, end: int) -> None:
        """Mend what was broken, spaced or encoded before the layer was put around it."""
        page = self.page
        lines = page.lines[start:end]
        mended = mend(lines, page.first[start:end], page.last[start:end], self._begins, "\n".join(lines))
        if mended is not None:
            self._replace(start, end, mended)

    def _begins(self, line: str) -> bool:
        return line in self.strangers or self.begins(line)

    def _replace(self, start: int, end: int, by: Lines) -> None:
        page = self.page
        if not isinstance(page.first, list) or not isinstance(page.last, list) or page.first is page.last:
            page.first, page.last = list(page.first), list(page.last)
        page.lines[start:end], page.first[start:end], page.last[start:end] = by
        # what is behind the block is moved
        self.work += (len(page.lines) - start) // 64

    def _split(self, start: int, end: int, split: Callable[[str], list[str]]) -> int:
        """Cut the lines from ``start`` to ``end``; returns where they end now."""
        page = self.page
        new: list[str] = []
        first: list[int] = []
        last: list[int] = []
        for place in range(start, end):
            line = page.lines[place]
            for part in split(line) or [line]:
                new.append(part)
                first.append(page.first[place])
                last.append(page.last[place])
        self._replace(start, end, (new, first, last))
        self.work += end - start
        return start + len(new)

    def split_lost(self, index: int) -> bool:
        """Cut line ``index``, and all behind it, where line ends were lost; False if none were in it."""
        if len(split_lost(self.page.lines[index])) < 2:
            return False
        self._apply("lost", index)
        return True

    def _expand(self, index: int) -> None:
        """Turn tabs into blanks in line ``index`` and those behind it, a few without any left aside."""
        lines = self.page.lines
        for place in range(index, self._end_of_block(_TAB, index, _GAP)):
            lines[place] = lines[place].expandtabs()

    def _take_strings(self, layer: str, index: int) -> None:
        """Put the strings of a block that begins at line ``index`` in place of its lines."""
        page = self.page
        lines, first, last, end, tags = take_strings(page.lines, page.first, page.last, layer, index, _GAP)
        self.work += end - index
        self._replace(index, end, (lines, first, last))
        end = index + len(lines)
        self._part_by(tags, end)
        if not self.shares:
            self._mend(index, end)

    def _part_by(self, tags: list[tuple[int, tuple[str, ...]]], end: int) -> None:
        """Part a block by words that may name hosts; else note what names its lines, if nothing around them does."""
        self._part(hosts_told(tags, self._stands), end)
        if not self.shares and tags and (self.host_of(tags[0][0]) or "") in self.guessed:
            name = name_of(tags, self._stands)
            if name:
                self.guessed.add(name)
                self._note([(tags[0][0], name)], end)

    def _note(self, hosts: list[tuple[int, str]], end: int) -> None:
        """Note whose the lines of a block are; what was noted of them came from a layer further out, which says less."""
        first = self.page.first
        self.hosts = [noted for noted in self.hosts if not first[hosts[0][0]] <= noted[0] <= first[end - 1]]
        for place, host in hosts:
            insort(self.hosts, (first[place], host))

    def _stands(self, index: int) -> bool:
        """Can line ``index`` stand for itself without what is still around it?"""
        line = self.page.lines[index]
        for layer in self.inner:
            if layer.startswith("string "):
                line = dict(strings_in(line)).get(layer, [""])[0]
            else:
                line = without(layer, line).lstrip()
        return self.begins(line.lstrip())

    def _take_table(self, index: int) -> None:
        """Turn the rows of a Markdown table into columns; the line below its head goes."""
        page = self.page
        kept: list[int] = []
        rows: list[str] = []
        end = index
        while end < len(page.lines):
            row = split_row(page.lines[end])
            if not row:
                break
            if _RULE.match(page.lines[end]) is None:
                kept.append(end)
                rows += row
            end += 1
        self.work += end - index
        self._replace(index, end, (rows, [page.first[place] for place in kept], [page.last[place] for place in kept]))

    def _dedent(self, index: int) -> int:
        """Take the indentation of line ``index`` off its block: up to a line that has less. Returns the block's end."""
        lines = self.page.lines
        found = INDENT.match(lines[index])
        if found is None:
            return index
        indent = found.group()
        length = len(indent)
        place = index
        while place < len(lines):
            line = lines[place]
            if line.startswith(indent):
                lines[place] = line[length:]
            elif line.strip():
                break
            place += 1
        self.work += place - index
        return place
