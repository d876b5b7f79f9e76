"""What goes wrong before or during attaching: one line, exit 4, target untouched."""

from __future__ import annotations

import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError, UsageError
from hangdiag.live import target
from hangdiag.live.attach import attach
from hangdiag.live.launch import start as launch
from hangdiag.live.mi import Session
from hangdiag.live.options import Options

from .conftest import command_line, free_port, gdbserver, need, running, state_of, wait_until
from .stub import Stub

pytestmark = pytest.mark.live


def failure(options: Options) -> str:
    with pytest.raises(DebuggerError) as caught:
        attach(options, lambda line: None, lambda step, done, total: None)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 4
    return message


def script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_no_such_debugger(build: Callable[[str], Path]) -> None:
    assert "--gdb" in failure(
        Options("remote", "127.0.0.1:1", symbols=str(build("array")), gdb="/absent/gdb")
    )


def test_a_debugger_that_dies_at_once(build: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("gdb", "kgdb"):
        gdb = script(tmp_path / name, "echo cannot load libfoo.so; exit 1\n")
        message = failure(Options("remote", "127.0.0.1:1", symbols=str(build("array")), gdb=gdb, timeout=5))
        assert "gone away" in message
        assert "libfoo" in message


def test_a_debugger_that_dies_without_a_word(build: Callable[[str], Path], tmp_path: Path) -> None:
    gdb = script(tmp_path / "kgdb", "read question; kill -9 $$\n")
    message = failure(Options("kernel", symbols=str(build("array")), gdb=gdb, timeout=5))
    assert "gone away" in message
    assert "last words" not in message


def test_a_debugger_that_says_nothing(build: Callable[[str], Path], tmp_path: Path) -> None:
    gdb = script(tmp_path / "gdb", "exec sleep 60\n")
    begin = time.monotonic()
    message = failure(Options("remote", "127.0.0.1:1", symbols=str(build("array")), gdb=gdb, timeout=1))
    assert "no answer in time" in message
    assert time.monotonic() - begin < 15


def test_a_debugger_that_talks_nonsense(build: Callable[[str], Path], tmp_path: Path) -> None:
    gdb = script(tmp_path / "gdb", "while :; do echo '1^done,memory=[{'; sleep 0.01; done\n")
    failure(Options("remote", "127.0.0.1:1", symbols=str(build("array")), gdb=gdb, timeout=2))


def test_refused_connection(build: Callable[[str], Path]) -> None:
    need("gdb")
    place = f"127.0.0.1:{free_port()}"
    message = failure(Options("remote", place, symbols=str(build("array")), timeout=5))
    assert place in message
    assert "refused" in message


def test_a_port_that_never_answers(build: Callable[[str], Path]) -> None:
    need("gdb")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin = time.monotonic()
        failure(
            Options(
                "remote", f"127.0.0.1:{listener.getsockname()[1]}", symbols=str(build("array")), timeout=1
            )
        )
        assert time.monotonic() - begin < 20


def test_no_symbols_given() -> None:
    need("gdb")
    assert "--symbols" in failure(Options("remote", "127.0.0.1:1"))


@pytest.mark.parametrize("content", [None, b"", b"not an ELF file", b"\x7fELF\x02\x01\x01" + b"\0" * 60])
def test_symbols_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    need("gdb")
    path = tmp_path / "kernel.full"
    if content is not None:
        path.write_bytes(content)
    assert "--symbols" in failure(Options("remote", "127.0.0.1:1", symbols=str(path), timeout=5))


def test_stripped_symbols(build: Callable[[str], Path], tmp_path: Path) -> None:
    need("gdb", "strip")
    program = build("array")
    for option, hint in (("-s", "allproc"), ("-g", "debug information")):
        stripped = tmp_path / f"kernel{option}"
        subprocess.run(["strip", option, "-o", str(stripped), str(program)], check=True, timeout=20)
        with running(program, "deadlock") as process, gdbserver(process.pid) as place:
            message = failure(Options("remote", place, symbols=str(stripped), timeout=10))
            assert hint in message
            assert "--symbols" in message


def test_symbols_of_another_kernel(build: Callable[[str], Path]) -> None:
    program, other = build("array"), build("other-version")
    with running(program, "deadlock") as process, gdbserver(process.pid) as place:
        message = failure(Options("remote", place, symbols=str(other), timeout=10))
    assert "14.0-RELEASE" in message
    assert "12.1-STABLE" in message


def test_symbols_of_another_build_of_the_same_version(build: Callable[[str], Path]) -> None:
    program, other = build("array"), build("other-build")
    with running(program, "deadlock") as process, gdbserver(process.pid) as place:
        assert "build ids differ" in failure(Options("remote", place, symbols=str(other), timeout=10))


def test_a_program_that_is_no_kernel(tmp_path: Path) -> None:
    need("gdb", "cc")
    source = tmp_path / "hello.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-g", "-o", str(tmp_path / "hello"), str(source)], check=True, timeout=20)
    assert "allproc" in failure(Options("remote", "127.0.0.1:1", symbols=str(tmp_path / "hello"), timeout=5))


