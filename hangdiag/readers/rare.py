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
_ARROW = r"(?:[-─]{1,3}>|={1,2}>|→|⟶|⇒|⟹|➔|➜|➡|↳|⤷|↪|↓|⇓|<-{1,3}|<={1,2}|←|⟵|⇐|⟸|⬅|↰|↑|⇑)"

#: What bhyvectl prints, line by line (usr.sbin/bhyvectl/bhyvectl.c).
BHYVECTL_OUTPUT = (
    r"(?:(?:[a-z][\w/]{1,40}|[defgcs]s desc|(?:tr|ldtr) desc|TLB ctrl|AVIC [a-z_ ]{4,20}"
    r"|MSR[_A-Z0-9a-fx]{0,20} {0,20}(?:0x[0-9a-f]{1,8})?"
    r" {0,20}|vm exit)\[\d{1,4}\](?:\s+(?:0x[0-9a-f]|[R-][W-]\s*\Z|\d+\s*\Z)|\s*\Z)"
    r"|Capability \"[\w ]{1,40}\" is (?:set|not set|not available)"
    r"|(?:pending|current):\s+(?:n/a|extint|nmi|swint|exception)\b"
    r"|rtc nvram\[\d{1,4}\]: 0x|rtc time (?:0x)?[0-9a-f]{1,16}: "
    r"|cpu_topology:\s+sockets=\d|(?:active|suspended|debug(?:ged)?) cpus:\s"
    r"|gpa 0x[0-9a-f]{1,16}:(?: 0x[0-9a-f]{1,16}){0,8}\s*\Z|vcpu ?\d{1,4} stats:\s*\Z"
    r"|ID  Length      Name|Address     Length      Segment     Offset)"
)

