"""Asks a kernel that sits at its ``db>`` prompt what its threads do, over its console.

Only commands that the gate knows are typed, never an empty line (ddb repeats its last command on it, which may
have been ``step``). Some commands never end: ``show allchains`` and ``show lockchain`` follow a cycle of locks for
ever (sys/kern/subr_turnstile.c). They run under ddb's pager, and are quit when a page brings nothing new.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from hangdiag.errors import DebuggerError, InputError
from hangdiag.live import gate
from hangdiag.live.ddb_channel import Channel, open_channel
from hangdiag.live.options import Options
from hangdiag.live.walker import Progress
from hangdiag.model import Capture

# ddb/db_input.c: ^U deletes what was typed so far.
_KILL_LINE = b"\x15"
_PROMPT = re.compile(rb"(?:^|[\r\n])db(?::\d+:[\w.]+)?> ?$")
_PAGER = b"--More--"
_PAGED = ("show allchains", "show lockchain", "show sleepchain")
_PAGE_LINES = "0x18"
_MOST_PAGES = 200
_IDLE_PAGES = 2
_SETTLING_TIMEOUT = 5.0
_LARGEST_ANSWER = 64 << 20
# A UART's receiver holds 16 bytes, and ddb polls it.
_TYPED_AT_ONCE = 8
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")

_FIRST = ("x/s version", "ps", "show allpcpu", "show alllocks", "show allchains", "alltrace")
# In `ps`: a thread blocked on a turnstile has a * before its lock's name; vmm's waits name their channel.
_BLOCKED = re.compile(r"^\s*(\d+)\s.*?\*(\S.*?)\s+0x[0-9a-f]+", re.MULTILINE)
_CHANNEL = re.compile(r"\b(?:vmrndv|vmstat|vmidle|vmhalt|vmsusp|devdrn) +(0x[0-9a-f]+)")


@dataclass(slots=True)
class Console:
    """A conversation with ddb. ``transcript`` holds all that was seen, as a terminal would have logged it."""

    channel: Channel
    timeout: float
    transcript: bytearray = field(default_factory=bytearray)
    lines: str | None = None
    page: str | None = None

    def command(self, text: str) -> str:
        """The output of one command, without its echo and the next prompt."""
        gate.check_ddb(text)
        begin = len(self.transcript)
        self._type(text)
        end = self._until_prompt(begin, paged=text.startswith(_PAGED))
        output = bytes(self.transcript[begin:end]).decode("utf-8", "replace")
        return output.partition("\n")[2]

    def _type(self, text: str) -> None:
        data = text.encode("ascii")
        for index in range(0, len(data), _TYPED_AT_ONCE):
            piece = data[index : index + _TYPED_AT_ONCE]
            self.channel.send(piece)
            # The echo says that ddb has taken it.
            self._await_echo(len(piece))
        self.channel.send(b"\r")

    def _await_echo(self, length: int) -> None:
        deadline = time.monotonic() + 0.5
        seen = 0
        while seen < length and time.monotonic() < deadline:
            data = self.channel.receive(deadline - time.monotonic())
            self.transcript += data
            seen += len(data)

    def _until_prompt(self, begin: int, paged: bool) -> int:
        """Reads up to the next prompt and returns where it starts. Quits the pager where it leads nowhere."""
        deadline = time.monotonic() + self.timeout
        pages = Pages()
        page_begin = begin
        while True:
            tail = bytes(self.transcript[max(begin, len(self.transcript) - 256) :])
            prompt = _PROMPT.search(_ANSI.sub(b"", tail))
            echoed = self.transcript.find(b"\n", begin) >= 0
            if prompt is not None and echoed:
                return len(self.transcript) - len(prompt.group(0).lstrip(b"\r\n"))
            if tail.endswith(_PAGER) and len(self.transcript) > page_begin:
                page = bytes(self.transcript[page_begin:])
                page_begin = len(self.transcript)
                go_on = paged and pages.bring_something(page)
                self.channel.send(b" " if go_on else b"q")
                deadline = time.monotonic() + self.timeout
            data = self.channel.receive(min(1.0, max(0.0, deadline - time.monotonic())))
            if data:
                self.transcript += data
                deadline = time.monotonic() + self.timeout
            elif time.monotonic() >= deadline:
                raise DebuggerError(
                    f"no db> prompt came back within {self.timeout:.0f} s; is the kernel in its debugger?"
                )
            if len(self.transcript) - begin > _LARGEST_ANSWER:
                raise DebuggerError("a ddb command does not end, and its pager does not stop it")


@dataclass(slots=True)
class Pages:
    """Tells whether a paged command still says anything new."""

    count: int = 0
    idle: int = 0
    seen: set[bytes] = field(default_factory=set)

    def bring_something(self, page: bytes) -> bool:
        """True if the command should go on after ``page``."""
        lines = {
            line.strip() for line in re.split(rb"[\r\n]+", page) if line.strip() and line.strip() != _PAGER
        }
        self.count += 1
        self.idle = 0 if lines - self.seen else self.idle + 1
        self.seen |= lines
        return self.idle < _IDLE_PAGES and self.count < _MOST_PAGES


def read_console(options: Options, progress: Progress) -> tuple[Capture, ...]:
    """The captures that ddb's answers amount to; the kernel stays at its prompt.

    Raises DebuggerError if nothing that looks like ddb answers, or if it goes away.
    """
    channel = open_channel(options.place, options.timeout)
    console = Console(channel, options.timeout)
    try:
        text = interview(console, progress)
    finally:
        _restore(console)
        channel.close()
    from hangdiag.readers import read_text

    captures = read_text(text, f"ddb {options.place}")
    if not captures:
        raise InputError(f"{options.place}: nothing in ddb's answers was recognised")
    return tuple(captures)


def interview(console: Console, progress: Progress) -> str:
    """Types the commands that matter and returns the whole transcript."""
    base = _greet(console)
    saved = re.search(r"\b([0-9a-f]{1,8})\b", console.command("print $lines"))
    if saved is not None:
        console.lines = f"{int(saved.group(1), base):#x}"
    # What was said to find the prompt belongs to nobody's evidence.
    console.transcript.clear()
    console.transcript += b"db> "
    listing = ""
    for step, command in enumerate(_FIRST):
        progress(command, step, len(_FIRST))
        output = _run(console, command)
        if command == "ps":
            listing = output
    more = _follow_up(listing)
    for step, command in enumerate(more):
        progress(command, step, len(more))
        _run(console, command)
    return bytes(console.transcript).decode("utf-8", "replace")


def _run(console: Console, command: str) -> str:
    """One command with the pager as it needs it: on for those that may never end, else off."""
    page = _PAGE_LINES if command.startswith(_PAGED) else "0"
    if console.page != page:
        console.command(f"set $lines={page}")
        console.page = page
    return console.command(command)


def _follow_up(listing: str) -> list[str]:
    """The commands that `ps` calls for: the chain of each thread on a lock, the queue of each of vmm's channels."""
    chains = [f"show lockchain {tid}" for tid, _ in _BLOCKED.findall(listing)]
    queues = [f"show sleepq {channel}" for channel in dict.fromkeys(_CHANNEL.findall(listing))]
    return [*chains[:64], *queues[:64]]