def test_a_core_that_is_none(build: Callable[[str], Path], tmp_path: Path) -> None:
    need("gdb")
    core = tmp_path / "vmcore.0"
    core.write_bytes(b"minidump FreeBSD/amd64" + b"\0" * 4096)
    message = failure(Options("core", str(core), symbols=str(build("array")), gdb="gdb", timeout=10))
    assert "kgdb" in message


@pytest.mark.parametrize(
    ("begin", "expected"),
    [(b"\x28\xb5\x2f\xfd\x04", "unzstd"), (b"\x1f\x8b\x08", "gunzip"), (None, "No such file")],
)
def test_a_dump_that_no_debugger_opens(
    build: Callable[[str], Path], tmp_path: Path, begin: bytes | None, expected: str
) -> None:
    need("gdb")
    core = tmp_path / "vmcore.0.zst"
    if begin is not None:
        core.write_bytes(begin)
    assert expected in failure(Options("core", str(core), symbols=str(build("array")), gdb="gdb", timeout=10))


def test_a_dump_of_physical_memory_without_kgdb(build: Callable[[str], Path], tmp_path: Path) -> None:
    need("gdb")
    program = bytearray(build("array").read_bytes())
    core = tmp_path / "vmcore.0"
    # An ELF core with no kernel memory at the addresses where the symbols say it is.
    program[16], program[56], program[57] = 4, 0, 0
    core.write_bytes(program)
    assert "kgdb" in failure(Options("core", str(core), symbols=str(build("array")), gdb="gdb", timeout=10))


def test_the_kernel_is_found_by_its_symbols_alone(tmp_path: Path) -> None:
    for name in ("kernel.debug", "kernel.full"):
        path = tmp_path / name
        assert target._with_code(str(tmp_path / "kernel.debug")) == str(tmp_path / "kernel.debug")
        path.touch()
    assert target._with_code(str(tmp_path / "kernel.debug")) == str(tmp_path / "kernel.full")
    assert target._with_code("/boot/kernel/kernel") == "/boot/kernel/kernel"


def test_a_gdb_without_vmcore(build: Callable[[str], Path]) -> None:
    need("gdb")
    assert "kgdb" in failure(Options("kernel", str(build("array")), gdb="gdb", timeout=10))


def test_a_stub_that_stalls_is_left_in_time(build: Callable[[str], Path]) -> None:
    need("gdb")
    program = build("array")
    with running(program, "deadlock") as process:
        server = Stub(process.pid, stalls_after=44)
        begin = time.monotonic()
        failure(Options("remote", server.place, symbols=str(program), timeout=2, stop=True))
        assert time.monotonic() - begin < 40
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []
        server.close()


@pytest.mark.parametrize(
    "options",
    [Options("remote", "x:1", samples=0), Options("remote", "x:1", timeout=0), Options("nowhere")],
)
def test_options_that_make_no_sense(options: Options) -> None:
    with pytest.raises(UsageError):
        attach(options, lambda line: None, lambda step, done, total: None)


@pytest.mark.parametrize(
    "place",
    [
        *("|sh -c id", "localhost:1\n-exec-run", "a b:1", "$(id):1", "localhost", "x:123456", "x:65536", "x:0", "x:1 y:2"),
        *("/etc/passwd", "/dev/null@fast", "unix:x", "/tmp", "/tmp/a:b"),
    ],
)
def test_odd_places_never_reach_the_debugger(place: str) -> None:
    with pytest.raises(UsageError):
        attach(Options("remote", place), lambda line: None, lambda step, done, total: None)


def test_no_socket_there(tmp_path: Path) -> None:
    assert "No such file" in failure(Options("remote", f"unix:{tmp_path}/absent"))


def test_exit_code_and_one_line(build: Callable[[str], Path]) -> None:
    need("gdb")
    place = f"127.0.0.1:{free_port()}"
    done = command_line("attach", "--remote", place, "--symbols", str(build("array")))
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("hangdiag: ")


@pytest.mark.parametrize("arguments", [(), ("--ui", "--remote", "x:1")])
def test_exactly_one_way(arguments: tuple[str, ...]) -> None:
    done = command_line("attach", *arguments)
    assert done.returncode == 2
    assert "--kernel" in done.stderr


def test_long_answers_are_whole(build: Callable[[str], Path]) -> None:
    need("gdb")
    session: Session = launch("gdb", [], 20)
    try:
        session.require(f'-file-exec-and-symbols "{build("array")}"')
        commands = ['-data-evaluate-expression "sizeof(struct thread)"'] * 2000
        answers = session.ask_many(commands)
        assert len(answers) == 2000
        assert len({answer.payload["value"] for answer in answers}) == 1
    finally:
        session.kill()


@pytest.mark.parametrize(("given", "passed"), [("sys", "{}/sys"), ("/sys", "/sys"), ("target:/", "target:/")])
def test_a_sysroot_is_where_the_user_stands(
    build: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands: list[str],
    given: str,
    passed: str,
) -> None:
    need("gdb")
    monkeypatch.chdir(tmp_path)
    failure(Options("remote", "127.0.0.1:1", symbols=str(build("array")), sysroot=given, timeout=5))
    assert f"-gdb-set sysroot {passed.format(tmp_path)}" in commands
