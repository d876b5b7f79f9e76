"""Which questions a kernel at its ``db>`` prompt is asked, and what its answers amount to.

The most telling come first, so that a console which falls silent costs least. Some never end: ``show allchains``
and ``show lockchain`` follow a cycle of locks for ever (sys/kern/subr_turnstile.c), those that list threads a broken
list; they are quit at the first page that has gone around. Nothing is asked that may make ddb fault: it would run
its kdb.enter script anew (db_trap, sys/ddb/db_main.c).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hangdiag.errors import DebuggerError, InputError
from hangdiag.live.attach import CutShort, Interrupted, ignored_signals
from hangdiag.live.channel import open_channel
from hangdiag.live.ddb_console import Console, Silent
from hangdiag.live.options import Options
from hangdiag.live.walker import Progress
from hangdiag.model import LEFT_OUT, Capture, Thread

_FIRST = (
    "x/s version",
    "ps",
    "alltrace",
    "show allpcpu",
    "show alllocks",
    "show allchains",
    "show lockedvnods",
)
_LISTINGS = ("ps", "alltrace", "bt ")
_CHAINS = ("show allchains", "show lockchain", "show sleepchain")
# Lines that come only once, unless a command goes around.
_ONCE = (
    (_CHAINS, re.compile(rb".{0,40}thread ")),
    (("ps",), re.compile(rb" {0,8}\d+(?: {1,8}\d+){3} ")),
    (("alltrace",), re.compile(rb"Tracing ")),
    (("show alllocks",), re.compile(rb"Process ")),
)
_MOST_PAGES = 500
_MOST_CHAINS, _MOST_LOCKS, _MOST_QUEUES, _MOST_TRACES = 64, 32, 16, 4096
_UNKNOWN_COMMAND = re.compile(r"\A\s*No such command")
_LINK = re.compile(r"^ ?thread (\d{1,7}) \(pid \d", re.MULTILINE)
# In `ps`, a thread that is blocked on a turnstile has a * before its lock's name, and the turnstile's address.
_ON_TURNSTILE = re.compile(r"^ *\d+ .{0,60}?\*\S.{0,40}? (0x[0-9a-f]+)", re.MULTILINE)
# A thread that waits in one of these sleeps on the lock itself.
_SLEEPS_ON_LOCK = re.compile(
    r"_sx_[xs]lock_hard|_sx_xlock|_sx_slock(?:_int)?|sleeplk|lockmgr_\w+|__lockmgr_args"
)
_VMM_CHANNELS = frozenset({"vmrndv", "vmstat", "vmidle", "vmhalt", "vmsusp", "devdrn"})


@dataclass(slots=True)
class Transcript:
    """Commands and answers, as a terminal would have logged them, and what had to be left out.

    ``left_out`` are the commands that list threads and did not come to their end.
    """

    parts: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, command: str, answer: str) -> None:
        """Notes an answer below its command."""
        self.parts.append(f"db> {command}\n{answer}")

    def add_part(self, command: str, answer: str) -> None:
        """Notes what came of an answer that did not come to its end."""
        if answer.strip():
            self.add(command, answer)
        if command.startswith(_LISTINGS):
            self.left_out.append(command)

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self.parts)


def read_console(options: Options, progress: Progress) -> tuple[Capture, ...]:
    """The captures that ddb's answers amount to; the kernel stays at its prompt.

    Raises DebuggerError if nothing that looks like ddb answers, CutShort if it goes away later.
    """
    name = f"ddb {options.place}"
    channel = open_channel(options.place, options.timeout)
    console = Console(channel, options.timeout)
    transcript = Transcript()
    try:
        try:
            console.greet()
            interview(console, transcript, progress)
        finally:
            with ignored_signals():
                console.restore()
                channel.close()
    except Interrupted:
        raise
    except DebuggerError as error:
        captures = _captures(transcript, name)
        if not any(capture.threads for capture in captures):
            raise
        raise CutShort(f"{error}; what was read until then is used", captures) from error
    captures = _captures(transcript, name)
    if not captures:
        raise InputError(f"{options.place}: nothing in ddb's answers was recognised")
    return captures


def _captures(transcript: Transcript, name: str) -> tuple[Capture, ...]:
    """What the answers amount to. They are of one instant; but where a line damaged them, the readers may doubt that."""
    notes = [("skipped", note) for note in transcript.skipped]
    notes += [(LEFT_OUT, f"{command} did not come to its end") for command in transcript.left_out[:1]]
    return tuple(
        replace(capture, host=replace(capture.host, facts=(*capture.host.facts, *notes)))
        for capture in _read(transcript.text, name)
    )


def _read(text: str, name: str) -> list[Capture]:
    from hangdiag.readers import read_text

    return list(read_text(text, name)) if text else []


def interview(console: Console, transcript: Transcript, progress: Progress) -> None:
    """Asks what matters and notes it in ``transcript``. Raises DebuggerError when the console is gone for good."""
    for step, command in enumerate(_FIRST):
        progress(command, step, len(_FIRST))
        answer = _ask(console, transcript, command)
        if command == "alltrace" and _UNKNOWN_COMMAND.match(answer):
            # For single-threaded processes ps does not tell it.
            _ask(console, transcript, "show threads")
            _ask_all(console, transcript, progress, _traces(_threads(transcript)))
    threads = _threads(transcript)
    _ask_all(console, transcript, progress, _turnstiles(transcript.text))
    _ask_locks(console, transcript, progress, threads)
    _follow_chains(console, transcript, progress, threads)
    _ask_all(console, transcript, progress, _queues(threads))


def _threads(transcript: Transcript) -> list[Thread]:
    return [thread for capture in _read(transcript.text, "ddb") for thread in capture.threads]


def _ask(console: Console, transcript: Transcript, command: str) -> str:
    if command.startswith(_CHAINS) and not console.paged:
        transcript.skipped.append(f"{command}: may never end, and ddb does not print by pages")
        return ""
    pages = Pages(command)
    try:
        answer = console.command(command, pages.bring_something)
    except DebuggerError as error:
        try:
            if not isinstance(error, Silent):
                raise
            transcript.skipped.append(f"{command}: {error}")
            # If it does not wait for a command now, it is gone for good.
            console.settle(console.timeout)
        finally:
            transcript.add_part(command, console.unfinished())
        return ""
    if pages.broken_off:
        transcript.skipped.append(f"{command}: {pages.broken_off}")
        transcript.add_part(command, answer)
    else:
        transcript.add(command, answer)
    return answer


def _ask_all(console: Console, transcript: Transcript, progress: Progress, commands: Sequence[str]) -> None:
    for step, command in enumerate(commands):
        progress(command, step, len(commands))
        _ask(console, transcript, command)


@dataclass(slots=True)
class Pages:
    """Tells whether a paged ``command`` still says anything new; ``broken_off`` is why it does not, if that is not its nature."""

    command: str
    broken_off: str = ""
    _count: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def bring_something(self, page: bytes) -> bool:
        """True if the command should go on after ``page``: it has not come around in the chain or list that it follows."""
        once = next((once for names, once in _ONCE if self.command.startswith(names)), None)
        if once is None or self.broken_off:
            return not self.broken_off
        self._count += 1
        repeated = False
        for line in re.split(rb"[\r\n]+", page):
            if line.startswith(b"chain "):
                self._seen.clear()
                repeated = False
            elif once.match(line):
                repeated = repeated or line.strip() in self._seen
                self._seen.add(line.strip())
        if not self.command.startswith(_CHAINS):
            self.broken_off = "goes around in a list that is broken" if repeated else ""
        elif not repeated and self._count == _MOST_PAGES:
            self.broken_off = f"goes on behind its first {_MOST_PAGES} pages"
        return not repeated and not self.broken_off


def _traces(threads: Iterable[Thread]) -> list[str]:
    """The stack of each thread, where ``alltrace`` is not known; bhyve's first."""
    tids = [thread.tid for thread in sorted(threads, key=_by_interest) if thread.tid is not None]
    return [f"bt {tid}" for tid in dict.fromkeys(tids)][:_MOST_TRACES]


