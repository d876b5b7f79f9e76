"""A console that behaves as FreeBSD's ddb does (ddb/db_input.c, db_output.c, db_command.c).

It edits lines as db_inputchar does, repeats the last command on an empty line, stops every ``$lines`` lines with
--More-- and a carriage return, knows only the pager's keys there, looks at no key while it prints, and follows a
cycle of locks for ever. What was printed before somebody connected is gone. The line may be slow, lose every
so-many-th letter that is typed, and have messages arrive in between.
"""

from __future__ import annotations

import contextlib
import itertools
import re
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
--- syscall (54, FreeBSD ELF64, sys_ioctl), rip = 0x201ee9, rsp = 0x80026bec8, rbp = 0x80026bfd0 ---"""
CHAIN = (
    'thread 100051 (pid 20, behind) blocked on sx "lab a" XLOCK',
    'thread 100052 (pid 20, other) blocked on sx "lab b" XLOCK',
)
HARMLESS = re.compile(r"print .*|set \$lines=.*|x/s .*|ps|show .*|alltrace|bt \d+")
RETURN, KILL_LINE = "\r", "\x15"


class Hangup(Exception):
    """The fake ends the connection."""


class Console:
    """Serves one connection after the other on a Unix socket; what lies behind is ``converse``'s matter.

    ``baud`` slows the output down; ``loses`` says after how many letters one is lost on the way in;
    ``dies_after`` is how many lines are printed before the console hangs up, ``falls_silent_after`` before
    it says no more.
    """

    def __init__(
        self,
        path: Path,
        baud: int = 0,
        loses: int = 0,
        dies_after: int | None = None,
        falls_silent_after: int | None = None,
    ):
        self.place = f"unix:{path}"
        self._baud = baud
        self._loses = loses
        self._dies_after = dies_after
        self._falls_silent_after = falls_silent_after
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

    def _key(self) -> str:
        while True:
            data = self._wire.recv(1)
            if not data:
                raise ConnectionError
            self._received += 1
            if not self._loses or self._received % self._loses:
                return data.decode("latin-1")

    def _print(self, text: str) -> None:
        self._printed += text.count("\n")
        if self._dies_after is not None and self._printed > self._dies_after:
            raise Hangup
        if self._falls_silent_after is not None and self._printed > self._falls_silent_after:
            Console.converse(self)
        data = text.encode("latin-1")
        if not self._baud:
            self._wire.sendall(data)
            return
        for begin in range(0, len(data), 16):
            # Ten bits a byte.
            time.sleep(len(data[begin : begin + 16]) * 10 / self._baud)
            self._wire.sendall(data[begin : begin + 16])


class FakeDdb(Console):
    """ddb. ``found`` is the state somebody left it in: at its ``prompt``, in the ``pager`` of an endless command, with ``half`` a
    command typed, ``paging`` a long one without having looked at the pager, or ``printing`` one.

    ``unknown`` are commands that this kernel does not know, ``noise`` messages that arrive, each behind the
    command whose number is its key. A ``stubborn`` one does not quit its endless commands.
    """

    def __init__(
        self,
        path: Path,
        found: str = "prompt",
        lines: int = 20,
        unknown: tuple[str, ...] = (),
        noise: dict[int, str] | None = None,
        torn_pager: bool = False,
        stubborn: bool = False,
        **line: int,
    ):
        self.lines = lines
        self.commands: list[str] = []
        self.violations: list[str] = []
        self.at_prompt = True
        self._found = found
        self._unknown = unknown
        self._noise = dict(noise or {})
        self._torn_pager = torn_pager
        self._stubborn = stubborn
        self._last = "step"
        self._column = 0
        super().__init__(path, **line)  # type: ignore[arg-type]

    def converse(self) -> None:
        line = ""
        found, self._found = self._found, "prompt"
        if found == "half":
            line = "show registe"
        elif found == "pager":
            # The pager's prompt was printed to nobody.
            self._pager()
            self._prompt()
        elif found == "paging":
            self._output(f"old {number}" for number in range(100))
            self._prompt()
        elif found == "printing":
            self._output((f"old {number}" for number in range(3000)), paged=False)
            self._prompt()
        while True:
            self.at_prompt = not line
            key = self._key()
            if key == KILL_LINE:
                self._print("\b" * len(line) + " " * len(line) + "\b" * len(line))
                line = ""
            elif key in "\r\n":
                self.at_prompt = False
                self._print("\r\n")
                self._run(line)
                line = ""
                self._prompt()
            elif " " <= key <= "~":
                line += key
                self._print(key)

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
        if not HARMLESS.fullmatch(command):
            self.violations.append(command)
        setting = re.fullmatch(r"set \$lines=(\w+)", command)
        if setting:
            self.lines = int(setting.group(1), 16)
            return
        self._output(self._answer(command))

    def _answer(self, command: str) -> Iterator[str]:
        if command.split()[0] in self._unknown or command in self._unknown:
            yield 'No such command; use "help" to list available commands'
        elif command == "print $lines":
            yield f"{self.lines:8x}"
        elif command.startswith("print "):
            yield f"{int(command.split()[1], 16):8x}"
        elif command == "x/s version":
            yield VERSION
        elif command == "ps":
            yield from PS.splitlines()
        elif command == "alltrace":
            yield from ("", *TRACE.splitlines())
        elif command.startswith("bt "):
            begin = TRACE.find(f"tid {command.split()[1]} ")
            yield from (
                TRACE[TRACE.rfind("\n", 0, begin) + 1 :].partition("\n\n")[0].splitlines()
                if begin > 0
                else ()
            )
        elif command == "show allchains":
            yield "chain 1:"
            yield ' thread 100043 (pid 16, vcpu 0) sleeping on 0xfffffe0000723110 "vmrndv"'
            yield "chain 2:"
            yield from (" " + line for line in itertools.cycle(CHAIN))
        elif command.startswith("show lockchain"):
            yield from itertools.cycle(CHAIN)
        elif command.startswith("show sleepq"):
            yield f"Wait channel: {command.split()[-1]}"
        elif command.startswith("show turnstile"):
            yield "Lock: 0xfffff80002235700 - (sleep mutex) lab mtx"
            yield 'Lock Owner: 0xfffff80002412000 (tid 100052, pid 20, "other")'
        elif command in ("show allpcpu", "show alllocks", "show lockedvnods"):
            return
        else:
            yield 'No such command; use "help" to list available commands'

    def _output(self, lines: Iterable[str], paged: bool = True) -> None:
        left = self.lines if paged else 0
        for line in lines:
            self._print(line + "\r\n")
            if left:
                left -= 1
                if not left:
                    left = self._pager()
                    if not left and not self._stubborn:
                        return

    def _pager(self) -> int:
        """How many lines may follow; 0 once it was quit."""
        self._print("--Mo" if self._torn_pager else "--More--\r")
        answers = {"e": 1, "j": 1, "\n": 1, "d": self.lines // 2, "f": self.lines, " ": self.lines}
        answers |= dict.fromkeys("qQxX", 0)
        while (key := self._key()) not in answers:
            pass
        self._print("        \r")
        return answers[key]


class FakeTerminal(Console):
    """What a console shows where no ddb is: a terminal's line editing, and what it answers to a line."""

    def __init__(self, path: Path, prompt: str, answer: str = "", **line: int):
        self.entered: list[str] = []
        self._text = prompt
        self._reply = answer
        super().__init__(path, **line)  # type: ignore[arg-type]

    def converse(self) -> None:
        line = ""
        while True:
            key = self._key()
            if key == KILL_LINE:
                self._print("\b \b" * len(line))
                line = ""
            elif key == RETURN:
                self.entered.append(line)
                self._print(f"\r\n{self._reply}{self._text}")
                line = ""
            else:
                line += key
                self._print(key)
