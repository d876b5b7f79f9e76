"""A conversation with a kernel that sits at its ``db>`` prompt.

Only commands that the gate knows are typed, and the return key is pressed only when ddb has echoed them letter
by letter: with its first letter lost on the line, ``ps`` is ``s``, which steps. Never an empty line either: ddb
repeats its last command on it (sys/ddb/db_command.c).

Whether ddb waits for a command is not told from the prompt's text alone, which may have been printed long ago or
be torn by a message. Two letters and ^U are typed: ddb's line editor, and no terminal's, takes them back with all
the backspaces first, then all the blanks (db_delete, sys/ddb/db_input.c). Its pager ignores these letters, a login
prompt or a shell is left without a trace. They stand before each command too: the kernel may have left ddb, or
somebody else may have typed. What is typed while a command prints waits, to FreeBSD 13 in the 16 bytes of a serial
port, from 14 on in 512 of ddb's own; no key ends it but ``q`` in the pager. (^C does from 14 on: db_error goes back into
kdb_trap, which runs the kdb.enter script anew, so it is never typed.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hangdiag.errors import DebuggerError
from hangdiag.live import gate
from hangdiag.live.channel import Channel
from hangdiag.live.ddb_stream import Stream

_KILL_LINE = b"\x15"
# To the beginning of the line and to its end: ddb prints what stands there (db_inputchar, sys/ddb/db_input.c).
_SHOW_LINE = b"\x01\x05"
_LINE_END = re.compile(rb"[\r\n]")
_RETURN = b"\r"
_QUIT, _NEXT_PAGE = b"q", b" "
_PROMPT = re.compile(rb"[\r\n]db> ?\Z")
_OLD_PROMPT = re.compile(rb"(?:\A|[\r\n])db> ")
# db_pager (sys/ddb/db_output.c) prints a carriage return behind it, and blanks over it when it goes on.
_PAGER = re.compile(rb"--More--\r?\Z")
_PAGER_TRACES = re.compile(rb"--More--\r?(?: {8}\r?)?")
# None of these means anything to the pager, nor to the loader's menu (stand/lua/menu.lua).
_LETTERS = b"gwht"
_TAKEN_BACK = rb"\x08{2,200} {2,200}\x08{2,200}"
_PROBE_TRACES = re.compile(rb"[q ]?[gwht]{2}" + _TAKEN_BACK)
# How the kernel's terminals take back two letters (ttydisc_rubchar, sys/kern/tty_ttydisc.c).
_RUBBED_OUT = rb"(?:\x08 \x08){2}"
_TAIL = 256
# Fewer bytes than these are a terminal's echo of what we type, and no sign that ddb works.
_PROGRESS = 256

# How long ddb may be silent before it is asked whether it waits for a command.
_QUIET, _QUIETEST = 1.0, 8.0
_QUIET_BEHIND_PROMPT = 0.2
# A UART's receiver holds 16 bytes, and ddb polls it.
_TYPED_AT_ONCE = 8
_ATTEMPTS = 6
_ECHO_TIMEOUT = 1.0
_LARGEST_ANSWER = 64 << 20
_LARGEST_ANSWER_AFTER_QUIT = 1 << 18
# What a script of ddb prints before its prompt comes may be long, and its line slow.
_LARGEST_BEFORE_PROMPT, _LONGEST_BEFORE_PROMPT = 1 << 20, 900.0
_GREETING_TIMEOUT = 15.0
_SETTLING_TIMEOUT = 10.0
_PAGE = 0x30
# Longer than a second, in which a countdown shows again.
_LISTENING = 1.1
# A key makes these do something: stay in the loader, reboot (stand/lua/menu.lua; sys/kern/kern_shutdown.c).
_WAITS_FOR_ANY_KEY = re.compile(
    rb"Autoboot in|to boot or any other key|Booting \[|press a(?:ny)? key", re.IGNORECASE
)

#: Tells, of a page, whether the command should go on.
GoOn = Callable[[bytes], bool]


class Silent(DebuggerError):
    """ddb has not come back to its prompt in time, or something else answers in its place."""


@dataclass(slots=True)
class Console:
    """Commands and their answers over ``channel``. ``timeout`` is how long ddb may be silent, in seconds.

    ``met`` is true while ddb is known to listen, ``lines`` its page length as it was found, once that is changed;
    ``paged`` is true once ddb is known to print by pages.
    """

    channel: Channel
    timeout: float
    lines: int | None = None
    met: bool = False
    paged: bool = False
    _stream: Stream = field(default_factory=Stream)
    _heard: bytearray = field(default_factory=bytearray)
    _probes: int = 0
    _probe: bytes = b""
    _probed_at: int = 0
    _asked_at: int = 0
    _radix: int = 16

    def command(self, text: str, go_on: GoOn | None = None) -> str:
        """The output of one command, without its echo, the pager's traces and the next prompt.

        ``go_on`` is asked at each page; without it all pages are taken. Raises Silent if no prompt comes
        back in time, DebuggerError if the console goes away or does not echo.
        """
        gate.check_ddb(text)
        self._asked_at = len(self._heard)
        for _ in range(_ATTEMPTS):
            self._type(text)
            self._asked_at = begin = len(self._heard)
            self.channel.send(_RETURN)
            self._until_ready(begin, go_on or (lambda page: True), self.timeout)
            answer = bytes(self._heard[begin:])
            if _LINE_END.search(answer):
                return _clean(answer)
            # Not even a line's end came: the return key was lost on the way.
        raise Silent(f"the console does not take {text!r}; is its line disturbed?")

    def unfinished(self) -> str:
        """The whole lines of the answer to the last command, as far as it has come."""
        answer = bytes(self._heard[self._asked_at :])
        return _clean(answer[: max(answer.rfind(b"\n"), answer.rfind(b"\r")) + 1])

    def settle(self, patience: float) -> None:
        """Comes back once ddb waits for a command on an empty line. Quits a pager, and waits out what is being printed.

        Raises Silent if nothing comes for ``patience`` seconds, if it prints on for ten times as long, or if
        what answers is not ddb.
        """
        begin = len(self._heard)
        self._ask_for_life()
        self._until_ready(begin, lambda page: False, patience, prompt_counts=False)
        self.met = True

    def greet(self) -> None:
        """Finds ddb's prompt and makes ddb print by pages; raises DebuggerError if there is no ddb.

        Nothing is typed while a boot loader counts down: any key would keep it from booting.
        """
        self._listen()
        try:
            self.settle(min(self.timeout, _GREETING_TIMEOUT))
            # Not as it is typed: some shells have a print that says what it is told.
            base = self._asked("print 0x0db0", _base)
            if base is None:
                raise DebuggerError(f"something answers on the console, but it is not ddb; {_ADVICE}")
            self._radix = base
            self.lines = self._asked("print $lines", self._number)
            self.paged = self.lines is not None and self._set_lines(_PAGE)
        except Silent as error:
            raise DebuggerError(f"{self._what_answers()}; {_ADVICE}") from error

    def _listen(self) -> None:
        deadline = time.monotonic() + _LISTENING
        while (remaining := deadline - time.monotonic()) > 0:
            self._receive(remaining)
        # A console server may begin with what it heard before.
        recent = self._heard[-_TAIL:].rpartition(b"db> ")[2]
        if _WAITS_FOR_ANY_KEY.search(recent):
            raise DebuggerError(f"the console waits for any key, so nothing was typed; {_ADVICE}")

    def _asked(self, command: str, meaning: Callable[[str], int | None]) -> int | None:
        """The number that ``command`` answers twice: a message may come in between, or a digit be lost."""
        answers: list[int | None] = []
        while len(answers) < _ATTEMPTS and answers != [None] * 3:
            answers.append(meaning(self.command(command)))
            if answers[-1] is not None and answers[-1] in answers[:-1]:
                return answers[-1]
        return None

    def _number(self, answer: str) -> int | None:
        return _number(answer, self._radix)

    def _set_lines(self, lines: int) -> bool:
        """Sets ddb's page length; true if it then has it. It is also the last command, which return would repeat."""
        for _ in range(3):
            self.command(f"set $lines={lines:#x}")
            if self._asked("print $lines", self._number) == lines:
                return True
        return False

    def restore(self) -> None:
        """Leaves ddb at an empty prompt with its old page length, if it still answers."""
        if not self.met:
            return
        try:
            self.settle(min(self.timeout, _SETTLING_TIMEOUT))
            if self.lines is not None:
                self._set_lines(self.lines)
        except DebuggerError:
            # It has gone: nothing can be put back.
            pass

    def _type(self, text: str) -> None:
        """Types ``text`` until it stands behind a probe that ddb has taken back, letter by letter."""
        data = text.encode("ascii")
        for attempt in range(_ATTEMPTS):
            self._ask_for_life()
            patience = _ECHO_TIMEOUT * (1 + attempt)
            if (self._type_letters if attempt else self._type_pieces)(data, patience):
                return
            self.settle(self.timeout)
        raise Silent(f"the console does not echo {text!r} as it was typed; is its line disturbed?")

    def _type_pieces(self, data: bytes, patience: float) -> bool:
        for end in range(_TYPED_AT_ONCE, len(data) + _TYPED_AT_ONCE, _TYPED_AT_ONCE):
            self.channel.send(data[end - _TYPED_AT_ONCE : end])
            if not self._echoes(data[:end], patience):
                return False
        return True

    def _type_letters(self, data: bytes, patience: float) -> bool:
        """As a patient human would: a letter that does not show is typed again."""
        if not self._echoes(b"", patience):
            return False
        again = False
        for end in range(1, len(data) + 1):
            for attempt in range(_ATTEMPTS):
                again = again or attempt > 0
                self.channel.send(data[end - 1 : end])
                if self._echoes(data[:end], patience):
                    break
            else:
                return False
        if not again:
            return True
        # Only the echo may have been lost: then a letter stands there twice. Some of this may be lost as well.
        self.channel.send(_SHOW_LINE * 2)
        return self._echoes(data + (b"\x08" * len(data) + data) * 2, patience)

    def _echoes(self, typed: bytes, patience: float) -> bool:
        """True once ddb has taken the probe back and then echoed ``typed``, and nothing else."""
        echo = re.compile(self._probe + _TAKEN_BACK + re.escape(typed) + rb"\Z")
        deadline = time.monotonic() + patience
        while not echo.search(self._heard, self._probed_at):
            if not self._receive(deadline - time.monotonic()) and time.monotonic() >= deadline:
                return False
        return True

    def _until_ready(self, begin: int, go_on: GoOn, patience: float, prompt_counts: bool = True) -> None:
        """Reads until ddb waits for a command; ``go_on`` decides at each page."""
        started = heard_at = time.monotonic()
        deadline = started + patience
        quiet = _QUIET
        page_begin = progress = begin
        quit_at: int | None = None
        while not self._is_ready(begin, prompt_counts):
            if self._is_terminal():
                self.met = False
                raise Silent("a terminal of the kernel answers, which has left ddb")
            paused = len(self._heard) > page_begin and self._shows_pager(begin)
            behind_prompt = prompt_counts and quiet == _QUIET and self._has_prompt(begin)
            wait = 0.0 if paused else _QUIET_BEHIND_PROMPT if behind_prompt else quiet
            # A line is slow, not silent, until nothing has come for a while.
            end = max(deadline, heard_at + _QUIET)
            received = not paused and self._receive(min(wait, end - time.monotonic()))
            heard_at = time.monotonic() if received else heard_at
            if len(self._heard) - progress >= _PROGRESS:
                deadline = time.monotonic() + patience
                quiet = _QUIET
                progress = len(self._heard)
                self._check_end(begin, quit_at, None if prompt_counts else started, patience)
            elif not received and time.monotonic() >= end:
                raise Silent(f"no db> prompt came back within {patience:.0f} s")
            if received:
                continue
            if not paused and prompt_counts and quiet == _QUIET:
                # It waits for a command behind a prompt that a message has torn?
                self._ask_for_life()
                quiet = 2 * quiet
                continue
            # It waits for a key in its pager, whose prompt may be torn; or it works.
            if quit_at is None and not go_on(bytes(self._heard[page_begin:])):
                quit_at = len(self._heard)
            page_begin = len(self._heard)
            key = _NEXT_PAGE if quit_at is None else _QUIT
            if paused:
                self.channel.send(key)
            else:
                self._ask_for_life(key)
                quiet = min(2 * quiet, _QUIETEST)

    def _shows_pager(self, begin: int) -> bool:
        return _PAGER.search(self._heard, max(begin, len(self._heard) - _TAIL)) is not None

    def _check_end(self, begin: int, quit_at: int | None, started: float | None, patience: float) -> None:
        """Raises DebuggerError for output that does not end; ``started`` is when a prompt was first waited for."""
        size = len(self._heard) - begin
        if started is not None:
            waited = time.monotonic() - started
            endless = waited > _LONGEST_BEFORE_PROMPT or (
                waited > 10 * patience and size > _LARGEST_BEFORE_PROMPT
            )
        else:
            endless = quit_at is not None and len(self._heard) - quit_at > _LARGEST_ANSWER_AFTER_QUIT
        if endless or size > _LARGEST_ANSWER:
            self.met = False
            raise DebuggerError(
                "ddb prints without an end, and its pager does not stop it; reset the machine (from FreeBSD 14 on, ^C may help)"
            )

    def _is_ready(self, begin: int, prompt_counts: bool) -> bool:
        if prompt_counts and _PROMPT.search(self._heard, max(begin, len(self._heard) - _TAIL)):
            return True
        return self._probed_at >= begin and self._finds_probe(_TAKEN_BACK)

    def _is_terminal(self) -> bool:
        return self._finds_probe(_RUBBED_OUT)

    def _finds_probe(self, taken_back: bytes) -> bool:
        """Was the last probe answered by ``taken_back``?"""
        recent = self._heard[max(self._probed_at, len(self._heard) - 16 * _TAIL) :]
        return bool(self._probe) and re.search(self._probe + taken_back, recent) is not None

    def _has_prompt(self, begin: int) -> bool:
        return _OLD_PROMPT.search(self._heard, max(begin, len(self._heard) - _TAIL)) is not None

    def _ask_for_life(self, key: bytes = b"") -> None:
        """Types letters and takes them back; ``key`` is for a pager that may wait."""
        # Other letters each time: a late answer must not be taken for this one's.
        first, second = divmod(self._probes % len(_LETTERS) ** 2, len(_LETTERS))
        self._probes += 1
        self._probe = bytes((_LETTERS[first], _LETTERS[second]))
        self._probed_at = len(self._heard)
        self.channel.send(key + self._probe + _KILL_LINE)

    def _receive(self, seconds: float) -> bool:
        data = self.channel.receive(max(0.0, seconds))
        if data:
            self._heard += self._stream.text(data)
        return bool(data)

    def _what_answers(self) -> str:
        """What came instead of ddb's answers, in words."""
        recent = _PROBE_TRACES.sub(b"", bytes(self._heard[-4096:]))
        heard = re.sub(rb"[q ]?[gwht]{2}" + _RUBBED_OUT + rb"(?:\x08 \x08)?", b"", recent).decode("utf-8", "replace")
        words = " ".join(re.sub(r"[^\x20-\x7e]+", " ", heard).split())
        if not words:
            return "nothing answers on the console"
        if re.search(r"(?:login|password): ?\S{0,8}$", words, re.IGNORECASE):
            return "a login prompt answers on the console, not ddb"
        return f"something answers on the console, but it is not ddb: {words[-60:]!r}"


