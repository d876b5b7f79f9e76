"""The one gate through which every command to a debugger goes.

It knows what may be sent, by exact grammar, and refuses everything else: nothing that writes memory or
registers, runs, stops or steps the target, calls or assigns in an expression, or runs a program or a
script (but one of our own, word for word: :mod:`hangdiag.live.gdb_script`). What may change is the debugger
itself: its symbols, its settings, its connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hangdiag.errors import DebuggerError
from hangdiag.live import gdb_script


class RefusedCommand(DebuggerError):
    """A command that could change the target; it was not sent."""


_NUMBER = r"(?:0x[0-9a-f]{1,16}|\d{1,20})"
_WORD = r"[A-Za-z_]\w{0,127}"
_MEMBER = rf"{_WORD}(?:\.{_WORD}){{0,4}}"
_SYMBOL = rf"(?:'[\w.-]{{1,64}}\.c'::)?{_WORD}"
_TYPE = rf"(?:struct {_WORD}|{_WORD})"
# A C string of MI or a path of the command line: no quote, backslash or control character inside.
_IN_PATH = r"""[^"'\\\x00-\x1f\x7f|;`$<>*?]{1,1023}"""
_PATH = rf"(?![\s-]){_IN_PATH}"
# Where gdb takes several words, one with blanks stands in quotes.
_FILE = rf"'/{_IN_PATH}'"
# The kernel's linker sets have sections without a dot: set_sysinit_set.
_SECTION = r"[\w.][\w.$-]{0,60}"
# A stub's host and port; a serial device or a Unix socket (in whose path a colon would make it a host).
_PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_PLACE = rf"(?:(?:\[[0-9a-fA-F:.]+\]|[\w.-]{{0,253}}):{_PORT}|/[\w./+,@%=~-]{{1,107}})"

_EXPRESSIONS = (
    rf"sizeof\({_TYPE}\)",
    rf"sizeof\({_SYMBOL}\)",
    r"sizeof\(void \*\)",
    rf"sizeof\(\(\(struct {_WORD} \*\)0\)->{_MEMBER}(?:\[0\])?\)",
    rf"\(unsigned long\)&\(\(struct {_WORD} \*\)0\)->{_MEMBER}",
    rf"\(unsigned long\)&{_SYMBOL}",
    r"\(unsigned long\)\$(?:pc|sp|fp)",
)
_SETTINGS = (
    r"(?:confirm|pagination|auto-load|auto-solib-add|stack-cache|code-cache) off",
    r"(?:may-write-registers|may-write-memory|may-insert-breakpoints|may-insert-tracepoints"
    r"|may-insert-fast-tracepoints|may-call-functions) off",
    r"(?:height|width) 0",
    r"osabi (?:none|auto|GNU/Linux|FreeBSD)",
    r"(?:remotetimeout|tcp connect-timeout) \d{1,4}",
    r"tcp auto-retry off",
    r"serial baud \d{3,7}",
    rf"sysroot {_PATH}",
    rf"debug-file-directory {_PATH}",
    r"debuginfod enabled off",
)
_CONSOLE = (
    rf"info (?:symbol {_NUMBER}|files)",
    r"show osabi",
    r"help target vmcore",
    r"show remote memory-read-packet-size",
    r"thread(?: find (?:\d{1,7}|CPU\[# \]\[0-9\]))?",
    r"thread apply (?:\d{1,6} ){1,400}bt",
    rf"add-symbol-file {_FILE} {_NUMBER}(?: -s {_SECTION} {_NUMBER}){{0,60}}",
    rf"target vmcore {_FILE}",
)
_COMMANDS = (
    *(rf"-gdb-set {setting}" for setting in _SETTINGS),
    rf'-file-exec-and-symbols "{_PATH}"',
    rf"-target-select remote {_PLACE}",
    rf"-target-select core {_PATH}",
    r"-target-detach",
    r"-thread-info(?: \d{1,6})?",
    r"-thread-select \d{1,6}",
    rf"-data-read-memory-bytes {_NUMBER} \d{{1,7}}",
    *(
        rf'-data-evaluate-expression (?:--language c )?(?:--thread \d{{1,6}} --frame 0 )?"{expression}"'
        for expression in _EXPRESSIONS
    ),
    *(rf'-interpreter-exec console "{command}"' for command in _CONSOLE),
)
_ALLOWED = re.compile("|".join(f"(?:{command})" for command in _COMMANDS), re.ASCII)

# What is typed to a kgdb that speaks no MI on its standard input.
_TYPED = re.compile(r"new-ui mi2 /dev/(?:pts/\d{1,6}|tty\w{1,12})", re.ASCII)

_DDB_COMMANDS = (
    r"ps",
    r"alltrace",
    r"acttrace",
    r"show all procs",
    r"show allpcpu",
    r"show pcpu",
    r"show threads",
    r"show alllocks",
    r"show allchains",
    r"show lockedvnods",
    r"show registers",
    r"show (?:lockchain|sleepchain|thread|proc|lock|sleepq|turnstile|lockmgr) (?:0x[0-9a-f]{1,16}|\d{1,7})",
    r"(?:bt|trace) \d{1,7}",
    r"x/s version",
    r"x/s \*panicstr",
    r"print (?:0x[0-9a-f]{1,16}|\$lines|osreldate)",
    r"set \$lines=(?:0x)?[0-9a-f]{1,8}",
)
_DDB_ALLOWED = re.compile("|".join(f"(?:{command})" for command in _DDB_COMMANDS), re.ASCII)


def check(command: str) -> str:
    """``command`` unchanged, if gdb may be sent it; raises RefusedCommand otherwise."""
    if not _ALLOWED.fullmatch(command) and not gdb_script.is_ours(command):
        raise RefusedCommand(
            f"refused to send {command[:80]!r} to the debugger: it is not a known read-only command"
        )
    return command


def is_place(place: str) -> bool:
    """True if ``place`` is HOST:PORT, a device or a Unix socket's path, as ``target remote`` takes them."""
    return re.fullmatch(_PLACE, place) is not None


def check_typed(command: str) -> str:
    """``command`` unchanged, if it may be typed at kgdb's own prompt; raises RefusedCommand otherwise."""
    if not _TYPED.fullmatch(command):
        raise RefusedCommand(f"refused to type {command[:80]!r} at the debugger's prompt")
    return command


# What --gdb-arg may add: settings that the gate knows, and how the debugger finds files and talks to a line.
_ARGUMENT = re.compile(
    r"--?(?:n|nx|nh|q|quiet|silent)"
    rf"|--?(?:data-directory|directory|cd|b|baud|l|D|d)(?:={_PATH})?"
    rf"|--?(?:data-directory|directory|cd|debug-file-directory)={_PATH}"
)
_VALUED = re.compile(r"--?(?:data-directory|directory|cd|b|baud|l|D|d)")
_SETTING = re.compile("set (?:" + "|".join(f"(?:{setting})" for setting in _SETTINGS) + ")")


def check_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """``arguments`` unchanged, if the debugger may be started with them; raises RefusedCommand otherwise.

    ``-iex`` and ``-ex`` take only settings that the gate knows: anything else would pass by the gate.
    """
    pending = list(arguments)
    while pending:
        argument = pending.pop(0)
        value = pending[0] if pending else ""
        takes_setting = argument in ("-iex", "-ex") and _SETTING.fullmatch(value)
        takes_place = _VALUED.fullmatch(argument) and re.fullmatch(_PATH, value)
        if takes_setting or takes_place:
            pending.pop(0)
        elif not _ARGUMENT.fullmatch(argument):
            raise RefusedCommand(
                f"refused to start the debugger with {argument[:80]!r}; give only settings (-iex 'set ...')"
            )
    return tuple(arguments)


def check_ddb(command: str) -> str:
    """``command`` unchanged, if it may be typed at a ``db>`` prompt; raises RefusedCommand otherwise.

    The empty line is refused too: ddb repeats its last command on it, which may have been ``step``.
    """
    if not _DDB_ALLOWED.fullmatch(command):
        raise RefusedCommand(f"refused to send {command[:80]!r} to ddb: it is not a known read-only command")
    return command


def quoted(path: str) -> str:
    """``path`` as it may stand in a command; raises DebuggerError for one that the gate would not let pass."""
    if not re.fullmatch(_PATH, path):
        raise DebuggerError(f"cannot pass the path {path!r} to the debugger; use one without quotes or $;|*")
    return path
