"""Text copied out of a web page's source: tags taken off, entities turned into their letters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hangdiag.text.lazy import lazy
from hangdiag.text.terminal import LETTERS

#: A text may be escaped so many times.
_LEVELS = 3

# only names of real tags: "<optimized out>", "<running>" and "<signal handler called>" are none
_NAMES = (
    r"a|abbr|article|b|big|blockquote|body|br|center|code|dd|del|div|dl|dt|em|font|footer|form|h[1-6]|head"
    r"|header|hr|html|i|img|ins|kbd|li|link|main|mark|meta|nav|o:p|ol|p|pre|q|s|samp|section|small|span|strike"
    r"|strong|sub|sup|table|tbody|td|th|thead|title|tr|tt|u|ul|var|wbr"
)
_REST = r"(?:\s[^<>]{0,2000})?/?>"
_TAG = lazy(rf"</?(?:{_NAMES}|script|style){_REST}", re.I)
# What shows that a text is a page's source. In one a thread named <script> would be escaped.
_SURE = lazy(rf"</?(?:{_NAMES}){_REST}", re.I)
_BREAK = lazy(r"<br\s*/?>|</(?:p|div|tr|li|pre|h[1-6])>|<(?:p|tr|li|pre)(?:\s[^<>]{0,2000})?>", re.I)
#: Between the cells of a row, as of the number of a line and the line.
_CELLS = lazy(r"</t[dh]>\s{0,20}<t[dh](?:\s[^<>]{0,2000})?>", re.I)
_ENTITY = lazy(r"&(?:lt|gt|amp|quot|nbsp|#\d{1,6}|#x[0-9a-f]{1,5}|apos|rarr|larr|hellip|[lr][ds]quo);", re.I)
#: The number of no letter; one of more than 4,300 digits cannot be read (sys.set_int_max_str_digits).
_TOO_LONG = lazy(r"&#[0-9]{4000}")
_MARKS = ("&gt;", "&lt;", "&#", "&quot;", "&nbsp;", "&amp;", "<pre", "<PRE", "<br", "<BR", "</", "&rarr;", "&larr;")


#: A tag that goes on in the next line.
_OPEN_TAG = lazy(rf"</?(?:{_NAMES})(?:\s[^<>]{{0,2000}})?\Z", re.I)
_LONGEST_TAG = 400
#: Elements that may hold a line each. If they do, they end in every so many lines at least, however those were broken.
_ELEMENTS = ("td", "p", "li", "div", "span", "code")
_MOST_PARTS = 12
_BEGINS_ELEMENT = lazy(r"\s{0,80}<(?:td|tr|p|li|div|pre)\b", re.I)


def is_html(text: str) -> bool:
    """Are there entities or tags in ``text``?"""
    if "&" not in text and "<" not in text:
        return False
    return any(mark in text for mark in _MARKS) and (_ENTITY.search(text) or _SURE.search(text)) is not None


def strip_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int]
) -> tuple[list[str], list[int], list[int]]:
    """Lines without tags and entities, with the original numbers of each; ``<br>`` ends a line."""
    lines, first, last = _join_broken(lines, first, last)
    stripped: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for index, line in enumerate(lines):
        for part in _strip(line, _LEVELS) if "<" in line or "&" in line else (line,):
            stripped.append(part)
            begins.append(first[index])
            ends.append(last[index])
    return stripped, begins, ends


def _join_broken(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int]
) -> tuple[Sequence[str], Sequence[int], Sequence[int]]:
    """Tags, and elements of one line each, that a mailer broke over several lines, whole again."""
    broken = [index for index, line in enumerate(lines) if "<" in line and _OPEN_TAG.search(line[-_LONGEST_TAG:])]
    elements = [name for name in _ELEMENTS if sum(f"</{name}>" in line for line in lines) * _MOST_PARTS >= len(lines)]
    if not broken and not elements:
        return lines, first, last
    opens = set(broken)
    joined: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        stop = index + 1
        limit = min(index + _MOST_PARTS, len(lines))
        while stop < limit and stop - 1 in opens:
            line += " " + lines[stop]
            stop += 1
        name = next((name for name in elements if line.count(f"<{name}") > line.count(f"</{name}>")), None)
        if name is not None:
            whole, end = line, stop
            while end < limit and f"</{name}>" not in lines[end] and not _BEGINS_ELEMENT.match(lines[end]):
                whole += " " + lines[end]
                end += 1
            if end < limit and f"</{name}>" in lines[end] and "<pre" not in whole and "<br" not in whole:
                line, stop = whole + " " + lines[end], end + 1
        joined.append(line)
        begins.append(first[index])
        ends.append(last[stop - 1])
        index = stop
    return joined, begins, ends


def _strip(line: str, levels: int) -> list[str]:
    """The lines that a browser makes of ``line``; pages escaped twice exist, ``&amp;gt;`` is one of theirs."""
    parts = [line]
    if "<" in line:
        parts = [_TAG.sub("", part) for part in _BREAK.sub("\n", _CELLS.sub("\t", line)).split("\n")]
        if len(parts) > 1:
            if not parts[0].strip("> "):
                parts[:2] = ["".join(parts[:2])]  # a mailer's quote before the tag
            parts = [part for part in parts if part.strip()] or [""]
    import html

    made: list[str] = []
    for part in parts:
        if "&" in part and _TOO_LONG.search(part) is None:
            part = html.unescape(part).translate(LETTERS).replace("\n", " ")
            if levels > 1 and (_TAG.search(part) or _ENTITY.search(part)):
                made += _strip(part, levels - 1)
                continue
        made.append(part)
    return made
