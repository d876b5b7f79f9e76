"""The ways in and out: a core, a stub, an open session; and that the target is left as it was found."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError
from hangdiag.live.attach import attach
from hangdiag.live.options import Options
from hangdiag.live.release import release
from hangdiag.model import Capture
from hangdiag.savefile import load

from .conftest import CLI, command_line, gdbserver, need, running, state_of, wait_until
from .stub import Stub

pytestmark = pytest.mark.live


def quiet(step: str, done: int, total: int) -> None:
    """No progress."""


def read(options: Options, heard: list[str] | None = None) -> tuple[Capture, ...]:
    return attach(options, (heard if heard is not None else []).append, quiet)


def is_the_deadlock(capture: Capture) -> bool:
    return bool(capture.vms) and capture.vms[0].done == {0, 1, 3} and len(capture.threads) == 10


@contextlib.contextmanager
def stub(pid: int, **settings: object) -> Iterator[Stub]:
    need("gdb")
    server = Stub(pid, **settings)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("debugger", ["gdb", "kgdb"])
def test_core(
    build: Callable[[str], Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    debugger: str,
) -> None:
    need("gdb")
    program = build("pointers")
    gdb = request.getfixturevalue("kgdb") if debugger == "kgdb" else "gdb"
    (tmp_path / "the dumps").mkdir()
    core = tmp_path / "the dumps" / "vmcore.0"
    monkeypatch.chdir(core.parent)
    with running(program, "deadlock") as process:
        subprocess.run(
            ["gdb", "-nx", "-batch", "-p", str(process.pid), "-ex", f"generate-core-file {core}"],
            capture_output=True,
            timeout=60,
            check=False,
        )
    if not core.exists():
        pytest.skip("gdb cannot take a core here")
    place = core.name if debugger == "kgdb" else str(core)
    (capture,) = read(Options("core", place, symbols=str(program), gdb=gdb, timeout=20))
    assert is_the_deadlock(capture)


@contextlib.contextmanager
def open_session(program: Path, pid: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A gdb in a terminal of its own, as a user would have it open; yields the terminal and the process."""
    need("gdb")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["gdb", "-nx", "-q", "-p", str(pid), str(program)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb", "DEBUGINFOD_URLS": ""},
    )
    os.close(slave)
    try:
        if b"(gdb)" not in terminal(master, 20):
            pytest.skip("gdb cannot attach here")
        yield master, process
    finally:
        process.kill()
        process.wait()
        os.close(master)


def terminal(descriptor: int, seconds: float, until: bytes = b"(gdb) ") -> bytes:
    """What the terminal shows up to ``until``, or until ``seconds`` have passed."""
    heard = b""
    end = time.monotonic() + seconds
    while time.monotonic() < end and until not in heard:
        if select.select([descriptor], [], [], 0.2)[0]:
            heard += os.read(descriptor, 1 << 16)
    return heard


def typed(descriptor: int, line: str, seconds: float = 20) -> str:
    """What gdb prints in its terminal for ``line``."""
    number = time.monotonic_ns()
    # The terminal's echo of it does not hold the mark.
    os.write(descriptor, f"{line}\necho \\074{number}>\n".encode())
    return terminal(descriptor, seconds, f"<{number}>".encode()).decode("utf-8", "replace")


SETTINGS = (
    *("width 77", "height 22", "pagination on", "language fortran", "print pretty on", "output-radix 16"),
    *("confirm on", "backtrace limit 9", "osabi none", "may-call-functions on", "print elements 3"),
    "trace-commands on",
)


