"""GDB/MI records that were pasted or logged: ``^done,stack=[frame={...}]``, ``~"#0  ..."`` console streams.

The grammar is the one in gdb's manual ("GDB/MI Output Syntax"): results are ``name="c-string"``, tuples in
braces and lists in brackets. Streams are decoded in place, for the readers of what gdb prints on a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hangdiag.model import Frame
from hangdiag.readers.gdb import frames as gdb_frames
from hangdiag.readers.gdb.notes import note
from hangdiag.readers.gdb.stacks import add_stack
from hangdiag.readers.gdb.threads import Identity, identify
from hangdiag.readers.gdb.values import parse_value
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

_STREAM = lazy(r'~"(?P<text>(?:[^"\\]|\\.)*)"\s*\Z')
_BETWEEN = lazy(r'[&@]"|[*=][a-z][a-z-]*,|\s*\Z')
_ESCAPE = lazy(r"\\([0-7]{1,3}|.)")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\x07", "b": "\x08", "f": "\x0c", "v": "\x0b"}
_TOKEN = lazy(r'(?:(?P<name>[A-Za-z_][\w-]*)=)|"(?P<string>(?:[^"\\]|\\.)*)"|(?P<mark>[{}\[\],])')
_RECORD = lazy(r"\d{0,9}(?:\^done|=thread-selected|\*stopped)(?:,|\s*\Z)")
_COMMAND = lazy(r"\d{0,9}-(?P<name>[a-z]+(?:-[a-z]+){0,4})(?P<rest> .*|)\Z")
_OF_THREAD = lazy(r"--thread (\d{1,9})")
#: Records nested deeper, or threads and frames beyond this number, are hostile.
_DEEPEST = 50


def unescape(text: str) -> str:
    """The text of a C string as MI writes it; an octal escape is a byte of UTF-8."""
    if "\\" not in text:
        return text

    def letter(found: re.Match[str]) -> str:
        code = found.group(1)
        return chr(int(code, 8) & 0xFF) if code[0] in "01234567" else _LETTERS.get(code, code)

    plain = _ESCAPE.sub(letter, text)
    if plain.isascii():
        return plain
    try:
        return plain.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return plain


def parse_record(text: str) -> dict[str, object]:
    """The results behind ``^done,`` as dicts, lists and strings; what cannot be read ends it. Never raises."""
    top: dict[str, object] = {}
    stack: list[tuple[dict[str, object] | list[object], str | None]] = []
    current: dict[str, object] | list[object] = top
    name: str | None = None
    position = 0
    while True:
        token = _TOKEN.match(text, position)
        if token is None:
            return top
        position = token.end()
        if token.group("name") is not None:
            name = token.group("name")
            continue
        mark = token.group("mark")
        if mark == ",":
            continue
        if mark in ("{", "["):
            made: dict[str, object] | list[object] = {} if mark == "{" else []
            _put(current, name, made)
            if len(stack) >= _DEEPEST:
                return top
            stack.append((current, name))
            current, name = made, None
        elif mark in ("}", "]"):
            if not stack:
                return top
            current, name = stack.pop()[0], None
        else:
            _put(current, name, unescape(token.group("string") or ""))
            name = None


def _put(container: dict[str, object] | list[object], name: str | None, value: object) -> None:
    if isinstance(container, list):
        container.append(value)
    elif name is not None:
        container[name] = value


def read_stream(section: Section, start: int, match: re.Match[str]) -> int:
    """Put the lines that a console stream holds in the place of its records, for the other readers."""
    lines = section.lines
    page = section.page
    decoded: list[str] = [""]
    first = [page.first[start]]
    last = [page.last[start]]
    index = start
    while index < len(lines):
        found = _STREAM.match(lines[index])
        if found is None:
            if _BETWEEN.match(lines[index]) is None:
                break
            # what gdb says of itself in the middle of it: with the line before
            last[-1 if decoded[-1] else max(len(last) - 2, -len(last))] = page.last[index]
            index += 1
            continue
        for number, part in enumerate(unescape(found.group("text")).split("\n")):
            if number:
                decoded.append("")
                first.append(page.first[index])
                last.append(page.last[index])
            if part:
                if not decoded[-1]:
                    first[-1] = page.first[index]
                decoded[-1] += part
                last[-1] = page.last[index]
        index += 1
    if index == start:
        return start
    if len(decoded) > 1 and not decoded[-1]:
        del decoded[-1], first[-1], last[-1]
    page.first = [*page.first[:start], *first, *page.first[index:]]
    page.last = [*page.last[:start], *last, *page.last[index:]]
    lines[start:index] = decoded
    return start


def read_command(section: Section, start: int, match: re.Match[str]) -> int:
    found = _COMMAND.match(section.lines[start])
    if found is None:
        return start
    rest = found.group("rest")
    thread = _OF_THREAD.search(rest)
    section.context["mi thread"] = thread.group(1) if thread is not None else None
    expression = found.group("name") == "data-evaluate-expression" and rest.strip().strip('"')
    section.context["mi expression"] = expression or None
    return start + 1


def read_record(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    record = _RECORD.match(line)
    if record is None:
        return start + 1  # an error, a notification
    results = parse_record(line[record.end() :])
    threads, stack = results.get("threads"), results.get("stack")
    arguments, value = results.get("stack-args"), results.get("value")
    if isinstance(threads, list):
        _note_threads(section, start, threads)
    elif isinstance(stack, list):
        frames = [frame for item in stack if (frame := _frame(item)) is not None]
        section.context["mi stack"] = frames
        add_stack(section, start, start + 1, _asked(section), gdb_frames.trim(frames))
    elif isinstance(arguments, list):
        _note_arguments(section, start, arguments)
    elif isinstance(value, str):
        expression = section.context.get("mi expression")
        if isinstance(expression, str):
            note(section, expression, parse_value(value), value, section.where(start, start + 1))
    for key in ("current-thread-id", "new-thread-id", "thread-id", "id"):
        chosen = _identities(section).get(str(results.get(key)))
        if chosen is not None:
            section.context["gdb thread"] = chosen
            break
    return start + 1


def _identities(section: Section) -> dict[str, Identity]:
    """Who gdb's numbers of threads are."""
    known = section.context.setdefault("mi threads", {})
    assert isinstance(known, dict)
    return known


