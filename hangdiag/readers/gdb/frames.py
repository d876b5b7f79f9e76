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
_TAIL = lazy(
    r"\s*(?:at (?P<file>\S+):(?P<line>\d+)|\((?P<oldfile>\S+) line (?P<oldline>\d+)\)|from (?P<object>\S+)"
    r"|(?P<barefile>[\w./-]+\.[chSs]):(?P<bareline>\d+))?"
)
_STRING = lazy(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
# What begins something else, even inside an argument list that was cut short.
_OTHER = lazy(r"#\d+\s|\((?:k?gdb|lldb)\)|Thread \d+|\[Switching |\$\d+ = |db>|Backtrace stopped|Previous frame ")
#: Functions that switch from one thread to another (sys/kern/sched_ule.c, sched_4bsd.c, sched_shim.c).
SWITCHES = ("sched_switch", "sched_ule_sswitch", "sched_4bsd_sswitch")
_LOCAL = lazy(r"\s{2,}(?:\$?[A-Za-z_]\w*(?:\[\d+\])? = |[A-Za-z_]\w*::)|No locals\.|No symbol table info available\.")
#: A frame is never this long: more lines are not joined to it.
MAX_JOINED = 120


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
            (stripped.startswith(("at ", "from ", "(")) and not is_complete(text))
            or text.endswith((" at", " from", " in"))
        ):
            break
        text = f"{text} {stripped}" if not text.endswith("=") else text + stripped
        depth += balance(stripped)
        index += 1
    return text, index


def begins_other(text: str) -> bool:
    """Does ``text``, a line without its blanks, begin something that is no rest of a frame?"""
    return _OTHER.match(text) is not None


def is_complete(text: str) -> bool:
    """Does ``text`` end in the place that a frame ends in?"""
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
        end = closing(rest)
        args = split_arguments(rest[1:end])
        rest = rest[end + 1 :]
    tail = _TAIL.match(rest)
    file = line = module = None
    if tail is not None:
        file = tail.group("file") or tail.group("oldfile") or tail.group("barefile")
        line = tail.group("line") or tail.group("oldline") or tail.group("bareline")
        module = tail.group("object")
    address = head.group("address")
    return Frame(
        name,
        module=module,
        file=file,
        line=int(line) if line else None,
        args=args,
        inlined=address is None and head.group("number") != "0" and not name.startswith("<"),
        address=int(address, 16) if address else None,
    )


def closing(text: str) -> int:
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


#: Where the kernel was entered from a program, or a thread began: gdb unwinds on into what is no stack.
_ENTRIES = frozenset(
    {
        "fast_syscall_common", "Xfast_syscall", "Xfast_syscall_pti", "Xint0x80_syscall", "int0x80_syscall_common",
        "fork_trampoline", "handle_el0_sync",
    }
)  # fmt: skip


def trim(frames: list[Frame]) -> tuple[Frame, ...]:
    """Without what gdb prints behind the system call's entry and the ``?? ()`` tail: it is no part of the stack."""
    end = len(frames)
    for index, frame in enumerate(frames):
        if frame.function in _ENTRIES and all(behind.file is None for behind in frames[index + 1 :]):
            end = index + 1
            break
    while end and frames[end - 1].function == "??" and frames[end - 1].module is None:
        end -= 1
    return tuple(frames[:end])
