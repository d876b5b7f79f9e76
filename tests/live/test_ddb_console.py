"""Driving a db> prompt: the pager, commands that never end, and what must never be typed."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
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
from hangdiag.live.channel import open_channel
from hangdiag.live.ddb_console import Console
from hangdiag.live.options import Options
from hangdiag.savefile import load

from .conftest import command_line, start_command_line, wait_until
from .ddb_reading import is_read, quiet, read
from .fake_ddb import PS, TRACE, WAITING, FakeDdb, FakeTerminal, Hangup
from .fake_ddb import Console as Silence

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("soon")]


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