def test_ui_joins_an_open_session_and_leaves_it_alone(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, open_session(program, process.pid) as (screen, debugger):
        assert "1201517" in typed(screen, "print osreldate")
        for setting in SETTINGS:
            typed(screen, f"set {setting}")
        typed(screen, "frame 1")
        before = found_in(screen)

        def say(line: str) -> None:
            assert "new-ui mi3 /dev/" in line
            os.write(screen, line.partition("  ")[2].encode() + b"\n")

        (capture,) = attach(Options("ui", timeout=20), say, quiet)
        assert is_the_deadlock(capture)
        assert {"vm_handle_rendezvous", "fork_trampoline"} <= {
            frame.function for thread in capture.threads for frame in thread.frames
        }
        typed(screen, "echo")
        # The user's session goes on where it was: same history, same target, same frame, same settings.
        assert found_in(screen) == before
        typed(screen, "set language c")
        typed(screen, "set output-radix 10")
        assert "1201518" in typed(screen, "print $1 + 1")
        assert debugger.poll() is None
        assert state_of(process.pid) in "tT"


def found_in(screen: int) -> list[str]:
    """The settings and the selection of the session on the terminal."""
    questions = [f"show {setting.rpartition(' ')[0]}" for setting in SETTINGS] + ["frame", "info threads"]
    found = []
    for question in questions:
        answer = re.sub(r"<\d+>|\(gdb\) ", "", typed(screen, question))
        # Without what was typed, which the terminal shows once or twice, and the prompt, whole or in part before either.
        lines = [line for line in answer.split("\r\n") if question not in line and "echo " not in line]
        found += [line for line in lines if line.strip() not in "(gdb)"]
    return found


@pytest.mark.parametrize("prefix", ["", "unix:"])
def test_a_stub_behind_a_unix_socket(build: Callable[[str], Path], tmp_path: Path, prefix: str) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid, path=tmp_path / "stub") as server:
        (capture,) = read(
            Options("remote", prefix + server.place, symbols=str(program), timeout=10, stop=True)
        )
        assert is_the_deadlock(capture)
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []


def test_a_machine_behind_a_unix_socket_runs_on_when_the_debugger_dies(
    build: Callable[[str], Path], tmp_path: Path
) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid, path=tmp_path / "stub") as server:
        assert release(server.place, is_machine=False)
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.packets == ["qfThreadInfo", "qThreadExtraInfo,1", "D"]


def test_a_running_machine_is_not_stopped_without_leave(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid) as server:
        with pytest.raises(DebuggerError, match="--stop"):
            read(Options("remote", server.place, symbols=str(program), timeout=10))
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []


def test_a_running_machine_is_stopped_with_leave_and_resumed(build: Callable[[str], Path]) -> None:
    program = build("array")
    heard: list[str] = []
    with running(program, "deadlock") as process, stub(process.pid) as server:
        options = Options("remote", server.place, symbols=str(program), timeout=10, stop=True)
        (capture,) = read(options, heard)
        assert is_the_deadlock(capture)
        assert any("resumed" in line for line in heard)
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []


def saved_registers(program: Path, pid: int, symbol: str) -> tuple[int, int, int]:
    """rip, rsp and rbp of the struct pcb called ``symbol`` in the running model."""
    listing = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout
    (address,) = (int(line.split()[0], 16) for line in listing.splitlines() if line.split()[-1] == symbol)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        words = struct.unpack("<8Q", memory.read(64))
    return words[7], words[5], words[4]


@pytest.mark.parametrize("in_order", [True, False])
def test_running_threads_have_their_cpus_registers(build: Callable[[str], Path], in_order: bool) -> None:
    need("nm")
    program = build("array")
    heard: list[str] = []
    with running(program, "healthy") as process:
        saved = [saved_registers(program, process.pid, symbol) for symbol in ("stoppcbs", "kdb_pcb")]
        # A little further than the kernel's own stop left them, to tell one source from the other.
        moved = [(rip + 4, rsp, rbp) for rip, rsp, rbp in saved]
        registers = dict(enumerate(moved if in_order else reversed(moved), start=1))
        with stub(process.pid, registers=registers) as server:
            # The model's kernel sits in its debugger: nothing runs that --stop would have to permit.
            (capture,) = read(Options("remote", server.place, symbols=str(program), timeout=10), heard)
            assert wait_until(lambda: state_of(process.pid) == "S")
    threads = {thread.name: thread for thread in capture.threads}
    # Known by its stack, whatever number the stub gives to its CPU.
    entered, stopped = threads["idle: cpu1"].frames, threads["idle: cpu0"].frames
    assert (entered[0].function, entered[0].offset) == ("kdb_enter", 20)
    # Stopped on a stack for NMIs: known by its number, or else by what the stop left in memory.
    assert (stopped[0].function, stopped[0].offset) == ("cpustop_handler", 20 if in_order else 16)
    assert entered[-1].function == stopped[-1].function == "fork_trampoline"
    assert any("sits in its debugger" in line for line in heard)


