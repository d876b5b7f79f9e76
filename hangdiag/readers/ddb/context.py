"""What surrounds ddb's output: prompts with echoed commands, why it stopped, the panic message.

From sys/ddb/db_main.c, db_command.c, db_script.c and sys/kern/subr_kdb.c: ``db> ``,
``db:0:script> ``, ``KDB: enter: ...``, ``[ thread pid %d tid %d ]``, ``Stopped at ...``.
"""

from __future__ import annotations

import re

from hangdiag.readers.ddb import current
from hangdiag.readers.ddb.stacks import RESUMING, announce
from hangdiag.readers.section import Opener, Section
from hangdiag.text.lazy import lazy

_PROMPT = lazy(r"db(?::\d+:[\w.-]+)?> ?")
#: Commands after which it runs on for a moment.
_STEPS = frozenset({"s", "step", "n", "next"})
# the first line of an answer whose line end was lost
_ANSWER = lazy(
    r".{1,40}?(?=Tracing (?:command|pid) | *pid +ppid +pgrp +uid |Thread \d+ at 0x|Process \d+ \(.{1,30}\) (?:at|thread) 0x"
    r"|chain \d+:\s*\Z| ?thread \d+ \(pid \d+|Locked vnodes\s*\Z|(?:exclusive|shared) [a-z ]{2,12} .{1,200} r = \d)"
)
#: Of the commands ``show X`` and ``show all X``, those that tell of threads, locks or waits (ddb(4); DB_SHOW_COMMAND
#: and DB_SHOW_ALL_COMMAND in sys/). There are over a hundred others, and drivers add theirs.
_TELLING = (
    "allchains", "alllocks", "allpcpu", "allprocs", "alltrace", "badstacks", "buffer", "cdev", "chains", "lock", "lockchain",
    "lockedbufs", "lockedvnods", "locks", "locktree", "pcpu", "proc", "procs", "registers", "sleepchain", "sleepq",
    "sleepqueue", "thread", "threads", "trace", "turnstile", "vnode", "vnodebufs", "witness",
)  # fmt: skip
#: Other commands that tell nothing of them (sys/ddb/db_command.c).
_SILENT = frozenset({
    "break", "b", "call", "capture", "delete", "d", "dhwatch", "dump", "examine", "gdb", "halt", "help", "hwatch", "kill",
    "kldstat", "netdump", "netgdb", "p", "pprint", "print", "script", "scripts", "search", "set", "textdump", "unscript", "w",
    "watch", "watchdog", "write", "x", "xb", "xf",
})  # fmt: skip
#: So many lines of such are passed over.
_LONGEST_QUIET = 20_000
_PS = lazy(r"(?:ps|show (?:all )?(?:all)?procs)(?:/\w+)?\s*\Z")
_BACKTRACE = lazy(r"(?:bt|tr|trace|t|where)(?:/\w+)? (\d+)\s*\Z")
_OF_PANIC = lazy(r"cpuid = \d+\s*\Z")
_OF_THREAD = lazy(r"KDB: stack backtrace of thread (\d+)")


