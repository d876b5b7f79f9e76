"""Ways to take one layer off one line: its name and what is left of the line."""

from __future__ import annotations

from collections.abc import Iterable

from hangdiag.text.lazy import lazy
from hangdiag.text.literal import split_literal, strings_in
from hangdiag.text.marks import marks_in
from hangdiag.text.prefixes import PREFIXES, TAGS, compiled

_ROW = lazy(r"[ \t]*\|(.*)\|[ \t]*\Z")
#: A line alone in a box, of which a wiki may make the sides double.
_BOX = lazy(r"[ \t]*\|{1,2} ?([^|]*)\|{1,2}[ \t]*\Z")
INDENT = lazy(r"[ \t]+(?=\S)")
#: Where a line end was lost: behind a frame's address or offset, before the next frame.
_LOST = lazy(
    r"(?<=/frame 0x[0-9a-f]{16})(?= ?[A-Za-z_][\w.$@]*\(\) at |[^\s0-9a-f]| +\S)|(?<=[0-9a-f] ---)(?=[^\s-]| +[^\s-])"
    r"|(?<=[0-9a-f])(?=#\d{1,3} 0x[0-9a-f]{6,16} at )|(?<=:\d)(?=#\d{1,3} +0x[0-9a-f]{6,16} in )"
    r"|(?<=---)(?=[A-Za-z_][\w.$@]*\(\) at )|(?<=[\w)]) +(?=[A-Za-z_][\w.$@]*\(\) at [A-Za-z_][\w.$@]*\+0x)"
    r"|(?<=[^ ]) +(?=#\d{1,3} 0x[0-9a-f]{6,16} at [A-Za-z_])"
    r"|(?<=[^\s>|#*;])(?=Tracing (?:command .{1,24} )?pid -?\d{1,7} tid \d{1,7} td 0x)"
)
#: Lines longer than this have no prefix that is worth a search; they may hold a whole text.
_LONGEST = 20_000
#: Longer than this is no text that somebody's string held.
_LONGEST_TEXT = 1_000_000


def without(layer: str, line: str) -> str:
    """``line`` without a prefix or its indentation, as far as it has one."""
    found = compiled()[layer].match(line) if layer in PREFIXES else INDENT.match(line)
    return line[found.end() :] if found is not None else line


def without_end(begin: str, line: str) -> str:
    """``line`` without what ends the code or the emphasis that ``begin`` begins."""
    return line.rstrip("`") if begin[0] == "`" else line.removesuffix("}}" if begin == "{{" else begin)


def peelings(line: str, after: str) -> Iterable[tuple[str, list[str]]]:
    """Ways to take one layer off ``line``, which ``after`` follows: its name and what is left, as lines."""
    if len(line) > _LONGEST:
        if len(line) <= _LONGEST_TEXT:
            if line[0] in "[(":
                yield from strings_in(line, marks_in(line))
            if "\\n" in line:
                yield "literal", split_literal(line)
        return
    tagged: list[tuple[str, list[str]]] = []
    if "\t" in line:
        yield "tabs", [line.expandtabs()]
    for name, pattern in compiled().items():
        found = pattern.match(line)
        if found is not None and found.end() and found.end() < len(line):
            if name == "count" and not counts_on(line, after):
                continue
            rest = line[found.end() :]
            if name in TAGS:
                tagged += [(name, [rest[1:]]), (name, [rest])]
                continue
            if name == "code":
                rest = without_end(found.group(), rest)
            elif rest[0] in " \t":
                yield name, [rest[1:]]
            yield name, [rest]
    found = INDENT.match(line)
    if found is not None:
        yield "indent", [line[found.end() :]]
    if '"' in line or "'" in line:
        yield from strings_in(line, marks_in(line))
    if "\\n" in line:
        yield "literal", split_literal(line)
    if "at " in line or "Tracing " in line:
        parts = split_lost(line)
        if len(parts) > 1:
            yield "lost", parts
    if "|" in line:
        parts = split_row(line)
        if parts:
            yield "row", parts
    yield from tagged


def counts_on(line: str, after: str) -> bool:
    """Does the number of ``after`` follow that of ``line``?"""
    numbers = [text.split(None, 1)[0] for text in (line, after) if text.strip()]
    if len(numbers) < 2 or not all(text.isdecimal() and len(text) < 19 for text in numbers):
        return False
    return int(numbers[1]) == int(numbers[0]) + 1


def split_lost(line: str) -> list[str]:
    """``line`` cut where line ends were lost between frames."""
    parts = _LOST.split(line) if "at " in line or "Tracing " in line else [line]
    return [part.strip(" ") for part in parts] if len(parts) > 1 else [line]


def split_row(line: str) -> list[str]:
    """A row of a Markdown table as columns two blanks apart, one in a box as it is; nothing if it is neither."""
    found = _BOX.match(line)
    if found is not None:
        return [found.group(1).rstrip()]
    found = _ROW.match(line)
    if found is None:
        return []
    cells = [cell.strip().strip("`*") for cell in found.group(1).replace("\\|", "|").split("|")]
    return ["  ".join(cells)]
