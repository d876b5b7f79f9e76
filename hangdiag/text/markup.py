"""What editors and markup put into lines: a mark at the end of each, backslashes before signs, BBCode's tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hangdiag.text.lazy import lazy

#: What cat -A and vi's list put at lines' ends; what Markdown, RTF and LaTeX do for a break.
_ENDS = ("^M$", "$", "\\par", "\\\\", "\\")
#: So many lines in a row end so, of which this share can stand for themselves, or so many are blank.
_ENOUGH = 4
_SHARE = 0.25
_SAMPLE = 40
#: So many escaped signs in a text are no chance; what no program's string escapes is sure.
_ENOUGH_SIGNS = 3
_SURE = ("\\_", "\\#", "\\>", "\\*", "\\+")
_SIGN = lazy(r"\\([_#<>*+\[\]~`{}()!%&$-])")
_BB_NAMES = "b|i|u|s|code|icode|inline|quote|font|size|color|url|spoiler|center|left|list|php|plain|tt|pre|indent"
_BB_TAG = lazy(rf"(?i:\[/?(?:{_BB_NAMES})(?:=[^\]\[]{{0,80}})?\])")


def has_ends(text: str) -> bool:
    """May there be marks at lines' ends in ``text``?"""
    return any(end[0] in text and end + "\n" in text for end in ("$", "\\par", "\\"))


def strip_ends(lines: list[str], begins: Callable[[str], bool]) -> list[str]:
    """``lines`` without a mark that all lines of a run end in; ``begins`` tells whether a line can stand for itself."""
    made = lines
    for start, stop, end in _runs(lines):
        run = [line.removesuffix(end) for line in lines[start:stop]]
        widths = [len(line) for line in run]
        if end == "\\" and widths.count(max(widths)) * 2 > len(widths):
            continue  # broken at an edge: what comes next is a rest
        looked_at = [line for line in run if line.strip()][:_SAMPLE]
        if sum(map(begins, looked_at)) < max(len(looked_at) * _SHARE, 1):
            continue
        if made is lines:
            made = list(lines)
        made[start:stop] = [line.replace("^I", "\t") for line in run] if end.endswith("$") else run
    return made


def _runs(lines: Sequence[str]) -> list[tuple[int, int, str]]:
    """Begin and end of each run of lines that end in the same mark, and the mark."""
    runs: list[tuple[int, int, str]] = []
    start, mark = 0, ""
    for index, line in enumerate([*lines, ""]):
        own = next((end for end in _ENDS if line.endswith(end)), "")
        if own != mark and not (not line and mark and index < len(lines)):
            if mark and index - start >= _ENOUGH:
                runs.append((start, index, mark))
            start, mark = index, own
    return runs


def has_signs(text: str) -> bool:
    """Are signs in ``text`` escaped as Markdown wants it?"""
    return sum(map(text.count, _SURE)) >= _ENOUGH_SIGNS


def unescape_signs(lines: Sequence[str]) -> list[str]:
    """``lines`` without backslashes before signs that no program's string escapes."""
    return [_SIGN.sub(r"\1", line) if "\\" in line else line for line in lines]


def has_bb_tags(text: str) -> bool:
    """Are there tags of BBCode in ``text``? One that ends something shows it."""
    return any("[/" in text and f"[/{name}]" in text.lower() for name in ("i", "b", "font", "size", "color"))


def strip_bb_tags(lines: Sequence[str]) -> list[str]:
    """``lines`` without tags of BBCode."""
    return [_BB_TAG.sub("", line) if "[" in line else line for line in lines]