def test_samples_let_the_machine_run_in_between(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid) as server:
        options = Options(
            "remote", server.place, symbols=str(program), timeout=10, stop=True, samples=2, interval=0.3
        )
        captures = read(options)
        assert len(captures) == 2
        assert server.connections == 2
        assert dict(captures[-1].host.facts)["moved"] == ""
        assert wait_until(lambda: state_of(process.pid) == "S")


def test_freebsds_own_stub_is_hung_up_on_not_continued(build: Callable[[str], Path]) -> None:
    program = build("array")
    with (
        running(program, "deadlock") as process,
        stub(process.pid, kind="kernel", tids=tuple(range(100000, 100010))) as server,
    ):
        (capture,) = read(Options("remote", server.place, symbols=str(program), timeout=10))
        assert is_the_deadlock(capture)
        # Detach and kill both continue that kernel (sys/gdb/gdb_main.c).
        assert server.changes == []
        assert "D" not in server.packets


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_signals_leave_the_machine_running(build: Callable[[str], Path], number: signal.Signals) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid, stalls_after=44, recovers=True) as server:
        root = Path(__file__).resolve().parents[2]
        command = subprocess.Popen(
            [
                *CLI,
                "attach",
                "--remote",
                server.place,
                "--symbols",
                str(program),
                "--stop",
                "--timeout",
                "60",
            ],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert wait_until(lambda: len(server.packets) > 44, 20)
        command.send_signal(number)
        _, errors = command.communicate(timeout=30)
        assert command.returncode == 4
        assert number.name in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []


def test_a_debugger_that_dies_leaves_the_machine_running(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid, stalls_after=44, recovers=True) as server:

        def kill_debugger() -> None:
            wait_until(lambda: len(server.packets) > 44, 20)
            found = subprocess.run(
                ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())],
                capture_output=True,
                text=True,
                check=False,
            )
            for line in found.stdout.splitlines():
                if "--interpreter=" in line:
                    os.kill(int(line.split()[0]), signal.SIGKILL)

        killer = threading.Thread(target=kill_debugger)
        killer.start()
        with pytest.raises(DebuggerError, match="gone away"):
            read(Options("remote", server.place, symbols=str(program), timeout=20, stop=True))
        killer.join()
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.packets[-1] == "D"


def test_a_target_that_goes_away_in_mid_read(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid, dies_after=44) as server:
        begin = time.monotonic()
        with pytest.raises(DebuggerError):
            read(Options("remote", server.place, symbols=str(program), timeout=5, stop=True))
        assert time.monotonic() - begin < 30


def test_command_line_to_saved_capture_and_back(build: Callable[[str], Path], tmp_path: Path) -> None:
    program = build("pointers")
    saved = tmp_path / "saved.json"
    with running(program, "deadlock") as process, gdbserver(process.pid) as place:
        live = command_line(
            "attach", "--remote", place, "--symbols", str(program), "--save", str(saved), "--format", "json"
        )
    assert live.returncode == 0, live.stderr
    assert is_the_deadlock(load(saved.read_text()))
    again = command_line("analyze", str(saved), "--format", "json")
    assert again.returncode == 0, again.stderr
    first, second = json.loads(live.stdout), json.loads(again.stdout)
    assert first["findings"][0]["verdict"] == "deadlock"
    assert first["findings"][0]["certainty"] == "proven"
    assert first["findings"] == second["findings"]
    assert first["threads"] == second["threads"]


def test_what_was_skipped_is_said(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "corrupted") as process, gdbserver(process.pid) as place:
        done = command_line("attach", "--remote", place, "--symbols", str(program), "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"][0]["verdict"] == "deadlock"
    notes = done.stderr.splitlines()
    # gdbserver is none of the stubs whose ways are known: what it holds may stand still.
    (other,) = (line for line in notes if not line.startswith("hangdiag: skipped: "))
    assert "runs again" in other
    assert any("runs in a circle" in line for line in notes)


