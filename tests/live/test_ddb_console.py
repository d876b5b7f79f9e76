"""Driving a db> prompt: the pager, commands that never end, and what must never be typed."""

from __future__ import annotations

import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError
from hangdiag.live.attach import Interrupted, attach
from hangdiag.live.ddb_channel import open_channel
from hangdiag.live.ddb_console import Console, _restore
from hangdiag.live.options import Options

from .fake_ddb import FakeDdb


def quiet(step: str, done: int, total: int) -> None:
    """No progress."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A Unix socket's path is short.
    return tmp_path


@pytest.fixture(params=[False, True], ids=["prompt", "pager"])
def console(request: pytest.FixtureRequest, folder: Path) -> Iterator[FakeDdb]:
    fake = FakeDdb(folder / "ddb", pager_waits=request.param)
    yield fake
    fake.close()


def test_endless_commands_are_bounded_and_the_answers_read(console: FakeDdb) -> None:
    begin = time.monotonic()
    captures = attach(Options("ddb", console.place, timeout=10), lambda line: None, quiet)
    assert time.monotonic() - begin < 10
    assert console.violations == []
    assert console.commands.count("show allchains") == 1
    assert "show lockchain 100051" in console.commands
    assert "show sleepq 0xfffffe0000723110" in console.commands
    # As found: the page length is back.
    assert console.lines == 24
    assert console.commands[-1] == "set $lines=0x18"
    threads = {thread.tid: thread for capture in captures for thread in capture.threads}
    assert threads[100043].wmesg == "vmrndv"
    assert threads[100043].wchan == 0xFFFFFE0000723110
    assert [frame.function for frame in threads[100045].frames][4] == "vcpu_set_state_locked"


def test_interrupted_in_a_pager_it_leaves_the_prompt_as_it_was(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")

    def progress(step: str, done: int, total: int) -> None:
        if step == "alltrace":
            # show allchains was the last command; now as if Ctrl-C came while the next one prints.
            raise Interrupted("interrupted by SIGINT")

    with pytest.raises(Interrupted):
        attach(Options("ddb", fake.place, timeout=10), lambda line: None, progress)
    assert fake.lines == 24
    assert fake.violations == []
    fake.close()


def test_keys_are_not_typed_into_a_pager(folder: Path) -> None:
    fake = FakeDdb(folder / "ddb")
    console = Console(open_channel(fake.place, 5), 5)
    console.command("print 0xdb0")
    console.lines, console.page = "0x18", "0x18"
    # An endless command is under way and its pager waits.
    console._type("show allchains")
    while not console.transcript.endswith(b"--More--"):
        console.transcript += console.channel.receive(1)
    fake.lines = 7
    _restore(console)
    assert fake.lines == 24
    assert fake.violations == []
    console.channel.close()
    fake.close()


def test_no_prompt_answers(folder: Path) -> None:
    fake = FakeDdb(folder / "mute", mute=True)
    begin = time.monotonic()
    with pytest.raises(DebuggerError, match="break into ddb"):
        attach(Options("ddb", fake.place, timeout=2), lambda line: None, quiet)
    assert time.monotonic() - begin < 10
    fake.close()


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


def test_a_console_over_tcp(folder: Path) -> None:
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
    place = f"127.0.0.1:{listener.getsockname()[1]}"
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
