"""How a stub's target is left when the reading fails: a machine runs again, a kernel stays in its debugger."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError
from hangdiag.live.attach import Interrupted, attach
from hangdiag.live.options import Options
from hangdiag.live.release import release

from .conftest import gdbserver, running, state_of, wait_until
from .stub import Stub
from .test_ways import read, stub

pytestmark = pytest.mark.live

# What a kernel in its debugger goes on at (sys/gdb/gdb_main.c), and what ends QEMU.
_RESUMES = ("D", "c", "C", "s", "S", "k", "vKill", "vCont", "vRun")
_KERNEL_TIDS = tuple(range(100000, 100010))


@contextmanager
def interrupted_after(server: Stub, packets: int) -> Iterator[None]:
    """Ctrl-C comes to this very process when the stub has been asked so much."""

    def interrupt() -> None:
        if wait_until(lambda: len(server.packets) >= packets, 20):
            os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    try:
        yield
    finally:
        waiting.join()


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("answered", [0, 1, 5, 11])
def test_a_machine_runs_on_after_an_early_silence(
    build: Callable[[str], Path], stop: bool, answered: int
) -> None:
    program = build("array")
    heard: list[str] = []
    with (
        running(program, "deadlock") as process,
        stub(process.pid, stalls_after=answered, recovers=True) as server,
    ):
        options = Options("remote", server.place, symbols=str(program), timeout=10, stop=stop)
        with interrupted_after(server, answered + 1), pytest.raises(Interrupted):
            read(options, heard)
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.packets[-3:] == ["qfThreadInfo", "qThreadExtraInfo,1", "D"]
        assert server.changes == []
    assert heard == []


def test_a_machine_runs_on_when_the_debugger_gives_up_connecting(build: Callable[[str], Path]) -> None:
    program = build("array")
    heard: list[str] = []
    with running(program, "deadlock") as process, stub(process.pid, stalls_after=1, recovers=True) as server:
        with pytest.raises(DebuggerError):
            read(Options("remote", server.place, symbols=str(program), timeout=3), heard)
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []
    assert heard == []


@pytest.mark.parametrize("recovers", [False, True])
@pytest.mark.parametrize("answered", [1, 11])
def test_a_kernel_stays_in_its_debugger_after_an_early_silence(
    build: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, answered: int, recovers: bool
) -> None:
    monkeypatch.setattr("hangdiag.live.release._PATIENCE", 0.5)
    program = build("array")
    heard: list[str] = []
    with (
        running(program, "deadlock") as process,
        stub(process.pid, kind="kernel", tids=_KERNEL_TIDS, stalls_after=answered, recovers=recovers) as server,
    ):
        options = Options("remote", server.place, symbols=str(program), timeout=10, stop=True)
        with interrupted_after(server, answered + 1), pytest.raises(Interrupted):
            read(options, heard)
        assert "qfThreadInfo" in server.packets
        assert not [packet for packet in server.packets if packet.startswith(_RESUMES)]
        assert server.changes == []
    # Whether it is a machine that stands still cannot be known: the user can look.
    assert len(heard) == 1
    assert server.place in heard[0]
    assert "detach" in heard[0]


def signal_debugger(number: int) -> None:
    """Sends a signal to the debugger that this very process runs."""
    for child in Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split():
        if "gdb" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), number)


def once(action: Callable[[], None]) -> Callable[[str, int, int], None]:
    """Does ``action`` in mid-read: when the stacks are to be read."""
    done: list[str] = []

    def progress(step: str, count: int, total: int) -> None:
        if step == "stacks" and not done:
            done.append(step)
            action()

    return progress


@pytest.mark.parametrize(
    ("number", "message", "delay"),
    [(signal.SIGKILL, "gone away", 0.05), (signal.SIGSTOP, "no answer in time", 0.0)],
)
def test_a_debugger_that_dies_or_hangs_in_mid_read(
    build: Callable[[str], Path], number: signal.Signals, message: str, delay: float
) -> None:
    program = build("array")
    heard: list[str] = []
    with running(program, "deadlock") as process, stub(process.pid, delay=delay) as server:
        options = Options("remote", server.place, symbols=str(program), timeout=1, stop=True)
        with pytest.raises(DebuggerError, match=message):
            attach(options, heard.append, once(lambda: signal_debugger(number)))
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.packets[-1] == "D"
        assert server.connections == 2
        assert server.changes == []
    assert len(heard) == 1
    assert "is stopped while it is read" in heard[0]


def test_what_may_stand_still_is_said_of_later_samples_too(
    build: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangdiag.live.target.release", lambda place, is_machine: False)
    program = build("array")
    heard: list[str] = []
    with running(program, "deadlock") as process, stub(process.pid) as server:

        def progress(step: str, count: int, total: int) -> None:
            if server.connections == 2:
                signal_debugger(signal.SIGKILL)

        options = Options(
            "remote", server.place, symbols=str(program), timeout=5, stop=True, samples=2, interval=0
        )
        with pytest.raises(DebuggerError):
            attach(options, heard.append, progress)
    assert ["is stopped while" in line for line in heard] == [True, False]
    assert "runs again" in heard[-1]


def test_ctrl_c_just_before_signals_are_ignored(
    build: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def interrupted() -> Iterator[None]:
        os.kill(os.getpid(), signal.SIGINT)
        yield

    monkeypatch.setattr("hangdiag.live.attach.ignored_signals", interrupted)
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid) as server:
        with pytest.raises(Interrupted):
            read(Options("remote", server.place, symbols=str(program), timeout=10, stop=True))
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.packets[-1] == "D"
        assert server.changes == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_kernel_stays_in_its_debugger_when_ours_dies_or_hangs(
    build: Callable[[str], Path], number: signal.Signals
) -> None:
    program = build("array")
    heard: list[str] = []
    with (
        running(program, "deadlock") as process,
        stub(process.pid, kind="kernel", tids=_KERNEL_TIDS) as server,
    ):
        options = Options("remote", server.place, symbols=str(program), timeout=1, stop=True)
        with pytest.raises(DebuggerError):
            attach(options, heard.append, once(lambda: signal_debugger(number)))
        assert not [packet for packet in server.packets if packet.startswith(_RESUMES)]
        assert server.connections == 1
    assert heard == []


def test_a_gdbserver_that_dies_in_mid_read(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, gdbserver(process.pid) as place:

        def kill_server() -> None:
            tracer = re.search(r"TracerPid:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            assert tracer is not None
            os.kill(int(tracer.group(1)), signal.SIGKILL)

        begin = time.monotonic()
        with pytest.raises(DebuggerError, match="gone away") as caught:
            attach(
                Options("remote", place, symbols=str(program), timeout=5), [].append, once(kill_server)
            )
        assert "\n" not in str(caught.value)
        assert time.monotonic() - begin < 20
        assert wait_until(lambda: state_of(process.pid) == "S")


def test_wrong_checksums_now_and_then(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process:
        with stub(process.pid) as server:
            (expected,) = read(Options("remote", server.place, symbols=str(program), timeout=10, stop=True))
        with stub(process.pid, garbles=5) as server:
            (capture,) = read(Options("remote", server.place, symbols=str(program), timeout=10, stop=True))
            assert capture.threads == expected.threads
            assert wait_until(lambda: state_of(process.pid) == "S")
        with stub(process.pid, garbles=3) as server:
            assert release(server.place, is_machine=False)
            assert wait_until(lambda: state_of(process.pid) == "S")


def test_wrong_checksums_only(build: Callable[[str], Path]) -> None:
    program = build("array")
    heard: list[str] = []
    with running(program, "deadlock") as process, stub(process.pid, garbles=1) as server:
        options = Options("remote", server.place, symbols=str(program), timeout=10, stop=True)
        with interrupted_after(server, 2), pytest.raises(Interrupted):
            read(options, heard)
        assert server.packets[-1] == "qfThreadInfo"
        assert "D" not in server.packets
    # The machine does stand still: that is said.
    assert len(heard) == 1
    assert "runs again" in heard[0]


class Line:
    """A stub at the other end of a pty, which answers packets by their beginnings, raw: a list is used up."""

    def __init__(self, answers: dict[bytes, bytes | list[bytes]]):
        self._answers = answers
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.place = os.ttyname(self._slave)
        self.packets: list[bytes] = []
        self.heard = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        pending = b""
        while b"end of test" not in pending:
            data = os.read(self._master, 4096)
            self.heard += data
            pending += data
            while (packet := re.search(rb"\$(.*?)#..", pending)) is not None:
                pending = pending[packet.end() :]
                self.packets.append(packet.group(1))
                for begin, answer in self._answers.items():
                    if packet.group(1).startswith(begin):
                        os.write(self._master, (answer.pop(0) if answer else b"") if isinstance(answer, list) else answer)
                        break

    def close(self) -> None:
        os.write(self._slave, b"end of test")
        self._thread.join(timeout=5)
        os.close(self._master)
        os.close(self._slave)


def framed(text: str) -> bytes:
    return b"+$%s#%02x" % (text.encode(), sum(text.encode()) & 0xFF)


def named(text: str) -> bytes:
    return framed(text.encode().hex())


_OLD_ANSWER = framed("00ff" * 8)


@pytest.mark.parametrize(
    ("listed", "name", "detached"),
    [
        # QEMU's, alone and with the multiprocess extensions; bhyve's.
        (framed("m01"), named("CPU#0 [running]"), {b"D": framed("OK")}),
        (framed("mp01.01"), named("CPU#0 [halted ]"), {b"D;1": framed("OK"), b"D": framed("E22")}),
        (framed("m1,2,3"), named("vCPU 0"), {b"D": framed("OK")}),
        # On a line that loses and adds something.
        ([b"-", framed("m01")], named("CPU#0 [running]"), {b"D": framed("OK")}),
        ([b"+$m01#00" + framed("m01")], named("CPU#0 [running]"), {b"D": framed("OK")}),
        (_OLD_ANSWER + framed("E14") + framed("m01"), named("CPU#0 [running]"), {b"D": [b"-", framed("OK")]}),
    ],
)
def test_a_machine_is_let_go_of(
    listed: bytes | list[bytes], name: bytes, detached: dict[bytes, bytes | list[bytes]]
) -> None:
    pytest.importorskip("serial")
    line = Line({b"qfThreadInfo": listed, b"qThreadExtraInfo,": name, **detached})
    try:
        assert release(line.place, is_machine=False)
    finally:
        line.close()
    # A machine that runs would be stopped by any byte that QEMU does not wait for.
    assert re.search(rb"\$D(?:;1)?#..\Z", line.heard.partition(b"end of test")[0])


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        # FreeBSD's own, where a thread may be called anything.
        (framed("m000186a0"), named("vCPU 0")),
        (framed("m186a5"), named("CPU#1 [running]")),
        # gdbserver's; one that lists nothing; one that only sends what cannot be trusted.
        (framed("mp1f4.1f4"), named("bhyve")),
        (framed("l"), named("CPU#0 [running]")),
        (b"+$m01#00" * 9, named("CPU#0 [running]")),
        (framed("m01"), b"+$%s#00" % b"CPU#0 [running]".hex().encode()),
    ],
)
def test_what_is_no_machine_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, listed: bytes, name: bytes
) -> None:
    pytest.importorskip("serial")
    monkeypatch.setattr("hangdiag.live.release._PATIENCE", 0.3)
    line = Line({b"qfThreadInfo": listed, b"qThreadExtraInfo,": name, b"D": framed("OK")})
    try:
        assert not release(line.place, is_machine=False)
    finally:
        line.close()
    assert line.packets
    assert all(packet.startswith((b"qfThreadInfo", b"qThreadExtraInfo,")) for packet in line.packets)


def test_kgdb_on_a_stub(build: Callable[[str], Path], kgdb: str) -> None:
    program = build("array")
    with running(program, "deadlock") as process, stub(process.pid) as server:
        options = Options("remote", server.place, symbols=str(program), gdb=kgdb, timeout=10, stop=True)
        (capture,) = read(options)
        assert len(capture.threads) == 10
        assert wait_until(lambda: state_of(process.pid) == "S")
        with pytest.raises(DebuggerError, match="gone away"):
            attach(options, [].append, once(lambda: signal_debugger(signal.SIGKILL)))
        assert wait_until(lambda: state_of(process.pid) == "S")
        assert server.changes == []
