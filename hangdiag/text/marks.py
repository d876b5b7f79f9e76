"""A quick look at a line, for logs of which millions hold nothing: may it be one of a trace under a layer?"""

from __future__ import annotations

from collections.abc import Iterable

#: A line that opens something has one of these: all others are left as they are.
_MARKS = (
    "0x", "() at ", "Fatal ", "KSTACK", "db>", "gdb)", "lldb)", "mi_switch", "(pid ", "pid ", "tid ", "Thread ", "thread #",
    "#0 ", "db:", "panic: ", "KDB: ", "load: ", "FreeBSD ", "BOOT>>", "->", "→", "<-", "COMMAND", "WCHAN", "```", "~~~",
    "locks:", " at ", "\\n", "$1 = ", "Id ", " = ", "LWP", "STATE", "frame #", "mutex", "`", "<running>", "lock order", "cpuid",
    " D", "0:00", " state D", " state R", " state S", " state T", " state L", " state I", " state W", " state Z",
    '"procstat"', '"process-', "<proc", "\\u003",
)  # fmt: skip
#: What programs call the importance of a message.
LEVELS = ("DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRITICAL", "FATAL")
#: A text of so many letters is no single line.
_LONG = 5000
_DIGITS = str.maketrans("023456789", "111111111")


def form_of(line: str) -> str:
    """``line`` with all digits alike: no reader asks which one it is, but for the 0 of 0x."""
    return line.replace("0x", "\x00").translate(_DIGITS)


def marks_in(text: str) -> tuple[str, ...]:
    if "&" in text or "=3D" in text or "=\n" in text:
        return _MARKS  # what is decoded below a layer may have marks that do not show yet
    marks: Iterable[str] = _MARKS
    if len(text) > _LONG:
        # to look for one letter first is ten times as fast, and most texts lack some
        present = {letter for letter in set("".join(_MARKS)) if letter in text}
        marks = filter(present.issuperset, _MARKS)
    return tuple([mark for mark in marks if mark in text])


def may_have_layer(line: str) -> bool:
    """A quick look: most lines of prose begin with a word."""
    first = line[0]
    if first.isalpha():
        return (
            "() at " in line
            or "\\n" in line
            or " 0x" in line
            or (len(line) > 15 and (line[3] == " " and line[6:7] == " "))
            or "> " in line[:32]
            or "# " in line[:32]
            or line.startswith(("login: ", "dnl ", "REM ", "L"))
            or "$ " in line[:32]
            or "% " in line[:32]
            or ": " in line[:65]
            or " |" in line[:65]
            or "  " in line[:65]
            or "/" in line[:65]
            or "] " in line[:65]
            or ',"' in line[:65]
            or ":#" in line[:65]
            or " #" in line[:65]
            or "Thread " in line
            or "Tracing " in line
            or "\t" in line[:65]
            or (not line.isascii() and (" │" in line[:65] or " ›" in line[:65]))
            or '="' in line
            or line[1:2] in ("'", '"')
            or line.startswith(LEVELS)
            or ".txt" in line[:80]
            or ".log" in line[:80]
        )
    return True
