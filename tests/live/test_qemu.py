"""The model kernel on QEMU's CPUs, at a FreeBSD kernel's addresses, through QEMU's own gdb stub."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hangdiag.errors import DebuggerError
from hangdiag.live.attach import attach
from hangdiag.live.options import Options
from hangdiag.model import Capture

from .conftest import need, start_command_line, wait_until

pytestmark = pytest.mark.live

SOURCES = Path(__file__).parent / "qemu"
_QEMU = "qemu-system-x86_64"
_VMM = 0xFFFFFFFF82000000
_COMPILER = (
    *("cc", "-g", "-O0", "-w", "-ffreestanding", "-fno-builtin", "-fno-pie", "-mcmodel=kernel"),
    *("-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector", "-fcf-protection=none"),
    *("-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer", "-U__linux__"),
)
_LINKED = (
    *("-nostdlib", "-static", "-no-pie", "-Wl,-T,kernel.ld", "-Wl,--build-id=sha1"),
    *("-Wl,-z,max-page-size=4096", f"-Wl,--defsym,vm_list_insert={_VMM:#x}"),
)
# Packets that write memory or registers, set breakpoints, step, kill, or are for QEMU's monitor.
_CHANGES = re.compile(r"[MXGPZzsSkR]|c\b|C|vCont|vRun|vKill|vFlash|vFile|qRcmd|Qqemu|qqemu|bc|bs")


@dataclass(frozen=True)
class Machine:
    """A running QEMU: where its stub is, what the stub was sent, and how to ask QEMU itself (QMP)."""

    folder: Path

    @property
    def stub(self) -> str:
        return str(self.folder / "stub")

    @property
    def symbols(self) -> str:
        return str(self.folder / "kernel.full")

    def options(self, **others: object) -> Options:
        return Options("remote", self.stub, symbols=self.symbols, timeout=20, **others)  # type: ignore[arg-type]

    def packets(self) -> list[str]:
        log = (self.folder / "packets").read_text(errors="replace")
        return re.findall(r"gdbstub_io_command Received: (.*)", log)

    def ask(self, *commands: dict[str, object]) -> list[dict[str, object]]:
        """What QEMU itself answers (QMP)."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.folder / "qmp"))
            with control.makefile("rw") as lines:
                for command in ({"execute": "qmp_capabilities"}, *commands):
                    lines.write(json.dumps(command) + "\n")
                lines.flush()
                # Between the answers it tells events.
                answers = (answer for line in lines if "return" in (answer := json.loads(line)))
                return [next(answers)["return"] for _ in range(len(commands) + 1)][1:]

    def runs(self) -> bool:
        """What QEMU says of itself: not stopped by a debugger."""
        return self.ask({"execute": "query-status"})[0]["running"] is True

    def move_stub_to_pty(self) -> str:
        """Has the stub listen on a pty; returns that."""
        pty = {"id": "wire", "backend": {"type": "pty", "data": {}}}
        gdbserver = {"execute": "human-monitor-command", "arguments": {"command-line": "gdbserver chardev:wire"}}
        return str(self.ask({"execute": "chardev-add", "arguments": pty}, gdbserver)[0]["pty"])


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def boot(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., contextlib.AbstractContextManager[Machine]]:
    """Builds the model with ``cpus`` CPUs and its module vmm.ko, once, and boots it."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the machine is built with an x86 Linux' compiler")
    need("cc", "ld", "objcopy", "gdb")
    if shutil.which(_QEMU) is None:
        pytest.skip(f"no {_QEMU} is installed (Debian: qemu-system-x86, FreeBSD: emulators/qemu)")

    @contextlib.contextmanager
    def booted(cpus: int = 4) -> Iterator[Machine]:
        folder = tmp_path_factory.mktemp(f"qemu{cpus}-")
        kernel, module = str(folder / "kernel.full"), str(folder / "vmm.ko")
        scenario = ('-DSCENARIO="deadlock"', f"-DMACHINE_CPUS={cpus}", "-Dvm=engine", "-Dhead=elsewhere")
        _run(*_COMPILER, *scenario, *_LINKED, "-o", kernel, "boot.S", "machine.c")
        _run(*_COMPILER, "-c", "-o", f"{module}.o", "vmm_module.c")
        _run("ld", "-r", "-o", module, f"{module}.o")
        _run("ld", "-z", "muldefs", "-T", "vmm.ld", "-R", kernel, "-o", f"{module}.elf", module)
        _run("objcopy", "-O", "binary", f"{module}.elf", f"{module}.bin")
        command = [
            *(
                _QEMU,
                "-M",
                "pc",
                "-accel",
                "tcg",
                "-m",
                "64",
                "-smp",
                str(cpus),
                "-nodefaults",
                "-display",
                "none",
            ),
            *("-no-reboot", "-serial", "stdio", "-kernel", kernel),
            *("-device", f"loader,file={module}.bin,addr={_VMM & 0x7FFFFFFF:#x},force-raw=on"),
            *(
                "-gdb",
                f"unix:{folder}/stub,server=on,wait=off",
                "-qmp",
                f"unix:{folder}/qmp,server=on,wait=off",
            ),
            *("-d", "trace:gdbstub_io_command", "-D", str(folder / "packets")),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline() != "ready\n":
                process.kill()
                pytest.fail(f"the machine does not start: {process.stderr.read()}")
            yield Machine(folder)
        finally:
            process.kill()
            process.communicate()

    return booted


def read(options: Options, heard: list[str] | None = None) -> Capture:
    (capture,) = attach(options, (heard if heard is not None else []).append, lambda step, done, total: None)
    return capture


def functions(capture: Capture, name: str) -> list[str]:
    (thread,) = (thread for thread in capture.threads if thread.name == name)
    return [frame.function for frame in thread.frames]


def test_a_machine_at_real_addresses(
    boot: Callable[..., contextlib.AbstractContextManager[Machine]],
) -> None:
    heard: list[str] = []
    with boot() as machine:
        with pytest.raises(DebuggerError, match="--stop"):
            read(machine.options())
        assert machine.runs()
        modules = machine.folder / "its modules"
        modules.mkdir()
        shutil.copy(machine.folder / "vmm.ko", modules)
        capture = read(machine.options(stop=True, kld_path=(str(modules),)), heard)
        assert machine.runs()
        without_module = read(machine.options(stop=True))
        assert not [packet for packet in machine.packets() if _CHANGES.match(packet)]
        assert machine.packets()[-1].startswith("D")
    assert any("resumed" in line for line in heard)
    (note,) = (text for key, text in capture.host.facts if key == "skipped")
    assert "CPU 0 was not on the stack of its thread" in note
    # vmm's symbols are the module's: at the addresses that its sections have in memory.
    (vm,) = capture.vms
    assert (vm.name, vm.pid, vm.rendezvous_function) == ("win11", 16, "vioapic_update_tmr")
    assert (vm.requested, vm.done) == ({0, 1, 2, 3}, {0, 1, 3})
    assert [vcpu.state for vcpu in vm.vcpus[:4]] == ["FROZEN", "FROZEN", "IDLE", "FROZEN"]
    assert without_module.vms == ()
    assert any("--kld-path" in text for _, text in without_module.host.facts)
    assert functions(capture, "vcpu 2")[3:6] == ["msleep_spin_sbt", "vcpu_set_state_locked", "vcpu_set_state"]
    # Running threads have their CPU's registers: in HLT, in an interrupt, in user mode. Inside of a guest they are the
    # guest's, and its memory too: that CPU's are left alone, though its rip has a name in this kernel.
    outer = ["fork_exit", "fork_trampoline"]
    assert functions(capture, "idle: cpu1") == ["acpi_cpu_c1", "cpu_idle", "sched_idletd", *outer]
    assert functions(capture, "interrupted") == [
        *("lapic_handle_timer", "Xtimerint", "vm_page_zero", "lab_worker", *outer)
    ]
    assert functions(capture, "user") == functions(capture, "in guest") == []
    running = {thread.name: thread.cpu for thread in capture.threads if thread.state == "running"}
    assert running == {"in guest": 0, "idle: cpu1": 1, "interrupted": 2, "user": 3}
    assert capture.host.release == "12.1-STABLE"


def test_ctrl_c_whenever_it_comes(boot: Callable[..., contextlib.AbstractContextManager[Machine]]) -> None:
    with boot() as machine:
        # As soon as the stub has been asked so much: while gdb connects, before and after the stub's kind is known.
        for packets in (1, 8, 20, 45):
            before = len(machine.packets())
            command = start_command_line(
                *("attach", "--remote", machine.stub, "--symbols", machine.symbols, "--stop"),
                *("--samples", "2", "--interval", "60"),
            )
            assert wait_until(lambda: len(machine.packets()) >= before + packets, 20)  # noqa: B023
            command.send_signal(signal.SIGINT)
            _, errors = command.communicate(timeout=30)
            assert command.returncode == 4
            assert "SIGINT" in errors
            assert "Traceback" not in errors
            assert machine.runs()
        assert not [packet for packet in machine.packets() if _CHANGES.match(packet)]


def test_no_cpu_shows_the_kernel(boot: Callable[..., contextlib.AbstractContextManager[Machine]]) -> None:
    with boot(1) as machine:
        with pytest.raises(DebuggerError, match="no CPU shows the kernel"):
            read(machine.options(stop=True))
        assert machine.runs()


def killed_debugger(machine: Machine, packets: int) -> threading.Thread:
    """The debugger of this very process dies when the stub has been asked so much."""
    before = len(machine.packets())

    def kill() -> None:
        wait_until(lambda: len(machine.packets()) >= before + packets, 20)
        for line in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if "--interpreter" in Path(f"/proc/{line}/cmdline").read_text():
                os.kill(int(line), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("on_a_pty", [False, True])
def test_the_debugger_dies(
    boot: Callable[..., contextlib.AbstractContextManager[Machine]], on_a_pty: bool
) -> None:
    with boot() as machine:
        place = machine.stub
        if on_a_pty:
            pytest.importorskip("serial")
            place = machine.move_stub_to_pty()
        # While gdb connects, and while memory is read.
        for packets in (4, 30):
            killer = killed_debugger(machine, packets)
            options = replace(machine.options(stop=True, samples=2, interval=60), place=place)
            with pytest.raises(DebuggerError, match="gone away"):
                read(options)
            killer.join()
            assert wait_until(machine.runs)
        assert not [packet for packet in machine.packets() if _CHANGES.match(packet)]
        # And so it can be read once more.
        assert read(replace(machine.options(stop=True), place=place)).threads
        assert machine.runs()


def test_what_the_documentation_warns_of(
    boot: Callable[..., contextlib.AbstractContextManager[Machine]],
) -> None:
    with boot() as machine:
        # A stub does not tell that its machine was paused before.
        machine.ask({"execute": "stop"})
        assert read(machine.options(stop=True)).threads
        assert machine.runs()
        # Nobody is left to let go but gdb.
        before = len(machine.packets())
        command = start_command_line(
            *("attach", "--remote", machine.stub, "--symbols", machine.symbols, "--stop")
        )
        assert wait_until(lambda: len(machine.packets()) >= before + 30, 20)
        command.kill()
        command.communicate(timeout=30)
        assert wait_until(machine.runs)
        assert not [packet for packet in machine.packets() if _CHANGES.match(packet)]
