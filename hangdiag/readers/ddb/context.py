"""What surrounds ddb's output: prompts with echoed commands, why it stopped, the panic message.

From sys/ddb/db_main.c, db_command.c, db_script.c and sys/kern/subr_kdb.c: ``db> ``,
``db:0:script> ``, ``KDB: enter: ...``, ``[ thread pid %d tid %d ]``, ``Stopped at ...``.
"""

from __future__ import annotations

import re

from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_THREAD = lazy(r"\[ ?thread pid (\d+) tid (\d+) ?\]")
_PROMPT = lazy(r"db(?::\d+:[\w.-]+)?> ?")
#: Commands after which the machine runs on (sys/ddb/db_run.c) or starts anew.
_GOES_ON = frozenset({"c", "continue", "reset", "reboot", "s", "step", "n", "next"})
_BACKTRACE = lazy(r"(?:bt|tr|trace|t|where)(?:/\w+)? (\d+)\s*\Z")


def _read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    command = line[match.end() :].strip()
    section.context["ddb command"] = command
    section.context.pop("ddb thread", None)
    section.context.pop("ddb thread line", None)
    section.context.pop("ddb open stack", None)
    found = _BACKTRACE.match(command)
    if found is not None and int(found.group(1)) >= 100000:
        section.context["ddb thread"] = (None, int(found.group(1)))
    if command in _GOES_ON:
        section.draft.pass_time()
    return start + 1


def _read_entered(section: Section, start: int, match: re.Match[str]) -> int:
    found = _THREAD.match(section.lines[start])
    if found is None:
        return start
    section.context["ddb thread"] = (int(found.group(1)), int(found.group(2)))
    section.context["ddb thread line"] = section.where(start, start + 1)
    return start + 1


def _read_note(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    if "panic: " in line:
        section.draft.set_host(panic=line.partition("panic: ")[2].strip())
    return start + 1


OPENERS = (
    Opener("ddb-prompt", "ddb", _PROMPT.pattern, _read_prompt),
    Opener("ddb-entered", "ddb", r"\[ ?thread pid \d+ tid \d+", _read_entered),
    Opener(
        "ddb-note",
        "ddb",
        r"~?KDB: (?:enter|stack backtrace|debugger)|Stopped at\s"
        r"|(?:login: )?panic: (?!.{0,40}deadlres_td_|Sleeping thread|spin lock 0x)",
        _read_note,
    ),
    Opener(
        "ddb-no-command",
        "ddb",
        r"No such command|Ambiguous\Z|Unable to locate a |\d+/\d+ bytes used\Z|capture is (?:on|off)\Z|Can't trace"
        r"|Thread \d+ not found",
        _read_note,
    ),
)
