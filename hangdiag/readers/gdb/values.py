"""gdb values and the commands that print them: ``(kgdb) p EXPRESSION`` and ``$N = VALUE``.

The grammar is gdb's value printing (gdb/valprint.c): ``{a = 1, b = {...}, c = "x", '\\000'
<repeats 26 times>}``. What the values mean is :mod:`hangdiag.readers.gdb.notes`' business.
"""

from __future__ import annotations

import re

from hangdiag.readers.gdb.notes import note
from hangdiag.readers.gdb.threads import Identity
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_WORD = r"(?![A-Za-z_]\w*+ = )[^\s,{}\"']++"
#: A value, or the begin or end of one that has members, and what stands before it: few tokens, as structures are long.
_TOKEN = lazy(
    r"\s*+(?:(?P<comma>,)[\s,]*+)?(?:(?P<name>[A-Za-z_]\w*+) = \s*+)?"
    r"(?:(?P<open>\{)|(?P<close>\})|(?P<string>\"(?:[^\"\\]|\\.)*\"(?:\.\.\.)?)|(?P<char>'(?:[^'\\]|\\.)*')"
    rf"|(?P<words>{_WORD}(?: {_WORD})*+))?"
)
_EXPRESSION = lazy(r"(?:p|print|output|inspect)(?:/[a-z]+)? (?:-[a-z].{0,80}? -- )?(?P<expression>\S.*?)\s*\Z")
_STOP = lazy(r"\((?:k?gdb)\)|\$\d+ = |#\d+ |Thread \d")
_RESULT = lazy(r"\$\d+ = ")
_SWITCH = lazy(r"(?P<what>tid|proc) (?P<number>\d{1,9}|0x[0-9a-f]{1,16})\s*\Z")
_SCRIPT = lazy(r"(?:lockchain|sleepchain|allchains|runtds|runqs|stacks|mtx_owner|lockmgr_owner)(?: |\Z)")
#: Commands whose answer says nothing of threads: it is taken with them.
_QUIET = lazy(
    r"(?:whatis|ptype|echo|info (?:line|symbol|registers|reg|r|sharedlibrary|files|address|scope|source|locals|args)"
    r"|list|l|x/\w+|x|disas(?:semble)?|show|set|file|symbol-file|add-kld|add-symbol-file|kldstat|dmesg|source|printf"
    r"|target|attach|maint|pwd|cd|quit|q|frame|f|up|down|kld|directory|core-file|help|apropos|macro|mtx|vprint|vls|vpath|mounts"
    r"|kldstat-v|devinfo|lsdev|lspci|cdevs|bpfs|mbuf|packets|files|fdp|file_procs|kvm|vmmap|uptime|walltime|swapinfo|memstat"
    r"|vlocks|vlockf|kqueue|sysctl_oid|sysctl_nodes|bprint)\b"
)
#: Numbers below are ids, not addresses.
_LEAST_ADDRESS = 1 << 24
#: A value spread over more lines than this is not read.
MAX_LINES = 20_000
#: Values nested deeper than this are hostile.
_DEEPEST = 200
_LONGEST_VALUE = 500


