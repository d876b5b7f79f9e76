"""Lines of something else in the middle of a trace: what follows them goes on where the trace was broken off."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from hangdiag.diagnosis import diagnose
from hangdiag.model import Capture
from hangdiag.readers import read_text
from tests.traces import KNOWLEDGE, MATCHER

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
TEXTS = {path.name: path.read_text() for path in sorted(SAMPLES.glob("*.txt"))}
#: What may stand between two lines of a trace.
BREAKS = {
    "the console": ["igb0: link state changed to UP"],
    "syslog": ["Nov 26 01:02:03 host kernel: igb0: link state changed to UP"],
    "a program that died": ["pid 2210 (x), jid 0, uid 0: exited on signal 6"],
    "a fence": ["```", "", "(continued)", "", "```"],
    "a sentence": ["", "and here is more:", ""],
    "^C": ["^C"],
    "a printout's page": ["", "\x0chang.txt            Thu Nov 26 01:02 2026            Page 3", ""],
    "a pager": ["--More--"],
    "a mail": ["", "-- ", "Joe", "", "On Thu, Nov 26, 2026 at 1:02 AM Joe <joe@example.org> wrote:", ""],
}
GDB = """Thread 3 (Thread 100100 (PID=16: bhyve/vcpu 0)):
#0  sched_switch (td=0xfffff80002415740, flags=258) at /usr/src/sys/kern/sched_ule.c:2140
#1  0xffffffff8038d0b2 in mi_switch (flags=258) at /usr/src/sys/kern/kern_synch.c:530
#2  0xffffffff803d19f9 in sleepq_switch (wchan=0xfffffe0000723000, pri=0) at /usr/src/sys/kern/subr_sleepqueue.c:600
#3  0xffffffff8038caf2 in _sleep (ident=0xfffffe0000723000, wmesg=0xffffffff80 "vmrndv") at /usr/src/sys/kern/kern_synch.c:210
#4  0xffffffff805a8f7e in vm_handle_rendezvous (vcpu=0xfffff80002) at /usr/src/sys/dev/vmm/vmm.c:1400

Thread 2 (Thread 100101 (PID=16: bhyve/vcpu 1)):
#0  sched_switch (td=0xfffff80002415000, flags=258) at /usr/src/sys/kern/sched_ule.c:2140
#1  0xffffffff8038d0b2 in mi_switch (flags=258) at /usr/src/sys/kern/kern_synch.c:530
#2  0xffffffff80351902 in fork_exit (callout=0xffff) at /usr/src/sys/kern/kern_fork.c:1080
"""


def _broken(text: str, place: int, name: str) -> str:
    lines = text.split("\n")
    return "\n".join([*lines[:place], *BREAKS[name], *lines[place:]])


def _stacks(captures: tuple[Capture, ...]) -> list[list[tuple[object, ...]]]:
    return [
        sorted(
            [(thread.pid, thread.tid, thread.name, *[frame.function for frame in thread.frames]) for thread in capture.threads],
            key=repr,
        )
        for capture in captures
    ]


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("place", [1, 2, 3, 4, 5, 8, 9])
def test_frames_that_count_on_go_on_with_their_stack(place, name):
    assert _stacks(read_text(_broken(GDB, place, name))) == _stacks(read_text(GDB))


def test_frames_that_count_on_elsewhere_are_nobodys():
    switched = "[Switching to thread 3 (Thread 100100 (PID=16: bhyve/vcpu 0))]\n" + GDB
    lines = switched.split("\n")
    (capture,) = read_text("\n".join([*lines[:10], "igb0: link state changed to UP", *lines[11:]]))
    assert [(thread.tid, len(thread.frames)) for thread in capture.threads] == [(100100, 5), (100101, 1), (None, 1)]
    assert capture.threads[2].told


def test_a_stack_asked_for_behind_a_header_without_one_is_not_that_threads():
    header, _, frames = GDB.partition("\n")
    threads = read_text(f"{header}\n(kgdb) bt\n{frames}")[0].threads
    assert not next(thread for thread in threads if thread.tid == 100100).frames


def test_a_stack_is_broken_off_more_than_once():
    lines = GDB.split("\n")[1:]
    text = "\n".join([*lines[:2], *BREAKS["syslog"], *lines[2:3], *BREAKS["^C"], *lines[3:]])
    assert _stacks(read_text(text)) == _stacks(read_text("\n".join(lines)))


DDB = """db> alltrace
Tracing command bhyve pid 16 tid 100100 td 0xfffff80002415740
sched_switch() at sched_switch+0x492/frame 0xfffffe0011fa6870
mi_switch() at mi_switch+0xd2/frame 0xfffffe0011fa68a0
sleepq_switch() at sleepq_switch+0x102/frame 0xfffffe0011fa68e0
_sleep() at _sleep+0x1f2/frame 0xfffffe0011fa6990
buf_daemon() at buf_daemon+0x115/frame 0xfffffe0011fa69e0
fork_exit() at fork_exit+0x72/frame 0xfffffe0011fa6a20
fork_trampoline() at fork_trampoline+0xe/frame 0xfffffe0011fa6a20
--- trap 0, rip = 0, rsp = 0, rbp = 0 ---

