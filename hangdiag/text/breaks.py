"""Lines that were broken: by a terminal at its right edge, or by a mailer at the last blank before it.

A text may hold prose of one width, a block of another and one that nobody broke. So each
paragraph is judged by its own widest line, and paragraphs of like width speak for each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hangdiag.text.lazy import lazy
from hangdiag.text.peelings import counts_on
from hangdiag.text.prefixes import LOOSE, OF_FILES, PREFIXES, TAGS

#: Widths that a terminal may have, and a mailer.
_NARROWEST, _WIDEST, _WIDEST_FOLD = 60, 250, 100
#: So many broken lines at least, and this share of all lines of the width, show a terminal; at a
#: width that terminals commonly have fewer will do.
_ENOUGH = 4
_ENOUGH_AT_USUAL = 2
_USUAL = frozenset({72, 76, 78, 79, 80, 96, 100, 120, 128, 132, 160, 180, 200, 240})
_SHARE = 0.6
#: So many folds, in paragraphs that differ so much in width, and this share of the lines that may be rests.
_ENOUGH_FOLDS = 2
_LIKE = 3
_SHARE_OF_FOLDS = 0.5
_MANY_FOLDS = 8
#: Of the lines of a log that was folded so many are whole, or the begin of one.
_SHARE_OF_BEGINS = 0.2
#: What is as wide as that between columns is an empty one.
_GAP = " " * 8
#: So many letters at the begin of two lines tell whether both have the same prefix.
_PREFIX = 8
#: Both lines begin with it: a diff's sign, a mailer's quote, a string's.
_OPENING = ("+", ">", '"', "'")
_NUMBER = lazy(r"\d+")
_DIGITS = str.maketrans("123456789", "0" * 9)
#: No row is so long that a terminal breaks it into more lines.
_MOST_PARTS = 40
#: So many lines are looked at: first ones, and others at so many places behind them.
_SAMPLE = 2000
_PLACES = 20
# Times, uptimes and numbers of lines.
_LOGGED = (
    r"<\d{1,3}>|\[[ \d:.]{2,16}\]|\[?\d{4}-\d\d-\d\d[ T]|\[?\d\d:\d\d:\d\d|\[?(?:[A-Z][a-z]{2} ){1,2}[ \d]\d \d\d:|\d+[:\t]"
)
_LOG_BEGIN = lazy(_LOGGED)
# How a line begins that stands for itself in one of the formats.
_BEGIN = (
    r"[\s`]{0,24}(?:\Z|#\d+ |[\w.$@]+\([^()]*\) at |(?:Tracing|Thread|Process|chain)\b|KDB:|--- \w|\(k?gdb\)|db[:>]"
    r"|\d+ +\d{4,}|\d{6} {10}|\d+ +\d+ +\d+ +\d+ "
    r"|\[(?:Switching| ?thread (?:pid )?\d| *\d)| ?thread \d|\s{1,24}[a-z][a-z ]*: |\s{1,24}at /|\s{1,24}\d+ \(0x|\$\d+ = "
    r"|(?:td|proc|tid|pid)[ =\[]|[A-Za-z_][\w.$]* \+ \d+ in section"
    r"|exclusive |shared |[0-9a-f]{16} (?:[0-9a-f]{16}|[A-Za-z_][\w.]*)[ `+(]|\S+`"
    r"|\s{1,24}PC: |\s{1,24}\[ |\[ [0-9a-f]{8}|stack pointer|<\d+>"
    r"|\s{1,24}\w+ = |No (?:locals|symbol)|\s{1,24}0x[0-9a-f]+ \(tid|(?:[>*|#;%`]+|//+)(?:\s|\Z)|\*\*|\{\{"
    # rows of ps and top: a process and its user, a thread and its message, a user and his process
    r"|\d{1,7} +[a-z][\w-]{0,31} {2,9}-?\d+ +\S|\d{6,7} \S+(?: \S+){0,7} {2,9}\S|[a-z_][\w.-]{0,31} +\d+ +\d+[. ]"
    rf"|{_LOGGED})"
)
_TERMINAL_BEGIN = lazy(_BEGIN)
# How more lines begin that stand for themselves: a terminal may break anywhere, a mailer only at blanks, which go.
_MAIL_BEGIN = lazy(
    rf"{_BEGIN}|\s|\*? +\d+ +(?:Thread|LWP)|[A-Z][\w ]{{2,30}}:|[a-z][\w ]{{2,16}} = |\S+\(\) at |\(expected: "
)
#: Into so many parts a line with a host's name may be broken, mostly.
_MOST_BROKEN = 8
_TAGS = [lazy(PREFIXES[name]) for name in sorted(TAGS - LOOSE | OF_FILES)]

Lines = tuple[list[str], list[int], list[int]]


@dataclass(slots=True)
class _Evidence:
    """What paragraphs tell, by the width of their widest line."""

    #: lines of that width that something which cannot stand for itself follows, and all others of that width
    broken: Counter[int] = field(default_factory=Counter)
    whole: Counter[int] = field(default_factory=Counter)
    #: lines that leave no room for the next word, which is no begin, and others before no begin
    folds: Counter[int] = field(default_factory=Counter)
    others: Counter[int] = field(default_factory=Counter)
    #: those of the others that have a prefix, or columns, so that there may have been many blanks
    rows: Counter[int] = field(default_factory=Counter)
    #: folds that are shorter than the widest line: no terminal made them
    short: Counter[int] = field(default_factory=Counter)

    def is_wrap(self, width: int) -> bool:
        broken = self.broken[width]
        enough = _ENOUGH_AT_USUAL if width in _USUAL else _ENOUGH
        return (
            broken >= enough
            and broken >= (broken + self.whole[width]) * _SHARE
            and broken >= self.short[width] * (2 if width in _USUAL else 8)
            # rows of one form are folded at the same place, others a little behind it
            and (width in _USUAL or sum(self.short[width + more] for more in range(1, _LIKE + 1)) < _ENOUGH_FOLDS)
            # lines that only seem broken are as often a little longer or shorter
            and broken * 2 >= sum(self.broken[other] for other in range(width - _LIKE, width + _LIKE + 1))
        )

    def is_fold(self, width: int) -> bool:
        if width > _WIDEST_FOLD:
            return False
        near = range(width - _LIKE, width + _LIKE + 1)
        folds = sum(self.folds[other] for other in near)
        others = sum(self.others[other] for other in near)
        if folds < _MANY_FOLDS:
            others += sum(self.rows[other] for other in near)
        return folds >= _ENOUGH_FOLDS and folds >= (folds + others) * _SHARE_OF_FOLDS


def begins_anew(line: str) -> bool:
    """Does ``line`` look like one that stands for itself, in whatever format?"""
    return _TERMINAL_BEGIN.match(line) is not None


def is_like(line: str, after: str) -> bool:
    """Do both lines begin with the same, digits aside? A prefix does that, the rest of a broken line does not."""
    if line[:1] == after[:1] and line[:1] in _OPENING:
        return True
    if after[:_PREFIX].lstrip()[:1].isdigit() and counts_on(line, after) and _number_end(after) - _number_end(line) in (0, 1):
        return True  # an editor's numbers
    begin = line[:_PREFIX].translate(_DIGITS)
    return begin == after[:_PREFIX].translate(_DIGITS) and not begin.isidentifier()


def _number_end(line: str) -> int:
    return len(line) - len(line.lstrip()) + len(line.split(None, 1)[0])


def mend_breaks(
    lines: list[str],
    first: Sequence[int],
    last: Sequence[int],
    begins: Callable[[str], bool],
    prefix: re.Pattern[str] | None = None,
    again: bool = False,
) -> Lines | None:
    """Broken lines joined again, with the original numbers of each; None if there are none.

    ``begins`` tells whether a line can stand for itself. Where lines have a ``prefix``, those do that have it.
    Of lines that were joined ``again``, only common widths are believed to be a terminal's.
    """
    terminal = prefix or _TERMINAL_BEGIN
    mail = prefix or _MAIL_BEGIN
    wraps, folds = _find_widths(lines, begins, terminal, mail)
    if again:
        wraps &= _USUAL
    if not wraps and not folds:
        return None
    names = _names_in(lines) if prefix is None else frozenset()
    joined: list[str] = []
    begin_numbers: list[int] = []
    end_numbers: list[int] = []
    end = 0
    for start, stop, widest, indent in _paragraphs(lines, 0, len(lines), _INDENT if prefix else _COVER):
        if names and _are_tagged(lines[start:stop], names):
            continue  # those without a tag are joined where the tags are taken off
        if end < start:  # blank lines, and those that are left as they are
            joined += lines[end:start]
            begin_numbers += first[end:start]
            end_numbers += last[end:start]
        end = stop
        wrap = widest if widest - indent in wraps else 0
        # a blank at a terminal's edge goes where blanks at lines' ends were taken off
        stripped = 0 if wrap and any(line[wrap - 1 :] == " " for line in lines[start:stop]) else 1
        fold = 0 if wrap else indent + min((width for width in folds if width >= widest - indent), default=-indent)
        common, is_prefix = _common_begin(lines[start:stop], indent, mail) if fold and prefix is None else ("", False)
        index = start
        while index < stop:
            parts = [lines[index]]
            begin_numbers.append(first[index])
            while index + 1 < stop and len(parts) < _MOST_PARTS:
                line, after = lines[index], lines[index + 1][indent:]
                if wrap:
                    short = wrap - len(line)
                    if (short and short != stripped) or terminal.match(after) is not None or is_like(line[indent:], after):
                        break
                    if short and begins(after):
                        break
                    parts.append(" " * short + after)
                elif fold:
                    between = after[:1] == " " and len(line) >= fold - 1  # broken between two of many blanks
                    full = between or _is_full(line, after, fold)
                    alike = common and _begin_of(parts[0], indent) == common
                    logged = prefix or _LOG_BEGIN.match(parts[0][indent:]) or (alike and is_prefix)
                    if mail.match(after) is not None and (prefix or not (full and logged) or _LOG_BEGIN.match(after)):
                        break
                    if is_like(parts[0][indent:], after) or (begins(after) and not (full and logged)):
                        break
                    # what has no prefix behind a line that has one, or a row, is a rest too: it had many blanks before it
                    if not (full or logged or (len(parts) == 1 and (alike or _is_row(line)))):
                        break
                    if between and logged:
                        parts.append(" " + after)
                    else:
                        parts[-1] = parts[-1].rstrip()
                        # behind a rest that was folded again, one blank is likelier
                        one = full or len(parts) > 1 or _is_open(parts[0])
                        parts.append((" " if one else "  ") + after.strip())
                else:
                    break
                index += 1
            joined.append("".join(parts))
            end_numbers.append(last[index])
            index += 1
    joined += lines[end:]
    begin_numbers += first[end:]
    end_numbers += last[end:]
    if len(joined) == len(lines):
        return None
    return joined, begin_numbers, end_numbers


#: What may stand before all lines of a paragraph: an indentation, a mailer's quote.
_INDENT, _COVER = " \t", " \t>"
#: What lines between paragraphs are made of.
_RULES = frozenset("-=*_~#+")


def _paragraphs(lines: list[str], begin: int, end: int, cover: str) -> Iterator[tuple[int, int, int, int]]:
    """Runs of lines that are no blanks, no rules and not wider than a terminal: begin, end, widest line, and how long
    what all lines begin with is, as far as it is made of the letters of ``cover``."""
    start = -1
    widest = 0
    for index in range(begin, end):
        line = lines[index]
        length = len(line)
        if (
            length > _WIDEST or not length or line.isspace() or (line[0] in _RULES and not line.strip(line[0]))
            or (line[0] == ">" and not line.strip("> "))
        ):  # fmt: skip
            if start >= 0:
                yield start, index, widest, _covered(lines, start, index, cover)
                start = -1
            widest = 0
            continue
        if start < 0:
            start = index
        # a mailer breaks no word: one that is too long tells nothing of the width
        if length > widest and " " in line.strip():
            widest = length
    if start >= 0:
        yield start, end, widest, _covered(lines, start, end, cover)


def _covered(lines: list[str], start: int, stop: int, cover: str) -> int:
    """How many letters of ``cover`` all lines begin with."""
    line = lines[start]
    common = line[: len(line) - len(line.lstrip(cover))]
    for index in range(start + 1, stop):
        if not common:
            break
        line = lines[index]
        while not line.startswith(common):
            common = common[:-1]
    return len(common)


def _windows(count: int) -> list[tuple[int, int]]:
    """The parts of so many lines that are looked at: the begin, and in a long text some places behind it."""
    if count <= 2 * _SAMPLE:
        return [(0, count)]
    size = _SAMPLE // _PLACES
    step = (count - _SAMPLE) // _PLACES
    return [(0, _SAMPLE), *((place, place + size) for place in range(_SAMPLE, count - size, step))]


def _find_widths(
    lines: list[str], begins: Callable[[str], bool], terminal: re.Pattern[str], mail: re.Pattern[str]
) -> tuple[set[int], set[int]]:
    """The widths at which terminals and mailers broke paragraphs of ``lines``."""
    evidence = _Evidence()
    for begin, end in _windows(len(lines)):
        for start, stop, widest, indent in _paragraphs(lines, begin, end, _INDENT if terminal is mail else _COVER):
            if stop - start > 1 and widest >= _NARROWEST:
                paragraph = [line[indent:] for line in lines[start:stop]] if indent else lines[start:stop]
                _look_at(evidence, paragraph, widest - indent, begins, terminal, mail)
    wraps = {width for width in evidence.broken if evidence.is_wrap(width)}
    folds = {width for width in evidence.folds if width not in wraps and evidence.is_fold(width)}
    return wraps, folds


def _look_at(
    evidence: _Evidence,
    lines: list[str],
    widest: int,
    begins: Callable[[str], bool],
    terminal: re.Pattern[str],
    mail: re.Pattern[str],
) -> None:
    parts = 0
    for line, after in pairwise(lines):
        full = len(line) == widest
        if not full and widest > _WIDEST_FOLD:
            parts = 0
            continue
        parts = parts + 1 if full else 0
        if parts > _MOST_PARTS:
            # a table, or a log of lines that are alike
            evidence.whole[widest] += parts
            parts = 0
        if terminal.match(after) is not None or is_like(line, after):
            evidence.whole[widest] += full
            continue
        evidence.broken[widest] += full
        if widest > _WIDEST_FOLD or mail.match(after) is not None or begins(after):
            continue
        if _is_full(line, after, widest):
            evidence.folds[widest] += 1
            evidence.short[widest] += not full
        elif terminal is mail or _LOG_BEGIN.match(line) or _is_row(line):
            evidence.rows[widest] += 1
        else:
            evidence.others[widest] += 1


def _are_tagged(lines: list[str], names: frozenset[str]) -> bool:
    """Does one of ``names`` stand before the lines, some of which may be broken? Those of several hosts may be of one width."""
    if _tag(lines[0]) not in names:
        return False
    return sum(_tag(line) in names for line in lines) * _MOST_BROKEN > len(lines)


def _names_in(lines: list[str]) -> frozenset[str]:
    """What may be names of hosts that stand before lines: each does more than once."""
    counts = Counter(map(_tag, lines))
    return frozenset({name for name, count in counts.items() if name is not None and count > 1})


def _tag(line: str) -> str | None:
    line = line.lstrip(_COVER)
    for tag in _TAGS:
        found = tag.match(line)
        if found is not None:
            return found.group("host")
    return None


def _is_row(line: str) -> bool:
    """Has ``line`` three columns, two blanks apart, or an empty one between two?"""
    return "  " in line and (sum(map(bool, line.strip().split("  "))) > 2 or _GAP in line.strip())


def _common_begin(lines: list[str], indent: int, mail: re.Pattern[str]) -> tuple[str, bool]:
    """What so many lines begin with, digits aside, that it may be a prefix with times or numbers (empty if there is none),
    and whether it is one: hardly another line looks like the begin of something."""
    counts = Counter(begin for line in lines if "0" in (begin := _begin_of(line, indent)) and not begin.startswith("0x"))
    common, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if count < max(_ENOUGH, len(lines) * _SHARE_OF_BEGINS):
        return "", False
    others = sum(_begin_of(line, indent) != common and mail.match(line, indent) is not None for line in lines)
    return common, others * _ENOUGH <= count


def _begin_of(line: str, indent: int) -> str:
    return _NUMBER.sub("0", line[indent : indent + 3 * _PREFIX].lstrip())[:_PREFIX]


def _is_open(line: str) -> bool:
    """Does ``line`` end within a name in brackets, or a call?"""
    return line.rfind("[") > line.rfind("]") or "(" in line.rpartition("  ")[2]


def _is_full(line: str, after: str, width: int) -> bool:
    """Is there no room behind ``line`` for the first word of ``after``?"""
    return len(line.rstrip()) + 1 + len(after.split(None, 1)[0]) > width
