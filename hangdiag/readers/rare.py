"""Openers of formats that few captures hold: their readers are imported when the first line of one comes.

Importing all readers, and compiling their expressions, would cost every start of the program.
"""

from __future__ import annotations

import re
from importlib import import_module

from hangdiag.readers.section import Opener, Read, Section


def _later(module: str, function: str) -> Read:
    """A reader that is imported when it is asked for the first time."""

    def read(section: Section, start: int, match: re.Match[str]) -> int:
        made: Read = getattr(import_module(f"hangdiag.readers.{module}"), function)
        return made(section, start, match)

    return read


def _skip(section: Section, start: int, match: re.Match[str]) -> int:
    return start + 1


#: As in prose/chains.py, which is imported only when one is met.
_ARROW = r"(?:-{1,3}>|={1,2}>|→|⟶|⇒|➔|➜|➡|↳|⤷|↪|↓|⇓|<-{1,3}|<={1,2}|←|⟵|⇐|⬅|↰|↑|⇑)"

LLDB = (
    Opener("lldb-thread", "lldb", r"\s*\*? ?thread #\d+[:,]", _later("lldb", "read_thread")),
    Opener("lldb-frame", "lldb", r"\s*\*? ?(?:frame|帧|框架) #\d+: 0x[0-9a-f]+", _later("lldb", "read_frames")),
    Opener(
        "lldb-prompt",
        "lldb",
        r"\(lldb\)|Core file '.*' \(.*\) was loaded|Process \d+ stopped\Z|Full Backtrace:",
        _skip,
    ),
)

LIBXO = (
    Opener(
        "libxo",
        "procstat",
        r"\s*(?:\{\s*(?:\Z|\"(?:__version|procstat|process-information)\")|\"(?:procstat|process-information)\": ?\{"
        r"|<(?:procstat|process-information)\b)",
        _later("libxo", "read"),
    ),
)

DTRACE = (
    Opener(
        "dtrace-stack",
        "console",
        r"\s+[\w.-]+`(?:[A-Za-z_][\w.$@]*\+0x[0-9a-f]+|0x[0-9a-f]+)\s*\Z",
        _later("dtrace", "read_stack"),
    ),
    Opener(
        "dtrace-keys",
        "console",
        r"\s*(?:\d{1,6} +)?\d{6,7}(?: +[A-Za-z_][\w.-]*)?\s*\Z",
        _later("dtrace", "read_stack"),
    ),
)

MDB = (
    Opener("mdb-findstack", "mdb", r"\s*stack pointer for thread [0-9a-f]{8,16}", _later("mdb", "read_pointer")),
    Opener("mdb-threadlist", "mdb", r"\s*ADDR\s+PROC\s+LWP\s+CLS\s+PRI\s+WCHAN", _later("mdb", "read_list")),
    Opener("mdb-stacks", "mdb", r"THREAD\s+STATE\s+SOBJ\s+COUNT", _later("mdb", "read_stacks")),
    Opener(
        "mdb-frames",
        "mdb",
        r"[0-9a-f]{16} (?:[\w.-]+`)?[A-Za-z_][\w.$@]*(?:\+0x[0-9a-f]+)?\([^()]*\)\s*\Z",
        _later("mdb", "read_frames"),
    ),
    Opener("mdb-prompt", "mdb", r"(?:\[\d+\])?> ?(?:::|\$C|\S+::)", _skip),
)

ARROWS = (
    Opener(
        "arrows",
        "console",
        rf"(?:.{{0,2000}}?[\w)\].…`*])?[^\w]{{0,40}}?{_ARROW}(?:[^\w]{{0,12}}[A-Za-z_]|\s{{0,3}}(?:\.\.\.|…|\[|\Z))",
        _later("prose.arrows", "read_arrows"),
        ("->", "→", "<-", "←", "=>", "<=", "⟶", "⇒", "➔", "➜", "➡", "↳", "⤷", "↪", "↓", "⇓", "⟵", "⇐", "⬅", "↰", "↑", "⇑"),
    ),
)
