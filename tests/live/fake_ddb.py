"""A console that behaves as FreeBSD's ddb does (ddb/db_input.c, db_output.c, db_command.c).

It edits lines as db_inputchar does, repeats the last command on an empty line, stops every ``$lines`` lines with
--More-- and a carriage return, knows only the pager's keys there, and follows a cycle of locks for ever. A command
that is quit goes on until it looks at db_pager_quit. While it prints, FreeBSD 10 to 13 look at no key: those typed
meanwhile are in the serial port's 16 bytes, or lost. FreeBSD 14 and 15 look for one behind each line, keep up to 512
for the next that asks, and go back into kdb_trap, kdb.enter script and all, on ^C.

What was printed before somebody connected is gone. The line may be slow, lose every so-many-th letter that is
typed, end its lines in another way, and have messages arrive in between.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

VERSION = "version:        FreeBSD 12.1-STABLE MODEL\\012"
PS = """\
  pid  ppid  pgrp   uid  state   wmesg   wchan               cmd
   16     1     0     0  D       (threaded)                  bhyve
100043                   D       vmrndv  0xfffffe0000723110  vcpu 0
100045                   D       vmstat  0xfffffe0000723268  vcpu 2
   20     1     0     0  L       (threaded)                  locker
100051                   L      *lab mtx 0xfffff80002235700  behind
    1     0     0     0  SL      wait    0xfffff8000212aa60  [init]"""
TRACE = """\
Tracing command bhyve pid 16 tid 100043 td 0xfffff80002411740
sched_switch() at sched_switch+0x492/frame 0xfffffe0011fdd500
mi_switch() at mi_switch+0xd2/frame 0xfffffe0011fdd530
sleepq_timedwait() at sleepq_timedwait+0x2f/frame 0xfffffe0011fdd570
_sleep() at _sleep+0x1f2/frame 0xfffffe0011fdd5e0
vm_handle_rendezvous() at vm_handle_rendezvous+0x18e/frame 0xfffffe0011fdd650
vm_run() at vm_run+0x6b1/frame 0xfffffe0011fdd740
vmmdev_ioctl() at vmmdev_ioctl+0x8ca/frame 0xfffffe0011fdd7e0
--- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x201ee9, rsp = 0x800249ec8, rbp = 0x800249fd0 ---

Tracing command bhyve pid 16 tid 100045 td 0xfffff80002415740
sched_switch() at sched_switch+0x492/frame 0xfffffe0011fe75f0
mi_switch() at mi_switch+0xd2/frame 0xfffffe0011fe7620
sleepq_timedwait() at sleepq_timedwait+0x2f/frame 0xfffffe0011fe7660
msleep_spin_sbt() at msleep_spin_sbt+0xdd/frame 0xfffffe0011fe76d0
vcpu_set_state_locked() at vcpu_set_state_locked+0x82/frame 0xfffffe0011fe7720
vcpu_set_state() at vcpu_set_state+0x7e/frame 0xfffffe0011fe7750
vmmdev_ioctl() at vmmdev_ioctl+0x264/frame 0xfffffe0011fe77e0
--- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x201ee9, rsp = 0x80026bec8, rbp = 0x80026bfd0 ---

