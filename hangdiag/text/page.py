"""A page: the lines of one source, each knowing the original lines that it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hangdiag.text import html, mail, markup, noise, soft, spacing, terminal
from hangdiag.text.breaks import Lines, mend_breaks
from hangdiag.text.literal import split_lines, split_literal

#: A line may have been broken so many times: by a terminal, and by the mailers of who wrote it and who answered.
_MOST_BREAKS = 3


@dataclass(slots=True)
class Page:
    """``lines[i]`` came from the original lines ``first[i]`` to ``last[i]`` (from 1).

    A page is rewritten in place while it is read, when a line turns out to lie under a
    layer (:mod:`hangdiag.text.layers`).
    """

    lines: list[str]
    first: Sequence[int]
    last: Sequence[int]


def _never(line: str) -> bool:
    return False


def make_page(text: str, first_line: int = 1, begins: Callable[[str], bool] = _never) -> Page:
    """Split ``text`` into lines and take off what terminals, mail and web pages put around them.

    ``first_line`` is the original number of its first line; ``begins`` tells whether a line can
    stand for itself, so that it is no rest of a folded one.
    """
    if "\r" in text:
        text = terminal.join_line_ends(text)
    if "\\" in text and text.count("\\n") > 3 * (text.count("\n") + 1):
        return _make_page_of_literal(text, first_line, begins)
    return _make_page(text, first_line, begins)


def _make_page(text: str, first_line: int, begins: Callable[[str], bool]) -> Page:
    if terminal.is_plain(text):
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        page = Page(lines, range(first_line, first_line + len(lines)), range(first_line, first_line + len(lines)))
    else:
        cleaned, numbers = terminal.clean_lines(text, first_line)
        page = Page(cleaned, numbers, numbers)
    mended = mend(page.lines, page.first, page.last, begins, text)
    if mended is not None:
        page = Page(*mended)
    # terminals break behind blanks too: those at the end go when that is mended
    if " \n" in text or ("\t" in text and "\t\n" in text):
        page.lines = [line.rstrip() for line in page.lines]
    return page


def mend(
    lines: list[str], first: Sequence[int], last: Sequence[int], begins: Callable[[str], bool], text: str
) -> Lines | None:
    """What mail, web pages, forms and terminals did to ``lines`` undone, with their original numbers; None for nothing.

    ``text`` is what to look through for the letters that they leave.
    """
    whole: Lines | None = None
    has_blank_ends = " \n" in text
    if has_blank_ends:
        lines = _without_common_blanks(lines)
    if markup.has_ends(text):
        stripped = markup.strip_ends(lines, begins)
        if stripped is not lines:
            lines = stripped
            whole = lines, list(first), list(last)
    # to look for one letter first is ten times as fast
    if "[" in text and "[/" in text and markup.has_bb_tags(text):
        lines = markup.strip_bb_tags(lines)
        whole = lines, list(first), list(last)
    if "=" in text and ("=3D" in text or "=\n" in text):
        runs = mail.quoted_printable(lines)
        if runs:
            whole = lines, first, last = mail.decode_lines(lines, first, last, runs)
    if has_blank_ends:
        flowed = soft.flowed(lines, begins)
        if flowed:
            whole = lines, first, last = soft.join_lines(lines, first, last, flowed)
    if "\\" in text and "\\\n" in text:
        continued, cover = soft.continued(lines)
        if continued:
            whole = lines, first, last = soft.join_lines(lines, first, last, continued, "\\", cover)
    if "\\" in text and "\\n" in text:
        split = split_lines(lines, first, last, begins)
        if split is not None:
            whole = lines, first, last = split
    if html.is_html(text):
        whole = lines, first, last = html.strip_lines(lines, first, last)
    if "\\" in text and markup.has_signs(text):
        lines = markup.unescape_signs(lines)
        whole = lines, list(first), list(last)
    if has_blank_ends:
        lines = ["" if line.isspace() else line for line in lines]
    if "\n2\n" in text or "\n2.\n" in text:
        between = spacing.numbers_between(lines)
        if between:
            whole = lines, first, last = spacing.drop_lines(lines, first, last, between)
    if noise.has_noise(text):
        whole = lines, first, last = spacing.drop_lines(lines, first, last, noise.find_noise(lines))
    if "# 1 " in text and spacing.frames_apart(lines):
        lines = spacing.join_numbers(lines)
        whole = lines, list(first), list(last)
    spaced = spacing.double_spaced(lines)
    if spaced:
        whole = lines, first, last = spacing.drop_blanks(lines, first, last, spaced)
    for times in range(_MOST_BREAKS):
        joined = mend_breaks(lines, first, last, begins, again=times > 0)
        if joined is None:
            break
        whole = lines, first, last = joined
    return whole


def _without_common_blanks(lines: list[str]) -> list[str]:
    """``lines`` without the blanks that all of them end in: they are no part of what was broken or encoded."""
    common = 80
    for line in lines:
        if line:
            common = min(common, len(line) - len(line.rstrip(" ")))
            if not common:
                return lines
    return [line[:-common] for line in lines]


def _make_page_of_literal(text: str, first_line: int, begins: Callable[[str], bool]) -> Page:
    r"""A text that somebody's string printed: its line ends are written as ``\n``."""
    lines: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(text.split("\n"), first_line):
        for part in split_literal(line):
            lines.append(part)
            numbers.append(number)
    whole = _make_page("\n".join(lines), 1, begins)
    first = [numbers[place - 1] for place in whole.first]
    last = [numbers[place - 1] for place in whole.last]
    return Page(whole.lines, first, last)
