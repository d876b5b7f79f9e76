r"""Text in the strings of programs: lines of a log in JSON, of a table in CSV, of a source; ``\\n``, ``\\t``, ``\\"``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from hangdiag.text.lazy import lazy
from hangdiag.text.tags import tag_of

#: So many line ends in one line, and so many of the first parts that begin something, show a text in a string.
_ENOUGH = 3
_BEGINNINGS = 2
_SAMPLE = 20
# behind a blank, a comma, an equals sign or a bracket; in CSV a quote within is doubled
_STRING = lazy(r"""(?<![^ \t,;:=(\[{bu])(?:"((?:[^"\\]|\\.|"")*)"|'((?:[^'\\]|\\.)*)')""")
_KEY = lazy(r"([\w.-]{1,40})=\Z")
#: What stands between strings: of a program, of a table whose other cells have no quotes.
_STRUCTURE = lazy(r"\s*[^\s\"'\\]*(?:[,:;]\s[^\s\"'\\]*)*\s*\Z")
_NO_VALUE = lazy(r"(?:true|false|null|None|[-\d.e+\s{}()\[\],:;])*\Z")
_ESCAPE = lazy(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-7]{3})|(.))")
_LETTERS = {"n": "\n", "t": "\t", "r": "", "b": "\x08", "e": "\x1b", "f": "", "v": "", "0": ""}
_CONTROLS = {9: "\t", 10: "\n", 27: "\x1b"}
#: The name of all strings of a line, where they are a list.
ALL = "string *"
#: So long may a string be that names a host.
_LONGEST_TAG = 80


@dataclass(frozen=True, slots=True)
class _Literal:
    """A string between ``start`` and ``end`` of a line, which a key or its place in the line names."""

    name: str
    start: int
    end: int
    text: str
    #: of CSV, which has no escapes
    is_cell: bool

    def lines(self) -> list[str]:
        """What it holds, without escapes."""
        text = self.text
        if self.is_cell:
            text = text.replace('""', '"')
        elif "\\" in text:
            text = _ESCAPE.sub(_letter, text)
        lines = text.split("\n")
        if len(lines) > 1 and not lines[-1]:
            lines.pop()
        return lines


def _literals(line: str) -> list[_Literal]:
    """The strings of ``line``, each with the name of a value before it."""
    found: list[_Literal] = []
    end = 0
    named: re.Match[str] | None = None
    for count, match in enumerate(_STRING.finditer(line)):
        place, following = match.span()
        if line[following : following + 1] == ":" or line[following : following + 2] == " :":
            named = match  # the name of the next one
            continue
        before = line[end:place]
        key = _KEY.search(before[-42:]) if before[-1:] == "=" else None
        name = str(count) if key is None else key.group(1)
        if named is not None and line[named.end() : place].strip() == ":":
            name, place = named.group(named.lastindex or 1), named.start()
        text = match.group(match.lastindex or 1)
        found.append(_Literal(name, place, following, text, match.lastindex == 1 and '""' in text))
        end, named = following, None
    return found


def _is_structure(line: str, literals: list[_Literal]) -> bool:
    """Is there nothing but cells and brackets around the strings of ``line``?"""
    end = 0
    outside = []
    for literal in literals:
        outside.append(line[end : literal.start])
        end = literal.end
    return _STRUCTURE.match("".join([*outside, line[end:]])) is not None


def _letter(found: re.Match[str]) -> str:
    code, octal, letter = found.group(1) or found.group(2), found.group(3), found.group(4)
    if letter is not None:
        return _LETTERS.get(letter, letter)
    number = int(code, 16) if code else int(octal, 8)
    if number < 0x20 or 0xD800 <= number < 0xE000:
        return _CONTROLS.get(number, "")
    return chr(number)


def strings_in(line: str, marks: Sequence[str] = ("",)) -> Iterator[tuple[str, list[str]]]:
    """The strings of ``line`` that hold one of ``marks``: a name for each, and its lines."""
    for name, literals in _texts(line, _literals(line), marks):
        yield name, _lines_of(literals)