def _read_prompt(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    rest = line[match.end() :]
    answer = _ANSWER.match(rest)
    command = (rest[: answer.end()] if answer is not None else rest).strip()
    _note_end(section, start)
    section.context["ddb command"] = command
    announce(section, start)
    current.forget_next(section)
    found = _BACKTRACE.match(command)
    if found is not None and int(found.group(1)) >= 100000:
        current.name_next(section, None, int(found.group(1)))
    if command in RESUMING or (len(command) > 2 and any(name.startswith(command) for name in RESUMING)):
        section.draft.timeline.begin_time()
    elif command in _STEPS:
        section.draft.timeline.pass_time()
    if answer is not None:
        section.lines[start] = rest[answer.end() :]
        return start
    return _behind_quiet(section, start + 1) if _is_quiet(command) else start + 1


def _note_end(section: Section, start: int) -> None:
    """Note at the prompt of line ``start`` whether the command before it came to its end, or its pager was quit."""
    before, quits = section.context.get("ddb command"), section.context.get("ddb pager quit")
    if not isinstance(before, str) or not before:
        return
    if isinstance(quits, frozenset) and section.page.first[start] in quits:
        if not _is_quiet(before):
            section.context["ddb list quit"] = True
    elif _PS.match(before):
        section.context["ddb ps whole"] = True


def _is_quiet(command: str) -> bool:
    """Does ``command`` print nothing of threads, locks or waits? ddb takes any begin of a name that only one has."""
    words = [word.partition("/")[0] for word in command.split()]
    if not words:
        return False
    if len(words[0]) < 2 or not "show".startswith(words[0]):
        return words[0] in _SILENT
    asked = words[1:] if words[1:2] != ["all"] else words[2:]
    return not asked or not any(name.startswith(asked[0]) for name in _TELLING)


def _behind_quiet(section: Section, index: int) -> int:
    """The line behind what a command printed that says nothing of threads.

    It ends at the next prompt; where none comes before something that another reader knows, at a blank line.
    """
    lines = section.lines
    blank: int | None = None
    for end in range(index, min(index + _LONGEST_QUIET, len(lines))):
        if _PROMPT.match(lines[end]):
            return end
        found = section.opens(lines[end])
        if found is not None and not found[0].vague:
            return end if blank is None else blank
        if blank is None and not lines[end].strip():
            blank = end
    return min(index + _LONGEST_QUIET, len(lines)) if blank is None else blank


def _read_panic(section: Section, start: int, match: re.Match[str]) -> int:
    """A panic behind what the console had begun to print: panic() adds the CPU on the next line (vpanic)."""
    following = section.lines[start + 1] if start + 1 < len(section.lines) else ""
    return _read_note(section, start, match) if _OF_PANIC.match(following) else start


def _read_note(section: Section, start: int, match: re.Match[str]) -> int:
    line = section.lines[start]
    if "panic: " in line:
        section.draft.set_host(panic=line.partition("panic: ")[2].strip())
        section.context.pop("ddb backtrace", None)
    elif "KDB: enter: " in line:
        section.pending = None
        section.context["ddb why"] = line.partition("KDB: enter: ")[2].strip()
        if section.context.get("ddb entered") is not None:
            section.draft.timeline.begin_time()
    elif "KDB: stack backtrace" in line:
        current.begin_backtrace(section)
        of_thread = _OF_THREAD.match(line)
        if of_thread is not None:
            named = section.context.get("ddb thread")
            pid = named[0] if isinstance(named, tuple) else None
            current.name_next(section, pid, int(of_thread.group(1)))
    return start + 1


OPENERS = (
    Opener("ddb-prompt", "ddb", _PROMPT.pattern, _read_prompt),
    Opener("ddb-entered", "ddb", r"\[ ?thread pid -?\d+ tid \d+", current.read_entered),
    Opener(
        "ddb-note",
        "ddb",
        r"~?KDB: (?:enter|stack backtrace|debugger|reentering|current)|Stopped at\s"
        r"|(?:login: )?panic: (?!.{0,40}(?:deadlres_td_|deadlkres: )|Sleeping thread|spin lock 0x)",
        _read_note,
    ),
    Opener(
        "ddb-panic",
        "ddb",
        r".{1,200}? panic: (?!.{0,40}(?:deadlres_td_|deadlkres: )|Sleeping thread|spin lock 0x)",
        _read_panic,
        ("panic: ",),
    ),
    Opener(
        "ddb-no-command",
        "ddb",
        r"No such command|Ambiguous\Z|Unable to locate a |\d+/\d+ bytes used\Z|capture is (?:on|off)\Z|Can't trace"
        r"|Thread \d+ not found|\*\*\* error (?:reading|writing) |oops, ran out of processes early!"
        r"|CPU \d+ not found\Z|\d+: invalid thread\Z|unable to switch to thread ",
        _read_note,
    ),
    # db_print_loc_and_inst (sys/ddb/db_examine.c), at "Stopped at" and behind "thread N"
    Opener(
        "ddb-instruction",
        "ddb",
        r"[A-Za-z_][\w.$@]*\+0x[0-9a-f]+:[ \t]{1,16}[a-z][a-z0-9.]{1,12}(?:[ \t]+[^ ].{0,80})?\Z",
        _read_note,
    ),
)
