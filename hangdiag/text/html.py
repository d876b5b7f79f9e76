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
_ENTITY = lazy(r"&(?:lt|gt|amp|quot|nbsp|#\d{1,6}|#x[0-9a-f]{1,5}|apos|rarr|larr|hellip|[lr][ds]quo);", re.I)
_MARKS = ("&gt;", "&lt;", "&#", "&quot;", "&nbsp;", "&amp;", "<pre", "<PRE", "<br", "<BR", "</", "&rarr;", "&larr;")


def is_html(text: str) -> bool:
    """Are there entities or tags in ``text``?"""
    if "&" not in text and "<" not in text:
        return False
    return any(mark in text for mark in _MARKS) and (_ENTITY.search(text) or _SURE.search(text)) is not None


def strip_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int]
) -> tuple[list[str], list[int], list[int]]:
    """Lines without tags and entities, with the original numbers of each; ``<br>`` ends a line."""
    stripped: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for index, line in enumerate(lines):
        for part in _strip(line, _LEVELS) if "<" in line or "&" in line else (line,):
            stripped.append(part)
            begins.append(first[index])
            ends.append(last[index])
    return stripped, begins, ends


def _strip(line: str, levels: int) -> list[str]:
    """The lines that a browser makes of ``line``; pages escaped twice exist, ``&amp;gt;`` is one of theirs."""
    parts = [line]
    if "<" in line:
        parts = [_TAG.sub("", part) for part in _BREAK.sub("\n", line).split("\n")]
        if len(parts) > 1:
            parts = [part for part in parts if part.strip()] or [""]
    import html

    made: list[str] = []
    for part in parts:
        if "&" in part:
            part = html.unescape(part).translate(LETTERS).replace("\n", " ")
            if levels > 1 and (_TAG.search(part) or _ENTITY.search(part)):
                made += _strip(part, levels - 1)
                continue
        made.append(part)
    return made