def _by_interest(thread: Thread) -> int:
    if "bhyve" in (thread.command or ""):
        return 0
    return 1 if thread.state == "lock" else 2


def _turnstiles(listing: str) -> list[str]:
    """The owner of each lock that somebody is blocked on. ddb looks the address up, and reads nothing there."""
    return list(dict.fromkeys(f"show turnstile {address}" for address in _ON_TURNSTILE.findall(listing)))[:_MOST_LOCKS]


def _ask_locks(
    console: Console, transcript: Transcript, progress: Progress, threads: Iterable[Thread]
) -> None:
    """The owner of each lock that somebody sleeps for.

    ``show lock`` reads what lies at the address, and faults where a digit was lost on the line. So ddb must know
    it as a wait channel first (sleepq_lookup only compares it; sys/kern/subr_sleepqueue.c).
    """
    channels = dict.fromkeys(thread.wchan for thread in threads if thread.wchan and _sleeps_on_lock(thread))
    for step, channel in enumerate(list(channels)[:_MOST_LOCKS]):
        progress("locks", step, len(channels))
        if "Wait channel:" in _ask(console, transcript, f"show sleepq {channel:#x}"):
            _ask(console, transcript, f"show lock {channel:#x}")


def _sleeps_on_lock(thread: Thread) -> bool:
    return any(_SLEEPS_ON_LOCK.fullmatch(frame.function) for frame in thread.frames[:8])


