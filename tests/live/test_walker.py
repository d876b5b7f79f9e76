"""The kernel walker on the model kernel, through gdbserver."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hangdiag.live.attach import attach, connected
from hangdiag.live.gdb_memory import GdbMemory
from hangdiag.live.layouts import QUESTIONS, SYMBOLS
from hangdiag.live.memory import Registers
from hangdiag.live.options import Options
from hangdiag.live.unwind import Job, unwind
from hangdiag.live.walker import walk
from hangdiag.model import Capture

from .conftest import gdbserver, running, state_of, wait_until

pytestmark = pytest.mark.live

SYSCALL = ["vmmdev_ioctl", "devfs_ioctl", "kern_ioctl", "sys_ioctl", "amd64_syscall", "fast_syscall_common"]


def read(program: Path, *arguments: str) -> Capture:
    with running(program, *arguments) as process, gdbserver(process.pid) as place:
        options = Options("remote", place, symbols=str(program), timeout=20)
        captures = attach(options, lambda line: None, lambda step, done, total: None)
    assert len(captures) == 1
    return captures[0]


def skipped(capture: Capture) -> list[str]:
    return [text for key, text in capture.host.facts if key == "skipped"]


@pytest.mark.parametrize("variant", ["array", "pointers", "split", "arm64", "anywhere"])
def test_deadlock(build: Callable[[str], Path], variant: str) -> None:
    capture = read(build(variant), "deadlock")
    threads = {thread.name: thread for thread in capture.threads}
    (vm,) = capture.vms
    assert (vm.name, vm.pid, vm.rendezvous_function) == ("win11", 16, "vioapic_update_tmr")
    assert (vm.active, vm.requested, vm.done) == ({0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 3})
    assert vm.suspended == vm.debugged == vm.halted == frozenset()
    assert (vm.suspend, vm.destroying) == (0, False)
    assert [(vcpu.id, vcpu.state, vcpu.hostcpu, vcpu.reqidle) for vcpu in vm.vcpus] == [
        (0, "FROZEN", None, True),
        (1, "FROZEN", None, False),
        (2, "IDLE", None, False),
        (3, "FROZEN", None, False),
    ]
    waiter = threads["vcpu 2"]
    assert (waiter.pid, waiter.command, waiter.state, waiter.wmesg) == (16, "bhyve", "sleeping", "vmstat")
    assert waiter.interruptible is False
    assert waiter.since == 2.5
    assert vm.vcpus[0].address is not None
    # &vcpu->state is where vcpu_set_state_locked() sleeps.
    assert waiter.wchan is not None
    assert 0 < waiter.wchan - vm.vcpus[0].address < 64
    assert threads["vcpu 0"].wchan == threads["vcpu 1"].wchan == vm.rendezvous_channel
    assert [frame.function for frame in waiter.frames] == [
        *("sched_switch", "mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vcpu_set_state_locked"),
        *("vcpu_set_state", *SYSCALL),
    ]
    assert {frame.offset for frame in waiter.frames} == {16}
    assert threads["mevent"].interruptible is True
    assert [frame.function for frame in threads["swi5: fast taskq"].frames] == ["fork_trampoline"]
    assert threads["swi5: fast taskq"].state == "iwait"
    assert capture.host.release == "12.1-STABLE"
    assert capture.host.osreldate == 1201517
    assert capture.host.hostname == "model.example"
    assert capture.host.arch == ("arm64" if variant == "arm64" else "amd64")
    assert {process.pid: process.arguments for process in capture.processes}[
        16
    ] == "/usr/sbin/bhyve -c 4 win11"
    assert skipped(capture) == []


@pytest.mark.parametrize("variant", ["array", "pointers", "split"])
def test_locks_and_their_owners(build: Callable[[str], Path], variant: str) -> None:
    capture = read(build(variant), "lockcycle")
    tids = {thread.name: thread.tid for thread in capture.threads}
    locks = {lock.name: lock for lock in capture.locks if lock.name != "lab rm"}
    if variant == "split":
        # td_wantedlock tells also what a running thread spins for.
        spun = locks.pop("lab spun")
        assert (spun.owner, spun.waiters) == (tids["ab"], (tids["spinner"],))
    found = {
        name: (lock.lock_class, lock.state, lock.owner, list(lock.waiters)) for name, lock in locks.items()
    }
    assert found == {
        "lab sx a": ("sx", "exclusive", tids["ab"], [tids["ba"]]),
        "lab sx b": ("sx", "exclusive", tids["ba"], [tids["ab"]]),
        "lab mtx": ("sleep mutex", "exclusive", tids["ab"], [tids["behind mtx"]]),
        "lab lk": ("lockmgr", "exclusive", tids["ba"], [tids["behind lk"]]),
        "lab kernproc": ("lockmgr", "kernproc", None, [tids["behind buf"]]),
        "lab shared": ("sx", "shared", None, [tids["behind shared"]]),
        "lab rw": ("rw", "exclusive", tids["ba"], [tids["behind rw"]]),
        "lab rw r": ("rw", "shared", None, [tids["behind readers"]]),
    }
    assert {name: lock.shares for name, lock in locks.items() if lock.shares} == {"lab shared": 2, "lab rw r": 3}
    outer, inner = (lock for lock in capture.locks if lock.name == "lab rm")
    assert (outer.lock_class, outer.state, outer.owner) == ("rm", "shared", None)
    assert outer.sharers == (tids["ab"], tids["ba"])
    assert outer.waiters == (tids["rm writer"],)
    assert (inner.lock_class, inner.owner, inner.waiters) == (
        "sleep mutex",
        tids["rm writer"],
        (tids["rm reader"],),
    )
    blocked = next(thread for thread in capture.threads if thread.name == "behind mtx")
    assert (blocked.state, blocked.lock, blocked.wmesg) == ("lock", "lab mtx", None)


@pytest.mark.parametrize("variant", ["array", "pointers", "split"])
def test_healthy_guest_and_stopped_cpus(build: Callable[[str], Path], variant: str) -> None:
    capture = read(build(variant), "healthy")
    threads = {thread.name: thread for thread in capture.threads}
    (vm,) = capture.vms
    # bhyve's title names the VM; no vCPU waits on anything of struct vm but its own vcpu.
    assert (vm.name, vm.pid, vm.rendezvous_function, vm.requested) == ("idlevm", 16, "", frozenset())
    assert [vcpu.state for vcpu in vm.vcpus] == ["SLEEPING", "SLEEPING"]
    # Through the trap frame of an NMI, from the NMI's stack to the thread's own.
    assert [frame.function for frame in threads["idle: cpu0"].frames] == [
        *("cpustop_handler", "ipi_nmi_handler", "trap", "nmi_calltrap"),
        *("cpu_idle", "sched_idletd", "fork_exit", "fork_trampoline"),
    ]
    assert [frame.offset for frame in threads["idle: cpu0"].frames] == [16, 16, 16, 16, 4, 16, 16, 16]
    assert (threads["idle: cpu0"].state, threads["idle: cpu0"].cpu) == ("running", 0)
    assert threads["idle: cpu1"].frames[0].function == "kdb_enter"
    assert threads["idle: cpu1"].stack_of_debugger


@pytest.mark.parametrize("variant", ["arm64", "arm64-15"])
def test_healthy_guest_on_arm64(build: Callable[[str], Path], variant: str) -> None:
    capture = read(build(variant), "healthy")
    threads = {thread.name: thread for thread in capture.threads}
    (vm,) = capture.vms
    assert (vm.name, vm.active, vm.suspended, vm.debugged) == ("idlevm", {0, 1}, frozenset(), frozenset())
    assert [(vcpu.id, vcpu.state, vcpu.hostcpu) for vcpu in vm.vcpus] == [
        (0, "SLEEPING", None),
        (1, "SLEEPING", None),
    ]
    # 15's vmm for arm64 has neither.
    knows = variant == "arm64"
    assert (vm.requested, vm.rendezvous_function) == ((frozenset(), "") if knows else (None, None))
    assert {vcpu.reqidle for vcpu in vm.vcpus} == {False if knows else None}
    assert [frame.function for frame in threads["vcpu 0"].frames] == [
        *("sched_switch", "mi_switch", "sleepq_timedwait", "msleep_spin_sbt", "vm_run", *SYSCALL),
    ]
    # The thread that entered the debugger, by the program counter that was saved then.
    assert [frame.function for frame in threads["idle: cpu0"].frames] == [
        *("kdb_enter", "uart_intr", "fork_exit", "fork_trampoline"),
    ]
    assert skipped(capture) == []


@pytest.mark.parametrize("variant", ["array", "pointers"])
def test_zombies_and_a_way_back_to_user_mode(build: Callable[[str], Path], variant: str) -> None:
    capture = read(build(variant), "leavers")
    threads = {thread.name: thread for thread in capture.threads}
    assert (threads["gone"].pid, threads["gone"].state, threads["gone"].frames) == (40, "zombie", ())
    leaver = threads["leaver"]
    assert leaver.state == "runnable"
    assert [frame.function for frame in leaver.frames] == ["sched_switch", "mi_switch", "ast", "doreti_ast"]
    away = threads["away"]
    assert (away.state, away.wmesg, away.frames) == ("sleeping", "kqread", ())
    assert skipped(capture) == [f"stacks are swapped out: tid {away.tid}"]


def test_a_lock_inside_a_machine_of_15(build: Callable[[str], Path]) -> None:
    capture = read(build("split"), "deadlock")
    tids = {thread.name: thread.tid for thread in capture.threads}
    (lock,) = capture.locks
    assert (lock.name, lock.owner, lock.waiters) == ("vm mem_segs", tids["mevent"], (tids["vcpu 4"],))


def test_a_kernel_whose_symbols_know_no_vmm(build: Callable[[str], Path]) -> None:
    capture = read(build("no-vmm"), "deadlock")
    assert capture.vms == ()
    assert skipped(capture) == ["the symbols do not describe vmm, so no VM was read, though bhyve runs"]
    assert [thread.wmesg for thread in capture.threads if thread.name == "vcpu 0"] == ["vmrndv"]


def test_corrupted_memory_is_survived_and_said(build: Callable[[str], Path]) -> None:
    capture = read(build("array"), "corrupted")
    threads = {thread.name: thread for thread in capture.threads}
    # The healthy rest is all there.
    assert {"vcpu 0", "vcpu 1", "vcpu 2", "vcpu 3", "one", "two", "wild", "stolen", "init"} <= set(threads)
    notes = "\n".join(skipped(capture))
    assert "runs in a circle" in notes
    assert "0xdeadc0dedeadc0de cannot be read" in notes
    assert "belongs to another process" in notes
    # In the order of the processes' list, newest first.
    assert (
        f"stacks break off: tid {threads['badstack'].tid} after mi_switch, tid {threads['badfp'].tid} after"
        " sched_switch" in notes
    )
    assert threads["wild"].wmesg is None
    assert threads["nopcb"].frames == ()
    assert [frame.function for frame in threads["badfp"].frames] == ["sched_switch"]
    assert len(threads["badstack"].frames) < 4
    assert capture.vms[0].done == {0, 1, 3}


def test_a_thousand_threads(build: Callable[[str], Path]) -> None:
    capture = read(build("array"), "many", "1000")
    workers = [thread for thread in capture.threads if thread.command == "worker"]
    assert len(workers) == 1000
    assert all(thread.frames[-1].function == "fast_syscall_common" for thread in workers)


@pytest.mark.parametrize(
    ("variant", "scenario"), [("array", "healthy"), ("pointers", "deadlock"), ("arm64", "deadlock")]
)
def test_a_slow_line_reads_less_and_learns_the_same(
    build: Callable[[str], Path], variant: str, scenario: str
) -> None:
    program = build(variant)
    captures, sizes = [], []
    with running(program, scenario) as process:
        for bytes_a_question in (4096, 32):
            with gdbserver(process.pid) as place:
                options = Options("remote", place, symbols=str(program), timeout=20)
                with connected(options, lambda line: None) as target:
                    memory = GdbMemory(target.session)
                    memory._round_trip_bytes = bytes_a_question
                    captures.append(walk(memory))
                    sizes.append(memory.read_bytes)
    assert captures[0] == captures[1]
    assert sizes[1] < sizes[0] * 0.8


def test_the_line_is_measured(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "deadlock") as process, gdbserver(process.pid) as place:
        options = Options("remote", place, symbols=str(program), timeout=20)
        with connected(options, lambda line: None) as target:
            memory = GdbMemory(target.session)
            memory.measure(memory.symbols(["version"])["version"])
            assert 32 <= memory.round_trip_bytes <= 4096
            memory.measure(0)


def test_layouts_are_the_same_without_python_in_gdb(build: Callable[[str], Path]) -> None:
    program = build("split")
    with running(program, "healthy") as process, gdbserver(process.pid) as place:
        options = Options("remote", place, symbols=str(program), timeout=20)
        with connected(options, lambda line: None) as target:
            memory = GdbMemory(target.session)
            by_script = memory._layouts_by_script(QUESTIONS)
            one_by_one = memory._layouts_one_by_one(QUESTIONS)
    structures = {question.name for question in QUESTIONS if question.types[0].startswith("struct ")}
    assert {"proc", "thread", "vm", "vcpu", "softc", "rm_priotracker"} <= set(by_script)
    # A member of an anonymous union, and one that this kernel lacks.
    assert by_script["thread"].has("td_state")
    assert not by_script["thread"].has("td_slptick")
    assert by_script == {name: layout for name, layout in one_by_one.items() if name in structures}


def walked(program: Path, *arguments: str) -> tuple[int, int]:
    """(rounds, threads) of a walk."""
    with running(program, *arguments) as process, gdbserver(process.pid) as place:
        options = Options("remote", place, symbols=str(program), timeout=20)
        with connected(options, lambda line: None) as target:
            memory = GdbMemory(target.session)
            return len(walk(memory).threads), memory.questions


@pytest.mark.parametrize(("variant", "more_rounds"), [("array", 70), ("pointers", 8)])
def test_rounds_are_few(build: Callable[[str], Path], variant: str, more_rounds: int) -> None:
    few, rounds = walked(build(variant), "many", "20")
    many, rounds_of_many = walked(build(variant), "many", "600")
    assert many - few == 580
    # All stacks advance together and what lies side by side is read at once; the kernel's hash table of threads
    # (in "pointers") makes it fewer still.
    assert rounds_of_many - rounds < more_rounds


@pytest.mark.parametrize("variant", ["array", "pointers"])
def test_rounds_do_not_grow_with_frames(build: Callable[[str], Path], variant: str) -> None:
    shallow = walked(build(variant), "many", "40", "0")
    deep = walked(build(variant), "many", "40", "8")
    assert deep[0] == shallow[0]
    assert deep[1] <= shallow[1] + 1


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="the model sleeps by hand")
def test_stacks_are_those_of_gdbs_own_unwinder(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "real") as process, gdbserver(process.pid) as place:
        assert wait_until(lambda: state_of(process.pid) in "St")
        options = Options("remote", place, symbols=str(program), timeout=20)
        with connected(options, lambda line: None) as target:
            answer = target.session.ask('-interpreter-exec console "thread apply 1 bt"')
            memory = GdbMemory(target.session)
            pc, sp, fp = memory._evaluate(
                [f"(unsigned long)${name}" for name in ("pc", "sp", "fp")], ["--thread 1 --frame 0 "] * 3
            )
            assert pc is not None
            assert sp is not None
            assert fp is not None
            job = Job(Registers(pc, sp, fp, interrupted=True), sp & ~0xFFF, (sp & ~0xFFF) + 0x4000)
            (stack,) = unwind(memory, {}, [job], {}, kernel_half=False)
    of_gdb = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\w+) ", answer.console, re.MULTILINE)
    depth = of_gdb.index("main") + 1
    assert depth == 14
    assert [frame.function for frame in stack.frames][:depth] == of_gdb[:depth]


def test_a_symbol_file_that_is_another_does_no_harm(build: Callable[[str], Path]) -> None:
    program = build("array")
    with running(program, "healthy") as process, gdbserver(process.pid) as place:
        options = Options("remote", place, symbols=str(program), timeout=20)
        with connected(options, lambda line: None) as target:
            found = [
                GdbMemory(target.session, symbol_file=path).symbols(SYMBOLS)
                for path in (None, str(program), str(build("split")), "/absent")
            ]
    assert {"allproc", "zombproc", "'vmm_dev.c'::head"} <= set(found[0])
    assert found[1:] == found[:1] * 3
