"""Driving a db> prompt: the pager, commands that never end, and what must never be typed."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError, UsageError
from hangdiag.live.attach import CutShort, Interrupted, attach
from hangdiag.live.ddb_channel import open_channel
from hangdiag.live.ddb_console import Console
from hangdiag.live.options import Options
from hangdiag.model import Thread
from hangdiag.savefile import load

from .conftest import command_line, start_command_line, wait_until
from .fake_ddb import Console as Silence
from .fake_ddb import FakeDdb, FakeTerminal

pytestmark = pytest.mark.live


def quiet(step: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A Unix socket's path is short.
    return tmp_path


@pytest.fixture(params=["prompt", "pager", "paging", "half", "printing"])
def console(request: pytest.FixtureRequest, folder: Path) -> Iterator[FakeDdb]:
    fake = FakeDdb(folder / "ddb", found=request.param)
    yield fake
    fake.close()


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
    assert "show lockchain 100051" in fake.commands
    fake.close()


def test_stacks_one_by_one_where_alltrace_is_not_known(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb", unknown=("alltrace",))
    assert is_read(read(fake))
    assert fake.commands.index("bt 100043") < fake.commands.index("bt 100051")
    fake.close()


def test_a_line_that_loses_letters(folder: Path) -> None:
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


@pytest.mark.parametrize("place", ["nowhere", "unix", "/dev/ttyU0@fast", "x:y"])
def test_odd_places(place: str) -> None:
    with pytest.raises(UsageError):
        attach(Options("ddb", place, timeout=2), lambda line: None, quiet)


def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(DebuggerError, match="cannot be opened"):
        attach(Options("ddb", f"unix:{folder}/absent", timeout=2), lambda line: None, quiet)


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
