"""The small interface between the scanner and the readers of single formats.

A reader module holds ``OPENERS``: each says by a pattern which line begins something it
can read. Its function takes the section, the line's index and the match, reads on as far
as it understands, writes what it read into ``section.draft`` and returns the index of the
first line that is not its own. Returning the index it was given means "not mine after all".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hangdiag.model import LEFT_OUT, Frame, Thread, Unread, Where
from hangdiag.readers.draft import Draft
from hangdiag.readers.stacks import PROSE
from hangdiag.text.layers import Peeler
from hangdiag.text.lazy import lazy
from hangdiag.text.page import Page

_TRACE_LIKE = lazy(r"\+0x[0-9a-f]+|\(\) at |#\d+ +0x[0-9a-f]{6}|(?<![,\w])wchan(?![,\w])")
#: Functions that a stack begins with; a sentence may speak of one.
_FUNCTION = lazy(r"\b(?:mi_switch|sched_switch|sleepq_\w+|turnstile_wait|msleep_\w+)\b")
#: One of these is in every line that looks like a trace: far quicker to tell than by the expression.
_TRACE_WORDS = ("+0x", "_switch", "sleepq_", "turnstile_wait", "msleep_", "() at ", "#", "wchan")
#: vCPUs of which prose says how they are.
_SPOKEN_OF = lazy(
    r"\b(?:others?|remaining|rest of the)(?: \w{1,8}){0,2} v-?cpus?(?: threads?)? (?:all )?"
    r"(?:are|is|were|was|runs?|keeps?|looks?|seems?|stays?)\b",
    re.I,
)
#: So many lines of something else may stand where a stack or a table was broken off, before it goes on.
LONGEST_GAP = 10
#: What says, between two parts of a stack, that the second may be of another one.
_DOUBTFUL = lazy(
    r"\A\s*[\[(<]? ?(?:\.{2,}|…|snip|cut|skipped)|\b(?:threads?|v-?cpus?|others?|another|different|same|next|second|tid)\b", re.I
)
#: What of the context names lines by their place on the page.
_OF_PAGE = ("ddb holder",)
#: Readers of lines that end nothing and tell nothing by themselves, of others that end no stack, and of debuggers' prompts.
_SILENT = frozenset({"trap", "fence", "gdb-remark", "procstat-error"})
_PASSING = _SILENT | {"gdb-noise", "host-date", "siginfo", "ddb-note", "ddb-panic"}
_PROMPTS = frozenset({"ddb-prompt", "gdb-prompt"})


def _is_trace_like(line: str) -> bool:
    for word in _TRACE_WORDS:
        if word in line:
            if _TRACE_LIKE.search(line) is not None or (
                _FUNCTION.search(line) is not None and PROSE.isdisjoint(line.lower().split())
            ):
                return True
            break
    return _is_mangled(line)


def _is_mangled(line: str) -> bool:
    """Did two CPUs write frames into one line, letter by letter?"""
    if "/frame 0x" in line:
        return True
    return "+" in line and "/" in line and "(" in line and ")" in line and line.count("x") > 1 and line.count("f") > 3


@dataclass(frozen=True, slots=True)
class Pending:
    """What was read up to line ``end`` and may go on behind a few lines of something else.

    ``resume`` is asked at each line that nobody took whether it goes on there: it reads on, and returns the index of the
    line behind; that of the line itself if it does not. ``sure`` is false where not much tells the rest: then a prompt ends it.
    """

    end: int
    resume: Callable[[Section, int], int]
    sure: bool = True


@dataclass(slots=True)
class Section:
    """One source while it is read. ``context`` is what a reader leaves for later lines of it
    (the ddb command that was typed, the thread that gdb switched to)."""

    page: Page
    source: int
    draft: Draft
    lines: list[str] = field(default_factory=list)
    stacks: dict[str, int] = field(default_factory=dict)
    context: dict[str, object] = field(default_factory=dict)
    #: whether some reader can read a line
    opens: Callable[[str], Opening | None] = lambda line: None
    #: takes layers off a line that cannot be read as it stands
    peeler: Peeler | None = None
    #: the first of the lines right before the one that is read which nobody took
    loose: int = 0
    #: a reader that takes some of those as well says here from which on
    loose_end: int | None = None
    #: what was read last, if it may go on
    pending: Pending | None = None
    #: the line behind the list of threads that each tool prints, of which the draft knows whose it is
    listed: dict[str, int] = field(default_factory=dict)
    #: the original number of the last line that is not blank
    last: int = 0

    def __post_init__(self) -> None:
        self.lines = self.page.lines

    def turn_to(self, page: Page, peeler: Peeler) -> None:
        """Go on with ``page``, which is behind the one that was read."""
        self.page, self.lines, self.peeler = page, page.lines, peeler
        self.listed = {}
        self.pending = None
        for name in _OF_PAGE:
            self.context.pop(name, None)

    def resume(self, index: int) -> int:
        """Let what is pending go on at line ``index``; returns the index behind what it took, else ``index``."""
        pending = self.pending
        if pending is None or index <= pending.end:
            return index
        if index - pending.end > LONGEST_GAP:
            self.pending = None
            return index
        return pending.resume(self, index)

    def is_doubtful(self, start: int) -> bool:
        """May line ``start`` be of another thread than what is pending? Lines were left out, or threads are spoken of."""
        begin = self.pending.end if self.pending is not None else start
        return any(_DOUBTFUL.search(line) for line in self.lines[begin:start])

    def lengthen(
        self, thread: Thread, frames: tuple[Frame, ...], start: int, end: int, certain: bool = False
    ) -> Thread | None:
        """Note ``frames``, of lines ``start`` up to ``end``, as the next ones of the stack of ``thread``, which proves nothing
        if they may be of another one, unless that is ``certain``. Returns what is noted; None if nobody knows whose it is.
        """
        where = self.where(start, end)
        longer = replace(
            thread,
            frames=thread.frames + frames,
            where=(where,),
            stack_where=thread.stack_where or where,
            told=thread.told or (not certain and self.is_doubtful(start)),
        )
        return self.draft.extend_thread(thread, longer)

    def where(self, first: int, end: int) -> Where:
        """The original lines of the page's lines ``first`` up to, not including, ``end``."""
        return Where(self.source, self.page.first[first], self.page.last[max(end - 1, first)])

    def before_blanks(self, start: int, end: int) -> int:
        """``end`` without the blank lines before it: a block that began at ``start`` does not own them."""
        while end > start + 1 and not self.lines[end - 1].strip():
            end -= 1
        return end

    def pass_foreign(
        self, index: int, own: re.Pattern[str] | Callable[[str], bool], blanks: bool = True
    ) -> int:
        """The next line of a table (one that ``own`` matches, or is true of) behind line ``index``, which is none:
        a console is in use while a debugger prints, and who copies it writes something in between. Few lines that end
        nothing are passed over and listed as unread; ``index`` itself if there is no more. ``blanks`` may be among them.
        """
        lines = self.lines
        is_own = own if callable(own) else own.match
        for following in range(index, min(index + LONGEST_GAP + 1, len(lines))):
            line = lines[following]
            if not line.strip():
                if not blanks:
                    break
                continue
            if is_own(line):
                if following > index:
                    self.note_unread(index, following, "something else in the middle of a table")
                return following
            opening = self.opens(line)
            if opening is not None and not passes(opening, line):
                break
        return index

    def note_unread(self, start: int, end: int, reason: str = "prose") -> None:
        """List lines as unread, blank ones at either end left out.

        An original line may have become several, of which some were read: it counts as read then.
        """
        lines = self.lines
        page = self.page
        begin = start
        while begin < end and not lines[begin].strip():
            begin += 1
        if begin == end:
            return
        lowest = page.last[start - 1] + 1 if start else 0
        highest = page.first[end] - 1 if end < len(lines) else page.last[end - 1]
        while not lines[end - 1].strip():
            end -= 1
        before = False
        for index in range(begin, end + 1):
            marked = index < end and _is_trace_like(lines[index])
            if index == end or (index > begin and marked != before):
                if any(line.strip() for line in lines[begin:index]):
                    first, last = max(page.first[begin], lowest), min(page.last[index - 1], highest)
                    if not before:
                        self.draft.note_prose(lines[begin:index])
                        if any("cpu" in line.lower() and _SPOKEN_OF.search(line) for line in lines[begin:index]):
                            self.draft.set_host(fact=(LEFT_OUT, "vCPUs that are only spoken of"))
                    if first <= last:
                        why = "looks like a trace" if before and reason == "prose" else reason
                        self.draft.unread.append(Unread(Where(self.source, first, last), why, before))
                        lowest = last + 1
                begin = index
            before = marked

    def note_listing(self, whole: bool) -> None:
        """A tool listed all threads there are, or was asked for single ones: others may be missing then."""
        self.context["lists all" if whole else "lists some"] = True

    @property
    def lists_some(self) -> bool:
        """Were all threads asked for one by one?"""
        return "lists some" in self.context and "lists all" not in self.context

    def count_stacks(self, form: str, number: int = 1) -> None:
        """Note that ``number`` stacks came in format ``form``: the commonest names the source's format."""
        self.stacks[form] = self.stacks.get(form, 0) + number


Opening = tuple["Opener", "re.Match[str]"]
Read = Callable[[Section, int, "re.Match[str]"], int]


@dataclass(frozen=True, slots=True)
class Opener:
    """``pattern`` must match at the start of a line for ``read`` to be asked.

    ``format`` is the JSON contract's name of the format, and counts where no stacks are; it is empty
    for what many programs print.
    A pattern that may begin anywhere in a line is tried only where one of ``needles`` is in it. What is ``vague`` may be a
    person's line as well: no layer is taken off to find one.
    """

    name: str
    format: str
    pattern: str
    read: Read
    needles: tuple[str, ...] = ()
    vague: bool = False


def passes(opening: Opening, line: str, sure: bool = True, taken: bool = False) -> bool:
    """May what was read go on behind ``line``? Behind a prompt only without a command, and if it is ``sure`` that it goes on.

    What tells something ends it unless it is ``taken``, not passed over.
    """
    opener, found = opening
    if opener.name in _PROMPTS:
        return sure and not line[found.end() :].strip()
    return opener.name in (_PASSING if taken else _SILENT)
