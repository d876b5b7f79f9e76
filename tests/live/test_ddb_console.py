"""Driving a db> prompt: the pager, commands that never end, and what must never be typed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import select
import signal
import socket
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError, UsageError
from hangdiag.live import ddb_console
from hangdiag.live.attach import CutShort, Interrupted, attach
from hangdiag.live.channel import open_channel
from hangdiag.live.ddb_console import Console
from hangdiag.live.options import Options
from hangdiag.model import Thread
from hangdiag.savefile import load

from .conftest import command_line, start_command_line, wait_until
from .fake_ddb import PS, TRACE, WAITING, FakeDdb, FakeTerminal, Hangup
from .fake_ddb import Console as Silence

pytestmark = pytest.mark.live


def quiet(step: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A Unix socket's path is short.
    return tmp_path


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # Listens for a countdown no longer than it takes here; commands that are programs of their own listen in full.
    monkeypatch.setattr(ddb_console, "_LISTENING", 0.05)


@pytest.fixture(
    params=[
        *(("prompt", release) for release in WAITING),
        *(("paging", release) for release in WAITING),
        *(("printing", release) for release in WAITING),
        *(("pager", 13), ("half", 13), ("script", 14), ("replayed", 13)),
    ],
    ids=lambda found: f"{found[0]}-{found[1]}",
)
def console(request: pytest.FixtureRequest, folder: Path) -> Iterator[FakeDdb]:
    found, release = request.param
    fake = FakeDdb(folder / "ddb", found=found, release=release)
    yield fake
    fake.close()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for a tenth of what it usually does: here no line is slow."""
    for name in ("_QUIET", "_QUIETEST", "_ECHO_TIMEOUT"):
        monkeypatch.setattr(ddb_console, name, getattr(ddb_console, name) / 10)


def read(fake: FakeDdb, timeout: float = 20) -> dict[int | None, Thread]:
    """The threads by tid that asking ``fake`` finds; it must be left as it was found."""
    lines = fake.lines
    captures = attach(Options("ddb", fake.place, timeout=timeout), lambda line: None, quiet)
    assert fake.violations == []
    assert wait_until(lambda: fake.at_prompt)
    assert fake.lines == lines
    # Return would repeat it.
    assert fake.commands[-1] == "print $lines"
    return {thread.tid: thread for capture in captures for thread in capture.threads}


def is_read(threads: dict[int | None, Thread]) -> bool:
    return (
        threads[100043].wmesg == "vmrndv"
        and threads[100043].wchan == 0xFFFFFE0000723110
        and [frame.function for frame in threads[100045].frames][4] == "vcpu_set_state_locked"
    )


def test_endless_commands_are_bounded_and_the_answers_read(console: FakeDdb) -> None:
    assert is_read(read(console))
    assert console.commands.count("show allchains") == 1
    # The chain that went around has shown both of its threads.
    assert not any(command.startswith("show lockchain") for command in console.commands)
    assert "show turnstile 0xfffff80002235700" in console.commands
    assert "show sleepq 0xfffffe0000723110" in console.commands


def test_the_most_telling_commands_come_first(console: FakeDdb) -> None:
    read(console)
    order = [
        console.commands.index(command) for command in ("ps", "alltrace", "show allpcpu", "show allchains")
    ]
    assert order == sorted(order)


