"""A console that behaves as FreeBSD's ddb does (ddb/db_input.c, db_output.c, db_command.c).

It echoes what is typed, deletes on ^U, repeats the last command on an empty line, stops every ``$lines`` lines
with --More--, and follows a cycle of locks for ever.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from collections.abc import Iterator
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
HARMLESS = re.compile(r"print .*|set \$lines=.*|x/s .*|ps|show .*|alltrace")


class FakeDdb:
    """Serves one connection after the other on a Unix socket."""

    def __init__(self, path: Path, pager_waits: bool = False, mute: bool = False):
        self.place = f"unix:{path}"
        self.lines = 24
        self.commands: list[str] = []
        self.violations: list[str] = []
        self._pager_waits = pager_waits
        self._mute = mute
        self._last = "step"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                self._wire, _ = self._listener.accept()
            except OSError:
                return
            with self._wire, contextlib.suppress(OSError, ConnectionError):
                self._converse()

    def _key(self) -> str:
        data = self._wire.recv(1)
        if not data:
            raise ConnectionError
        return data.decode("latin-1")

    def _print(self, text: str) -> None:
        self._wire.sendall(text.encode())

    def _converse(self) -> None:
        if self._mute:
            while True:
                self._key()
        if self._pager_waits:
            self._pager_waits = False
            self._output(f"old {number}" for number in range(100))
            self._print("db> ")
        line = ""
        while True:
            key = self._key()
            if key == "\x15":
                self._print("\b \b" * len(line))
                line = ""
            elif key in "\r\n":
                self._print("\r\n")
                self._run(line.strip())
                line = ""
                self._print("db> ")
            else:
                line += key
                self._print(key)

    def _run(self, command: str) -> None:
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
        if command == "print $lines":
            yield f"{self.lines:8x}"
        elif command.startswith("print "):
            yield f"{int(command.split()[1], 16):8x}"
        elif command == "x/s version":
            yield VERSION
        elif command == "ps":
            yield from PS.splitlines()
        elif command == "alltrace":
            yield from ("", *TRACE.splitlines())
        elif command == "show allchains":
            yield "chain 1:"
            yield ' thread 100043 (pid 16, vcpu 0) sleeping on 0xfffffe0000723110 "vmrndv"'
            yield "chain 2:"
            yield from (" " + line for line in itertools.cycle(CHAIN))
        elif command.startswith("show lockchain"):
            yield from itertools.cycle(CHAIN)
        elif command.startswith("show sleepq"):
            yield f"Wait channel: {command.split()[-1]}"
        elif command in ("show allpcpu", "show alllocks"):
            return
        else:
            yield 'No such command; use "help" to list available commands'

    def _output(self, lines: Iterator[str]) -> None:
        printed = 0
        for line in lines:
            self._print(line + "\r\n")
            printed += 1
            if self.lines and printed >= self.lines:
                printed = 0
                self._print("--More--")
                while (key := self._key()) not in " qQ\r\n":
                    pass
                self._print("\r        \r")
                if key in "qQ":
                    return
                if key in "\r\n":
                    printed = self.lines - 1