def _follow_chains(
    console: Console, transcript: Transcript, progress: Progress, threads: Sequence[Thread]
) -> None:
    """The chain of each thread that waits for a lock and that no chain has shown yet.

    ddb takes the tid for the hexadecimal digits of a number that it reads in ``$radix`` (db_hex2dec).
    Before FreeBSD 12 ``show lockchain`` knows turnstiles only, and ``show sleepchain`` the locks one sleeps for.
    """
    seen = {int(tid) for tid in _LINK.findall(transcript.text)}
    # A tid that no thread has is taken for an address (db_lookup_thread, sys/ddb/db_thread.c): it must not be one
    # that lost a digit on the line. bt looks it up (db_stack_trace, sys/ddb/db_command.c).
    counts = Counter(re.findall(r"\b\d{5,7}\b", transcript.text))
    waiting = list(_waiting(threads))
    asked = 0
    for step, tid in enumerate(waiting):
        if tid in seen or asked == _MOST_CHAINS:
            continue
        asked += 1
        progress("chains of locks", step, len(waiting))
        if counts[str(tid)] < 2 and "Tracing" not in _ask(console, transcript, f"bt {tid}"):
            continue
        answer = _ask(console, transcript, f"show lockchain 0x{tid}")
        if "blocked on" not in answer:
            answer += _ask(console, transcript, f"show sleepchain 0x{tid}")
        seen.update(int(each) for each in _LINK.findall(answer))


def _waiting(threads: Iterable[Thread]) -> Iterator[int]:
    for thread in threads:
        if thread.tid is not None and (thread.state == "lock" or _sleeps_on_lock(thread)):
            yield thread.tid


def _queues(threads: Iterable[Thread]) -> list[str]:
    """The sleep queues of vmm's wait channels: who else is on them."""
    channels = [thread.wchan for thread in threads if thread.wmesg in _VMM_CHANNELS and thread.wchan]
    return [f"show sleepq {channel:#x}" for channel in dict.fromkeys(channels)][:_MOST_QUEUES]
