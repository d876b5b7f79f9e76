"""Lines that say themselves that they go on in the next one.

In mail of ``format=flowed`` (RFC 3676, 4) a blank at the line's end does that, in shells and programs a backslash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from hangdiag.text.breaks import begins_anew, is_like
from hangdiag.text.lazy import lazy

_QUOTES = lazy(r"(?: ?>)*")
#: How long a line is that a mailer breaks, and one that somebody breaks by hand.
_NARROWEST, _WIDEST = 56, 80
_LONGEST = 1000
#: A word that is too long makes the widest line so much wider than those before it may be.
_SLACK = 2
#: So many lines that end in a blank, and this share of them without room for the next word, are flowed.
_ENOUGH = 3
_SHARE = 0.9


def find_cover(lines: Sequence[str], broken: Sequence[int]) -> str | None:
    """What was put before the lines ``broken`` and the rest of each after they had been broken: quotes, an indentation.

    Empty for nothing; None if they have more than one thing before them.
    """
    alike = sum(lines[index][:1] == lines[index + 1][:1] and not lines[index][:1].isalnum() for index in broken)
    if len(broken) < 2 or alike < len(broken) * _SHARE:
        return ""
    rests = [lines[index + 1] for index in broken]
    least, most = min(rests), max(rests)
    end = next((place for place, letter in enumerate(least) if most[place : place + 1] != letter or letter.isalnum()), len(least))
    cover = least[:end]
    covered = all(lines[index].startswith(cover) for index in broken)
    deeper = sum(rest[end : end + 1] == ">" for rest in rests)
    return cover if cover and covered and deeper <= len(rests) * (1 - _SHARE) else None


def continued(lines: Sequence[str]) -> tuple[list[int], str]:
    """The lines that a backslash at their end continues, and what is before their rests."""
    soft = [
        index
        for index, line in enumerate(lines[:-1])
        if line[-1:] == "\\" and len(line) >= _NARROWEST and lines[index + 1]
    ]
    cover = find_cover(lines, soft)
    if not soft or cover is None:
        return [], ""
    # a terminal may break within a string that has a backslash: then lines as long have none
    shortest = min([len(lines[index]) for index in soft])
    return (soft if len(soft) * 2 > sum(len(line) >= shortest for line in lines) else []), cover


def flowed(lines: Sequence[str], begins: Callable[[str], bool]) -> list[int]:
    """The lines that a mailer broke behind a blank, which it left there: the next word had no room.

    ``begins`` tells whether a line can stand for itself: that it comes next proves nothing.
    """
    ends = [
        index
        for index, line in enumerate(lines[:-1])
        if line[-1:] == " " and len(line) < _LONGEST and line.strip(" >") and lines[index + 1].strip(" >")
    ]
    widest = max([length for index in ends if (length := len(lines[index].rstrip())) <= _WIDEST], default=0)
    if widest < _NARROWEST:
        return []
    soft = [index for index in ends if _has_no_room(lines[index], lines[index + 1], widest)]

    def is_rest(line: str) -> bool:
        return not begins_anew(line) and not begins(line)

    # gdb ends lines in a blank itself, before one that is indented
    rests, others = (
        sum(is_rest(rest) for index in some if (rest := _rest(lines[index + 1]))[0] != " ")
        for some in (soft, set(ends).difference(soft))
    )
    if rests < _ENOUGH or rests < (rests + others) * _SHARE:
        return []
    # a terminal breaks within words as well, other mailers keep no blank
    edge = max([len(lines[index]) for index in soft])
    if sum(len(lines[index]) == edge and lines[index].endswith("  ") for index in soft) * 2 > len(soft):
        return []  # filled up to the edge
    hard = sum(
        1
        for line, after in pairwise(lines)
        if line[-1:] not in ("", " ") and len(line) <= edge and _rest(after).strip() and is_rest(_rest(after))
        and (len(line) == edge or _has_no_room(line, after, widest))
    )
    return soft if rests >= (rests + hard) * _SHARE else []


def _has_no_room(line: str, after: str, widest: int) -> bool:
    """Was ``line`` broken where it had to be: the first word of ``after`` has no room, and none of its own was too many?"""
    text = line.rstrip()
    rest = _rest(after)
    words = rest.split(None, 1)
    return (
        bool(words)
        and line[: _quotes(line)].count(">") == after[: _quotes(after)].count(">")
        and len(line) + len(words[0]) > widest - _SLACK
        and (len(text) <= widest or " " not in text[_quotes(line) : widest].strip())
        and not is_like(_rest(line), rest)
        and not (rest[0] == " " and begins_anew(rest))  # a row behind one that ended in a blank anyway
    )


def _quotes(line: str) -> int:
    found = _QUOTES.match(line)
    return found.end() if found is not None else 0


def _rest(line: str) -> str:
    """``line`` without its quotes, and without the blank that belongs to them or was stuffed before a blank."""
    return line[_quotes(line) :].removeprefix(" ")


def join_lines(
    lines: Sequence[str],
    first: Sequence[int],
    last: Sequence[int],
    soft: Sequence[int],
    mark: str = "",
    cover: str = "",
) -> tuple[list[str], list[int], list[int]]:
    """Each line of ``soft`` without its ``mark``, and the one behind it without ``cover`` joined to it.

    Without a mark the lines are flowed: the rest of one has its quotes again, and a blank that belongs to them.
    """
    going_on = set(soft)
    joined: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for index, line in enumerate(lines):
        part = line.removesuffix(mark) if index in going_on else line
        if index - 1 in going_on:
            joined[-1] += part.removeprefix(cover) if mark else _rest(part)
            ends[-1] = last[index]
        else:
            joined.append(part)
            begins.append(first[index])
            ends.append(last[index])
    return joined, begins, ends