LLDB = (
    Opener(
        "lldb-thread",
        "lldb",
        r"\s*\*? ?(?:thread|线程|執行緒|スレッド|поток|hilo) #\d+(?:[:,]|\s*\Z)",
        _later("lldb", "read_thread"),
    ),
    Opener(
        "lldb-frame",
        "lldb",
        r"\s*\*? ?[^\W\d]{2,12} #\d{1,5}: 0x[0-9a-f]{6,16}(?:\s|\Z)",
        _later("lldb", "read_frames"),
    ),
    Opener(
        "lldb-prompt",
        "lldb",
        r"\(lldb\)|Core file '.*' \(.*\) was loaded|Process \d+ (?:stopped|launched:|resuming|exited|detached)|Full Backtrace:"
        r"|(?:Current executable|Executable module) set to |Architecture set to: ",
        _later("lldb", "read_prompt"),
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

#: Of FreeBSD's gdb macros: their openers stand among those of MI, which is gdb's as well.
_MACRO_ROW = r" {0,4}\d{1,6} [0-9a-f]{8}(?:[0-9a-f]{8})?(?: [0-9a-f]{8,16})? +\d+ +\d+ +\d+  [0-9a-f]{6,8}  \d  \S"

MI = (
    Opener(
        "gdb-macro-ps",
        "kgdb",
        rf"  pid +proc +uid +ppid +pgrp +flag stat comm|{_MACRO_ROW}",
        _later("gdb.macros", "read_rows"),
    ),
    Opener(
        "gdb-macro-frame",
        "kgdb",
        r" {0,4}frame \d{1,4} at 0x[0-9a-f]{1,16}: [er]bp ",
        _later("gdb.macros", "read_frames"),
    ),
    Opener("mi-stream", "kgdb", r'~"', _later("gdb.mi", "read_stream")),
    Opener(
        "mi-record",
        "kgdb",
        r'\d{0,9}\^(?:done|running|connected|error|exit)(?:,|\s*\Z)|[&@]"(?:[^"\\]|\\.)*"\s*\Z'
        r"|=(?:thread|library|breakpoint|cmd|memory|tsv|record|traceframe)-[a-z-]+(?:,|\s*\Z)|\*(?:stopped|running)(?:,|\s*\Z)",
        _later("gdb.mi", "read_record"),
    ),
    Opener(
        "mi-command",
        "kgdb",
        r"\d{0,9}-(?:stack|thread|data|var|interpreter|exec|gdb|list|file|target|break|environment|enable|inferior|symbol)-[a-z-]+",
        _later("gdb.mi", "read_command"),
    ),
)

DTRACE = (
    Opener(
        "dtrace-stack",
        "console",
        r"\s+[\w.+-]+`(?:[A-Za-z_][\w.$@]*(?:\+0x[0-9a-f]+)?|0x[0-9a-f]+)\s*\Z",
        _later("dtrace", "read_stack"),
    ),
    Opener(
        "dtrace-heading",
        "console",
        r"dtrace: (?:description|script) .{1,200} matched \d+ probes?|CPU +ID +FUNCTION:NAME\s*\Z|dtrace: \d+ drops? on CPU",
        _skip,
    ),
)

_MDB_FRAME = (
    r"(?:\[ )?(?:[0-9a-f]{8,16} )?(?:[\w.-]+`)?[A-Za-z_][\w.$@]*\+(?:0x)?[0-9a-f]{1,8}\([^()]*(?:\)(?: \])?\s*\Z|,\s*\Z)"
)
MDB = (
    Opener("mdb-findstack", "mdb", r"\s*stack pointer for thread [0-9a-f]{8,16}", _later("mdb.threads", "read_pointer")),
    Opener(
        "mdb-threadlist",
        "mdb",
        r"\s*ADDR\s+PROC\s+LWP\s+(?:CLS\s+PRI\s+WCHAN|CMD/LWPID)",
        _later("mdb.threads", "read_list"),
    ),
    Opener("mdb-cpus", "mdb", r"\s{0,3}ID +ADDR +FLG +NRUN +BSPL", _later("mdb.cpus", "read_cpus")),
    # or its first row, where the heading was not copied
    Opener(
        "mdb-stacks",
        "mdb",
        r"\s{0,4}(?:THREAD\s+STATE\s+SOBJ\s+COUNT"
        r"|[0-9a-f]{8,16} +(?:FREE|SLEEP|RUN|ONPROC|ZOMB|STOPPED|WAIT) +(?:[A-Z_]{2,16}|<NONE>) +\d{1,6}\s*\Z)",
        _later("mdb.threads", "read_stacks"),
    ),
    Opener("mdb-thread", "mdb", r"\s*ADDR\s+STATE\s+FLG\s+PFLG\s+SFLG\s+PRI\s+EPRI", _later("mdb.threads", "read_states")),
    Opener(
        "mdb-ps",
        "mdb",
        r"\s{0,4}S +PID +PPID +PGID +SID .{0,40}\bFLAGS +ADDR NAME",
        _later("mdb.processes", "read_processes"),
    ),
    Opener("mdb-frames", "mdb", rf"\s{{0,4}}{_MDB_FRAME}", _later("mdb.threads", "read_stack")),
    Opener(
        "mdb-prompt",
        "mdb",
        r"(?:\[\d+\]|mdb)?> ?(?:::|\$[cC<>]|\S{1,80}(?:::|\$[cC]))"
        r"|Loading modules: \[|mdb: (?:warning|failed|couldn't)|stacks: \w",
        _later("mdb.processes", "read_prompt"),
    ),
    Opener("mdb-panic", "mdb", r"panic\[cpu\d+\]/thread=[0-9a-f]{8,16}:", _later("mdb.panic", "read_panic")),
    Opener(
        "mdb-traceback",
        "mdb",
        r"\s{0,4}[0-9a-f]{8,16} [\w.-]+:[A-Za-z_][\w.$]*\+[0-9a-f]{1,8} \(",
        _later("mdb.panic", "read_stack"),
    ),
    Opener(
        "pstack",
        "mdb",
        r"\d{1,7}:\s+\S{0,200}\bbhyve(?:ctl)?\b|\d{1,7}:(?:\t|  )\S",
        _later("mdb.pstack", "read_process"),
    ),
)

BHYVECTL = (
    Opener("bhyvectl-output", "console", rf"\s{{0,8}}{BHYVECTL_OUTPUT}", _later("bhyvectl", "read_output")),
    Opener(
        "bhyvectl-command",
        "console",
        r".{0,200}?\bbhyvectl\b.{0,200}?--(?:get|vm|run)",
        _later("bhyvectl", "read_command"),
        ("bhyvectl ",),
    ),
)

ARROWS = (
    Opener(
        "arrows",
        "console",
        rf"(?:.{{0,2000}}?[\w)\].…`*])?[^\w]{{0,40}}?{_ARROW}(?:[^\w]{{0,12}}[A-Za-z_]|\s{{0,3}}(?:\.\.\.|…|\[|\Z))",
        _later("prose.arrows", "read_arrows"),
        ("->", "=>", "<-", "<=", "─>", *"→←⟶⟵⇒⇐⟹⟸➔➜➡⬅↳⤷↪↰↓↑⇓⇑"),
    ),
    Opener("calls", "console", r"\s{0,40}[A-Za-z_]\w{1,60}\(\)\s*\Z", _later("prose.arrows", "read_calls")),
    Opener(
        "arrow-words",
        "console",
        r".{0,2000}?\w(?:\(\))?[`*]{0,3}(?: [<>](?:\s*\Z| [`*]{0,3}\w{0,40}_)|,? (?:which (?:is |was )?)?"
        r"(?:call(?:ed|s|ing)\s*\Z|(?:called (?:from|by)|calls|calling) [`*]{0,3}\w{0,40}_))",
        _later("prose.arrows", "read_arrows"),
        (" >", " <", " call"),
    ),
)