Tracing command locker pid 20 tid 100051 td 0xfffff80002412740
sched_switch() at sched_switch+0x492/frame 0xfffffe0011ff0500
mi_switch() at mi_switch+0xd2/frame 0xfffffe0011ff0530
turnstile_wait() at turnstile_wait+0x2f2/frame 0xfffffe0011ff0570
__mtx_lock_sleep() at __mtx_lock_sleep+0x1a4/frame 0xfffffe0011ff0600
lab_behind() at lab_behind+0x44/frame 0xfffffe0011ff0630
fork_exit() at fork_exit+0x7e/frame 0xfffffe0011ff0670
fork_trampoline() at fork_trampoline+0xe/frame 0xfffffe0011ff0670
--- trap 0, rip = 0, rsp = 0, rbp = 0 ---"""
CHAIN = (
    'thread 100051 (pid 20, behind) blocked on sx "lab a" XLOCK',
    'thread 100052 (pid 20, other) blocked on sx "lab b" XLOCK',
)
HARMLESS = re.compile(r"print .*|set \$lines=.*|x/s .*|ps|show .*|alltrace|bt \d+")
RETURN, KILL_LINE = "\r", "\x15"
INTERRUPT, STOP_OUTPUT = b"\x03", b"\x13"
# A 16550's receiver, and DB_RAW_SIZE.
WAITING = {13: 16, 14: 512}
# Commands look at db_pager_quit once for each thread, say.
LINES_BEFORE_QUITTING = 3


class Hangup(Exception):
    """The fake ends the connection."""


class Console:
    """Serves one connection after the other on a Unix socket; what lies behind is ``converse``'s matter.

    ``baud`` slows the output down; ``loses`` says after how many letters one is lost on the way in, ``eats`` on the
    way out;
    ``dies_after`` is how many lines are printed before the console hangs up, ``falls_silent_after`` before
    it says no more.
    """

    def __init__(
        self,
        path: Path,
        baud: int = 0,
        loses: int = 0,
        eats: int = 0,
        dies_after: int | None = None,
        falls_silent_after: int | None = None,
        line_end: str = "\r\n",
    ):
        self.place = f"unix:{path}"
        self._baud = baud
        self._loses = loses
        self._eats = eats
        self._sent = 0
        self._dies_after = dies_after
        self._falls_silent_after = falls_silent_after
        self._line_end = line_end
        self._typed = bytearray()
        self._received = 0
        self._printed = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def converse(self) -> None:
        """Says nothing."""
        while True:
            self._key()

    def _serve(self) -> None:
        while True:
            try:
                self._wire, _ = self._listener.accept()
            except OSError:
                return
            with self._wire, contextlib.suppress(OSError, ConnectionError, Hangup):
                self.converse()

    def type(self, keys: bytes) -> None:
        """Types ``keys`` as somebody else at the same console would: they come before what is on the wire."""
        self._typed += keys

    def _key(self) -> str:
        while not self._typed:
            if select.select([self._wire], [], [], 0.05)[0]:
                self._take(1)
        return chr(self._typed.pop(0))

    def _take(self, most: int) -> None:
        """Moves what has come over the wire to the keys that were typed."""
        data = self._wire.recv(most)
        if not data:
            raise ConnectionError
        for key in data:
            self._received += 1
            if not self._loses or self._received % self._loses:
                self._typed.append(key)

    def _print(self, text: str) -> None:
        self._printed += text.count("\n")
        if self._dies_after is not None and self._printed > self._dies_after:
            raise Hangup
        if self._falls_silent_after is not None and self._printed > self._falls_silent_after:
            Console.converse(self)
        data = text.replace("\r\n", self._line_end).encode("latin-1")
        if self._eats:
            numbered = enumerate(data, self._sent + 1)
            self._sent += len(data)
            data = bytes(letter for number, letter in numbered if number % self._eats)
        if not self._baud:
            self._wire.sendall(data)
            return
        for begin in range(0, len(data), 16):
            # Ten bits a byte.
            time.sleep(len(data[begin : begin + 16]) * 10 / self._baud)
            self._wire.sendall(data[begin : begin + 16])


class Editor:
    """ddb's line editor (db_inputchar): the line, the cursor's place in it, and what is printed for a key."""

    def __init__(self, release: int):
        self.line = ""
        self.place = 0
        self._release = release

    def type(self, key: str) -> str:
        """What ``key`` prints."""
        line, place = self.line, self.place
        if key == "\x01":
            self.place = 0
            return "\b" * place
        if key == "\x05":
            self.place = len(line)
            return line[place:]
        if key == KILL_LINE or (key == "\x03" and self._release >= 14):
            return self._delete(place, True) + self._delete(len(self.line), False)
        if key == "\x0b":
            return self._delete(len(line) - place, False)
        if key in "\b\x7f":
            return self._delete(1, True) if place else ""
        if " " <= key <= "~" and len(line) < 118:
            self.line = line[:place] + key + line[place:]
            self.place += 1
            return key + line[place:] + "\b" * (len(line) - place)
        return "\a" if " " <= key <= "~" else ""

    def _delete(self, count: int, backward: bool) -> str:
        if not count:
            return ""
        before = "\b" * count if backward else ""
        self.place -= count if backward else 0
        behind = len(self.line) - self.place
        self.line = self.line[: self.place] + self.line[self.place + count :]
        return before + self.line[self.place :] + " " * count + "\b" * behind


class FakeDdb(Console):
    """ddb. ``found`` is the state somebody left it in: at its ``prompt``, in the ``pager`` of an endless command, with ``half`` a
    command typed, ``paging`` a long one without having looked at the pager, ``printing`` one, or in a ``script``;
    or at its prompt, while all since it was booted is ``replayed``.

    ``release`` is 13 for FreeBSD 10 to 13, 14 for 14 and later. ``unknown`` are commands that this kernel does not
    know, ``answers`` what it prints for others, ``noise`` messages that arrive, each behind the command whose number
    is its key, ``keys`` what somebody else types then, as soon as the line is empty. A ``stubborn`` one does not quit
    its endless commands.
    Somebody makes the kernel go on behind ``leaves_after`` commands; a login prompt takes over then.
    """

    def __init__(
        self,
        path: Path,
        found: str = "prompt",
        lines: int = 20,
        radix: int = 16,
        release: int = 13,
        unknown: tuple[str, ...] = (),
        answers: dict[str, Iterable[str]] | None = None,
        noise: dict[int, str] | None = None,
        keys: dict[int, bytes] | None = None,
        leaves_after: int | None = None,
        torn_pager: bool = False,
        stubborn: bool = False,
        **line: int | str,
    ):
        self.lines = lines
        self.commands: list[str] = []
        self.violations: list[str] = []
        self.at_prompt = True
        self._found = found
        self._release = release
        self._radix = radix
        self._unknown = unknown
        self._answers = dict(answers or {})
        self._keys = dict(keys or {})
        self._leaves_after = leaves_after
        self.entered: list[str] = []
        self._maxlines = 0
        self._newlines = 0
        self._quit = False
        self._noise = dict(noise or {})
        self._torn_pager = torn_pager
        self._stubborn = stubborn
        self._last = "step"
        self._column = 0
        super().__init__(path, **line)  # type: ignore[arg-type]

    def converse(self) -> None:
        editor = Editor(self._release)
        found, self._found = self._found, "prompt"
        if found == "half":
            editor.line, editor.place = "show registe", 7
        elif found == "pager":
            # The pager's prompt was printed to nobody.
            self._pager()
            self._prompt()
        elif found == "paging":
            self._output(f"old {number}" for number in range(100))
            self._prompt()
        elif found == "replayed":
            # Its console server repeats what it heard before.
            self._print("Autoboot in 1 seconds. [Space] to pause\r\nBooting...\r\nKDB: enter: panic\r\n")
            self._prompt()
        elif found in ("printing", "script"):
            script = (f"db:0:kdb.enter.default>  bt {number}" for number in range(110))
            old = (f"old {number}" for number in range(3000))
            self._output(script if found == "script" else old, paged=False)
            self._prompt()
        while True:
            if self._leaves_after is not None and len(self.commands) >= self._leaves_after:
                self._print("\r\nlogin: ")
                terminal(self, "login: ", "Password:", self.entered)
            self.at_prompt = not editor.line
            key = self._key()
            if key in "\r\n":
                self.at_prompt = False
                self._print("\r\n")
                self._run(editor.line)
                editor = Editor(self._release)
                self._prompt()
                continue
            self._print(editor.type(key))
            if key == KILL_LINE:
                self.type(self._keys.pop(len(self.commands), b""))

    def _prompt(self) -> None:
        self._print("db> ")
        message = self._noise.pop(len(self.commands), None)
        if message is not None:
            self._print(f"{message}\r\n")

    def _run(self, command: str) -> None:
        command = command.strip()
        if not command:
            self.violations.append(f"empty line, repeats {self._last}")
            command = self._last
        self._last = command
        self.commands.append(command)
        # What they read at an address that is none makes ddb fault (db_lookup_thread; db_show_lock).
        if command.startswith(("show lock ", "show lockchain ", "show sleepchain ")):
            operand = command.split()[-1]
            if "chain" in command:
                # The digits of a number that was read in $radix (db_hex2dec).
                operand = f"{self._number(operand):x}"
            if not re.search(rf"\b{operand}\b", f"{PS}\n{TRACE}\n{self._answers}"):
                self.violations.append(f"{command}: page fault")
        if not HARMLESS.fullmatch(command):
            self.violations.append(command)
        setting = re.fullmatch(r"set \$lines=(\w+)", command)
        if setting:
            self.lines = self._number(setting.group(1))
            return
        self._output(self._answer(command))

    def _answer(self, command: str) -> Iterator[str]:
        if command.split()[0] in self._unknown or command in self._unknown:
            yield 'No such command; use "help" to list available commands'
        elif command in self._answers:
            yield from self._answers[command]
        elif command == "print $lines":
            yield self._in_radix(self.lines)
        elif command.startswith("print "):
            yield self._in_radix(self._number(command.split()[1]))
        elif command == "x/s version":
            yield VERSION
        elif command == "ps":
            yield from PS.splitlines()
        elif command == "alltrace":
            yield from ("", *TRACE.splitlines())
        elif command.startswith("bt "):
            stacks = "\n".join(self._answers.get("alltrace", TRACE.splitlines()))
            begin = stacks.find(f"tid {command.split()[1]} ")
            yield from (
                stacks[stacks.rfind("\n", 0, begin) + 1 :].partition("\n\n")[0].splitlines()
                if begin > 0
                else (f"Thread {command.split()[1]} not found",)
            )
        elif command == "show allchains":
            yield "chain 1:"
            yield ' thread 100043 (pid 16, vcpu 0) sleeping on 0xfffffe0000723110 "vmrndv"'
            yield "chain 2:"
            yield from (" " + line for line in itertools.cycle(CHAIN))
        elif command.startswith("show lockchain"):
            yield from itertools.cycle(CHAIN)
        elif command.startswith("show sleepq"):
            operand = command.split()[-1]
            known = re.search(rf"\b{operand}\b", f"{PS}\n{self._answers}")
            yield f"Wait channel: {operand}" if known else f"Unable to locate a sleep queue via {operand}"
        elif command.startswith("show turnstile"):
            yield "Lock: 0xfffff80002235700 - (sleep mutex) lab mtx"
            yield 'Lock Owner: 0xfffff80002412000 (tid 100052, pid 20, "other")'
        elif command in ("show allpcpu", "show alllocks", "show lockedvnods"):
            return
        else:
            yield 'No such command; use "help" to list available commands'

    def _number(self, text: str) -> int:
        """What ddb reads (db_lex, sys/ddb/db_lex.c)."""
        return int(text, 16 if text.startswith("0x") else self._radix)

    def _in_radix(self, number: int) -> str:
        return format(number, {8: "8o", 10: "8d", 16: "8x"}[self._radix])

    def _output(self, lines: Iterable[str], paged: bool = True) -> None:
        """A command that prints ``lines``, as db_command runs it: with the pager, or without for a script."""
        self._maxlines = self.lines if paged else 0
        self._newlines = 0
        self._quit = False
        behind = 0
        for line in lines:
            behind += self._quit
            if behind > LINES_BEFORE_QUITTING and not self._stubborn:
                break
            self._print(line + "\r\n")
            self._look_for_keys()
            if self._maxlines:
                self._newlines += 1
                if self._newlines >= self._maxlines:
                    self._pager()
        self._maxlines = 0

    def _look_for_keys(self) -> None:
        """What becomes of keys that are typed while a line is printed (db_check_interrupt)."""
        while select.select([self._wire], [], [], 0)[0]:
            self._take(1 << 10)
        if self._release >= 14 and (INTERRUPT in self._typed or STOP_OUTPUT in self._typed):
            self.violations.append("^C or ^S while it prints")
        if len(self._typed) > WAITING[self._release]:
            del self._typed[WAITING[self._release] :]

    def _pager(self) -> None:
        """Asks whether to go on (db_pager)."""
        self._print("--Mo" if self._torn_pager else "--More--\r")
        lines = {"e": 1, "j": 1, "\n": 1, "\r": 1, "d": self.lines // 2, "f": self.lines, " ": self.lines}
        while (key := self._key()) not in {*lines, *"qQxX"}:
            pass
        # Without lines it does not page any more.
        self._maxlines = lines.get(key, 0)
        self._quit = key in "qQxX"
        self._print("        \r")
        self._newlines = 0


def terminal(console: Console, prompt: str, answer: str, entered: list[str]) -> None:
    """A terminal's line editing on ``console``, and what it answers to a line; ``entered`` are the lines."""
    line = ""
    while True:
        key = console._key()
        if key == KILL_LINE:
            console._print("\b \b" * len(line))
            line = ""
        elif key == RETURN:
            entered.append(line)
            console._print(f"\r\n{answer}{prompt}")
            line = ""
        else:
            line += key
            console._print(key)


class FakeTerminal(Console):
    """What a console shows where no ddb is."""

    def __init__(self, path: Path, prompt: str, answer: str = "", **line: int):
        self.entered: list[str] = []
        self._text = prompt
        self._reply = answer
        super().__init__(path, **line)  # type: ignore[arg-type]

    def converse(self) -> None:
        terminal(self, self._text, self._reply, self.entered)
