"""A model of a FreeBSD kernel as a real process, and the ways to read it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hangdiag.live import ddb_console
from hangdiag.live.mi import Answer, Session

MODEL = Path(__file__).parent / "model"
VARIANTS = {
    "array": (),
    "pointers": ("-DVCPU_POINTERS",),
    "split": ("-DVCPU_POINTERS", "-DSPLIT"),
    "no-vmm": ("-Dvm=engine", "-Dhead=elsewhere"),
    "arm64": ("-DARM64",),
    "arm64-15": ("-DARM64", "-DVCPU_POINTERS", "-DARM_VMM"),
    "anywhere": ("-DVCPU_POINTERS", "-fPIE", "-pie"),
    # The same version text, but not the same build.
    "other-build": ("-Dlab_worker=another_worker",),
    "other-version": ('-DVERSION="FreeBSD 14.0-RELEASE OTHER\\n"',),
}


def need(*programs: str) -> None:
    """Skips the test where one of the programs is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} is installed")


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles a variant of the model, once."""
    folder = tmp_path_factory.mktemp("model")

    def compiled(variant: str) -> Path:
        need("cc")
        path = folder / f"kernel-{variant}"
        if not path.exists():
            # Relative names: a debugger that takes 'vmm_dev.c'::head must find it whatever the folder.
            subprocess.run(
                [
                    "cc",
                    "-g",
                    "-O0",
                    "-w",
                    "-no-pie",
                    *VARIANTS[variant],
                    "-o",
                    str(path),
                    "kernel.c",
                    "vmm_dev.c",
                ],
                cwd=MODEL,
                check=True,
                timeout=60,
            )
        return path

    return compiled


@contextlib.contextmanager
def running(program: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The model at work, until the block ends."""
    process = subprocess.Popen([str(program), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gdbserver(pid: int) -> Iterator[str]:
    """gdbserver on the process ``pid``; yields HOST:PORT."""
    need("gdb", "gdbserver")
    port = free_port()
    server = subprocess.Popen(
        ["gdbserver", "--once", "--attach", f"127.0.0.1:{port}", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        heard = ""
        for line in server.stderr:
            heard += line
            if "Listening" in line:
                break
        else:
            pytest.skip(f"gdbserver cannot attach here: {heard.strip()}")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        # Its tracee must not stay stopped.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def state_of(pid: int) -> str:
    """The state letter of a process (T: stopped, t: traced, S: asleep)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


CLI = (
    sys.executable,
    "-c",
    "import sys; from hangdiag.cli import app;"
    "app._COMMANDS = (*(c for c in app._COMMANDS if c[0] != 'attach'), ('attach', 'hangdiag.cli.attach', 'attach'));"
    "sys.exit(app.run(sys.argv[1:]))",
)


def start_command_line(*arguments: str) -> subprocess.Popen[str]:
    """``hangdiag`` with ``arguments``, under way."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [*CLI, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"},
    )


def command_line(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """``hangdiag`` with ``arguments``, as its own process."""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "100"}
    return subprocess.run(
        [*CLI, *arguments], capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


VMCORE_COMMAND = """
import gdb, os
class TargetVmcore(gdb.Command):
    def __init__(self):
        super().__init__("target vmcore", gdb.COMMAND_DATA)
    def invoke(self, argument, from_tty):
        (path,) = gdb.string_to_argv(argument)
        gdb.execute("attach " + os.environ["MODEL_PID"] if path == "/dev/mem" else "target core " + path)
TargetVmcore()
"""


@pytest.fixture
def kgdb(tmp_path: Path) -> str:
    """A stand-in for FreeBSD's kgdb: takes few options (kgdb-main.c of its port), and has ``target vmcore``."""
    need("gdb")
    if (
        subprocess.run(
            ["gdb", "-nx", "-batch", "-ex", "python print(1)"], capture_output=True, check=False
        ).stdout
        != b"1\n"
    ):
        pytest.skip("this gdb has no Python to play kgdb with")
    (tmp_path / "vmcore.py").write_text(VMCORE_COMMAND)
    script = tmp_path / "kgdb"
    script.write_text(
        "#!/bin/sh\n"
        'while getopts ab:c:d:fn:qr:vw option; do case "$option" in n|\\?) exit 1;; esac; done\n'
        "shift $((OPTIND - 1))\n"
        f'exec gdb -q -x {tmp_path}/vmcore.py "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A Unix socket's path is short.
    return tmp_path


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listens for a countdown no longer than it takes here; commands that are programs of their own listen in full."""
    monkeypatch.setattr(ddb_console, "_LISTENING", 0.05)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All commands that are sent to debuggers."""
    heard: list[str] = []
    send = Session.ask_many

    def listen(self: Session, commands: Sequence[str], timeout: float | None = None) -> list[Answer]:
        heard.extend(commands)
        return send(self, commands, timeout)

    monkeypatch.setattr(Session, "ask_many", listen)
    return heard