Tracing command bhyve pid 16 tid 100101 td 0xfffff80002415000
cpustop_handler() at cpustop_handler+0x29/frame 0xffffffff80943c60
trap() at trap+0x46/frame 0xffffffff80943d40
nmi_calltrap() at nmi_calltrap+0x8/frame 0xffffffff80943d40
--- trap 0x13, rip = 0xffffffff805a8f7e, rsp = 0xfffffe0011fa7000, rbp = 0xfffffe0011fa7100 ---
svm_vmrun() at svm_vmrun+0x29/frame 0xfffffe0011fa7100
vm_run() at vm_run+0x537/frame 0xfffffe0011fa7200
"""
KDB = """KDB: stack backtrace of thread 100100:
#0 0xffffffff80c79095 at mi_switch+0x65
#1 0xffffffff80c79096 at sleepq_switch+0x66
#2 0xffffffff80c79097 at _sleep+0x67
#3 0xffffffff80c79098 at fork_exit+0x68
"""
WITNESS = """lock order reversal:
 1st 0xfffff80002415740 a (a, sx) @ /usr/src/sys/a.c:1
 2nd 0xfffff80002415750 b (b, sx) @ /usr/src/sys/b.c:1
lock order a -> b established at:
#0 0xffffffff80c79095 at witness_checkorder+0x65
#1 0xffffffff80c79096 at _sx_xlock+0x66
#2 0xffffffff80c79097 at vm_run+0x67
lock order b -> a attempted at:
#0 0xffffffff80c79095 at witness_checkorder+0x65
#1 0xffffffff80c79096 at _sx_xlock+0x66
"""


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("text", [DDB, KDB, WITNESS], ids=["ddb", "kdb", "witness"])
def test_stacks_of_the_kernel(text, name):
    for place in range(1, text.count("\n")):
        assert _stacks(read_text(_broken(text, place, name))) == _stacks(read_text(text)), (place, text.split("\n")[place])


def test_a_frame_elsewhere_in_memory_is_not_the_next_one():
    lines = DDB.split("\n")[:5]
    other = "vm_run() at vm_run+0x537/frame 0xfffffe0011fc7200"
    (capture,) = read_text("\n".join([*lines, "igb0: link state changed to UP", other]))
    assert [(thread.tid, len(thread.frames)) for thread in capture.threads] == [(100100, 3), (None, 1)]


def test_a_command_that_was_typed_ends_a_stack():
    lines = DDB.split("\n")
    threads = read_text("\n".join([*lines[:2], "db> bt", *lines[2:9]]))[0].threads
    assert [(thread.tid, len(thread.frames)) for thread in threads] == [(100100, 0), (None, 7)]


TABLE = """  PID    TID COMM                TDNAME              KSTACK
    0 100000 kernel              swapper             mi_switch+0xd2 sleepq_timedwait+0x2f _sleep+0x1f2 swapper+0x79
   10 100003 idle                idle: cpu1
   11 100015 intr                swi4: clock (1)
   11 100016 intr                swi1: netisr 0
   16 100049 bhyve               vcpu 1              <running>
   17 100050 sh                  -                   mi_switch+0xd2 sleepq_timedwait+0x2f _sleep+0x1f2 kern_wait6+0x79
