"""Whose a stack without a header is: what ddb and panic() said before it.

``[ thread pid 719 tid 100093 ]`` (db_print_thread in sys/ddb/db_thread.c), the current process of a trap
(trap_fatal), the owner of a lock (propagate_priority): the next stack is that thread's. After ``KDB: enter:
panic`` it is the one of panic() before, which kdb_backtrace() printed (sys/kern/kern_shutdown.c, vpanic).
"""

from __future__ import annotations

import re
from dataclasses import replace

from hangdiag.model import Frame, Thread, Where
from hangdiag.readers.section import Section
from hangdiag.text.lazy import lazy

#: What takes the stack that kdb_backtrace() prints, innermost.
_PRINTERS = frozenset({"db_trace_self", "db_trace_self_wrapper", "kdb_backtrace", "X_db_sym_numargs", "db_fetch_ksymtab"})
_ENTERED = lazy(r"\[ ?thread pid (-?\d+) tid (\d+) ?\]")


def name_next(section: Section, pid: int | None, tid: int | None, name: str | None = None) -> None:
    """The next stack without a header is that of this thread."""
    section.context["ddb thread"] = (pid, tid, name)


def is_warning(section: Section, frames: tuple[Frame, ...]) -> bool:
    """Did witness print this stack, with a warning? It is then no thread's present one."""
    top = [frame.function for frame in frames[:5]]
    if not top or not (top[0] in _PRINTERS or top[0].startswith("witness_")):
        return False
    if "kdb_enter" in top or not any(function.lstrip("_").startswith("witness_") for function in top):
        return False
    section.draft.seen.setdefault("a warning of witness", "its stack")
    return True


def forget_next(section: Section) -> None:
    """Nothing is known of the next stack: another command was typed."""
    for key in ("ddb thread", "ddb thread line", "ddb holder"):
        section.context.pop(key, None)


def nobody(section: Section, where: Where) -> Thread:
    """A thread for a stack without a header: the one that was named before it, if one was."""
    named = section.context.pop("ddb thread", None)
    begin = section.context.pop("ddb thread line", None)
    pid, tid, name = named if isinstance(named, tuple) else (None, None, None)
    return Thread(pid=pid, tid=tid, name=name, where=(begin, where) if isinstance(begin, Where) else (where,))


def begin_backtrace(section: Section) -> None:
    """``KDB: stack backtrace:`` was printed."""
    section.context["ddb backtrace"] = None
    section.pending = None


def end_backtrace(section: Section, thread: Thread) -> None:
    """``thread`` is what was read behind it, should it be the one that panics."""
    if "ddb backtrace" in section.context and thread.tid is None:
        section.context["ddb backtrace"] = thread


def read_entered(section: Section, start: int, match: re.Match[str]) -> int:
    """``[ thread pid 719 tid 100093 ]``: the thread that entered the debugger."""
    found = _ENTERED.match(section.lines[start])
    if found is None:
        return start
    pid, tid = int(found.group(1)), int(found.group(2))
    where = section.where(start, start + 1)
    name_next(section, pid, tid)
    section.context["ddb thread line"] = where
    section.context["ddb entered"] = tid
    panicking = section.context.pop("ddb backtrace", None)
    if isinstance(panicking, Thread) and section.context.pop("ddb why", None) == "panic":
        named = replace(panicking, pid=pid, tid=tid, where=(*panicking.where, where))
        if section.draft.replace_thread(panicking, named):
            section.context["ddb panicked"] = tid
    return start + 1


def prefer_trace(section: Section, tid: int) -> None:
    """ddb traces thread ``tid``: of the one that panicked, that counts, not what kdb_backtrace() printed before."""
    if section.context.get("ddb panicked") == tid:
        del section.context["ddb panicked"]
        section.draft.forget_stack(tid)