def _texts(
    line: str, literals: list[_Literal], marks: Sequence[str] = ("",)
) -> Iterator[tuple[str, list[_Literal]]]:
    """Those of the ``literals`` of ``line`` that may be texts and hold one of ``marks``, each with its name."""
    if not literals:
        return
    if len(literals) >= _ENOUGH and line.lstrip()[:1] in "[({" and all(literal.name.isdecimal() for literal in literals):
        yield ALL, literals
        return
    structure = _is_structure(line, literals)
    for literal in literals:
        if (structure or not literal.name.isdecimal()) and any(mark in literal.text for mark in marks):
            yield f"string {literal.name}", [literal]


def _lines_of(literals: Sequence[_Literal]) -> list[str]:
    return [part for literal in literals for part in literal.lines()]


def _around(line: str, literals: list[_Literal], name: str) -> tuple[str, ...]:
    """What names a host in the other ``literals`` of ``line``, none of which is a text, and between them."""
    end = 0
    tag = []
    outside = []
    for literal in literals:
        outside.append(line[end : literal.start])
        end = literal.end
        is_tag = f"string {literal.name}" != name and " " not in literal.text and len(literal.text) <= _LONGEST_TAG
        tag.append("-".join(filter(None, tag_of(literal.text))) if is_tag else "")
    return (*tag, *tag_of(" ".join([*outside, line[end:]])))


def take_strings(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], name: str, start: int, longest_gap: int
) -> tuple[list[str], list[int], list[int], int, list[tuple[int, tuple[str, ...]]]]:
    """The strings called ``name`` of the block that begins at line ``start``, their original numbers, and the block's end.

    Then, at which place each of the strings is now, and what stood around it. Lines between that hold other values only
    go; their numbers are added to what stands before them.
    """
    made: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    end = start
    pending: list[int] = []
    tags: list[tuple[int, tuple[str, ...]]] = []
    for index in range(start, len(lines)):
        if index - end > longest_gap:
            break
        literals = _literals(lines[index])
        parts = _lines_of(dict(_texts(lines[index], literals)).get(name, ()))
        if not parts or not (any(part.strip() for part in parts) or _says_nothing(lines[index])):
            pending.append(index)
            continue
        for place in pending:
            if made and _says_nothing(lines[place]):
                ends[-1] = last[place]
            else:
                made.append(lines[place])
                begins.append(first[place])
                ends.append(last[place])
        pending = []
        if name != ALL:
            tags.append((start + len(made), _around(lines[index], literals, name)))
        made += parts
        begins += [first[index]] * len(parts)
        ends += [last[index]] * len(parts)
        end = index + 1
    return made, begins, ends, end, tags


def _says_nothing(line: str) -> bool:
    for literal in reversed(_literals(line)):
        line = line[: literal.start] + line[literal.end :]
    return _NO_VALUE.match(line) is not None


def split_literal(line: str) -> list[str]:
    r"""``line`` cut at ``\n`` written as two letters; the quotes of a string around it go away."""
    if "\\n" not in line:
        return [line]
    whole = line.count("\\n")
    for literal in _literals(line):
        if literal.text.count("\\n") * 2 > whole:
            around = [part for part in (line[: literal.start], line[literal.end :]) if part.strip(" \t,;:=([{}])bu")]
            return [*around[:1], *literal.lines(), *around[1:]]
    text = line.replace("\\r", "").replace("\\t", "\t").replace('\\"', '"')
    parts = text.split("\\n")
    parts[0] = parts[0].lstrip('"')
    parts[-1] = parts[-1].rstrip('",')
    return parts


def split_lines(
    lines: Sequence[str], first: Sequence[int], last: Sequence[int], begins: Callable[[str], bool]
) -> tuple[list[str], list[int], list[int]] | None:
    """Lines cut where one holds a text of several lines, with the original numbers of each; None if none does.

    ``begins`` tells whether a line can stand for itself: a debugger prints strings too, which are no such texts.
    """
    texts = {
        index: parts
        for index, line in enumerate(lines)
        if line.count("\\n") >= _ENOUGH
        and sum(map(begins, islice(parts := split_literal(line), _SAMPLE))) >= _BEGINNINGS
    }
    if not texts:
        return None
    made: list[str] = []
    begin_numbers: list[int] = []
    end_numbers: list[int] = []
    for index, line in enumerate(lines):
        parts = texts.get(index, [line])
        made += parts
        begin_numbers += [first[index]] * len(parts)
        end_numbers += [last[index]] * len(parts)
    return made, begin_numbers, end_numbers