"""


@pytest.mark.parametrize("name", BREAKS)
def test_rows_of_threads_without_a_stack_are_not_lost(name):
    for place in range(1, 7):
        assert _stacks(read_text(_broken(TABLE, place, name))) == _stacks(read_text(TABLE)), place


def test_rows_that_come_again_are_of_another_look():
    lines = TABLE.replace("<running>", "mi_switch+0xd2 sleepq_wait+0x2f _sleep+0x1f2 vm_run+0x79").split("\n")
    elsewhere = "mi_switch+0xd2 turnstile_wait+0x1 __mtx_lock_sleep+0x2 vm_fault+0x3 trap+0x4"
    again = "\n".join([line.partition("mi_switch")[0] + elsewhere for line in (lines[1], *lines[5:7])])
    assert len(read_text("\n".join(lines) + "a minute later:\n" + again)) == 2


WALK = """proc 0xfffff800021c0530 pid 16 comm bhyve state 1
td 0xfffff800023b0000 tid 100039 name mevent wmesg kqread wchan 0xfffff80002397a00 inhib 2 state 1 oncpu -1
td 0xfffff80002413740 tid 100040 name vcpu 0 wmesg vmrndv wchan 0xfffffe0000723110 inhib 2 state 1 oncpu -1
proc 0xfffff80002128530 pid 6 comm soaiod4 state 1
td 0xfffff80002359740 tid 100026 name soaiod4 wmesg - wchan 0xfffff800021c3e00 inhib 2 state 1 oncpu -1
tid 100040 vcpu 0: pcb_rip 0xffffffff8038d0b2
mi_switch + 210 in section .text
sleepq_switch + 281 in section .text
_sleep + 498 in section .text
vm_run + 1335 in section .text
fast_syscall_common + 248 in section .text
"""
INFO = """  Id   Target Id                                    Frame
* 1    Thread 100010 (PID=0: kernel/swapper)        sched_switch (td=0xfffff80002415740, flags=258) at sched_ule.c:2140
  2    Thread 100039 (PID=16: bhyve/mevent)         sched_switch (td=0xfffff800023b0000, flags=258) at sched_ule.c:2140
  3    Thread 100040 (PID=16: bhyve/vcpu 0)         sched_switch (td=0xfffff80002413740, flags=258) at sched_ule.c:2140
"""


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("text", [WALK, INFO], ids=["walk", "info threads"])
def test_what_gdb_lists(text, name):
    for place in range(2, text.count("\n")):
        assert _stacks(read_text(_broken(text, place, name))) == _stacks(read_text(text)), (place, text.split("\n")[place])


def test_rows_behind_left_out_ones_may_be_of_another_process():
    lines = WALK.split("\n")
    (capture,) = read_text("\n".join([*lines[:2], "[...]", *lines[2:3]]))
    assert [thread.pid for thread in capture.threads] == [16, None]


FULL = """Thread 2 (Thread 100101 (PID=16: bhyve/vcpu 1)):
#0  sched_switch (td=0xfffff80002415000, flags=258) at /usr/src/sys/kern/sched_ule.c:2140
        cpu = 1
        name = "\\000\\000\\001",
          '\\000' <repeats 14 times>
        tdq = 0xfffff80002415010
#1  0xffffffff8038d0b2 in mi_switch (flags=258) at /usr/src/sys/kern/kern_synch.c:530
No locals.
#2  0xffffffff80351902 in fork_exit (callout=0xffff) at /usr/src/sys/kern/kern_fork.c:1080
        p = 0xfffff800021c0530
