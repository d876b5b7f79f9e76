"""Lines to a db> prompt that lose, garble or delay, people who type on them, and consoles where no ddb is any more."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError
from hangdiag.live.attach import CutShort, attach
from hangdiag.live.ddb_console import Console
from hangdiag.live.options import Options

from .ddb_reading import hurry, is_read, quiet, read
from .fake_ddb import PS, TRACE, FakeDdb
from .fake_ddb import Console as Silence

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("soon")]


def test_a_line_that_loses_letters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    fake = FakeDdb(folder / "ddb", loses=41)
    assert is_read(read(fake))
    fake.close()


def test_a_slow_line(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", baud=38400)
    assert is_read(read(fake))
    fake.close()


def test_messages_that_arrive_in_between(folder: Path) -> None:
    noise = {number: f"igb{number}: link state changed to DOWN" for number in range(1, 12, 2)}
    fake = FakeDdb(folder / "ddb", noise=noise)
    assert is_read(read(fake))
    fake.close()


def test_a_pager_whose_prompt_is_torn(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", torn_pager=True)
    assert is_read(read(fake))
    fake.close()


@pytest.mark.parametrize("keys", [b"c", b"reset", b"x" * 30, b"q", b" "])
def test_what_somebody_else_types_is_not_entered(folder: Path, keys: bytes) -> None:
    # Before the fourth and the eighth command: ps and show alllocks, or so.
    fake = FakeDdb(folder / "ddb", keys={4: keys, 8: keys})
    assert is_read(read(fake))
    fake.close()


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\r\n", "\r\x00\n"])
def test_line_ends_that_a_line_made_up(folder: Path, line_end: str) -> None:
    fake = FakeDdb(folder / "ddb", line_end=line_end)
    assert is_read(read(fake))
    fake.close()


def test_nothing_is_cut_off_while_a_slow_line_speaks(folder: Path) -> None:
    # 960 bytes a second: a page takes longer than the time limit.
    fake = FakeDdb(folder / "ddb", baud=9600)
    assert is_read(read(fake, timeout=0.3))
    fake.close()


@pytest.mark.parametrize("eats", [61, 101, 211])
def test_a_line_that_loses_what_ddb_prints_makes_it_neither_fault_nor_do_anything_else(
    folder: Path, eats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    sleepers = [
        f"{100100 + number}                   D       lab sx  0xfffff8000223a{number:03x}  sleeper {number}"
        for number in range(12)
    ]
    stacks = [
        line
        for number in range(12)
        for line in (
            "",
            f"Tracing command locker pid 21 tid {100100 + number} td 0xfffff80002430{number:03x}",
            "sched_switch() at sched_switch+0x492/frame 0xfffffe0011fe75f0",
            "mi_switch() at mi_switch+0xd2/frame 0xfffffe0011fe7620",
            "sleepq_wait() at sleepq_wait+0x2f/frame 0xfffffe0011fe7660",
            "_sx_xlock_hard() at _sx_xlock_hard+0x4dd/frame 0xfffffe0011fe76d0",
            "lab_sleep() at lab_sleep+0x82/frame 0xfffffe0011fe7720",
        )
    ]
    listing = [*PS.splitlines(), "   21     1     0     0  D       (threaded)                  locker", *sleepers]
    answers = {"ps": listing, "alltrace": ["", *TRACE.splitlines(), *stacks]}
    fake = FakeDdb(folder / "ddb", eats=eats, answers=answers)
    # How much is read is the line's matter.
    with contextlib.suppress(CutShort):
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    assert fake.violations == []
    assert any(command.startswith("show sleepq") for command in fake.commands)
    assert fake.lines == 20
    fake.close()


def test_a_letter_that_stands_there_twice_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    fake = FakeDdb(folder / "ddb", eats=29)
    with contextlib.suppress(DebuggerError):
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    # ddb only looks up what these name, and it may have been damaged when it was read.
    looked_up = re.compile(r"show (?:sleepq|turnstile) 0x[0-9a-f]+")
    assert {command for command in fake.commands if not looked_up.fullmatch(command)} <= KNOWN_COMMANDS
    assert fake.violations == []
    fake.close()


# Nothing that a lost or doubled letter makes of one of these is another of them.
KNOWN_COMMANDS = {
    *("print 0x0db0", "print $lines", "set $lines=0x30", "set $lines=0x14", "x/s version", "ps", "alltrace"),
    *("show allpcpu", "show alllocks", "show allchains", "show lockedvnods", "show threads"),
    *("show lockchain 0x100051", "show sleepchain 0x100051"),
}


def test_a_login_prompt_is_told_however_often_it_was_asked() -> None:
    console = Console(None, 1)  # type: ignore[arg-type]
    console._heard += b"db> \r\nlogin: gw\b \b\b \bqgh\b \b\b \b\b \bgt\b \b\b \b"
    assert "login prompt" in console._what_answers()


@pytest.mark.parametrize("after", [3, 5, 9])
def test_a_kernel_that_goes_on_is_left_alone(folder: Path, after: int) -> None:
    fake = FakeDdb(folder / "ddb", leaves_after=after)
    begin = time.monotonic()
    with pytest.raises(DebuggerError, match=r"left ddb|login prompt"):
        attach(Options("ddb", fake.place, timeout=60), lambda line: None, quiet)
    # No line was entered at the login prompt, and its answer tells at once.
    assert fake.entered == []
    assert time.monotonic() - begin < 20
    fake.close()


@pytest.mark.parametrize(
    "text",
    [
        "\rAutoboot in 7 seconds. [Space] to pause ",
        "Autoboot in 9 seconds, hit [Enter] to boot or any other key to stop",
        "Hit [Enter] to boot immediately, or any other key for command prompt.\r\nBooting [/boot/kernel/kernel] in 9 seconds... ",
        "Automatic reboot in 15 seconds - press a key on the console to abort\r\n",
        "The operating system has halted.\r\nPlease press any key to reboot.\r\n",
    ],
)
def test_nothing_is_typed_where_any_key_counts(folder: Path, text: str) -> None:
    typed: list[str] = []

    class Waiting(Silence):
        def converse(self) -> None:
            self._print(text)
            while True:
                typed.append(self._key())

    fake = Waiting(folder / "loader")
    with pytest.raises(DebuggerError, match="nothing was typed"):
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    assert typed == []
    fake.close()


def test_no_key_that_is_typed_means_anything_elsewhere(folder: Path) -> None:
    """What is typed and never taken back is only what the gate lets pass."""
    sent: list[bytes] = []

    class Wire:
        def send(self, data: bytes) -> None:
            sent.append(data)

        def receive(self, seconds: float) -> bytes:
            time.sleep(min(seconds, 0.01))
            return b""

        def close(self) -> None:
            pass

    with pytest.raises(DebuggerError):
        Console(Wire(), 3).greet()
    keys = set(b"".join(sent))
    # The pager's and the boot menu's own keys (db_pager; stand/lua/menu.lua, stand/forth/menu.rc), the ways into
    # the debugger (CR ~ ^B, ^P, ^R; sys/kern/subr_kdb.c), and what ends or stops a program at a terminal.
    assert not keys & set(b"ejd fxX\r\n" + b"bBsSrRkKoOaAmMvVdDcCeElLzZ0123456789\x1b" + b"~\x02\x10\x12" + b"\x03\x04\x1a\x1c\x13")
    assert keys <= set(b"q\x15gwht")