_ADVICE = "break into ddb on the console first (sysctl debug.kdb.enter=1, or Ctrl-Alt-Esc), then attach"


def _clean(raw: bytes) -> str:
    """An answer as ddb would have printed it to paper: no pager, no probes, no prompt behind it."""
    raw = _PROBE_TRACES.sub(b"", _PAGER_TRACES.sub(b"", raw))
    # A line may bring a console's line ends as CR alone.
    raw = raw.replace(b"\r", b"" if b"\n" in raw else b"\n")
    text = raw.decode("utf-8", "replace").removeprefix("\n")
    body, newline, last = text.rpartition("\n")
    return body + newline if last.strip() == "db>" else text.rstrip() + "\n" if text.strip() else ""


def _base(answer: str) -> int | None:
    """The base that ddb prints numbers in (``$radix``, ``print/d``), out of its answer to ``print 0xdb0``."""
    words = answer.replace("+", " ").split()
    return next(
        (
            base
            for base, word in ((16, "db0"), (16, "0xdb0"), (10, "3504"), (8, "6660"), (8, "06660"))
            if word in words
        ),
        None,
    )


def _number(answer: str, base: int) -> int | None:
    """The number in an answer to ``print``."""
    for word in answer.replace("+", " ").split():
        try:
            value = int(word, base)
        except ValueError:
            continue
        return value if 0 <= value < 1 << 31 else None
    return None
