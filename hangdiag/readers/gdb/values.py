"""gdb values and the commands that print them: ``(kgdb) p EXPRESSION`` and ``$N = VALUE``.

The grammar is gdb's value printing (gdb/valprint.c): ``{a = 1, b = {...}, c = "x", '\\000'
<repeats 26 times>}``. What the values mean is :mod:`hangdiag.readers.gdb.notes`' business.
"""

from __future__ import annotations

import re

from hangdiag.readers.gdb.notes import note
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Opener, Section

_TOKEN = re.compile(
    r"\s*(?:(?P<open>\{)|(?P<close>\})|(?P<comma>,)|(?P<string>\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?)"
    r"|(?P<char>'(?:[^'\\]|\\.)*')|(?P<name>[A-Za-z_]\w*) = |(?P<word>[^\s,{}\"']+))"
)
_EXPRESSION = re.compile(r"(?:p|print|output|inspect)(?:/[a-z]+)? (?P<expression>\S.*?)\s*\Z")
_RESULT = re.compile(r"\$\d+ = ")
_SWITCH = re.compile(r"(?P<what>tid|proc) (?P<number>\d{1,9})\s*\Z")
#: Commands whose answer says nothing of threads: it is taken with them.
_QUIET = re.compile(
    r"(?:whatis|ptype|echo|info (?:line|symbol|registers|reg|r|sharedlibrary|files|address|scope|source|locals|args)"
    r"|list|l|x/\w+|x|disas(?:semble)?|show|set|file|symbol-file|add-kld|add-symbol-file|kldstat|dmesg|source|printf"
    r"|target|attach|maint|pwd|cd|quit|q|frame|f|up|down|kld|directory|core-file)\b"
)
#: A value spread over more lines than this is not read.
MAX_LINES = 2000
#: Values nested deeper than this are hostile.
_DEEPEST = 200


def parse_value(text: str) -> object:
    """A printed value as dict, list or str; what cannot be told apart stays text. Never raises."""
    stack: list[tuple[dict[str, object], list[object]]] = []
    members: dict[str, object] = {}
    items: list[object] = []
    name: str | None = None
    position = 0

    def put(value: object) -> None:
        nonlocal name
        if name is not None:
            members[name] = value
            name = None
        else:
            items.append(value)

    names: list[str | None] = []
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            break
        position = token.end()
        kind = token.lastgroup
        if kind == "open":
            if len(stack) >= _DEEPEST:
                break
            stack.append((members, items))
            names.append(name)
            members, items, name = {}, [], None
        elif kind == "close":
            if not stack:
                break
            value: object = members if members else items
            members, items = stack.pop()
            name = names.pop()
            put(value)
        elif kind == "name":
            name = token.group("name")
        elif kind == "string":
            put(token.group("string").rstrip(".")[1:-1])
        elif kind in ("word", "char"):
            word = token.group().strip()
            if name is not None or not items or not _belongs(word):
                put(word)
    if members and not stack:
        return members
    return items[0] if len(items) == 1 else items


def _belongs(word: str) -> bool:
    """Words that go on with the value before: symbol names, repeat counts."""
    return word.startswith("<") or word.endswith(">") or word in ("repeats", "times")


def _read_value(section: Section, index: int) -> tuple[str, int]:
    """The text behind ``$N =`` in line ``index``, which may be spread over lines, and the line behind it."""
    lines = section.lines
    end = index + 1
    text = [lines[index]]
    while end < len(lines) and end - index < MAX_LINES and lines[end].startswith((" ", "\t")):
        text.append(lines[end])
        end += 1
    return " ".join(text).partition(" = ")[2], end


def _read_result(section: Section, start: int, match: re.Match[str]) -> int:
    """``$N = VALUE`` whose command was not copied: a structure tells by its fields what it is."""
    text, end = _read_value(section, start)
    note(section, "$", parse_value(text), text, section.where(start, end))
    return end


def _read_print(section: Section, start: int, expression: str) -> int:
    lines = section.lines
    index = start + 1
    if index >= len(lines) or _RESULT.match(lines[index]) is None:
        return start + 1
    text, end = _read_value(section, index)
    note(section, expression, parse_value(text), text, section.where(start, end))
    return end


def _read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    """A gdb command; ``tid N`` and ``proc N`` switch threads."""
    lines = section.lines
    rest = lines[start][match.end() :].strip()
    asked = _EXPRESSION.match(rest)
    if asked is not None:
        return _read_print(section, start, asked.group("expression").strip())
    switch = _SWITCH.match(rest)
    if switch is not None:
        value = int(switch.group("number"))
        of_tid = switch.group("what") == "tid"
        section.context["gdb thread"] = Identity(tid=value) if of_tid else Identity(pid=value)
    elif rest.startswith(("#", "proc[", "$", "Thread ", "* ", "frame #")):
        # the prompt was printed without a line end: the output is glued to it
        lines[start] = rest
        return start
    index = start + 1
    if _QUIET.match(rest):
        while index < len(lines) and lines[index].strip() and not section.opens(lines[index]):
            index += 1
    return index


def _read_noise(section: Section, start: int, match: re.Match[str]) -> int:
    if section.lines[start].startswith("warning: multi-threaded target stopped"):
        section.context["gdb first thread is not current"] = True
    return start + 1


OPENERS = (
    Opener("gdb-prompt", "kgdb", r"(?:\((?:k?gdb)\) ?)+(?:> ?)*", _read_prompt),
    Opener("gdb-result", "kgdb", r"\$\d+ = ", _read_result),
    Opener(
        "gdb-noise",
        "kgdb",
        r"Reading symbols from |Remote debugging using |warning: multi-threaded target|GNU gdb |Loaded symbols for "
        r"|0x[0-9a-f]+ in \S+ \(.*\)(?: at | from |\Z)|[A-Za-z_]\w* \(.*\) at \S+:\d+\Z|\[Switching to "
        r"|Line \d+ of \"|type = ",
        _read_noise,
    ),
)