def _asked(section: Section) -> Identity:
    """The thread that the last command was about."""
    asked = section.context.get("mi thread")
    known = _identities(section).get(asked) if isinstance(asked, str) else section.context.get("gdb thread")
    return known if isinstance(known, Identity) else Identity()


def _note_threads(section: Section, start: int, threads: list[object]) -> None:
    for item in threads:
        if not isinstance(item, dict):
            continue
        text = str(item.get("target-id", ""))
        name, details = item.get("name"), item.get("details")
        text += f' "{name}"' if name else ""
        text += f" ({details})" if details else ""
        number = str(item.get("id", ""))
        identity = identify(text, int(number) if number.isdecimal() and len(number) < 10 else None)
        _identities(section)[number] = identity
        frame = _frame(item.get("frame"))
        if identity.tid is not None:
            add_stack(section, start, start + 1, identity, (frame,) if frame is not None else (), glimpse=True)


def _note_arguments(section: Section, start: int, levels: list[object]) -> None:
    """``-stack-list-arguments`` prints the arguments of a stack that ``-stack-list-frames`` printed before."""
    frames = section.context.get("mi stack")
    if not isinstance(frames, list):
        return
    made = list(frames)
    for item in levels:
        level = str(item.get("level", "")) if isinstance(item, dict) else ""
        if isinstance(item, dict) and level.isdecimal() and int(level[:6]) < len(made):
            frame = made[int(level[:6])]
            made[int(level[:6])] = Frame(
                frame.function, module=frame.module, file=frame.file, line=frame.line, args=_arguments(item),
                address=frame.address,
            )  # fmt: skip
    add_stack(section, start, start + 1, _asked(section), gdb_frames.trim(made))


def _arguments(frame: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    listed = frame.get("args")
    if not isinstance(listed, list):
        return ()
    return tuple(
        (str(item["name"]), str(item.get("value", "")))
        for item in listed
        if isinstance(item, dict) and "name" in item
    )


def _frame(item: object) -> Frame | None:
    if not isinstance(item, dict):
        return None
    line, address = str(item.get("line", "")), str(item.get("addr", ""))
    return Frame(
        str(item.get("func") or "??"),
        module=str(item["from"]) if item.get("from") else None,
        file=str(item["file"]) if item.get("file") else None,
        line=int(line) if line.isdecimal() and len(line) < 10 else None,
        args=_arguments(item),
        address=int(address, 16) if re.fullmatch(r"0x[0-9a-f]{1,16}", address) else None,
    )
