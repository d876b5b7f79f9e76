"""One frame as gdb prints it (gdb/stack.c, print_frame), from lines that may have been wrapped.

``#4  0xffffffff80e12601 in vm_fault_hold (map=0x0, ...) at /usr/src/sys/vm/vm_fault.c:330``;
innermost and inlined frames have no address, functions without symbols are ``??``.
"""

from __future__ import annotations

import re

from hangdiag.model import Frame
from hangdiag.text.lazy import lazy

BEGIN = lazy(r"#(\d+)\s")
_HEAD = lazy(
    r"#(?P<number>\d+)\s+(?:(?P<address>0x[0-9a-f]+) in )?"
    r"(?P<name><signal handler called>|<function called from gdb>|\?\?|[^\s(]+(?:<[^()]*>)?)\s*"
)
_TAIL = lazy(r"\s*(?:at (?P<file>\S+):(?P<line>\d+)|\((?P<oldfile>\S+) line (?P<oldline>\d+)\)|from (?P<object>\S+))?")
_STRING = lazy(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
# What begins something else, even inside an argument list that was cut short.
_OTHER = lazy(r"#\d+\s|\((?:k?gdb|lldb)\)|Thread \d+|\[Switching |\$\d+ = |db>|Backtrace stopped|Previous frame ")
_LOCAL = lazy(r"\s{2,}(?:\$?[A-Za-z_]\w*(?:\[\d+\])? = |[A-Za-z_]\w*::)|No locals\.|No symbol table info available\.")
#: A frame is never this long: more lines are not joined to it.
MAX_JOINED = 60


def balance(text: str) -> int:
    """How many parentheses are open at the end of ``text``, strings left out."""
    if '"' in text or "'" in text:
        text = _STRING.sub('""', text)
    return text.count("(") - text.count(")")


def gather(lines: list[str], start: int) -> tuple[str, int]:
    """The text of the frame that begins at line ``start`` and the index of the line behind it."""
    text = lines[start].strip()
    index = start + 1
    depth = balance(text)
    while index < len(lines) and index - start < MAX_JOINED:
        stripped = lines[index].strip()
        if _OTHER.match(stripped):
            break
        if depth > 0:
            if not stripped:
                break
        elif not (
            (stripped.startswith(("at ", "from ", "(")) and not _is_complete(text))
            or text.endswith((" at", " from", " in"))
        ):
            break
        text = f"{text} {stripped}" if not text.endswith("=") else text + stripped
        depth = balance(text)
        index += 1
    return text, index


def _is_complete(text: str) -> bool:
    return bool(re.search(r"(?: at \S+:\d+| from \S+)\Z", text))


def is_local(line: str) -> bool:
    """Is this a line of ``bt full`` between two frames?"""
    return _LOCAL.match(line) is not None


def parse_frame(text: str) -> Frame | None:
    """A frame from its joined text, or None."""
    head = _HEAD.match(text)
    if head is None:
        return None
    name = head.group("name")
    rest = text[head.end() :]
    args: tuple[tuple[str, str], ...] = ()
    if rest.startswith("("):
        end = _closing(rest)
        args = split_arguments(rest[1:end])
        rest = rest[end + 1 :]
    tail = _TAIL.match(rest)
    file = line = module = None
    if tail is not None:
        file = tail.group("file") or tail.group("oldfile")
        line = tail.group("line") or tail.group("oldline")
        module = tail.group("object")
    address = head.group("address")
    return Frame(
        name,
        module=module,
        file=file,
        line=int(line) if line else None,
        args=args,
        inlined=address is None and head.group("number") != "0",
        address=int(address, 16) if address else None,
    )


def _closing(text: str) -> int:
    """The index of the parenthesis that closes the first one; the end of the text if none does."""
    if '"' in text or "'" in text:
        text = _STRING.sub(lambda found: "x" * len(found.group()), text)
    depth = 0
    for found in re.finditer(r"[()]", text):
        depth += 1 if found.group() == "(" else -1
        if depth == 0:
            return found.start()
    return len(text)


def split_arguments(text: str) -> tuple[tuple[str, str], ...]:
    """``a=1, b=b@entry=0x2, s="x, y"`` as pairs; ``b@entry=0x2`` after ``b=`` is b's value."""
    if not text:
        return ()
    pairs = []
    for part in _split(text) if re.search(r"[\"'{(<]", text) else text.split(", "):
        name, equals, value = part.strip().partition("=")
        if not equals:
            continue
        name = name.strip()
        if value.startswith(name + "@entry="):
            value = value[len(name) + 7 :]
        pairs.append((name, value.strip()))
    return tuple(pairs)


def _split(text: str) -> list[str]:
    """Split at commas outside of strings, braces, parentheses and ``<...>``."""
    hidden = _STRING.sub(lambda found: "x" * len(found.group()), text)
    parts = []
    depth = 0
    begin = 0
    for found in re.finditer(r"[(){}<>,]", hidden):
        letter = found.group()
        if letter in "({<":
            depth += 1
        elif letter in ")}>":
            depth -= 1
        elif depth <= 0:
            parts.append(text[begin : found.start()])
            begin = found.end()
    parts.append(text[begin:])
    return parts


def trim(frames: list[Frame]) -> tuple[Frame, ...]:
    """Without the ``?? ()`` tail that gdb prints behind the system call's entry: it is no part of the stack."""
    end = len(frames)
    while end and frames[end - 1].function == "??":
        end -= 1
    return tuple(frames[:end])