def parse_value(text: str) -> object:
    """A printed value as dict, list or str; what cannot be told apart stays text. Never raises.

    What gdb prints behind a pointer, its symbol or its string, stays with it: ``0x1 <f>``.
    """
    stack: list[tuple[dict[str, object], list[object], str | None]] = []
    members: dict[str, object] = {}
    items: list[object] = []
    name: str | None = None
    last: str | None = None
    goes_on = False
    position = 0
    while True:
        token = _TOKEN.match(text, position)
        kind = token.lastgroup if token is not None else None
        if token is None or kind is None or kind == "comma":
            break
        position = token.end()
        if token["name"] is not None:
            name, goes_on = token["name"], False
        elif token["comma"] is not None:
            goes_on = False
        value: object = None
        if kind == "name":
            continue
        if kind == "open":
            if len(stack) >= _DEEPEST:
                break
            stack.append((members, items, name))
            members, items, name, goes_on = {}, [], None, False
            continue
        if kind == "close":
            if not stack:
                break
            value = members if members else items
            members, items, name = stack.pop()
        else:
            word = token[kind]
            value = word.rstrip(".")[1:-1] if kind == "string" else word
            if goes_on:
                more = f'"{value}"' if kind == "string" else word
                if last is not None and isinstance(members.get(last), str):
                    members[last] = _join(str(members[last]), more)
                elif last is None and items and isinstance(items[-1], str):
                    items[-1] = _join(items[-1], more)
                continue
        if name is not None:
            members[name] = value
        else:
            items.append(value)
        last, name, goes_on = name, None, True
    if members and not stack:
        return members
    return items[0] if len(items) == 1 else items


def _join(value: str, more: str) -> str:
    return f"{value} {more}" if len(value) < _LONGEST_VALUE else value


def _read_value(section: Section, index: int) -> tuple[str, int]:
    """The text behind ``$N =`` in line ``index``, which may be spread over lines, and the line behind it."""
    lines = section.lines
    end = index + 1
    text = [lines[index]]
    depth = lines[index].count("{") - lines[index].count("}")
    while end < len(lines) and end - index < MAX_LINES:
        line = lines[end]
        # gdb indents what goes on; a mailer that folded it does not, but a brace is still open then
        if not line.startswith((" ", "\t")) and (depth <= 0 or not line.strip() or _STOP.match(line)):
            break
        if depth <= 0 and section.opens(line) is not None:
            break  # the table of another tool is indented as well
        text.append(line)
        depth += line.count("{") - line.count("}")
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
    if rest:
        section.context.pop("gdb listed", None)
    asked = _EXPRESSION.match(rest)
    if asked is not None:
        return _read_print(section, start, asked.group("expression").strip())
    switch = _SWITCH.match(rest)
    if switch is not None:
        _note_switch(section, start, switch.group("what") == "tid", switch.group("number"))
    elif rest.startswith(("#", "proc[", "$", "Thread ", "* ", "frame #", "[Switching ", "[Current ")):
        # the prompt was printed without a line end: the output is glued to it
        lines[start] = rest
        return start
    elif rest.startswith("thread apply all "):
        section.context["gdb apply all"], section.context["gdb numbers"] = True, []
        section.note_listing(whole=True)
    elif rest.startswith("thread apply "):
        section.note_listing(whole=False)
    index = start + 1
    if _SCRIPT.match(rest):
        from hangdiag.readers.gdb import scripts  # few captures hold what it prints

        return scripts.read(section, start, rest.partition(" ")[0])
    if _QUIET.match(rest):
        depth = 0  # a type that is printed may hold blank lines
        while index < len(lines) and (lines[index].strip() or depth > 0):
            depth += lines[index].count("{") - lines[index].count("}")
            opening = section.opens(lines[index])
            if opening is not None and opening[0].name not in ("gdb-noise", "gdb-remark", "gdb-stopped"):
                break
            index += 1
    return index


def _note_switch(section: Section, start: int, of_tid: bool, number: str) -> None:
    """``tid N`` and ``proc N`` take an id or the address of a structure; an error leaves all as it was."""
    lines = section.lines
    if start + 1 < len(lines) and lines[start + 1].startswith(("invalid ", "only supported")):
        return
    value = int(number, 0)
    if of_tid:
        section.context["gdb thread"] = Identity(address=value) if value >= _LEAST_ADDRESS else Identity(tid=value)
    elif value < _LEAST_ADDRESS:
        section.context["gdb thread"] = Identity(pid=value)


OPENERS = (
    Opener("gdb-prompt", "kgdb", r"(?:\((?:k?gdb)\) *)+(?:> *)*", _read_prompt),
    Opener("gdb-result", "kgdb", r"\$\d+ = ", _read_result),
)