def _greet(console: Console) -> int:
    """Finds the prompt and returns the base that ddb prints numbers in; raises DebuggerError if there is none.

    The prompt may have been printed long ago, so a harmless command must call it back; what somebody had
    begun to type is deleted first. A pager that waits is left.
    """
    waiting = console.channel.receive(0.3)
    console.transcript += waiting
    if waiting.rstrip().endswith(_PAGER):
        console.channel.send(b"q")
        console.transcript += console.channel.receive(0.5)
    console.channel.send(_KILL_LINE)
    patience, console.timeout = console.timeout, min(console.timeout, 10.0)
    try:
        # The answer to this is its own number, which no shell or login prompt would give.
        answer = console.command("print 0xdb0")
    except DebuggerError as error:
        raise DebuggerError(
            f"{error}; break into ddb on the console first (sysctl debug.kdb.enter=1, or Ctrl-Alt-Esc), then attach"
        ) from error
    finally:
        console.timeout = patience
    words = answer.split()
    for base, word in ((16, "db0"), (10, "3504"), (8, "6660")):
        if word in words or f"0x{word}" in words:
            return base
    raise DebuggerError("something answers on the console, but it is not ddb; break into ddb first")


def _restore(console: Console) -> None:
    """Gives ddb its old page length back, if it still answers; leaves a pager and waits out a long answer first."""
    if console.lines is None:
        return
    try:
        if console.page is not None and _settled(console):
            console.timeout = min(console.timeout, _SETTLING_TIMEOUT)
            console.command(f"set $lines={console.lines}")
    except DebuggerError:
        # It has gone: nothing is left to put back.
        pass


def _settled(console: Console) -> bool:
    """True once ddb stands at its prompt. What is typed before that would be a pager's keys, or lost."""
    end = time.monotonic() + _SETTLING_TIMEOUT
    left = 0
    while time.monotonic() < end:
        tail = bytes(console.transcript[-256:])
        if _PROMPT.search(_ANSI.sub(b"", tail)):
            return True
        if tail.endswith(_PAGER) and len(console.transcript) > left:
            left = len(console.transcript)
            console.channel.send(b"q")
        console.transcript += console.channel.receive(0.2)
    return False