def test_closed_output_still_leaves_the_target(build: Callable[[str], Path]) -> None:
    program = build("array")
    root = Path(__file__).resolve().parents[2]
    with running(program, "deadlock") as process, stub(process.pid) as server:
        command = subprocess.Popen(
            [*CLI, "attach", "--remote", server.place, "--symbols", str(program), "--stop"],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert command.stdout is not None
        command.stdout.close()
        command.wait(timeout=30)
        assert command.stderr is not None
        assert b"Traceback" not in command.stderr.read()
        command.stderr.close()
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []


def test_kernel_by_kgdb(build: Callable[[str], Path], kgdb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = build("pointers")
    with running(program, "deadlock") as process:
        monkeypatch.setenv("MODEL_PID", str(process.pid))
        captures = read(Options("kernel", str(program), gdb=kgdb, timeout=20, samples=2, interval=0.1))
        assert [is_the_deadlock(capture) for capture in captures] == [True, True]
        assert dict(captures[-1].host.facts)["moved"] == ""
        assert process.poll() is None
        assert wait_until(lambda: state_of(process.pid) == "S")


def test_kgdb_is_not_asked_for_what_the_kernels_file_tells(
    build: Callable[[str], Path], kgdb: str, monkeypatch: pytest.MonkeyPatch, commands: list[str]
) -> None:
    program = build("pointers")
    with running(program, "deadlock") as process:
        monkeypatch.setenv("MODEL_PID", str(process.pid))
        (capture,) = read(Options("kernel", str(program), gdb=kgdb, timeout=20))
    assert is_the_deadlock(capture)
    # A debugger reads a compilation unit's debug information for each of them.
    assert not [command for command in commands if "&ticks" in command or "&tidhashtbl" in command]


def test_modules_are_not_looked_for_where_their_symbols_are_not(
    build: Callable[[str], Path], commands: list[str]
) -> None:
    program = build("pointers")
    with running(program, "deadlock") as process, stub(process.pid) as server:
        (capture,) = read(Options("remote", server.place, symbols=str(program), timeout=20, stop=True))
    assert is_the_deadlock(capture)
    # The list is a round trip each; only a walk that misses vmm or meets an unknown address needs it.
    assert not [command for command in commands if "&linker_files" in command]


def test_kgdb_runs_no_script_of_the_users(
    build: Callable[[str], Path], kgdb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "gdb").mkdir(parents=True)
    for name in (".gdbinit", ".gdbearlyinit", "config/gdb/gdbinit", "config/gdb/gdbearlyinit"):
        (tmp_path / name).write_text(f"set auto-load safe-path /\nshell touch {tmp_path}/ran\n")
    program = build("pointers")
    with running(program, "deadlock") as process:
        monkeypatch.setenv("MODEL_PID", str(process.pid))
        (capture,) = read(Options("kernel", str(program), gdb=kgdb, timeout=20))
    assert is_the_deadlock(capture)
    assert not (tmp_path / "ran").exists()


def test_kgdb_to_saved_capture_and_back(
    build: Callable[[str], Path], kgdb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = build("array")
    saved = tmp_path / "saved.json"
    with running(program, "deadlock") as process:
        monkeypatch.setenv("MODEL_PID", str(process.pid))
        live = command_line(
            *("attach", "--kernel", str(program), "--gdb", kgdb, "--save", str(saved), "--format", "json")
        )
        assert process.poll() is None
    assert live.returncode == 0, live.stderr
    again = command_line("analyze", str(saved), "--format", "json")
    first, second = json.loads(live.stdout), json.loads(again.stdout)
    assert first["findings"][0]["verdict"] == "deadlock"
    assert first["findings"] == second["findings"]
    assert first["threads"] == second["threads"]


def test_symbols_of_another_kernel_by_kgdb(
    build: Callable[[str], Path], kgdb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(build("array"), "deadlock") as process:
        monkeypatch.setenv("MODEL_PID", str(process.pid))
        with pytest.raises(DebuggerError, match="--symbols"):
            read(Options("kernel", str(build("other-version")), gdb=kgdb, timeout=20))
