"""Starts a debugger that speaks MI, or opens a terminal for one that is open already."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import tempfile
import termios
import tty
from collections.abc import Sequence
from typing import IO

from hangdiag.errors import DebuggerError
from hangdiag.live import gate
from hangdiag.live.mi import Session

# Every gdb since 6.0 has it, mi3 only those since 9.1; they differ in what they tell of breakpoints (gdb's manual, GDB/MI
# Development and Front Ends).
_MI = "mi2"


def find_debugger(name: str | None, wanted: Sequence[str]) -> str:
    """The path of the debugger: ``name`` if given, else the first of ``wanted`` that is installed."""
    for candidate in [name] if name else wanted:
        path = shutil.which(candidate)
        if path is not None:
            return path
    if name:
        raise DebuggerError(
            f"{name}: no such debugger; install it (pkg install gdb) or name another with --gdb"
        )
    raise DebuggerError(
        f"no {' or '.join(wanted)} is installed; install it (pkg install gdb) or name one with --gdb"
    )


def start(debugger: str, arguments: Sequence[str], timeout: float) -> Session:
    """Starts ``debugger`` with MI on its pipes.

    It gets a session of its own, so that a Ctrl-C on the terminal reaches only hangdiag: gdb would take
    it as an order to stop the target.
    """
    process = _run([debugger, "-nx", "-q", f"--interpreter={_MI}", *arguments], debugger)
    assert process.stdin is not None
    assert process.stdout is not None
    return Session(process.stdout.fileno(), process.stdin.fileno(), timeout, process)


def start_kgdb(debugger: str, arguments: Sequence[str], timeout: float) -> Session:
    """Starts kgdb, which takes no ``--interpreter``, and has it speak MI on a pty (``new-ui``).

    ``arguments`` should name a kernel: without one kgdb opens the running system by itself. It takes no ``-nx``
    either (kgdb-main.c of FreeBSD's port of gdb), so it is started where it finds no script of the user's.
    """
    session, path = open_pty(timeout)
    # A file, not a pipe: nobody reads it while kgdb runs, and a full pipe would stop it.
    session.printed = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the session)
    try:
        session.process = _run([debugger, "-q", *arguments], debugger, session.printed, at_home=False)
        assert session.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            session.process.stdin.write(gate.check_typed(f"new-ui {_MI} {path}").encode() + b"\n")
        # Symbols of a whole kernel are loaded before the first prompt.
        session.wait_for_prompt(max(timeout, 120.0))
    except BaseException:
        session.kill()
        raise
    return session


def _run(
    command: Sequence[str], debugger: str, output: IO[bytes] | int = subprocess.PIPE, at_home: bool = True
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "TERM": "dumb", "DEBUGINFOD_URLS": ""}
    if not at_home:
        environment |= {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=None if at_home else "/",
            env=environment,
            bufsize=0,
        )
    except OSError as error:
        raise DebuggerError(
            f"{debugger}: cannot be started: {error.strerror}; name another with --gdb"
        ) from error


def open_pty(timeout: float) -> tuple[Session, str]:
    """A session on a new pty, and the pty's path for ``new-ui``."""
    master, slave = pty.openpty()
    # Raw: no echo, no translation of line ends, no line length limit.
    tty.setraw(slave, termios.TCSANOW)
    path = os.ttyname(slave)
    session = Session(master, master, timeout)
    # Our own open slave keeps the pty alive until the debugger has opened it.
    session.owns(master, slave)
    return session, path