"""


@pytest.mark.parametrize("name", BREAKS)
def test_local_variables(name):
    for place in range(1, FULL.count("\n")):
        assert _stacks(read_text(_broken(FULL, place, name))) == _stacks(read_text(FULL)), place


@pytest.mark.parametrize("name", TEXTS)
def test_samples_are_read_as_if_nothing_were_between(name):
    """With lines of something else anywhere: the same captures, threads and verdict."""
    lines = TEXTS[name].split("\n")
    draw = random.Random(name)
    for place in draw.sample(range(1, len(lines)), 5):
        before, after = lines[max(0, place - 30) : place], lines[place : place + 30]
        between = draw.choice(sorted(BREAKS))
        assert _reading([*before, *BREAKS[between], *after]) == _reading([*before, *after]), (place, between)


def _reading(lines: list[str]) -> tuple[object, ...]:
    captures = read_text("\n".join(lines))
    findings = [diagnose(capture, KNOWLEDGE, MATCHER).findings[0] for capture in captures]
    return _stacks(captures), [(finding.verdict, finding.certainty) for finding in findings]


def test_a_cpu_whose_header_stands_alone():
    text = "Thread 2 (Thread 1.2 (CPU#1 [running])):\nigb0: link state changed to UP\n" + FULL.partition("\n")[2]
    (thread,) = read_text(text)[0].threads
    assert (thread.cpu, len(thread.frames)) == (1, 3)


@pytest.mark.parametrize("between", ["[skipped some]", "and vcpu 0 is in:", "The other thread, from there on:"])
@pytest.mark.parametrize(("text", "place"), [(GDB, 5), (re.sub("/frame .*", "", DDB), 6), (KDB, 3), (WALK, 8)], ids=["gdb", "ddb", "kdb", "symbols"])
def test_nothing_is_proven_where_the_rest_may_be_of_another_stack(text, place, between):
    lines = text.split("\n")
    (capture,) = read_text("\n".join([*lines[:place], "", between, "", *lines[place:]]))
    (broken,) = [thread for thread in capture.threads if thread.name == "vcpu 0" or (thread.frames and thread.tid == 100100)]
    assert broken.told


TOP = """  PID USERNAME    PRI NICE   SIZE    RES STATE    C   TIME    WCPU COMMAND
   11 root        155 ki31     0B    32K CPU0     0  33:00 100.00% idle{idle: cpu0}
   11 root        155 ki31     0B    32K RUN      1  33:00  90.00% idle{idle: cpu1}
 2210 root         20    0   541M    20M vmrndv   0   1:00   0.00% bhyve{vcpu 0}
 2210 root         20    0   541M    20M vmstat   1   1:00   0.00% bhyve{vcpu 1}
"""
VNODES = """db> show lockedvnods
Locked vnodes
vnode 0xfffff80003c5a000: type VDIR
    usecount 2, writecount 0, refcount 3 seqc users 0 mountedhere 0
    lock type ufs: EXCL by thread 0xfffff80003b5a000 (pid 20, aa, tid 100100)
#0 0xffffffff80b5a000 at lockmgr_lock_flags+0x1a0
#1 0xffffffff80b5a001 at ffs_lock+0x8b
vnode 0xfffff80003c5b000: type VREG
    lock type ufs: SHARED (count 1)
#0 0xffffffff80b5a000 at lockmgr_lock_flags+0x1a0
#1 0xffffffff80b5a001 at ffs_lock+0x8b
"""


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("text", [TOP, VNODES], ids=["top", "locked vnodes"])
def test_other_tables(text, name):
    for place in range(1, text.count("\n")):
        assert _stacks(read_text(_broken(text, place, name))) == _stacks(read_text(text)), place


LLDB = """(lldb) thread backtrace all
* thread #1, name = '(pid 20) aa', tid = 100101
  * frame #0: 0xffffffff80b5a000 kernel`sched_switch(td=0xfffff80003b5a000, flags=258) at sched_ule.c:2140:26
    frame #1: 0xffffffff80b5a001 kernel`mi_switch(flags=258) at kern_synch.c:530:2
    frame #2: 0xffffffff80b5a002 kernel`_sleep(ident=0xfffffe0000723110) at kern_synch.c:210:2
    frame #3: 0xffffffff80b5a003 kernel`vm_run(vm=0xfffffe0000723000) at vmm.c:210:2
  thread #2, name = '(pid 20) aa/vcpu 1', tid = 100102
    frame #0: 0xffffffff80b5a000 kernel`sched_switch(td=0xfffff80003b5b000, flags=258) at sched_ule.c:2140:26
    frame #1: 0xffffffff80b5a001 kernel`mi_switch(flags=258) at kern_synch.c:530:2
"""


@pytest.mark.parametrize("name", BREAKS)
def test_stacks_of_lldb(name):
    for place in range(2, LLDB.count("\n")):
        assert _stacks(read_text(_broken(LLDB, place, name))) == _stacks(read_text(LLDB)), place