def test_chains_are_followed_where_all_of_them_cannot_be_shown(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", unknown=("show allchains",))
    read(fake)
    assert "show lockchain 0x100051" in fake.commands
    fake.close()


def test_the_chain_of_a_thread_that_was_shown_once_is_followed_once_ddb_knows_it(folder: Path) -> None:
    row = "   30     1     1     0  D       lab sx  0xfffff8000223a000  solo"
    stack = """
Tracing command solo pid 30 tid 100077 td 0xfffff80002430000
sched_switch() at sched_switch+0x492/frame 0xfffffe0011fe75f0
mi_switch() at mi_switch+0xd2/frame 0xfffffe0011fe7620
sleepq_wait() at sleepq_wait+0x2f/frame 0xfffffe0011fe7660
_sx_xlock_hard() at _sx_xlock_hard+0x4dd/frame 0xfffffe0011fe76d0
lab_sleep() at lab_sleep+0x82/frame 0xfffffe0011fe7720"""
    answers = {"ps": [*PS.splitlines(), row], "alltrace": ["", *TRACE.splitlines(), *stack.splitlines()]}
    fake = FakeDdb(folder / "ddb", unknown=("show allchains",), answers=answers)
    threads = read(fake)
    assert fake.commands.index("bt 100077") < fake.commands.index("show lockchain 0x100077")
    assert "bt 100051" not in fake.commands
    assert [frame.function for frame in threads[100077].frames][3] == "_sx_xlock_hard"
    fake.close()


@pytest.mark.parametrize("radix", [8, 10, 16])
def test_whatever_base_ddb_reads_numbers_in(folder: Path, radix: int) -> None:
    fake = FakeDdb(folder / "ddb", radix=radix, lines=20, unknown=("show allchains", "alltrace"))
    assert is_read(read(fake))
    assert "show lockchain 0x100051" in fake.commands
    fake.close()


def test_stacks_one_by_one_where_alltrace_is_not_known(folder: Path) -> None:
    # ps does not tell the tid of a process with one thread.
    threads = ["  100002 (0xfffff80002411000) (stack 0xfffffe0011fdd000)  sched_switch() at sched_switch+0x492"]
    fake = FakeDdb(folder / "ddb", unknown=("alltrace",), answers={"show threads": threads})
    assert is_read(read(fake))
    assert "bt 100002" in fake.commands
    assert fake.commands.index("bt 100043") < fake.commands.index("bt 100051")
    fake.close()


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


def test_a_page_length_of_zero_is_put_back(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", lines=0)
    assert is_read(read(fake))
    fake.close()


def test_what_never_ends_and_cannot_be_quit_is_given_up(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", stubborn=True)
    with pytest.raises(CutShort, match="without an end") as caught:
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    assert is_read({thread.tid: thread for capture in caught.value.captures for thread in capture.threads})
    fake.close()


@pytest.mark.parametrize("way", ["dies_after", "falls_silent_after"])
def test_what_was_read_before_the_console_went_is_kept(folder: Path, way: str) -> None:
    fake = FakeDdb(folder / "ddb", **{way: 50})
    with pytest.raises(CutShort) as caught:
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    assert caught.value.exit_code == 4
    assert is_read({thread.tid: thread for capture in caught.value.captures for thread in capture.threads})
    fake.close()


def test_command_line_to_saved_capture_and_back(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")
    saved = folder / "saved.json"
    live = command_line("attach", "--ddb", fake.place, "--save", str(saved), "--format", "json")
    assert live.returncode == 0, live.stderr
    again = command_line("analyze", str(saved), "--format", "json")
    assert again.returncode == 0, again.stderr
    first, second = json.loads(live.stdout), json.loads(again.stdout)
    assert first["findings"] == second["findings"]
    assert first["threads"] == second["threads"]
    assert {100043, 100045} <= {thread["tid"] for thread in first["threads"]}
    fake.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_ddb_at_its_prompt(folder: Path, number: signal.Signals) -> None:
    # Slow enough that the signal comes in the middle of the answer.
    fake = FakeDdb(folder / "ddb", baud=9600)
    command = start_command_line("attach", "--ddb", fake.place)
    assert wait_until(lambda: fake.commands[-1:] == ["alltrace"], 60)
    command.send_signal(number)
    output, errors = command.communicate(timeout=60)
    assert command.returncode == 4
    assert output == ""
    assert errors == f"hangdiag: interrupted by {number.name}; attach again\n"
    assert fake.lines == 20
    assert wait_until(lambda: fake.at_prompt)
    assert fake.violations == []
    fake.close()


def test_closed_output_still_leaves_ddb_at_its_prompt_and_a_saved_capture(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")
    saved = folder / "saved.json"
    command = start_command_line("attach", "--ddb", fake.place, "--save", str(saved))
    assert command.stdout is not None
    command.stdout.close()
    command.stdout = None
    _, errors = command.communicate(timeout=60)
    assert "Traceback" not in errors
    assert is_read({thread.tid: thread for thread in load(saved.read_text()).threads})
    assert fake.lines == 20
    assert wait_until(lambda: fake.at_prompt)
    fake.close()


def test_command_line_reports_what_came_before_the_console_went(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", dies_after=50)
    saved = folder / "saved.json"
    done = command_line("attach", "--ddb", fake.place, "--save", str(saved), "--format", "json")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "gone away" in done.stderr
    assert json.loads(done.stdout)["threads"]
    assert saved.exists()
    fake.close()


@pytest.mark.parametrize(
    ("prompt", "answer", "words"),
    [
        ("login: ", "Password:", "login prompt"),
        ("root@host:~ # ", "print: not found\r\n", "not ddb"),
        ("OK ", "unknown command\r\n", "not ddb"),
    ],
)
def test_a_console_without_ddb_is_left_alone(folder: Path, prompt: str, answer: str, words: str) -> None:
    fake = FakeTerminal(folder / "tty", prompt, answer)
    with pytest.raises(DebuggerError, match="break into ddb"):
        attach(Options("ddb", fake.place, timeout=3), lambda line: None, quiet)
    # Not even the return key was pressed.
    assert fake.entered == []
    fake.close()


def test_interrupted_in_a_pager_it_leaves_the_prompt_as_it_was(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")

    def progress(step: str, done: int, total: int) -> None:
        if step == "show lockedvnods":
            # As if Ctrl-C came right after the endless command.
            raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        attach(Options("ddb", fake.place, timeout=10), lambda line: None, progress)
    assert fake.lines == 20
    assert wait_until(lambda: fake.at_prompt)
    assert fake.violations == []
    fake.close()


def test_keys_are_not_typed_into_a_pager(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")
    console = Console(open_channel(fake.place, 5), 5)
    console.greet()

    def interrupt(page: bytes) -> bool:
        raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        console.command("show allchains", interrupt)
    console.restore()
    assert fake.lines == 20
    assert fake.violations == []
    console.channel.close()
    fake.close()


def test_no_prompt_answers(folder: Path) -> None:
    fake = Silence(folder / "mute")
    with pytest.raises(DebuggerError, match=r"nothing answers.*break into ddb"):
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    fake.close()


@pytest.mark.parametrize(
    "place",
    [
        *("nowhere", "unix", "/dev/ttyU0@fast", "x:y", "", "x:0", "127.0.0.1:99999"),
        *("/dev/ttyU0@0", "/dev/ttyU0@²", "/dev/ttyU0@9600@9600", "/dev/ttyU0@" + "9" * 30),
    ],
)
def test_odd_places(place: str) -> None:
    with pytest.raises(UsageError):
        attach(Options("ddb", place, timeout=2), lambda line: None, quiet)


def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(DebuggerError, match="cannot be opened"):
        attach(Options("ddb", f"unix:{folder}/absent", timeout=2), lambda line: None, quiet)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/dev/absent@9600", "No such file or directory"),
        ("/dev/null", "Inappropriate ioctl for device"),
        ("foo://x", "protocol 'foo' not known"),
        ("loop://?x=1", "cannot be opened"),
        ("socket://127.0.0.1:1", "Connection refused"),
    ],
)
def test_what_pyserial_cannot_open_is_said_in_its_systems_words(place: str, reason: str) -> None:
    pytest.importorskip("serial")
    with pytest.raises(DebuggerError, match=re.escape(reason)) as caught:
        attach(Options("ddb", place, timeout=2), lambda line: None, quiet)
    assert "((" not in str(caught.value)


def test_a_console_that_hangs_up(folder: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(4)
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(DebuggerError):
        attach(Options("ddb", place, timeout=3), lambda line: None, quiet)
    thread.join()
    listener.close()


@pytest.mark.parametrize("scheme", ["", "socket://"])
def test_a_console_over_tcp(folder: Path, scheme: str) -> None:
    pytest.importorskip("serial")
    fake = FakeDdb(folder / "ddb")
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        client, _ = listener.accept()
        with client, socket.socket(socket.AF_UNIX) as inner:
            inner.connect(fake.place.removeprefix("unix:"))
            other = threading.Thread(target=_pump, args=(inner, client), daemon=True)
            other.start()
            _pump(client, inner)

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    place = f"{scheme}127.0.0.1:{listener.getsockname()[1]}"
    captures = attach(Options("ddb", place, timeout=10), lambda line: None, quiet)
    assert any(thread.tid == 100043 for capture in captures for thread in capture.threads)
    assert fake.violations == []
    listener.close()
    fake.close()


def test_a_console_on_a_serial_port(folder: Path) -> None:
    pytest.importorskip("serial")
    fake = FakeDdb(folder / "ddb")
    master, slave = pty.openpty()
    tty.setraw(slave)
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(fake.place.removeprefix("unix:"))
    done = threading.Event()

    def relay() -> None:
        while not done.is_set():
            readable, _, _ = select.select([master, wire], [], [], 0.1)
            if master in readable:
                wire.sendall(os.read(master, 4096))
            if wire in readable:
                os.write(master, wire.recv(4096))

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    captures = attach(Options("ddb", f"{os.ttyname(slave)}@115200", timeout=10), lambda line: None, quiet)
    assert any(thread.tid == 100043 for capture in captures for thread in capture.threads)
    assert fake.violations == []
    done.set()
    thread.join()
    wire.close()
    fake.close()
    os.close(master)
    os.close(slave)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while True:
        try:
            data = source.recv(4096)
            if not data:
                sink.shutdown(socket.SHUT_RDWR)
                return
            sink.sendall(data)
        except OSError:
            return


@pytest.mark.parametrize("release", WAITING)
def test_what_follows_a_cycle_is_quit_in_every_release(folder: Path, release: int) -> None:
    fake = FakeDdb(folder / "ddb", release=release, unknown=("show allchains",))
    read(fake)
    assert "show lockchain 0x100051" in fake.commands
    fake.close()


@pytest.mark.parametrize(("command", "text"), [("ps", PS), ("alltrace", TRACE)])
def test_lists_that_go_around_are_quit_and_said_to_be_broken(folder: Path, command: str, text: str) -> None:
    fake = FakeDdb(folder / "ddb", answers={command: itertools.cycle(text.splitlines())})
    captures = attach(Options("ddb", fake.place, timeout=20), lambda line: None, quiet)
    assert is_read({thread.tid: thread for capture in captures for thread in capture.threads})
    assert captures[-1].host.skipped == (f"{command}: goes around in a list that is broken",)
    assert captures[-1].is_abridged
    assert fake.violations == []
    fake.close()


def test_where_the_page_length_cannot_be_told_nothing_endless_is_asked(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", answers={"print $lines": ["hmm"]})
    captures = attach(Options("ddb", fake.place, timeout=20), lambda line: None, quiet)
    assert not any("chain" in command for command in fake.commands)
    assert any("may never end" in note for note in captures[-1].host.skipped)
    fake.close()


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


@pytest.mark.parametrize("silent", [False, True])
def test_what_an_answer_had_brought_before_the_console_went_is_kept(folder: Path, silent: bool) -> None:
    def broken() -> Iterator[str]:
        # In the middle of alltrace: behind the first thread's stack, within the second's.
        yield from ("", *TRACE.splitlines()[:14])
        if silent:
            Silence.converse(fake)
        raise Hangup

    fake = FakeDdb(folder / "ddb", answers={"alltrace": broken()})
    with pytest.raises(CutShort) as caught:
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    capture = caught.value.captures[-1]
    threads = {thread.tid: thread for thread in capture.threads}
    assert [frame.function for frame in threads[100043].frames][4] == "vm_handle_rendezvous"
    # The others may be missing, so nothing that needs all of them is proven.
    assert capture.is_abridged
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ddb_is_left_does_not_disturb_it(folder: Path, number: signal.Signals) -> None:
    fake = FakeDdb(folder / "ddb", baud=19200)
    command = start_command_line("attach", "--ddb", fake.place)
    # Putting the page length back has begun.
    assert wait_until(lambda: "set $lines=0x14" in fake.commands, 60)
    command.send_signal(number)
    command.communicate(timeout=60)
    assert fake.lines == 20
    assert wait_until(lambda: fake.at_prompt)
    assert fake.commands[-1] == "print $lines"
    fake.close()
