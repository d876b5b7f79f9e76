"""No expression takes more than linear time: each is tried on long lines made to mislead it."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time

import pytest

import hangdiag.containers
import hangdiag.readers
import hangdiag.text
from hangdiag.readers.scan import OPENERS
from hangdiag.text.lazy import LazyPattern
from hangdiag.text.prefixes import compiled

#: Matching a line of this length must not take longer than this many seconds; a quadratic one takes ten times that.
LENGTH = 8_000
SECONDS = 0.017

_UNITS = [
    " ", "\t", "a", "A", "0", "_", "(", ")", "((", "()", "a ", "a b", "0 ", "0x", "0x0 ", "#0 ", "> ", ": ", ":", "-", "->", "a->",
    "a_b -> ", "a() -> ", "a_b() ", "<", "> >", "< a", '"', "'", "{", "[", "]", "|", "| a ", "=", "a=1, ", "a = ", "+0x1", "f+0x1 ",
    "f() at ", "a.b", "a`", "`", "pid ", "tid ", "td 0x1 ", "thread ", "Thread 1 (", "Process 1 (", "(pid 1, a) ", "name ", "wmesg ",
    "load: 1 cmd: ", "[", "a b) ", "x  ", "1:", "01:", "\\n", "* ", "# ", "A B ", "PID ", "PID TID COMM ", "STATE ", "locked @ ", "r = 0 (",
]  # fmt: skip
_HEADS = [
    "", "x", " ", "#0  f (", "Thread 1 (", "Process 1 (", "Tracing command ", "td 0x1 tid 2 ", "PID USERNAME ", "UID PID ", "load: 1 ",
    "exclusive sx ", "$1 = ", "(gdb) p ", "thread 1 (pid 1, ", "f(", "[Switching to thread 1 (", "FreeBSD a 1.1-A FreeBSD ", "lock order ",
    "frame #0: 0x1 k`f(", "* thread #1, name = '(pid 1) ", "0: tag a, type V", "  1 100001 a", "1 100001 ", "KSTACK", "Jan  1 01:01:01 ",
]  # fmt: skip


def expressions():
    found = {}
    for package in (hangdiag.readers, hangdiag.text, hangdiag.containers):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, LazyPattern):
                    value = value.compiled()
                if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                    found[f"{info.name}.{name}"] = value
    for opener in OPENERS:
        found[f"opener {opener.name}"] = re.compile(opener.pattern)
    for name, pattern in compiled().items():
        found[f"prefix {name}"] = pattern
    return found


EXPRESSIONS = expressions()


#: Made once: every expression is tried on each. A few together, as to ask for the time takes longer than most of them.
LINES = [(head, unit, head + unit * (LENGTH // len(unit)) + "\x01") for head in _HEADS for unit in _UNITS]
TOGETHER = [LINES[start : start + 8] for start in range(0, len(LINES), 8)]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_linear(name):
    pattern = EXPRESSIONS[name]
    for lines in TOGETHER:
        if _seconds(pattern, lines) >= SECONDS:
            for line in lines:
                # the machine may have been busy: what counts is the best of several
                best = min(_seconds(pattern, [line]) for _ in range(5))
                assert best < SECONDS, (*line[:2], best)


def _seconds(pattern, lines):
    begin = time.thread_time()
    for _, _, line in lines:
        pattern.match(line)
    return time.thread_time() - begin
