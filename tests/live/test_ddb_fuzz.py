"""Consoles that are half broken, on a clock that only they move: whatever they do, nothing but known commands is entered."""

from __future__ import annotations

import contextlib
import random
import re

import pytest

from hangdiag.errors import HangdiagError
from hangdiag.live import ddb_console, ddb_interview, gate
from hangdiag.live.options import Options

from .fake_ddb import CHAIN, KILL_LINE, Editor

NOISE = (
    *(b"\r\nigb0: link state changed\r\n", b"--More--\r", b"\r\ndb> ", b"\xff\xfb\x01", b"\x1b[", b"\x00" * 5),
    *(b"\x08\x08  \x08\x08", b"KDB: enter: panic\r\n[ thread pid 1 tid 100002 ]\r\n", b"x" * 3000, bytes(range(128, 200))),
)
ANSWERS = {"print 0x0db0": "     db0\r\n", "print $lines": "      30\r\n"}


class Clock:
    """What ``time`` is to the console."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class BrokenConsole:
    """A channel to a ddb, a terminal, an echo or nothing, over a line that loses and makes up what it likes."""

    def __init__(self, seed: int, clock: Clock):
        self._chance = random.Random(seed)
        self._clock = clock
        self.style = self._chance.choice(["ddb", "ddb", "ddb", "terminal", "echo", "mute"])
        self._lost_in = self._chance.choice([0, 0, 0.01, 0.1])
        self._lost_out = self._chance.choice([0, 0, 0.001, 0.01])
        self._noise = self._chance.choice([0, 0.02, 0.2])
        self._prompt = self._chance.choice(["db> ", "db> ", "db{0}> ", "ddb> ", "db> \r\n"])
        self._editor = Editor(self._chance.choice([13, 14]))
        self._pages = 0
        self._out = bytearray()
        self.entered: list[str] = []

    def send(self, data: bytes) -> None:
        for key in data.decode("latin-1"):
            self._make_noise()
            if self._chance.random() >= self._lost_in:
                self._take(key)

    def receive(self, seconds: float) -> bytes:
        self._make_noise()
        count = self._chance.choice([1, 5, 50, 1 << 20])
        data = bytes(self._out[:count])
        del self._out[:count]
        self._clock.now += len(data) * 1e-4 or max(seconds, 1e-3)
        return data

    def close(self) -> None:
        pass

    def _make_noise(self) -> None:
        if self._chance.random() < self._noise:
            self._out += self._chance.choice(NOISE)

    def _print(self, text: str) -> None:
        self._out += bytes(byte for byte in text.encode("latin-1") if self._chance.random() >= self._lost_out)

    def _take(self, key: str) -> None:
        if self.style == "mute":
            return
        if self.style == "echo":
            self._print(key)
        elif self._pages:
            if key in "qQxX fejd":
                self._print("        \r")
                self._page(self._pages - 1 if key in " fejd" else 0)
        elif key == "\r":
            line, self._editor.line, self._editor.place = self._editor.line, "", 0
            self.entered.append(line)
            self._print("\r\n")
            self._answer(line)
        elif key == KILL_LINE and self.style == "terminal":
            self._print("\b \b" * len(self._editor.line))
            self._editor.type(key)
        else:
            self._print(self._editor.type(key))

    def _answer(self, line: str) -> None:
        fate = self._chance.random()
        if line in ANSWERS:
            self._print(ANSWERS[line])
        elif fate < 0.1:
            return self._page(self._chance.choice([3, 50, 10**9]))
        elif fate < 0.4:
            self._print("some text\r\n" * self._chance.randrange(50))
        elif fate < 0.44:
            return None
        return self._print(self._prompt)

    def _page(self, left: int) -> None:
        self._pages = left
        self._print(f"{CHAIN[0]}\r\n" * 3 + "--More--\r" if left else self._prompt)


@pytest.mark.parametrize("begin", range(0, 60, 15))
def test_nothing_but_known_commands_is_entered(begin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = re.compile("|".join(gate._DDB_COMMANDS))
    for seed in range(begin, begin + 15):
        clock = Clock()
        console = BrokenConsole(seed, clock)
        monkeypatch.setattr(ddb_console, "time", clock)
        monkeypatch.setattr(ddb_interview, "_MOST_PAGES", 50)
        monkeypatch.setattr(ddb_interview, "open_channel", lambda place, timeout, console=console: console)
        with contextlib.suppress(HangdiagError):
            ddb_interview.read_console(Options("ddb", "/dev/ttyU0", timeout=5), lambda step, done, total: None)
        assert console.entered == [] or console.style == "ddb", seed
        assert [line for line in console.entered if not allowed.fullmatch(line)] == [], seed
        # An hour for some sixty questions, on the worst of lines.
        assert clock.now < 3600, seed
